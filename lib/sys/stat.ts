/** Bytes of struct statx, and what of it is asked for: everything stat(2) gives, and the time of birth. */
export const STATX_SIZE = 256;
const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;
const STATX_ASK = STATX_BASIC_STATS | STATX_BTIME;

export { STATX_ASK };

const HIGH = 0x1_0000_0000;

/**
 * What statx(2) tells of a file, as plain numbers; one object is filled again and again. The client's view of owner, mode and
 * device may be laid over it in place.
 */
export class Stat {
  /** STATX_ bits that the kernel filled. */
  mask = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  nlink = 0;
  /** Bytes. */
  size = 0;
  blksize = 0;
  /** Of 512 bytes. */
  blocks = 0;
  ino = 0n;
  /** The device the file lies on, as major << 20 | minor: a number to compare, no dev_t. */
  dev = 0;
  /** The device that a device node stands for: dev_t as makedev(3) makes it. */
  rdev = 0n;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  btimeSec = 0;
  btimeNsec = 0;

  /** Takes over a struct statx. */
  read(view: DataView): this {
    this.mask = view.getUint32(0, true);
    this.blksize = view.getUint32(4, true);
    this.nlink = view.getUint32(16, true);
    this.uid = view.getUint32(20, true);
    this.gid = view.getUint32(24, true);
    this.mode = view.getUint16(28, true);
    this.ino = view.getBigUint64(32, true);
    this.size = view.getUint32(40, true) + view.getUint32(44, true) * HIGH;
    this.blocks = view.getUint32(48, true) + view.getUint32(52, true) * HIGH;
    this.atimeSec = view.getUint32(64, true) + view.getInt32(68, true) * HIGH;
    this.atimeNsec = view.getUint32(72, true);
    this.btimeSec = view.getUint32(80, true) + view.getInt32(84, true) * HIGH;
    this.btimeNsec = view.getUint32(88, true);
    this.ctimeSec = view.getUint32(96, true) + view.getInt32(100, true) * HIGH;
    this.ctimeNsec = view.getUint32(104, true);
    this.mtimeSec = view.getUint32(112, true) + view.getInt32(116, true) * HIGH;
    this.mtimeNsec = view.getUint32(120, true);
    const major = view.getUint32(128, true);
    const minor = view.getUint32(132, true);
    this.rdev = major === 0 && minor === 0 ? 0n : makedev(major, minor);
    this.dev = view.getUint32(136, true) * 0x100000 + view.getUint32(140, true);
    return this;
  }
}

/** Linux's own encoding of a device number in 64 bits (makedev(3)). */
export function makedev(major: number, minor: number): bigint {
  const low = ((minor & 0xff) | ((major & 0xfff) << 8)) >>> 0;
  const high = (minor & ~0xff) >>> 0;
  return BigInt(low) | (BigInt(high) << 12n) | (BigInt((major & ~0xfff) >>> 0) << 32n);
}

/** Bytes of struct statfs on 64-bit Linux. */
export const STATFS_SIZE = 120;

/** What fstatfs(2) tells of a file system. */
export interface StatFs {
  /** One of the magic numbers of statfs(2). */
  type: number;
  /** Bytes in a block. */
  bsize: number;
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
  files: bigint;
  ffree: bigint;
  fsid: bigint;
  namelen: number;
}

/** Takes a struct statfs apart. */
export function readStatFs(view: DataView): StatFs {
  return {
    type: view.getUint32(0, true),
    bsize: view.getUint32(8, true),
    blocks: view.getBigUint64(16, true),
    bfree: view.getBigUint64(24, true),
    bavail: view.getBigUint64(32, true),
    files: view.getBigUint64(40, true),
    ffree: view.getBigUint64(48, true),
    fsid: view.getBigUint64(56, true),
    namelen: view.getUint32(64, true),
  };
}
