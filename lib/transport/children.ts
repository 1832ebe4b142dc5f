/**
 * What must not outlive this process, however it exits: one listener on `exit` for them all. A process that is killed outright
 * cannot do this; what it started notices by its channel's end.
 */
const last = new Set<() => void>();

function endAll(): void {
  for (const end of last) end();
}

/** Calls `end` when this process exits; it must be synchronous. Gives what takes that back. */
export function atExit(end: () => void): () => void {
  if (last.size === 0) process.on('exit', endAll);
  last.add(end);
  return () => {
    if (last.delete(end) && last.size === 0) process.off('exit', endAll);
  };
}

/** Sends a signal to a process (or, negative, to a group) that may be gone by now, or belong to another user: `sudo` makes such. */
export function signalProcess(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}
