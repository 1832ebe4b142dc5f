import { NAME_MAX } from '../protocol/constants.js';
import { textBytes } from '../protocol/text.js';
import { failure } from './errors.js';

/** The longest name of a user or of a client's host, in bytes. Linux has 32 for one and 64 for the other. */
const WHO_MAX = 255;
/** The longest target of a symlink, in bytes (limits.h, PATH_MAX without its NUL). */
const TARGET_MAX = 4095;

/** A name to look up: no path, no NUL, and of a length that can exist. "." and ".." are for the caller to know. */
export function checkName(name: string): void {
  if (name === '') throw failure('ENOENT');
  if (name.includes('/') || name.includes('\0')) throw failure('EINVAL');
  // A UTF-16 unit is at most three bytes, so most names need not be measured.
  if (name.length > NAME_MAX / 3 && textBytes(name) > NAME_MAX) throw failure('ENAMETOOLONG');
}

/** A name to be made: "." and ".." are always there (mkdir(2)). */
export function checkNewName(name: string): void {
  checkName(name);
  if (name === '.' || name === '..') throw failure('EEXIST');
}

/** A name to be moved or moved onto: rename(2) answers EBUSY to "." and "..". */
export function checkMovedName(name: string): void {
  checkName(name);
  if (name === '.' || name === '..') throw failure('EBUSY');
}

/** A name to be removed: rmdir(2) answers EINVAL to "." and ENOTEMPTY to "..", unlink(2) EISDIR to both. */
export function checkRemovedName(name: string, asDirectory: boolean): void {
  checkName(name);
  if (name !== '.' && name !== '..') return;
  throw failure(asDirectory ? (name === '.' ? 'EINVAL' : 'ENOTEMPTY') : 'EISDIR');
}

/** Who says to be at the other end: it is remembered with each fid that is attached and each range that is locked. */
export function checkWho(name: string): void {
  if (name.length > WHO_MAX / 3 && textBytes(name) > WHO_MAX) throw failure('ENAMETOOLONG');
}

/** What a symlink is to point to (symlink(2)). */
export function checkTarget(target: string): void {
  if (target === '') throw failure('ENOENT');
  if (target.includes('\0')) throw failure('EINVAL');
  if (target.length > TARGET_MAX / 3 && textBytes(target) > TARGET_MAX) throw failure('ENAMETOOLONG');
}
