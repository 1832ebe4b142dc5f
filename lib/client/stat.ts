import {
  DMDEVICE,
  DMDIR,
  DMNAMEDPIPE,
  DMSETGID,
  DMSETUID,
  DMSETVTX,
  DMSOCKET,
  DMSYMLINK,
  GETATTR_ATIME,
  GETATTR_BLOCKS,
  GETATTR_CTIME,
  GETATTR_GID,
  GETATTR_INO,
  GETATTR_MODE,
  GETATTR_MTIME,
  GETATTR_NLINK,
  GETATTR_RDEV,
  GETATTR_SIZE,
  GETATTR_UID,
  L_O_ACCMODE,
  L_O_APPEND,
  L_O_TRUNC,
  OTRUNC,
  QTDIR,
  QTSYMLINK,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_ISUID,
  S_ISVTX,
} from '../protocol/constants.js';
import { textBytes } from '../protocol/text.js';
import type { Attributes, LegacyStat } from '../protocol/types.js';

/** The 9P2000.u open mode for L_O_APPEND (Linux `include/net/9p/9p.h`, P9_OAPPEND). */
const OAPPEND = 0x80;
/** Bits of a stat's mode that say what kind of file it is: a Twstat must leave them as they are. */
const KIND = DMDIR | DMSYMLINK | DMDEVICE | DMNAMEDPIPE | DMSOCKET;
const KEEP_32 = 0xffffffff;
/** Who owns what a server names in words only: Linux's overflow id, nobody. */
const NOBODY = 65534;

/** The DM bits of 9P2000.u beside the nine permission bits, and the Linux bits they stand for. */
const special: readonly (readonly [number, number])[] = [
  [DMSETUID, S_ISUID],
  [DMSETGID, S_ISGID],
  [DMSETVTX, S_ISVTX],
];

/** The mode byte of Topen and Tcreate for L_O_* flags. Only 9P2000.u can say append. */
export function openMode(flags: number, extended: boolean): number {
  let mode = flags & L_O_ACCMODE;
  if ((flags & L_O_TRUNC) !== 0) mode |= OTRUNC;
  if (extended && (flags & L_O_APPEND) !== 0) mode |= OAPPEND;
  return mode;
}

/** The permissions of a Tcreate for those of mknod(2). 9P2000 has no more than nine bits. */
export function permissions(mode: number, extended: boolean): number {
  let perm = mode & 0o777;
  if (!extended) return perm;
  for (const [dm, bit] of special) if ((mode & bit) !== 0) perm |= dm;
  return perm >>> 0;
}

/** What Tcreate is told to make for a mknod(2) mode: the DM bit of the kind, and the extension that goes with it. */
export function specialFile(mode: number, major: number, minor: number): { kind: number; extension: string } | undefined {
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return { kind: DMNAMEDPIPE, extension: '' };
    case S_IFSOCK:
      return { kind: DMSOCKET, extension: '' };
    case S_IFCHR:
      return { kind: DMDEVICE, extension: `c ${major} ${minor}` };
    case S_IFBLK:
      return { kind: DMDEVICE, extension: `b ${major} ${minor}` };
    case S_IFREG:
    case 0:
      return { kind: 0, extension: '' };
    default:
      return undefined;
  }
}

/** The mode that a Twstat must carry to change the permissions of a file whose stat has the mode `now`. */
export function changedMode(now: number, mode: number, extended: boolean): number {
  const kept = extended ? now & KIND : now & ~0o777;
  return (kept | permissions(mode, extended)) >>> 0;
}

/** A stat that changes nothing (stat(5): all ones, or no text). Its fields are set to what is to change. */
export function untouched(): LegacyStat {
  return {
    type: 0xffff,
    dev: KEEP_32,
    qid: { type: 0xff, version: KEEP_32, path: 0xffff_ffff_ffff_ffffn },
    mode: KEEP_32,
    atime: KEEP_32,
    mtime: KEEP_32,
    length: -1,
    name: '',
    uid: '',
    gid: '',
    muid: '',
    extension: '',
    nUid: KEEP_32,
    nGid: KEEP_32,
    nMuid: KEEP_32,
  };
}

/** st_mode for a stat: 9P2000 knows directories and files, 9P2000.u the rest. */
export function modeOf(stat: LegacyStat): number {
  const { mode, extension } = stat;
  let bits = mode & 0o777;
  for (const [dm, bit] of special) if ((mode & dm) !== 0) bits |= bit;
  return kindOf(mode, stat.qid.type, extension) | bits;
}

function kindOf(mode: number, qidType: number, extension: string): number {
  if ((mode & DMDIR) !== 0 || (qidType & QTDIR) !== 0) return S_IFDIR;
  if ((mode & DMSYMLINK) !== 0 || (qidType & QTSYMLINK) !== 0) return S_IFLNK;
  if ((mode & DMNAMEDPIPE) !== 0) return S_IFIFO;
  if ((mode & DMSOCKET) !== 0) return S_IFSOCK;
  if ((mode & DMDEVICE) !== 0) return extension.startsWith('b') ? S_IFBLK : S_IFCHR;
  return S_IFREG;
}

/** Attributes in the terms of 9P2000.L. `valid` has the bits that the stat really told. */
export function attributesOf(stat: LegacyStat, extended: boolean): Attributes {
  const mode = modeOf(stat);
  const links = extended ? /^HARDLINKCOUNT (\d+)/.exec(stat.extension)?.[1] : undefined;
  // A symlink has no length of its own in these dialects; Linux calls it the length of the target.
  const size = (mode & S_IFMT) === S_IFLNK && stat.length === 0 ? textBytes(stat.extension) : Math.max(0, stat.length);
  const mtime = { sec: stat.mtime, nsec: 0 };
  return {
    valid:
      GETATTR_MODE |
      GETATTR_NLINK |
      GETATTR_UID |
      GETATTR_GID |
      GETATTR_RDEV |
      GETATTR_ATIME |
      GETATTR_MTIME |
      GETATTR_CTIME |
      GETATTR_INO |
      GETATTR_SIZE |
      GETATTR_BLOCKS,
    qid: stat.qid,
    mode,
    uid: owner(stat.nUid, stat.uid),
    gid: owner(stat.nGid, stat.gid),
    nlink: links === undefined ? 1 : Number(links),
    rdev: deviceOf(mode, stat.extension),
    size,
    blksize: 4096,
    blocks: Math.ceil(size / 512),
    atime: { sec: stat.atime, nsec: 0 },
    mtime,
    // There is no change time: the modification time is the nearest that never lies ahead of it.
    ctime: mtime,
    btime: { sec: 0, nsec: 0 },
    gen: 0n,
    dataVersion: BigInt(stat.qid.version),
  };
}

function owner(number: number, name: string): number {
  if (number !== KEEP_32) return number;
  if (/^\d{1,9}$/.test(name)) return Number(name);
  return name === 'root' ? 0 : NOBODY;
}

/** The device number in Linux's encoding (makedev(3)) of an extension such as `c 5 1`. */
function deviceOf(mode: number, extension: string): bigint {
  if ((mode & S_IFMT) !== S_IFCHR && (mode & S_IFMT) !== S_IFBLK) return 0n;
  const [, major, minor] = /^[bc] (\d+) (\d+)/.exec(extension) ?? [];
  if (major === undefined || minor === undefined) return 0n;
  const high = BigInt(major);
  const low = BigInt(minor);
  return ((high & 0xfffn) << 8n) | ((high & ~0xfffn) << 32n) | (low & 0xffn) | ((low & ~0xffn) << 12n);
}
