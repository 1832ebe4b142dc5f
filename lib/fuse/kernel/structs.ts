import { decodeText } from '../../protocol/text.js';
import type { Timespec } from '../../protocol/types.js';
import { OUT_HEADER_SIZE } from './constants.js';
import { Payload } from './payload.js';

/**
 * Readers and writers of the kernel's structures (native byte order: little endian on every host this package has system calls for).
 * Node ids, file handles and sizes are ours or bounded by the kernel, so they are plain numbers; values over 2^53 lose their low bits, which
 * only offsets next to OFFSET_MAX have.
 */

/** Walks one request. Reading past its end sets `overrun` and gives zeros, so that decoders never branch. */
export class Decoder {
  overrun = false;
  /** What `payload` gave of this request. */
  lent: Payload | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  #at = 0;
  #end = 0;
  readonly #keeper: ((bytes: Uint8Array) => Uint8Array) | undefined;

  /** `keeper`: of a payload, see there. */
  constructor(keeper?: (bytes: Uint8Array) => Uint8Array) {
    this.#keeper = keeper;
  }

  reset(bytes: Buffer, view: DataView, end: number): void {
    this.#bytes = bytes;
    this.#view = view;
    this.#at = 0;
    this.#end = end;
    this.overrun = false;
    this.lent = undefined;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  #take(size: number): number {
    const at = this.#at;
    if (at + size > this.#end) {
      this.overrun = true;
      return -1;
    }
    this.#at = at + size;
    return at;
  }

  /** Passes over bytes that mean nothing here: where nothing is said beside it, what linux/fuse.h calls padding, dummy, unused or reserved. */
  unused(size: number): void {
    this.#take(size);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#view.getUint32(at, true);
  }

  u64(): number {
    const at = this.#take(8);
    return at < 0 ? 0 : this.#view.getUint32(at + 4, true) * 0x100000000 + this.#view.getUint32(at, true);
  }

  /** A signed one, for seconds. */
  i64(): number {
    const at = this.#take(8);
    return at < 0 ? 0 : this.#view.getInt32(at + 4, true) * 0x100000000 + this.#view.getUint32(at, true);
  }

  big(): bigint {
    const at = this.#take(8);
    return at < 0 ? 0n : this.#view.getBigUint64(at, true);
  }

