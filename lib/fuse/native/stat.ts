import type { Timespec } from '../../protocol/types.js';
import type { Attr, StatfsReply } from '../kernel/structs.js';

/** Words of 32 bits in which fuse-native takes a struct stat and a struct statvfs. */
export const STAT_WORDS = 18;
export const STATFS_WORDS = 11;
const WORD = 2 ** 32;

/** As fuse-native takes attributes: inode numbers lose their upper half, times all below a millisecond and all before 1970. */
export function statWords(attr: Attr): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = attr.mode;
  words[1] = attr.uid;
  words[2] = attr.gid;
  put(words, 3, attr.size);
  words[6] = attr.nlink;
  words[7] = inodeWord(attr.ino);
  words[8] = attr.rdev;
  words[9] = attr.blksize;
  put(words, 10, attr.blocks);
  put(words, 12, milliseconds(attr.atime));
  put(words, 14, milliseconds(attr.mtime));
  put(words, 16, milliseconds(attr.ctime));
  return words;
}

/** The same for a name in a directory, of which only inode and type (DT_*) are known. */
export function entryWords(ino: bigint, type: number): Uint32Array {
  const words = new Uint32Array(STAT_WORDS);
  words[0] = (type & 0xf) << 12;
  words[7] = inodeWord(ino);
  return words;
}

/** Figures that do not fit 32 bits are told in larger blocks. */
export function statfsWords(reply: StatfsReply): Uint32Array {
  let shift = 0n;
  while (reply.blocks >> shift > 0xffffffffn) shift++;
  const words = new Uint32Array(STATFS_WORDS);
  words[0] = reply.bsize;
  words[1] = Math.min(reply.frsize * 2 ** Number(shift), WORD - 1);
  for (const [at, blocks] of [reply.blocks, reply.bfree, reply.bavail].entries()) words[2 + at] = Number(blocks >> shift);
  for (const [at, files] of [reply.files, reply.ffree, reply.ffree].entries())
    words[5 + at] = Number(files > 0xffffffffn ? 0xffffffffn : files);
  words[10] = reply.namelen;
  return words;
}

/** Nobody has inode 0: programs that list directories take it for a removed name. */
function inodeWord(ino: bigint): number {
  return Number(ino & 0xffffffffn) || 1;
}

function milliseconds({ sec, nsec }: Timespec): number {
  return Math.max(0, sec * 1000 + Math.floor(nsec / 1_000_000));
}

function put(words: Uint32Array, at: number, value: number): void {
  words[at] = value % WORD;
  words[at + 1] = Math.floor(value / WORD);
}
