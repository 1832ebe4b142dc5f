import { constants } from 'node:fs';
import {
  L_O_ACCMODE,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_DSYNC,
  L_O_EXCL,
  L_O_NOATIME,
  L_O_NOFOLLOW,
  L_O_NONBLOCK,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_SYNC,
  L_O_TRUNC,
  L_O_WRONLY,
} from '../protocol/constants.js';
import { toInteger } from './arguments.js';
import { invalidArgValue } from './errors.js';

/** The strings of `node:fs` ("File system flags" of its documentation), as the wire has them. */
const strings: Readonly<Record<string, number>> = {
  r: L_O_RDONLY,
  rs: L_O_RDONLY | L_O_SYNC,
  sr: L_O_RDONLY | L_O_SYNC,
  'r+': L_O_RDWR,
  'rs+': L_O_RDWR | L_O_SYNC,
  'sr+': L_O_RDWR | L_O_SYNC,
  w: L_O_TRUNC | L_O_CREAT | L_O_WRONLY,
  wx: L_O_TRUNC | L_O_CREAT | L_O_WRONLY | L_O_EXCL,
  xw: L_O_TRUNC | L_O_CREAT | L_O_WRONLY | L_O_EXCL,
  'w+': L_O_TRUNC | L_O_CREAT | L_O_RDWR,
  'wx+': L_O_TRUNC | L_O_CREAT | L_O_RDWR | L_O_EXCL,
  'xw+': L_O_TRUNC | L_O_CREAT | L_O_RDWR | L_O_EXCL,
  a: L_O_APPEND | L_O_CREAT | L_O_WRONLY,
  ax: L_O_APPEND | L_O_CREAT | L_O_WRONLY | L_O_EXCL,
  xa: L_O_APPEND | L_O_CREAT | L_O_WRONLY | L_O_EXCL,
  as: L_O_APPEND | L_O_CREAT | L_O_WRONLY | L_O_SYNC,
  sa: L_O_APPEND | L_O_CREAT | L_O_WRONLY | L_O_SYNC,
  'a+': L_O_APPEND | L_O_CREAT | L_O_RDWR,
  'ax+': L_O_APPEND | L_O_CREAT | L_O_RDWR | L_O_EXCL,
  'xa+': L_O_APPEND | L_O_CREAT | L_O_RDWR | L_O_EXCL,
  'as+': L_O_APPEND | L_O_CREAT | L_O_RDWR | L_O_SYNC,
  'sa+': L_O_APPEND | L_O_CREAT | L_O_RDWR | L_O_SYNC,
};

/** The numbers of this host that have a meaning on the wire. Windows lacks some of them; O_SYNC includes O_DSYNC, so it comes first. */
const numbers: readonly (readonly [host: number | undefined, wire: number])[] = [
  [constants.O_CREAT, L_O_CREAT],
  [constants.O_EXCL, L_O_EXCL],
  [constants.O_TRUNC, L_O_TRUNC],
  [constants.O_APPEND, L_O_APPEND],
  [constants.O_NONBLOCK, L_O_NONBLOCK],
  [constants.O_SYNC, L_O_SYNC | L_O_DSYNC],
  [constants.O_DSYNC, L_O_DSYNC],
  [constants.O_DIRECTORY, L_O_DIRECTORY],
  [constants.O_NOFOLLOW, L_O_NOFOLLOW],
  [constants.O_NOATIME, L_O_NOATIME],
];

/** Flags as `open` takes them, strings or this host's numbers, in L_O_* numbers. What means nothing over a wire is left out. */
export function toFlags(value: unknown, fallback = L_O_RDONLY): number {
  if (value === undefined || value === null) return fallback;
  if (typeof value === 'number') {
    const flags = toInteger(value, 'flags', -0x80000000, 0x7fffffff);
    let wire = flags & (constants.O_RDONLY | constants.O_WRONLY | constants.O_RDWR);
    for (const [host, bit] of numbers) if (host && (flags & host) === host) wire |= bit;
    return wire;
  }
  const flags = typeof value === 'string' && Object.hasOwn(strings, value) ? strings[value] : undefined;
  if (flags === undefined) throw invalidArgValue('flags', value);
  return flags;
}

/**
 * The flags of a Tlopen or Tlcreate. O_NOFOLLOW and O_DIRECTORY have been seen to; O_DIRECT would want the server's alignment, and
 * diod refuses it (interop: open.direct).
 */
export function wireFlags(flags: number): number {
  return flags & (L_O_ACCMODE | L_O_CREAT | L_O_EXCL | L_O_TRUNC | L_O_APPEND | L_O_NONBLOCK | L_O_DSYNC | L_O_SYNC | L_O_NOATIME);
}

export function canRead(flags: number): boolean {
  return (flags & L_O_ACCMODE) !== L_O_WRONLY;
}

export function canWrite(flags: number): boolean {
  return (flags & L_O_ACCMODE) !== L_O_RDONLY;
}