  /** A NUL-terminated string. Bytes that are not UTF-8 survive as decodeText has them. */
  string(): string {
    const end = this.#at < this.#end ? this.#bytes.indexOf(0, this.#at) : -1;
    if (end < 0 || end >= this.#end) {
      this.overrun = true;
      return '';
    }
    const text = decodeText(this.#bytes, this.#at, end);
    this.#at = end + 1;
    return text;
  }

  /** The next bytes in a buffer of their own. */
  copy(size: number): Uint8Array {
    const at = this.#take(size);
    return at < 0 ? new Uint8Array(0) : Uint8Array.prototype.slice.call(this.#bytes, at, at + size);
  }

  /** The next bytes where they are. */
  payload(size: number): Payload {
    const at = this.#take(size);
    this.lent = new Payload(at < 0 ? new Uint8Array(0) : this.#bytes.subarray(at, at + size), this.#keeper);
    return this.lent;
  }
}

/** Builds one reply: a fixed part in a buffer of its own, then payload parts as they are. Used again for every reply. */
export class Encoder {
  readonly bytes = Buffer.alloc(1024);
  readonly parts: Uint8Array[] = [];
  readonly #view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  /** Bytes of the fixed part, header included. */
  size = OUT_HEADER_SIZE;
  /** Bytes of payload. */
  extra = 0;

  reset(): void {
    this.size = OUT_HEADER_SIZE;
    if (this.extra === 0) return;
    this.extra = 0;
    this.parts.length = 0;
  }

  header(error: number, unique: number): void {
    this.#view.setUint32(0, this.size + this.extra, true);
    this.#view.setInt32(4, error, true);
    this.#put64(8, unique);
  }

  #put64(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
    this.#view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
  }

  u32(value: number): void {
    this.#view.setUint32(this.size, value, true);
    this.size += 4;
  }

  /** Negative ones in two's complement. */
  u64(value: number): void {
    this.#put64(this.size, value);
    this.size += 8;
  }

  big(value: bigint): void {
    this.#view.setBigUint64(this.size, value, true);
    this.size += 8;
  }

  u16(value: number): void {
    this.#view.setUint16(this.size, value, true);
    this.size += 2;
  }

  /** Padding, and fields that are not used. */
  zeros(count: number): void {
    this.bytes.fill(0, this.size, this.size + count);
    this.size += count;
  }

  /** Follows the fixed part without being copied. It must stay unchanged until the reply is written, which is at once. */
  payload(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.parts.push(bytes);
    this.extra += bytes.length;
  }
}

/** A READ's answer in a buffer that goes back to its owner as soon as the kernel has it. */
export class Lent {
  readonly bytes: Uint8Array;
  readonly release: () => void;

  constructor(bytes: Uint8Array, release: () => void) {
    this.bytes = bytes;
    this.release = release;
  }
}

/** A WRITE that may be answered now, although its payload is in use until `done`, which never rejects; false: perhaps for longer. */
export class Early {
  readonly count: number;
  readonly done: Promise<boolean>;

  constructor(count: number, done: Promise<boolean>) {
    this.count = count;
    this.done = done;
  }
}

/** struct fuse_attr. */
export interface Attr {
  ino: bigint;
  /** Bytes. */
  size: number;
  /** Blocks of 512 bytes. */
  blocks: number;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** The kernel's 32-bit encoding of a device number. */
  rdev: number;
  blksize: number;
}

/** struct fuse_attr_out. */
export interface AttrReply {
  /** How long the kernel may believe it, in ms. */
  attrValid: number;
  attr: Attr;
}

/** struct fuse_entry_out. */
export interface EntryReply extends AttrReply {
  /** 0: there is no such file, which the kernel may believe for `entryValid`. It counts as one look-up otherwise. */
  nodeid: number;
  generation: number;
  /** How long the kernel may believe that the name leads there, in ms. */
  entryValid: number;
}

/** struct fuse_open_out. */
export interface OpenReply {
  fh: number;
  /** FOPEN_* bits. */
  flags: number;
  /** With FOPEN_PASSTHROUGH: the number that the backing file was registered under. */
  backing?: number;
}

/** struct fuse_file_lock. `end` is the last byte; OFFSET_MAX for the end of the file. */
export interface FileLock {
  start: number;
  end: number;
  /** F_RDLCK, F_WRLCK or F_UNLCK. */
  type: number;
  pid: number;
}

/** struct fuse_kstatfs. */
export interface StatfsReply {
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
  files: bigint;
  ffree: bigint;
  bsize: number;
  namelen: number;
  frsize: number;
}

export function putAttr(to: Encoder, attr: Attr): void {
  to.big(attr.ino);
  to.u64(attr.size);
  to.u64(attr.blocks);
  to.u64(attr.atime.sec);
  to.u64(attr.mtime.sec);
  to.u64(attr.ctime.sec);
  to.u32(attr.atime.nsec);
  to.u32(attr.mtime.nsec);
  to.u32(attr.ctime.nsec);
  to.u32(attr.mode);
  to.u32(attr.nlink);
  to.u32(attr.uid);
  to.u32(attr.gid);
  to.u32(attr.rdev);
  to.u32(attr.blksize);
  to.u32(0);
}

export function putAttrReply(to: Encoder, reply: AttrReply): void {
  to.u64(Math.floor(reply.attrValid / 1000));
  to.u32((reply.attrValid % 1000) * 1_000_000);
  to.u32(0);
  putAttr(to, reply.attr);
}

export function putEntry(to: Encoder, reply: EntryReply): void {
  to.u64(reply.nodeid);
  to.u64(reply.generation);
  to.u64(Math.floor(reply.entryValid / 1000));
  to.u64(Math.floor(reply.attrValid / 1000));
  to.u32((reply.entryValid % 1000) * 1_000_000);
  to.u32((reply.attrValid % 1000) * 1_000_000);
  putAttr(to, reply.attr);
}

export function putOpen(to: Encoder, reply: OpenReply): void {
  to.u64(reply.fh);
  to.u32(reply.flags);
  to.u32(reply.backing ?? 0);
}

/** struct fuse_statx_out: basic fields and the birth time. */
export interface StatxReply extends AttrReply {
  btime: Timespec;
}

const STATX_BASIC_AND_BTIME = 0xfff;

export function putStatx(to: Encoder, { attr, attrValid, btime }: StatxReply): void {
  to.u64(Math.floor(attrValid / 1000));
  to.u32((attrValid % 1000) * 1_000_000);
  to.zeros(4 + 16);
  to.u32(STATX_BASIC_AND_BTIME);
  to.u32(attr.blksize);
  to.u64(0);
  to.u32(attr.nlink);
  to.u32(attr.uid);
  to.u32(attr.gid);
  to.u16(attr.mode);
  to.u16(0);
  to.big(attr.ino);
  to.u64(attr.size);
  to.u64(attr.blocks);
  to.u64(0);
  for (const time of [attr.atime, btime, attr.ctime, attr.mtime]) {
    to.u64(time.sec);
    to.u32(time.nsec);
    to.u32(0);
  }
  const { major, minor } = decodeDevice(attr.rdev);
  to.u32(major);
  to.u32(minor);
  to.zeros(8 + 14 * 8);
}

export function takeLock(from: Decoder): FileLock {
  return { start: from.u64(), end: from.u64(), type: from.u32(), pid: from.u32() };
}

const NO_TIME: Timespec = { sec: 0, nsec: 0 };
const NO_ATTR: Attr = {
  ino: 0n,
  size: 0,
  blocks: 0,
  atime: NO_TIME,
  mtime: NO_TIME,
  ctime: NO_TIME,
  mode: 0,
  nlink: 0,
  uid: 0,
  gid: 0,
  rdev: 0,
  blksize: 0,
};

/** "There is no such file", for the kernel to believe for `entryValid` ms. */
export function negativeEntry(entryValid: number): EntryReply {
  return { nodeid: 0, generation: 0, entryValid, attrValid: 0, attr: NO_ATTR };
}

/** A device number as the kernel's 32-bit fields have it (new_encode_dev): minor 0–7, major 8–19, minor 20–31. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function decodeDevice(rdev: number): { major: number; minor: number } {
  return { major: (rdev & 0xfff00) >>> 8, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
}
