import { GETATTR_BASIC, GETATTR_BTIME, QTDIR, QTFILE, QTSYMLINK, S_IFDIR, S_IFLNK, S_IFMT } from '../../protocol/constants.js';
import type { Attributes, Qid } from '../../protocol/types.js';
import { STATX_BTIME, type Stat } from '../../sys/stat.js';

const BASIC_AND_BTIME = GETATTR_BASIC | GETATTR_BTIME;

/** The QT* bits of a file of that mode. */
export function qidType(mode: number): number {
  const type = mode & S_IFMT;
  if (type === S_IFDIR) return QTDIR;
  return type === S_IFLNK ? QTSYMLINK : QTFILE;
}

/** A qid.version that changes with content, size or attributes. Never 0, which means "none is kept" and ends all caching of v9fs. */
export function qidVersion(stat: Stat): number {
  let hash = Math.imul(stat.mtimeSec ^ Math.imul(stat.mtimeNsec, 0x9e3779b1), 0x85ebca6b);
  hash = Math.imul(hash ^ stat.ctimeSec ^ Math.imul(stat.ctimeNsec, 0xc2b2ae35), 0x27d4eb2f);
  hash = Math.imul(hash ^ (stat.size % 0x1_0000_0000) ^ (hash >>> 15), 0x165667b1);
  hash = (hash ^ (hash >>> 13)) >>> 0;
  return hash === 0 ? 1 : hash;
}

/** What Rgetattr says of a file. */
export function attributesOf(stat: Stat, qid: Qid): Attributes {
  const born = (stat.mask & STATX_BTIME) !== 0;
  return {
    valid: born ? BASIC_AND_BTIME : GETATTR_BASIC,
    qid,
    mode: stat.mode,
    uid: stat.uid,
    gid: stat.gid,
    nlink: stat.nlink,
    rdev: stat.rdev,
    size: stat.size,
    blksize: stat.blksize,
    blocks: stat.blocks,
    atime: { sec: stat.atimeSec, nsec: stat.atimeNsec },
    mtime: { sec: stat.mtimeSec, nsec: stat.mtimeNsec },
    ctime: { sec: stat.ctimeSec, nsec: stat.ctimeNsec },
    btime: { sec: born ? stat.btimeSec : 0, nsec: born ? stat.btimeNsec : 0 },
    gen: 0n,
    dataVersion: 0n,
  };
}
