import type { BigIntStatsFs, BigIntStats as NodeBigIntStats, Stats as NodeStats, StatsFs } from 'node:fs';
import { GETATTR_BTIME, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../protocol/constants.js';
import type { Attributes, FileSystemStatistics, Qid, Timespec } from '../protocol/types.js';

/** What Node's Stats tells in numbers of either kind, and the questions that it answers by st_mode. */
abstract class Numbers<N extends number | bigint> {
  readonly dev: N;
  readonly mode: N;
  readonly nlink: N;
  readonly uid: N;
  readonly gid: N;
  readonly rdev: N;
  readonly blksize: N;
  readonly ino: N;
  readonly size: N;
  readonly blocks: N;
  readonly atimeMs: N;
  readonly mtimeMs: N;
  readonly ctimeMs: N;
  readonly birthtimeMs: N;

  constructor(attributes: Attributes, as: (value: number | bigint) => N, milliseconds: (time: Timespec) => N) {
    this.dev = as(0);
    this.mode = as(attributes.mode);
    this.nlink = as(attributes.nlink);
    this.uid = as(attributes.uid);
    this.gid = as(attributes.gid);
    this.rdev = as(attributes.rdev);
    this.blksize = as(attributes.blksize);
    this.ino = as(attributes.qid.path);
    this.size = as(attributes.size);
    this.blocks = as(attributes.blocks);
    this.atimeMs = milliseconds(attributes.atime);
    this.mtimeMs = milliseconds(attributes.mtime);
    this.ctimeMs = milliseconds(attributes.ctime);
    this.birthtimeMs = milliseconds(birth(attributes));
    qids.set(this, attributes.qid);
  }

  #is(kind: number): boolean {
    return (Number(this.mode) & S_IFMT) === kind;
  }
  isFile(): boolean {
    return this.#is(S_IFREG);
  }
  isDirectory(): boolean {
    return this.#is(S_IFDIR);
  }
  isSymbolicLink(): boolean {
    return this.#is(S_IFLNK);
  }
  isFIFO(): boolean {
    return this.#is(S_IFIFO);
  }
  isSocket(): boolean {
    return this.#is(S_IFSOCK);
  }
  isBlockDevice(): boolean {
    return this.#is(S_IFBLK);
  }
  isCharacterDevice(): boolean {
    return this.#is(S_IFCHR);
  }
}

function milliseconds({ sec, nsec }: Timespec): number {
  return sec * 1000 + nsec / 1e6;
}

function nanoseconds({ sec, nsec }: Timespec): bigint {
  return BigInt(sec) * 1_000_000_000n + BigInt(nsec);
}

/** When it was made; where the server does not know, when it last changed, as libuv has it. */
function birth({ valid, btime, ctime }: Attributes): Timespec {
  return (valid & GETATTR_BTIME) !== 0n && (btime.sec !== 0 || btime.nsec !== 0) ? btime : ctime;
}

const qids = new WeakMap<object, Qid>();

/** The qid of what `stat` or `lstat` has told of: the server's own name of the file, and its version. */
export function qidOf(stats: Stats | BigIntStats): Qid | undefined {
  return qids.get(stats);
}

/** As `fs.Stats`. `ino` is the qid's path; `dev` is 0, since 9P names no device. Times in milliseconds, sizes in bytes. */
export class Stats extends Numbers<number> implements NodeStats {
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attributes: Attributes) {
    super(attributes, Number, milliseconds);
    this.atime = new Date(Math.round(this.atimeMs));
    this.mtime = new Date(Math.round(this.mtimeMs));
    this.ctime = new Date(Math.round(this.ctimeMs));
    this.birthtime = new Date(Math.round(this.birthtimeMs));
  }
}

/** As `fs.BigIntStats`: exact numbers, times also in nanoseconds. */
export class BigIntStats extends Numbers<bigint> implements NodeBigIntStats {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attributes: Attributes) {
    super(attributes, BigInt, (time) => nanoseconds(time) / 1_000_000n);
    this.atimeNs = nanoseconds(attributes.atime);
    this.mtimeNs = nanoseconds(attributes.mtime);
    this.ctimeNs = nanoseconds(attributes.ctime);
    this.birthtimeNs = nanoseconds(birth(attributes));
    this.atime = new Date(Number(this.atimeMs));
    this.mtime = new Date(Number(this.mtimeMs));
    this.ctime = new Date(Number(this.ctimeMs));
    this.birthtime = new Date(Number(this.birthtimeMs));
  }
}

export function statsOf(attributes: Attributes, bigint: boolean | undefined): Stats | BigIntStats {
  return bigint ? new BigIntStats(attributes) : new Stats(attributes);
}

/** As `fs.StatsFs`, in blocks of `bsize` bytes. */
export function statsFsOf(statistics: FileSystemStatistics, bigint: boolean | undefined): StatsFs | BigIntStatsFs {
  const { type, bsize, blocks, bfree, bavail, files, ffree } = statistics;
  if (bigint) return { type: BigInt(type), bsize: BigInt(bsize), blocks, bfree, bavail, files, ffree };
  const small = { blocks: Number(blocks), bfree: Number(bfree), bavail: Number(bavail), files: Number(files), ffree: Number(ffree) };
  return { type, bsize, ...small };
}
