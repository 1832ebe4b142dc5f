import {
  GETATTR_BASIC,
  GETATTR_BTIME,
  QTDIR,
  QTFILE,
  QTSYMLINK,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  SETATTR_ATIME,
  SETATTR_ATIME_SET,
  SETATTR_MTIME,
  SETATTR_MTIME_SET,
} from '../../protocol/constants.js';
import type { Attributes, Qid, SetAttributes, Timespec } from '../../protocol/types.js';
import type { StatLike } from './shape.js';

const BILLION = 1_000_000_000n;

function timespec(ns: bigint): Timespec {
  const nsec = ((ns % BILLION) + BILLION) % BILLION;
  return { sec: Number((ns - nsec) / BILLION), nsec: Number(nsec) };
}

/** What a Date holds on either side of 1970, in seconds (ECMA-262): a file system that keeps one is of no use any more after a time beyond. */
const DATE_MOST = 8.64e12;

/** Cut to what can be kept, as Linux does (timestamp_truncate). */
function seconds({ sec, nsec }: Timespec): number {
  return Math.min(DATE_MOST, Math.max(-DATE_MOST, sec + nsec / 1e9));
}

/** The file type bits of a stat. */
export function typeOf({ mode }: StatLike): number {
  return Number(mode) & S_IFMT;
}

/** Whether two stats are of one file. */
export function sameFile(one: StatLike, other: StatLike): boolean {
  return one.dev === other.dev && one.ino === other.ino && typeOf(one) === typeOf(other);
}

/** `device` is the number this tree gave to the stat's device, 0 for the root's own. */
export function qidOf(stat: StatLike, device: bigint): Qid {
  const type = typeOf(stat);
  return {
    type: type === S_IFDIR ? QTDIR : type === S_IFLNK ? QTSYMLINK : QTFILE,
    version: versionOf(stat),
    path: BigInt.asUintN(64, stat.ino ^ (device << 56n)),
  };
}

/** Changes with content and attributes, as far as the times tell. Never 0: that means "no version" to Linux's client. */
function versionOf({ mtimeNs, ctimeNs, size }: StatLike): number {
  const mixed = mtimeNs ^ (mtimeNs >> 32n) ^ (ctimeNs << 7n) ^ (ctimeNs >> 25n) ^ (size << 3n);
  return Number(BigInt.asUintN(32, mixed)) || 1;
}

export function attributesOf(stat: StatLike, qid: Qid): Attributes {
  return {
    valid: GETATTR_BASIC | GETATTR_BTIME,
    qid,
    mode: Number(stat.mode),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    nlink: Number(stat.nlink),
    rdev: BigInt.asUintN(64, stat.rdev),
    size: Number(stat.size),
    blksize: Number(stat.blksize),
    blocks: Number(stat.blocks),
    atime: timespec(stat.atimeNs),
    mtime: timespec(stat.mtimeNs),
    ctime: timespec(stat.ctimeNs),
    btime: timespec(stat.birthtimeNs),
    gen: 0n,
    dataVersion: 0n,
  };
}

/**
 * The two times for utimes(), in seconds; undefined if neither is to change. A double holds about a quarter of a microsecond today: the
 * shape of `node:fs` allows no more.
 */
export function timesOf(change: SetAttributes, stat: StatLike): readonly [number, number] | undefined {
  const { valid } = change;
  if ((valid & (SETATTR_ATIME | SETATTR_MTIME)) === 0) return undefined;
  const now = Date.now() / 1000;
  const pick = (bit: number, set: number, asked: Timespec, is: bigint): number => {
    if ((valid & bit) === 0) return seconds(timespec(is));
    return (valid & set) === 0 ? now : seconds(asked);
  };
  return [
    pick(SETATTR_ATIME, SETATTR_ATIME_SET, change.atime, stat.atimeNs),
    pick(SETATTR_MTIME, SETATTR_MTIME_SET, change.mtime, stat.mtimeNs),
  ];
}
