import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { preload } from '../../sys/preload.js';
import { STAT_WORDS, STATFS_WORDS } from './stat.js';

/**
 * The native half of the package fuse-native (2.2.6, the last one). Its JavaScript half is gone round: that puts a clock on every request which answers
 * while the operation still runs, turns libfuse's own trace on for any `*` in DEBUG, forgets which file an fstat is about, hands values back that are longer than the
 * caller's buffer, and unmounts through a shell.
 *
 * libfuse calls on threads of its own; each waits until `fuse_native_signal_NAME` has brought the answer.
 */
export interface Binding {
  readonly sizeof_fuse_thread_t: number;
  fuse_native_mount(
    directory: string,
    options: string,
    thread: Buffer,
    self: object,
    allocate: (size: number) => Buffer,
    handlers: readonly Handler[],
    implemented: Uint32Array,
  ): void;
  /** Lets the event loop end; it unmounts nothing. */
  fuse_native_unmount(directory: string, thread: Buffer): void;
  readonly [name: string]: unknown;
}

/** What libfuse's thread waits in, the operation's number, and its arguments. */
export type Handler = (waiter: Buffer, operation: number, ...args: never[]) => void;

/** What each operation is called with; offsets and sizes come as their lower and upper 32 bits. */
export interface Calls {
  init: () => void;
  getattr: (path: string) => Promise<Uint32Array>;
  fgetattr: (path: string, fh: number) => Promise<Uint32Array>;
  statfs: (path: string) => Promise<Uint32Array>;
  readlink: (path: string) => Promise<string>;
  readdir: (path: string) => Promise<{ names: string[]; stats: Uint32Array[] }>;
  mkdir: (path: string, mode: number) => Promise<void>;
  mknod: (path: string, mode: number, device: number) => Promise<void>;
  symlink: (target: string, path: string) => Promise<void>;
  link: (path: string, another: string) => Promise<void>;
  unlink: (path: string) => Promise<void>;
  rmdir: (path: string) => Promise<void>;
  rename: (path: string, another: string) => Promise<void>;
  chmod: (path: string, mode: number) => Promise<void>;
  chown: (path: string, uid: number, gid: number) => Promise<void>;
  utimens: (path: string, atimeLow: number, atimeHigh: number, mtimeLow: number, mtimeHigh: number) => Promise<void>;
  truncate: (path: string, low: number, high: number) => Promise<void>;
  ftruncate: (path: string, fh: number, low: number, high: number) => Promise<void>;
  open: (path: string, flags: number) => Promise<number>;
  create: (path: string, mode: number) => Promise<number>;
  read: (path: string, fh: number, buffer: Buffer, size: number, low: number, high: number) => Promise<number>;
  write: (path: string, fh: number, buffer: Buffer, size: number, low: number, high: number) => Promise<number>;
  flush: (path: string, fh: number) => Promise<void>;
  release: (path: string, fh: number) => Promise<void>;
  fsync: (path: string, datasync: number, fh: number) => Promise<void>;
  fsyncdir: (path: string, datasync: number) => Promise<void>;
  setxattr: (path: string, name: string, value: Buffer, position: number, flags: number) => Promise<void>;
  getxattr: (path: string, name: string, value: Buffer) => Promise<number>;
  listxattr: (path: string, list: Buffer) => Promise<number>;
  removexattr: (path: string, name: string) => Promise<void>;
}

type Name = keyof Calls;
/** What goes back beside the result: the buffers that were lent, and what the operation gave; it is always taken, on failure too. */
type Back = (args: readonly unknown[], value: unknown) => readonly unknown[];

const lent =
  (index: number): Back =>
  (args) => [(args[index] as Buffer).buffer];
const transfer: Back = (args, count) => [count ?? 0, (args[2] as Buffer).buffer];
const stat: Back = (_, words) => [words ?? new Uint32Array(STAT_WORDS)];
const handle: Back = (_, fh) => [fh ?? 0];

