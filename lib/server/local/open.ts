import {
  L_O_ACCMODE,
  L_O_APPEND,
  L_O_DIRECTORY,
  L_O_DSYNC,
  L_O_NOATIME,
  L_O_RDONLY,
  L_O_SYNC,
  L_O_TRUNC,
} from '../../protocol/constants.js';
import { O_APPEND, O_CLOEXEC, O_DIRECTORY, O_DSYNC, O_NOATIME, O_NOCTTY, O_NONBLOCK, O_SYNC, O_TRUNC } from '../../sys/flags.js';
import { failure } from '../errors.js';

/** Flags that mean the same to the host, wherever the two number them. */
const PASSED: readonly (readonly [wire: number, host: number])[] = [
  [L_O_TRUNC, O_TRUNC],
  [L_O_APPEND, O_APPEND],
  [L_O_DSYNC, O_DSYNC],
  [L_O_SYNC, O_SYNC],
  [L_O_DIRECTORY, O_DIRECTORY],
  [L_O_NOATIME, O_NOATIME],
];

/** Whether opening like that changes the file, or is meant to. O_TRUNC does, even for reading only. */
export function changes(flags: number): boolean {
  return (flags & L_O_ACCMODE) !== L_O_RDONLY || (flags & L_O_TRUNC) !== 0;
}

/**
 * The host's flags for those of Tlopen and Tlcreate. What is not passed on is dropped as QEMU drops it: O_CREAT, O_EXCL, O_NOCTTY, O_ASYNC and
 * O_DIRECT; a server's own descriptor never waits to be opened and is not inherited.
 */
export function hostFlags(flags: number): number {
  const access = flags & L_O_ACCMODE;
  if (access === L_O_ACCMODE) throw failure('EINVAL');
  let host = access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  for (const [wire, own] of PASSED) if ((flags & wire) === wire) host |= own;
  return host;
}
