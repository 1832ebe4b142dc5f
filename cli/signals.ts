/** What asks a process to end. */
export const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The exit code after an interruption, as a shell has it for SIGINT. */
export const INTERRUPTED = 130;

/** Resolves at the first SIGINT, SIGTERM or SIGHUP. A second one ends the process as if nobody listened. */
export function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    // Nothing else may be left to keep the process alive, and the process is to stay until it is told to go.
    const alive = setInterval(() => undefined, 1 << 30);
    const stop = () => {
      clearInterval(alive);
      for (const signal of STOPPING) process.off(signal, stop);
      resolve();
    };
    for (const signal of STOPPING) process.on(signal, stop);
  });
}

/**
 * Runs `work` until the first of these signals, which aborts the one that it is given: that is told then, with exit code 130, and the result is
 * undefined. A second one ends the process as if nobody listened.
 */
export async function unlessInterrupted<T>(
  names: readonly NodeJS.Signals[],
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const controller = new AbortController();
  const interrupt = (): void => controller.abort(new Error('interrupted'));
  for (const name of names) process.once(name, interrupt);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    console.error('ninep: interrupted');
    process.exitCode = INTERRUPTED;
    return undefined;
  } finally {
    for (const name of names) process.off(name, interrupt);
  }
}
