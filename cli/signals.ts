/** Resolves at the first SIGINT, SIGTERM or SIGHUP. A second one ends the process as if nobody listened. */
export function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    // Nothing else may be left to keep the process alive, and the process is to stay until it is told to go.
    const alive = setInterval(() => undefined, 1 << 30);
    const stop = () => {
      clearInterval(alive);
      for (const signal of signals) process.off(signal, stop);
      resolve();
    };
    for (const signal of signals) process.on(signal, stop);
  });
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
