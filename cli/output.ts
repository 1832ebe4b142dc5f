let outliving = false;

/** What cannot be told on stderr (its reader is gone, its disk is full) is lost, and nothing else: a server or a mount goes on. */
export function outliveOutput(): void {
  if (outliving) return;
  outliving = true;
  process.stderr.on('error', () => undefined);
}
