import { execFileSync } from 'node:child_process';
import { launch, type ServerProcess } from '../launcher.js';
import { which } from '../requires.js';

/** The QEMU to use: what QEMU_SYSTEM names, or Debian's. */
export function qemuBinary(): string {
  const named = process.env['QEMU_SYSTEM'];
  if (named) return named;
  const found = which('qemu-system-x86_64');
  if (found === undefined) throw new Error('qemu-system-x86_64 is not installed');
  return found;
}

/** The version it says it is: `7.2.17`. */
export function qemuVersion(): string {
  const text = execFileSync(qemuBinary(), ['--version'], { encoding: 'utf8' });
  return /version (\S+)/.exec(text)?.[1] ?? text.trim();
}

/** Starts QEMU with these arguments. Ready at once: wait for a socket or the console as the case needs. */
export function qemu(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
  return launch({ command: qemuBinary(), args, env, ready: 'spawned', stopSignal: 'SIGKILL' });
}