const back: { readonly [K in Name]?: Back } = {
  getattr: stat,
  fgetattr: stat,
  statfs: (_, words) => [words ?? new Uint32Array(STATFS_WORDS)],
  readlink: (_, text) => [text ?? ''],
  readdir: (_, list) => {
    const { names, stats } = (list as { names: string[]; stats: Uint32Array[] } | undefined) ?? { names: [], stats: [] };
    return [names, stats];
  },
  open: handle,
  create: handle,
  read: transfer,
  write: transfer,
  setxattr: lent(2),
  getxattr: lent(2),
  listxattr: lent(1),
};

/** Operations whose number is their answer. */
const counted: ReadonlySet<Name> = new Set<Name>(['read', 'write', 'getxattr', 'listxattr']);

/** fuse-native's numbers go from 0 (init) to 33 (rmdir). */
const OPERATIONS = 34;

/** The handlers of all operations in `calls`, and which those are. `errno` gives the Linux number for what one throws. */
export function handlersOf(
  binding: Binding,
  calls: Calls,
  errno: (error: unknown) => number,
): { handlers: Handler[]; implemented: Uint32Array } {
  const handlers: Handler[] = new Array(OPERATIONS).fill(() => {});
  const implemented = new Uint32Array(OPERATIONS + 1);
  for (const name of Object.keys(calls) as Name[]) {
    const operation = binding[`op_${name}`] as number;
    const signal = binding[`fuse_native_signal_${name}`] as (waiter: unknown, result: number, ...values: unknown[]) => void;
    const call = calls[name] as (...args: never[]) => unknown;
    implemented[operation] = 1;
    handlers[operation] = (waiter: Buffer, _, ...args) => {
      if (name === 'utimens') putSecondTime(waiter, args);
      const answer = (result: number, value: unknown): void => signal(waiter, result, ...(back[name]?.(args, value) ?? []));
      // Never before this function has returned: libfuse's thread may ask again at once, in the same place of memory.
      Promise.resolve()
        .then(() => call(...args))
        .then(
          (value) => answer(counted.has(name) ? (value as number) : 0, value),
          (error: unknown) => answer(-errno(error), undefined),
        );
    };
  }
  return { handlers, implemented };
}

/** Where fuse-native keeps the two times of utimens in its own memory, on hosts of 64 bits; milliseconds as 64-bit integers. */
const ATIME_AT = 104;
const MTIME_AT = 112;

/** It passes the first time twice. The second is still in its memory, and is believed if the first is where it is expected. */
function putSecondTime(waiter: Buffer, args: unknown[]): void {
  if (waiter.readUInt32LE(ATIME_AT) !== args[1] || waiter.readUInt32LE(ATIME_AT + 4) !== args[2]) return;
  args[3] = waiter.readUInt32LE(MTIME_AT);
  args[4] = waiter.readUInt32LE(MTIME_AT + 4);
}

/** Why the other back-end is not to be had, in one line. */
export class NativeMissingError extends Error {
  readonly code = 'ERR_FUSE_NATIVE';
  constructor(why: string, cause: unknown) {
    super(`the native back-end needs the package fuse-native, ${why}; --backend kernel needs none`, { cause });
    this.name = 'NativeMissingError';
  }
}

/**
 * Loads it, at its first use only. For x64 it comes ready with its libfuse 2, so neither its install script (`npm ci --ignore-scripts` will do) nor
 * the host's libfuse2 is needed; elsewhere that script compiles it. An ordinary user needs `fusermount`, which fuse3 brings along.
 */
export function loadBinding(): Binding {
  const ours = createRequire(import.meta.url);
  let main: string;
  try {
    main = ours.resolve('fuse-native');
  } catch (error) {
    throw new NativeMissingError('which is not installed (npm install fuse-native)', error);
  }
  try {
    const theirs = createRequire(main);
    const file = (theirs('node-gyp-build') as { path(folder: string): string }).path(dirname(main));
    // It brings the libfuse that it was built with, but does not know where that is.
    const library = join(dirname(file), 'libfuse.so');
    if (existsSync(library)) preload(library);
    return theirs(file) as Binding;
  } catch (error) {
    throw new NativeMissingError(
      `which does not load on this host (${process.platform}-${process.arch}, Node ${process.versions.node})`,
      error,
    );
  }
}
