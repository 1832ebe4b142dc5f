import {
  GETATTR_BASIC,
  GETATTR_BTIME,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Attributes, Timespec } from '../protocol/types.js';
import type { Attr } from './kernel/structs.js';
import type { Node, Seen } from './nodes.js';

/** What is asked of every file: the time of its birth too, which the kernel asks for by itself after it has looked a file up. */
export const WANTED = GETATTR_BASIC | GETATTR_BTIME;

const TYPES = new Set([S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK]);

/** The server's attributes as the kernel takes them; EIO for what cannot be one's (a mode without a type). */
export function attrOf(node: Node, attributes: Attributes): Attr {
  const { mode, size, blocks, rdev, nlink, uid, gid, blksize } = attributes;
  if (!TYPES.has(mode & S_IFMT)) throw new ErrnoError('EIO', { syscall: 'Tgetattr' });
  return {
    ino: node.ino,
    size,
    blocks,
    atime: attributes.atime,
    mtime: attributes.mtime,
    ctime: attributes.ctime,
    mode,
    nlink: Math.min(nlink, 0xffffffff),
    uid,
    gid,
    // The low half of Linux's 64-bit device number is the kernel's 32-bit one.
    rdev: Number(rdev & 0xffffffffn),
    blksize: blksize > 0 && blksize <= 0x1000000 ? blksize : 4096,
  };
}

/** Remembers what the kernel is about to be told. Throws ESTALE where the file turns out to be of another type. */
export function remember(node: Node, { mode, nlink, uid, gid, size, mtime }: Attributes): void {
  if (node.mode !== 0 && ((node.mode ^ mode) & S_IFMT) !== 0) throw new ErrnoError('ESTALE', { syscall: 'Tgetattr' });
  node.mode = mode;
  node.nlink = nlink;
  node.uid = uid;
  node.gid = gid;
  node.size = size;
  node.written = 0;
  node.sec = mtime.sec;
  node.nsec = mtime.nsec;
}

/** Whether the kernel was told other things of it. */
export function differs(node: Node, { size, mtime }: Attributes): boolean {
  return node.size !== size || node.sec !== mtime.sec || node.nsec !== mtime.nsec;
}

/** Two changes of a file this close to each other, in ms, may leave the same times behind. */
const TICK = 1000;

/** Whether that is so shortly ago that what happens now might be of the same time. */
export function isFresh({ sec, nsec }: Timespec): boolean {
  const age = Date.now() - (sec * 1000 + nsec / 1e6);
  return age < TICK && age > -TICK;
}

/** Whether a file is as it was when its pages began to be cached, as far as can be told. */
export function unchanged(seen: Seen | undefined, { size, mtime, qid }: Attributes): boolean {
  return (
    seen !== undefined &&
    !seen.fresh &&
    seen.size === size &&
    seen.sec === mtime.sec &&
    seen.nsec === mtime.nsec &&
    seen.version === qid.version
  );
}

export function seenNow({ size, mtime, qid }: Attributes): Seen {
  return { size, sec: mtime.sec, nsec: mtime.nsec, version: qid.version, fresh: isFresh(mtime) };
}

/** What a file that was just created must look like; the kernel is told to ask again before it relies on it. */
export function freshAttr(node: Node, mode: number, uid: number, gid: number, size: number, rdev = 0): Attr {
  const now = Date.now();
  const time = { sec: Math.floor(now / 1000), nsec: (now % 1000) * 1_000_000 };
  const nlink = (mode & S_IFMT) === S_IFDIR ? 2 : 1;
  return { ino: node.ino, size, blocks: 0, atime: time, mtime: time, ctime: time, mode, nlink, uid, gid, rdev, blksize: 4096 };
}
