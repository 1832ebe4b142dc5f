import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compilerFlags } from './hurry.js';
import { INTERRUPTED, STOPPING } from './signals.js';

/**
 * Runs this very command again in the background, in a session of its own, and waits until it says that it works. Resolves with the exit
 * code for this process: 0, or that of the other one if it ended without having worked; its errors have reached the terminal then. Signals that
 * ask this process to end go to the other one until then.
 */
export function runInBackground(argv: readonly string[]): Promise<number> {
  const main = process.argv[1] ?? fileURLToPath(new URL('main.js', import.meta.url));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...compilerFlags(), ...process.execArgv, main, ...argv], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    child.stderr?.pipe(process.stderr, { end: false });
    let interrupted = false;
    // In a session of its own it hears nothing of the terminal's.
    const pass = (signal: NodeJS.Signals): void => {
      interrupted = true;
      child.kill(signal);
    };
    for (const signal of STOPPING) process.on(signal, pass);
    const settle = (code: number): void => {
      for (const signal of STOPPING) process.off(signal, pass);
      resolve(code);
    };
    child.once('error', (error) => {
      console.error(`ninep: ${process.execPath}: ${error.message}`);
      settle(1);
    });
    child.once('message', () => {
      // It was told to end when it had just begun to work, and does so.
      if (interrupted) return;
      child.removeAllListeners('exit');
      child.disconnect();
      child.stderr?.destroy();
      child.unref();
      settle(0);
    });
    child.once('exit', (code) => settle(interrupted ? INTERRUPTED : (code ?? 1)));
  });
}

/** In the background: it works, so whoever started it may go. Afterwards nobody reads what is written to stderr. */
export async function tellReady(): Promise<void> {
  if (process.send === undefined) return;
  await new Promise<void>((resolve) => process.send?.('ready', undefined, undefined, () => resolve()));
  if (process.connected) process.disconnect();
}
