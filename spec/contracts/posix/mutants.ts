/**
 * Calls made wrong on purpose: a suite that does not fail on these would not fail on a broken file system. Only the calls under test are replaced, never those that
 * prepare and look.
 */
import os from 'node:os';
import type { Syscalls } from '../../support/syscalls.js';

export interface Mutant {
  /** Beginnings of the names of groups that must notice. */
  readonly noticed: readonly string[];
  make(sys: Syscalls): Syscalls;
}

const { EIO, EACCES, EPERM } = os.constants.errno;

/** Says that it worked, and does nothing. */
const idle = (noticed: string, ...names: (keyof Syscalls)[]): Mutant => ({
  noticed: [noticed],
  make(sys) {
    const wrong = { ...sys };
    for (const name of names) wrong[name] = () => 0;
    return wrong;
  },
});

/** Gives other errors than the real calls. */
const confused = (noticed: readonly string[], names: readonly (keyof Syscalls)[], confuse: (result: number) => number): Mutant => ({
  noticed,
  make(sys) {
    const wrong = { ...sys };
    for (const name of names) {
      const right: (...args: never[]) => number = sys[name];
      wrong[name] = (...args: never[]) => confuse(right(...args));
    }
    return wrong;
  },
});

const calls = [
  'chmod',
  'chown',
  'link',
  'mkdir',
  'mkfifo',
  'mknod',
  'open',
  'rename',
  'rmdir',
  'symlink',
  'truncate',
  'unlink',
  'utimensat',
] as const;

export const mutants: Readonly<Record<string, Mutant>> = {
  'chmod does nothing': idle('chmod: ', 'chmod', 'fchmod', 'fchmodat'),
  'chown does nothing': idle('chown: ', 'chown', 'lchown', 'fchown', 'fchownat'),
  'link does nothing': idle('link', 'link', 'linkat'),
  'mkdir does nothing': idle('mkdir: ', 'mkdir', 'mkdirat'),
  'rename does nothing': idle('rename: ', 'rename', 'renameat', 'renameat2'),
  'rmdir does nothing': idle('rmdir: ', 'rmdir'),
  'symlink does nothing': idle('symlink', 'symlink', 'symlinkat'),
  'truncate does nothing': idle('truncate: ', 'truncate', 'ftruncate'),
  'unlink does nothing': idle('unlink: ', 'unlink', 'unlinkat'),
  'utimensat does nothing': idle('utimensat: ', 'utimensat', 'futimens'),
  ...Object.fromEntries(
    calls.map((name) => [
      `${name} fails with EIO whatever the reason`,
      confused([name === 'link' || name === 'rename' ? `${name}, the` : `${name}: path resolution`], [name], (result) =>
        Math.max(result, -EIO),
      ),
    ]),
  ),
  'EPERM and EACCES are mixed up': confused(
    ['chmod: who', 'chown: who', 'sticky', 'utimensat: who', 'rename: write'],
    ['chmod', 'chown', 'rename', 'rmdir', 'unlink', 'utimensat'],
    (result) => (result === -EPERM ? -EACCES : result === -EACCES ? -EPERM : result),
  ),
  'unlink of what is not there works': {
    noticed: ['unlink: '],
    make: (sys) => ({ ...sys, unlink: (at) => Math.min(sys.unlink(at), 0) && 0 }),
  },
  'mkdir forgets the mode': { noticed: ['create: mode'], make: (sys) => ({ ...sys, mkdir: (at) => sys.mkdir(at, 0o755) }) },
  'writes land one byte late': {
    noticed: ['io: '],
    make: (sys) => ({ ...sys, pwrite: (fd, bytes, count, offset) => sys.pwrite(fd, bytes, count, BigInt(offset) + 1n) }),
  },
  'appending writes at the start': {
    noticed: ['open: O_APPEND'],
    make: (sys) => ({ ...sys, write: (fd, bytes, count) => sys.pwrite(fd, bytes, count, 0) }),
  },
};
