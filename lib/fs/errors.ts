import { inspect } from 'node:util';
import { ErrnoError, type ErrorSubject } from '../protocol/error.js';

/** The server's error in the words of `node:fs`: the operation and the paths that the caller gave. Anything else stays as it is. */
export function nodeError(error: unknown, subject: ErrorSubject): unknown {
  return error instanceof ErrnoError ? new ErrnoError(error.errno, subject) : error;
}

/** Runs `work`; what the server refuses is told as `nodeError` tells it, with the stack of whoever awaits this. */
export async function told<T>(subject: ErrorSubject, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw nodeError(error, subject);
  }
}

/** An error of the kind that Node throws for a bad argument: `code` is what callers match on. */
function coded<E extends Error>(error: E, code: string): E & { code: string } {
  return Object.assign(error, { code });
}

function received(value: unknown): string {
  if (value === null || value === undefined) return ` Received ${value}`;
  if (typeof value === 'function') return ` Received function ${value.name}`;
  if (typeof value === 'object') {
    const name: unknown = value.constructor?.name;
    return typeof name === 'string' && name !== '' ? ` Received an instance of ${name}` : ` Received ${inspect(value, { depth: -1 })}`;
  }
  const text = inspect(value, { colors: false });
  return ` Received type ${typeof value} (${text.length > 28 ? `${text.slice(0, 25)}...` : text})`;
}

/** ERR_INVALID_ARG_TYPE. `expected` is the rest of "must be …". */
export function invalidArgType(name: string, expected: string, value: unknown): TypeError {
  return coded(new TypeError(`The "${name}" argument must be ${expected}.${received(value)}`), 'ERR_INVALID_ARG_TYPE');
}

/** ERR_INVALID_ARG_VALUE. `reason` is the rest of "The argument 'x' …". */
export function invalidArgValue(name: string, value: unknown, reason = 'is invalid'): TypeError {
  const text = inspect(value);
  const shown = text.length > 128 ? `${text.slice(0, 128)}...` : text;
  return coded(new TypeError(`The argument '${name}' ${reason}. Received ${shown}`), 'ERR_INVALID_ARG_VALUE');
}

/** ERR_OUT_OF_RANGE. `range` is the rest of "It must be …". */
export function outOfRange(name: string, range: string, value: unknown): RangeError {
  return coded(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`),
    'ERR_OUT_OF_RANGE',
  );
}

export function errorWithCode(code: string, message: string): Error & { code: string } {
  return coded(new Error(message), code);
}

/** What a FileHandle says after `close`: Node gives no errno here. */
export function fileClosed(syscall: string): Error {
  return Object.assign(new Error('file closed'), { code: 'EBADF', syscall });
}

/** ABORT_ERR, as every call of Node that takes a signal rejects. */
export function abortError(signal: AbortSignal): Error {
  const error = coded(new Error('The operation was aborted', { cause: signal.reason }), 'ABORT_ERR');
  error.name = 'AbortError';
  return error;
}

export function throwIfAborted(signal: AbortSignal | undefined | null): void {
  if (signal?.aborted) throw abortError(signal);
}

/** What Node calls a SystemError: the ERR_FS_* errors of `cp` and `rm`. `errno` is positive there. */
export class SystemError extends Error {
  readonly code: string;
  readonly info: {
    readonly code: string;
    readonly message: string;
    readonly path: string;
    readonly syscall: string;
    readonly errno: number;
  };

  constructor(code: string, text: string, syscall: string, errno: number, errnoCode: string, message: string, path: string) {
    super(`${text}: ${syscall} returned ${errnoCode} (${message}) ${path}`);
    this.name = 'SystemError';
    this.code = code;
    this.info = { code: errnoCode, message, path, syscall, errno };
  }

  get errno(): number {
    return this.info.errno;
  }

  get syscall(): string {
    return this.info.syscall;
  }

  get path(): string {
    return this.info.path;
  }
}
