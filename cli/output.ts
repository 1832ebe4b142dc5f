import { failureLine } from './failure.js';

let outliving = false;
let onlyPrints = false;

/**
 * What cannot be told on stderr (its reader is gone, its disk is full) is lost, and nothing else: a server or a mount goes on. So does a command
 * whose stdout nobody reads any more, for it may be half-way through a change; that stdout could not be written is a failure, told at the end.
 */
export function outliveOutput(): void {
  if (outliving) return;
  outliving = true;
  process.stderr.on('error', () => undefined);
  let failure: NodeJS.ErrnoException | undefined;
  process.stdout.on('error', (error) => {
    failure ??= error;
    // With its earlier failures: `ninep cat … | head` is none.
    if (onlyPrints) process.exit();
  });
  process.on('exit', () => {
    // Of a process that ended by itself, as yargs does after --help, nobody has heard of the failure yet.
    failure ??= process.stdout.errored ?? undefined;
    if (failure === undefined || failure.code === 'EPIPE') return;
    console.error(failureLine(failure).replace('ninep: ', 'ninep: standard output: '));
    process.exitCode ||= 1;
  });
}

/** Nothing is left to be done by this process once its stdout takes no more. */
export function endWithOutput(): void {
  onlyPrints = true;
}
