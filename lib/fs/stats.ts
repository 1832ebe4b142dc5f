import type { BigIntStatsFs, BigIntStats as NodeBigIntStats, Stats as NodeStats, StatsFs } from 'node:fs';
import { GETATTR_BTIME, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../protocol/constants.js';
import type { Attributes, FileSystemStatistics, Qid, Timespec } from '../protocol/types.js';

/** The questions that Node's Stats answers, by st_mode. */
abstract class Kind {
  abstract readonly mode: number | bigint;

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
export class Stats extends Kind implements NodeStats {
  readonly dev: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly blksize: number;
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attributes: Attributes) {
    super();
    this.dev = 0;
    this.mode = attributes.mode;
    this.nlink = attributes.nlink;
    this.uid = attributes.uid;
    this.gid = attributes.gid;
    this.rdev = Number(attributes.rdev);
    this.blksize = attributes.blksize;
    this.ino = Number(attributes.qid.path);
    this.size = attributes.size;
    this.blocks = attributes.blocks;
    this.atimeMs = milliseconds(attributes.atime);
    this.mtimeMs = milliseconds(attributes.mtime);
    this.ctimeMs = milliseconds(attributes.ctime);
    this.birthtimeMs = milliseconds(birth(attributes));
    this.atime = new Date(Math.round(this.atimeMs));
    this.mtime = new Date(Math.round(this.mtimeMs));
    this.ctime = new Date(Math.round(this.ctimeMs));
    this.birthtime = new Date(Math.round(this.birthtimeMs));
    qids.set(this, attributes.qid);
  }
}

/** As `fs.BigIntStats`: exact numbers, times also in nanoseconds. */
export class BigIntStats extends Kind implements NodeBigIntStats {
  readonly dev: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  readonly blksize: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly blocks: bigint;
  readonly atimeMs: bigint;
  readonly mtimeMs: bigint;
  readonly ctimeMs: bigint;
  readonly birthtimeMs: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;

  constructor(attributes: Attributes) {
    super();
    this.dev = 0n;
    this.mode = BigInt(attributes.mode);
    this.nlink = BigInt(attributes.nlink);
    this.uid = BigInt(attributes.uid);
    this.gid = BigInt(attributes.gid);
    this.rdev = attributes.rdev;
    this.blksize = BigInt(attributes.blksize);
    this.ino = attributes.qid.path;
    this.size = BigInt(attributes.size);
    this.blocks = BigInt(attributes.blocks);
    this.atimeNs = nanoseconds(attributes.atime);
    this.mtimeNs = nanoseconds(attributes.mtime);
    this.ctimeNs = nanoseconds(attributes.ctime);
    this.birthtimeNs = nanoseconds(birth(attributes));
    this.atimeMs = this.atimeNs / 1_000_000n;
    this.mtimeMs = this.mtimeNs / 1_000_000n;
    this.ctimeMs = this.ctimeNs / 1_000_000n;
    this.birthtimeMs = this.birthtimeNs / 1_000_000n;
    this.atime = new Date(Number(this.atimeMs));
    this.mtime = new Date(Number(this.mtimeMs));
    this.ctime = new Date(Number(this.ctimeMs));
    this.birthtime = new Date(Number(this.birthtimeMs));
    qids.set(this, attributes.qid);
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
