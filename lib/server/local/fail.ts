import { errnoName } from '../../protocol/errno.js';
import { failure } from '../errors.js';

/** Throws the error of a call's negated error number. */
export function fail(result: number): never {
  throw failure(errnoName(-result));
}

/** A call's result, unless it is an error. */
export function must(result: number): number {
  if (result < 0) fail(result);
  return result;
}
