import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { compilerFlags } from './hurry.js';

/**
 * Runs this very command again in the background, in a session of its own, and waits until it says that it works. Resolves with the exit
 * code for this process: 0, or that of the other one if it ended without having worked; its errors have reached the terminal then.
 */
export function runInBackground(argv: readonly string[]): Promise<number> {
  const main = process.argv[1] ?? fileURLToPath(new URL('main.js', import.meta.url));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...compilerFlags(), ...process.execArgv, main, ...argv], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    child.stderr?.pipe(process.stderr, { end: false });
    child.once('error', (error) => {
      console.error(`ninep: ${process.execPath}: ${error.message}`);
      resolve(1);
    });
    child.once('message', () => {
      child.removeAllListeners('exit');
      child.disconnect();
      child.stderr?.destroy();
      child.unref();
      resolve(0);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** In the background: it works, so whoever started it may go. Afterwards nobody reads what is written to stderr. */
export async function tellReady(): Promise<void> {
  if (process.send === undefined) return;
  await new Promise<void>((resolve) => process.send?.('ready', undefined, undefined, () => resolve()));
  if (process.connected) process.disconnect();
}
