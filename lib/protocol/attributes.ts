import type { Attributes, Timespec } from './types.js';

// The fields of Rgetattr, whose order and widths never change, at their places: nothing else is read and written as often in so many fields.

/** Bytes of the fields of an Rgetattr. */
export const ATTRIBUTES = 153;
const TWO_32 = 0x100000000;

const NEVER: Timespec = { sec: 0, nsec: 0 };

/** Attributes of which none is known: `valid` says so. */
export const UNTOLD: Attributes = {
  valid: 0n,
  qid: { type: 0, version: 0, path: 0n },
  mode: 0,
  uid: 0,
  gid: 0,
  nlink: 0,
  rdev: 0n,
  size: 0,
  blksize: 0,
  blocks: 0,
  atime: NEVER,
  mtime: NEVER,
  ctime: NEVER,
  btime: NEVER,
  gen: 0n,
  dataVersion: 0n,
};

export function putQid(view: DataView, at: number, { type, version, path }: Attributes['qid']): void {
  view.setUint8(at, type);
  view.setUint32(at + 1, version, true);
  view.setBigUint64(at + 5, path, true);
}

/** Writes the fields of an Rgetattr at `at`; sizes and counts are ones that the wire can carry. */
export function putAttributes(view: DataView, at: number, attributes: Attributes): void {
  view.setBigUint64(at, attributes.valid, true);
  putQid(view, at + 8, attributes.qid);
  view.setUint32(at + 21, attributes.mode, true);
  view.setUint32(at + 25, attributes.uid, true);
  view.setUint32(at + 29, attributes.gid, true);
  putNumber(view, at + 33, attributes.nlink);
  view.setBigUint64(at + 41, attributes.rdev, true);
  putNumber(view, at + 49, attributes.size);
  putNumber(view, at + 57, attributes.blksize);
  putNumber(view, at + 65, attributes.blocks);
  putTime(view, at + 73, attributes.atime);
  putTime(view, at + 89, attributes.mtime);
  putTime(view, at + 105, attributes.ctime);
  putTime(view, at + 121, attributes.btime);
  view.setBigUint64(at + 137, attributes.gen, true);
  view.setBigUint64(at + 145, attributes.dataVersion, true);
}

/** Negative ones in two's complement. */
function putNumber(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  view.setUint32(at, value - high * TWO_32, true);
  view.setUint32(at + 4, high, true);
}

function putTime(view: DataView, at: number, { sec, nsec }: Timespec): void {
  putNumber(view, at, sec);
  putNumber(view, at + 8, nsec);
}

export function takeQid(view: DataView, at: number): Attributes['qid'] {
  return { type: view.getUint8(at), version: view.getUint32(at + 1, true), path: view.getBigUint64(at + 5, true) };
}

/** The fields of an Rgetattr at `at`. Undefined where a size or a count is too large for a number. */
export function takeAttributes(view: DataView, at: number): Attributes | undefined {
  const attributes: Attributes = {
    valid: view.getBigUint64(at, true),
    qid: takeQid(view, at + 8),
    mode: view.getUint32(at + 21, true),
    uid: view.getUint32(at + 25, true),
    gid: view.getUint32(at + 29, true),
    nlink: takeNumber(view, at + 33),
    rdev: view.getBigUint64(at + 41, true),
    size: takeNumber(view, at + 49),
    blksize: takeNumber(view, at + 57),
    blocks: takeNumber(view, at + 65),
    atime: takeTime(view, at + 73),
    mtime: takeTime(view, at + 89),
    ctime: takeTime(view, at + 105),
    btime: takeTime(view, at + 121),
    gen: view.getBigUint64(at + 137, true),
    dataVersion: view.getBigUint64(at + 145, true),
  };
  const { nlink, size, blksize, blocks, atime, mtime, ctime, btime } = attributes;
  const sound =
    isSize(nlink) &&
    isSize(size) &&
    isSize(blksize) &&
    isSize(blocks) &&
    isSize(atime.nsec) &&
    isSize(mtime.nsec) &&
    isSize(ctime.nsec) &&
    isSize(btime.nsec);
  return sound ? attributes : undefined;
}

/** Whether a size, offset or count that was read is one that a number holds. */
export function isSize(value: number): boolean {
  return value <= Number.MAX_SAFE_INTEGER;
}

/** Most are small: those stay integers, which are cheaper to keep. */
function takeNumber(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  const low = view.getUint32(at, true);
  return high === 0 ? low : high * TWO_32 + low;
}

function takeTime(view: DataView, at: number): Timespec {
  return { sec: takeSeconds(view, at), nsec: takeNumber(view, at + 8) };
}

/** Signed, clamped to what a number holds. */
function takeSeconds(view: DataView, at: number): number {
  const high = view.getInt32(at + 4, true);
  const low = view.getUint32(at, true);
  if (high === 0) return low;
  const sec = high * TWO_32 + low;
  return Number.isSafeInteger(sec) ? sec : Math.sign(sec) * Number.MAX_SAFE_INTEGER;
}
