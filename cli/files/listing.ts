import type { Stats } from 'node:fs';
import type { Files } from './place.js';

/** By the file type bits of st_mode, shifted right by 12 (inode(7)). */
const TYPES = '?pc?d?b?-?l?s';
const KINDS: Readonly<Record<number, string>> = {
  1: 'fifo',
  2: 'character device',
  4: 'directory',
  6: 'block device',
  8: 'file',
  10: 'symlink',
  12: 'socket',
};

/** `-rw-r--r--`, as ls(1) writes it. */
export function modeText(mode: number): string {
  const bits = (shift: number, special: boolean, letter: string): string => {
    const x = (mode >> shift) & 1;
    const mark = special ? (x ? letter : letter.toUpperCase()) : x ? 'x' : '-';
    return `${(mode >> (shift + 2)) & 1 ? 'r' : '-'}${(mode >> (shift + 1)) & 1 ? 'w' : '-'}${mark}`;
  };
  const set = (bit: number): boolean => (mode & bit) !== 0;
  return `${TYPES[mode >> 12] ?? '?'}${bits(6, set(0o4000), 's')}${bits(3, set(0o2000), 's')}${bits(0, set(0o1000), 't')}`;
}

/** `file`, `directory`, … */
export function kindOf(stats: Pick<Stats, 'mode'>): string {
  return KINDS[stats.mode >> 12] ?? 'unknown';
}

/** `2026-03-01 12:34`, in the time zone of this host. */
export function timeText(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** Names and paths for a terminal: control characters would be obeyed by it. Programs that read a pipe get them as they are. */
export function printable(text: string, stream: { isTTY?: boolean } = process.stdout): string {
  return stream.isTTY ? text.replace(/\p{Cc}/gu, '?') : text;
}

/** What `--json` says of a file, in ls, find, tree and stat alike. */
export interface FileRecord {
  path: string;
  kind: string;
  mode: string;
  links: number;
  uid: number;
  gid: number;
  size: number;
  mtime: string;
  target?: string;
}

export async function recordOf(fs: Files, path: string, stats: Stats): Promise<FileRecord> {
  const record: FileRecord = {
    path,
    kind: kindOf(stats),
    mode: `0${(stats.mode & 0o7777).toString(8)}`,
    links: stats.nlink,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    mtime: stats.mtime.toISOString(),
  };
  if (stats.isSymbolicLink()) record.target = await fs.readlink(path).catch(() => '?');
  return record;
}
