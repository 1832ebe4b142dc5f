import { ErrnoError } from '../protocol/error.js';

const known = new Map<string, ErrnoError>();

/**
 * The error of that name, to be thrown towards the connection. One object serves every caller: what goes out is the number,
 * and recording a stack for each missing name would cost more than the look-up that missed it.
 */
export function failure(code: string): ErrnoError {
  let error = known.get(code);
  if (error === undefined) {
    error = new ErrnoError(code);
    known.set(code, error);
  }
  return error;
}

/** Whether an answer is still to come. Anything with a `then` counts, so that other people's promises work. */
export function isPending<T>(answer: T | Promise<T>): answer is Promise<T> {
  return typeof answer === 'object' && answer !== null && typeof (answer as { then?: unknown }).then === 'function';
}
