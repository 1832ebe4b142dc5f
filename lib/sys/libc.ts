import { createRequire } from 'node:module';
import { getSystemErrorMap } from 'node:util';
import { koffiPath } from './koffi.js';

/**
 * The C library of this process, called through koffi. Nothing is loaded before the first call, so a program that never needs
 * a system call of its own never loads the native module; only files of this folder may use it.
 *
 * A file that needs system calls declares them as one group:
 *
 *     const calls = lazy(() => ({ flock: declare<(fd: number, operation: number) => number>('int flock(int, int)') }));
 *     export function flock(fd: number, operation: number): void {
 *       check(calls().flock(fd, operation), 'flock');
 *     }
 *
 * A synchronous call costs about half a microsecond, one in the background (`background`) about forty.
 */
type Koffi = typeof import('koffi').default;

/** A C function. `async` runs it on the thread pool and calls back with an error of koffi's own, or the result. */
export type Declared<F extends (...args: never[]) => unknown> = F & {
  async: (...args: [...Parameters<F>, (error: Error | null, result: ReturnType<F>) => void]) => void;
};

/** Runs `make` on the first call and gives the same value ever after. */
export function lazy<T extends object>(make: () => T): () => T {
  let value: T | undefined;
  return () => {
    value ??= make();
    return value;
  };
}

const library = lazy(() => {
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)(koffiPath()) as Koffi;
  } catch (cause) {
    throw new Error(`system calls need the package koffi, which does not load on this host (${process.platform}-${process.arch})`, {
      cause,
    });
  }
  return { koffi, symbols: koffi.load(null) };
});

/** The koffi module itself, for what `declare` and `address` do not cover. */
export function native(): Koffi {
  return library().koffi;
}

/**
 * A function of this process (libc, libuv, Node-API) by its C prototype. Declare at first use, inside `lazy`. Pointers: declare them
 * `uintptr_t` and pass `address(bytes)` where speed matters, `void *` and pass the bytes otherwise; strings are `const char *` in UTF-8.
 */
export function declare<F extends (...args: never[]) => unknown>(prototype: string): Declared<F> {
  return library().symbols.func(prototype) as unknown as Declared<F>;
}

/** Where a view's bytes are in memory. It stays true as long as the view's buffer is alive, which is the caller's to see to. */
export function address(bytes: ArrayBufferView): number {
  return Number(library().koffi.address(bytes));
}

/** The error number (positive) that the last synchronous call of this thread left behind. */
export function errno(): number {
  return library().koffi.errno();
}

/** An error of a system call in Node's shape. `errno` is negative, as Node has it. */
export class SystemError extends Error implements NodeJS.ErrnoException {
  readonly errno: number;
  readonly code: string;
  readonly syscall: string;
  declare readonly path?: string;
  declare readonly dest?: string;

  /** `errno` may have either sign. */
  constructor(errno: number, syscall: string, path?: string, dest?: string) {
    const number = Math.abs(errno);
    const [code, text] = getSystemErrorMap().get(-number) ?? [`E${number}`, 'unknown error'];
    super(`${code}: ${text}, ${syscall}${path === undefined ? '' : ` '${path}'`}${dest === undefined ? '' : ` -> '${dest}'`}`);
    this.name = 'Error';
    this.errno = -number;
    this.code = code;
    this.syscall = syscall;
    if (path !== undefined) this.path = path;
    if (dest !== undefined) this.dest = dest;
  }
}

/** The result of a call that has just been made, or, if that is negative, the SystemError that `errno` tells of. */
export function check(result: number, syscall: string, path?: string, dest?: string): number {
  if (result < 0) throw new SystemError(errno(), syscall, path, dest);
  return result;
}

/** The result of a call that has just been made, or its error number, negated: for paths where EAGAIN is no exception. */
export function outcome(result: number): number {
  return result < 0 ? -errno() : result;
}

/**
 * Runs a C function on the thread pool. Resolves with its result, or with its error number, negated. Buffers passed to it stay
 * the call's own until then.
 */
export function background<A extends unknown[]>(call: Declared<(...args: A) => number>, ...args: A): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, result: number) => {
      if (error !== null) reject(error);
      else resolve(outcome(result));
    };
    (call.async as (...args: unknown[]) => void)(...args, done);
  });
}
