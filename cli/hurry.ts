import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { exec } from '../lib/sys/exec.js';

const POOL = '--v8-pool-size';
/** Threads that V8 optimizes functions on, unless Node is told another number when it starts. */
const THREADS = 4;

/**
 * For commands that serve: V8 is to compile functions at their first call rather than interpret them until they have proved worth it, and to
 * optimize them after a third of the calls it otherwise waits for. With `compilerFlags`, a fresh mount on two cores makes, reads and removes small files in
 * two thirds of the time then, and takes writes of 64 KiB in four fifths; of 1 MiB in a twentieth more. That is V8 of Node 20; later ones
 * have a compiler in between for this, and other flags, and say so on stderr of those they do not have.
 */
export function compileSoon(v8 = process.versions.v8): void {
  if (Number.parseInt(v8, 10) > 11) return;
  setFlagsFromString('--always-sparkplug');
  setFlagsFromString('--interrupt-budget=20000');
}

/**
 * What a process that mounts is to be started with. On few cores, threads that optimize functions all at once take them from the programs that use the
 * mount, just while these wait for functions not yet optimized. Where there is one core only, starting costs more than that.
 */
export function compilerFlags(cores = availableParallelism()): readonly string[] {
  const told = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(' ')].some((word) => word.startsWith(POOL));
  return told || cores === 1 || cores > THREADS ? [] : [`${POOL}=${cores - 1}`];
}

/** Starts Node anew, in this very process, where this is a mount that will stay in it and V8 has more threads than do it good. */
export function hurry(): void {
  const [node, ...words] = process.argv;
  const [, command, ...rest] = words;
  const given = (...names: string[]) => rest.some((word) => names.includes(word) || names.some((name) => word.startsWith(`${name}=`)));
  const mounts = (command === 'mount' && given('--foreground', '-f')) || (command === 'bridge' && given('--mount', '-m'));
  // A descriptor that was handed down would not survive, nor would a channel to the parent.
  if (!mounts || node === undefined || process.send !== undefined || rest.some((word) => /\bfd\b/.test(word))) return;
  const flags = compilerFlags();
  if (flags.length === 0) return;
  try {
    exec(process.execPath, [node, ...flags, ...process.execArgv, ...words]);
  } catch {
    // It works without, only slower.
  }
}
