/** What statx(2) and getdents64(2) say, decoded, and the numbers of <fcntl.h> and <sys/stat.h> that node:fs does not name. */
import os from 'node:os';
import type { Path, Syscalls } from './syscalls.js';

const e = os.constants.errno;
const errnoNames = new Map<number, string>();
for (const [name, number] of Object.entries(e)) {
  // EWOULDBLOCK and EOPNOTSUPP have a second name of the same number: the first listed stays, except that Linux says EOPNOTSUPP of files.
  if (!errnoNames.has(number)) errnoNames.set(number, name);
}
errnoNames.set(e.EOPNOTSUPP, 'EOPNOTSUPP');

/** "ok", or the errno's name, of a result as {@link Syscalls} gives it. */
export function outcome(result: number): string {
  return result >= 0 ? 'ok' : (errnoNames.get(-result) ?? `errno ${-result}`);
}

// Linux numbers that are the same on every architecture this runs on, but those of O_DIRECTORY, O_NOFOLLOW and O_DIRECT.
const arm = os.arch() === 'arm64';
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DSYNC: 0o10000,
  SYNC: 0o4010000,
  DIRECT: arm ? 0o200000 : 0o40000,
  DIRECTORY: arm ? 0o40000 : 0o200000,
  NOFOLLOW: arm ? 0o100000 : 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
  TMPFILE: 0o20000000 | (arm ? 0o40000 : 0o200000),
} as const;

export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  EACCESS: 0x200,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
} as const;

export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o060000,
  IFDIR: 0o040000,
  IFCHR: 0o020000,
  IFIFO: 0o010000,
  ISUID: 0o4000,
  ISGID: 0o2000,
  ISVTX: 0o1000,
} as const;

export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
export const FALLOC = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 16 } as const;
export const UTIME = { NOW: 0x3fffffff, OMIT: 0x3ffffffe } as const;

export type FileType = 'regular' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'char' | 'block';

const typeOfMode = new Map<number, FileType>([
  [S.IFREG, 'regular'],
  [S.IFDIR, 'directory'],
  [S.IFLNK, 'symlink'],
  [S.IFIFO, 'fifo'],
  [S.IFSOCK, 'socket'],
  [S.IFCHR, 'char'],
  [S.IFBLK, 'block'],
]);

/** DT_ numbers of a directory entry: the type's bits of the mode, shifted. */
export const DT: Readonly<Record<FileType, number>> = { fifo: 1, char: 2, directory: 4, block: 6, regular: 8, symlink: 10, socket: 12 };

export interface Status {
  readonly type: FileType;
  /** The permission bits with set-user-ID, set-group-ID and sticky. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly ino: bigint;
  /** major:minor of the device it is on. */
  readonly dev: string;
  /** major:minor of the device it is. */
  readonly rdev: string;
  readonly size: number;
  readonly blksize: number;
  /** In units of 512 bytes. */
  readonly blocks: number;
  /** Nanoseconds since the epoch. */
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  /** 0 where the file system has none. */
  readonly btime: bigint;
}

const STATX_SIZE = 256;
const STATX_ALL = 0xfff;
const STATX_BTIME = 0x800;

/** statx(2), decoded; or the negative errno. */
export function statusAt(sys: Syscalls, dirfd: number, path: Path, flags: number): Status | number {
  const b = Buffer.alloc(STATX_SIZE);
  const result = sys.statx(dirfd, path, flags, STATX_ALL, b);
  if (result < 0) return result;
  const mode = b.readUInt16LE(28);
  const type = typeOfMode.get(mode & S.IFMT);
  if (type === undefined) throw new Error(`a mode without a type: ${mode.toString(8)}`);
  const time = (at: number): bigint => b.readBigInt64LE(at) * 1_000_000_000n + BigInt(b.readUInt32LE(at + 8));
  return {
    type,
    mode: mode & 0o7777,
    nlink: b.readUInt32LE(16),
    uid: b.readUInt32LE(20),
    gid: b.readUInt32LE(24),
    ino: b.readBigUInt64LE(32),
    dev: `${b.readUInt32LE(136)}:${b.readUInt32LE(140)}`,
    rdev: `${b.readUInt32LE(128)}:${b.readUInt32LE(132)}`,
    size: Number(b.readBigUInt64LE(40)),
    blksize: b.readUInt32LE(4),
    blocks: Number(b.readBigUInt64LE(48)),
    atime: time(64),
    btime: (b.readUInt32LE(0) & STATX_BTIME) !== 0 ? time(80) : 0n,
    ctime: time(96),
    mtime: time(112),
  };
}

export const lstat = (sys: Syscalls, path: Path): Status | number => statusAt(sys, AT.FDCWD, path, AT.SYMLINK_NOFOLLOW);
export const stat = (sys: Syscalls, path: Path): Status | number => statusAt(sys, AT.FDCWD, path, 0);
export const fstat = (sys: Syscalls, fd: number): Status | number => statusAt(sys, fd, '', AT.EMPTY_PATH);

/** A device number as the C library packs it. */
export function makedev(major: number, minor: number): bigint {
  const a = BigInt(major);
  const i = BigInt(minor);
  return ((a & ~0xfffn) << 32n) | ((a & 0xfffn) << 8n) | ((i & ~0xffn) << 12n) | (i & 0xffn);
}

/** Two struct timespec. Seconds and nanoseconds; the nanoseconds may be UTIME.NOW or UTIME.OMIT. */
export function timespecs(atime: readonly [number | bigint, number | bigint], mtime: readonly [number | bigint, number | bigint]): Buffer {
  const b = Buffer.alloc(32);
  b.writeBigInt64LE(BigInt(atime[0]), 0);
  b.writeBigInt64LE(BigInt(atime[1]), 8);
  b.writeBigInt64LE(BigInt(mtime[0]), 16);
  b.writeBigInt64LE(BigInt(mtime[1]), 24);
  return b;
}

export interface Entry {
  readonly name: string;
  readonly ino: bigint;
  /** DT_ number; 0 when the file system does not say. */
  readonly type: number;
  /** Where a listing goes on after this entry (lseek). */
  readonly offset: bigint;
}

/** One getdents64(2): its entries, none at the end; or the negative errno. */
export function entriesOf(sys: Syscalls, fd: number, size = 32768): Entry[] | number {
  const b = Buffer.alloc(size);
  const filled = sys.getdents64(fd, b, size);
  if (filled < 0) return filled;
  const entries: Entry[] = [];
  for (let at = 0; at < filled; ) {
    const length = b.readUInt16LE(at + 16);
    const end = b.indexOf(0, at + 19);
    entries.push({
      ino: b.readBigUInt64LE(at),
      offset: b.readBigInt64LE(at + 8),
      type: b[at + 18] ?? 0,
      name: b.toString('utf8', at + 19, end),
    });
    at += length;
  }
  return entries;
}

/** A whole listing from where the descriptor stands; or the negative errno. */
export function listing(sys: Syscalls, fd: number, size = 32768): Entry[] | number {
  const all: Entry[] = [];
  for (;;) {
    const some = entriesOf(sys, fd, size);
    if (typeof some === 'number') return some;
    if (some.length === 0) return all;
    all.push(...some);
  }
}
