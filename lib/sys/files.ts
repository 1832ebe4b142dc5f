import { type CallName, calls, type Word } from './calls.js';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_STATX_DONT_SYNC,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  RWF_NOWAIT,
} from './flags.js';
import { address, errno, lazy, SystemError } from './libc.js';
import { FLOCK_SIZE } from './lock.js';
import type { Op } from './op.js';
import { STATFS_SIZE, STATX_ASK, STATX_SIZE, Stat } from './stat.js';
import type { Threads } from './threads.js';

/** Errors that callers branch on, negated. */
export const ENOENT = -2;
export const EAGAIN = -11;
export const EPERM = -1;
export const EEXIST = -17;
export const ENOTEMPTY = -39;
export const ENODATA = -61;
export const EOPNOTSUPP = -95;
export const EBADF = -9;
const E2BIG = -7;
export const EINVAL = -22;
const ENAMETOOLONG = -36;

/**
 * The directory of this process's descriptors, held: `N` in it leads to what descriptor N stands for, and to nothing else. That is how calls
 * that take a path reach what an O_PATH descriptor stands for.
 */
const descriptors = lazy(() => {
  const path = Buffer.from('/proc/self/fd\0');
  const fd = calls().openat(AT_FDCWD, address(path), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) throw new SystemError(errno(), 'open', '/proc/self/fd');
  return { fd };
});

/** Room for a path component, a symlink's target or an attribute's name, with its NUL. */
const TEXT = 4097;
const VALUE = 65536;
const PROC = '/proc/self/fd/';

/**
 * The system calls on files, relative to directories held open, each an operation (op.ts). The plain one makes its calls on this
 * thread: none of its operations ever waits, and one object serves all. One made with threads makes them there, and as
 * the kernel reads and writes this object's memory meanwhile, it belongs to one operation at a time.
 *
 * Results are those of the kernel, an error number negated: nothing here throws on an errno. Names are single components; what they
 * may be is the caller's to check, except that a NUL is EINVAL.
 */
export class Files {
  /** Whether calls are made on other threads. */
  readonly background: boolean;
  /** What the last `stat` or `statOf` told. */
  readonly stat = new Stat();
  /** struct statfs of the last `fstatfs`, struct flock of `lock`. */
  readonly small: DataView;
  readonly #memory = Buffer.allocUnsafeSlow(2 * TEXT + STATX_SIZE + 256);
  readonly #statx: DataView;
  readonly #atFirst: number;
  readonly #atSecond: number;
  readonly #atStatx: number;
  readonly #atSmall: number;
  #value: { bytes: Buffer; at: number } | undefined;
  readonly #statFlags: number;
  readonly #threads: Threads | undefined;

  constructor(threads?: Threads) {
    this.#threads = threads;
    this.background = threads !== undefined;
    this.#statFlags = this.background ? 0 : AT_STATX_DONT_SYNC;
    const bytes = this.#memory;
    const statx = 2 * TEXT + ((8 - ((2 * TEXT) % 8)) % 8);
    this.#statx = new DataView(bytes.buffer, bytes.byteOffset + statx, STATX_SIZE);
    this.small = new DataView(bytes.buffer, bytes.byteOffset + statx + STATX_SIZE, STATFS_SIZE);
    const at = address(bytes);
    this.#atFirst = at;
    this.#atSecond = at + TEXT;
    this.#atStatx = at + statx;
    this.#atSmall = this.#atStatx + STATX_SIZE;
  }

  /** What the last call that answers with bytes gave: its result says how many are meant. Most operations need none. */
  get value(): Buffer {
    return this.#room().bytes;
  }

  get #atValue(): number {
    return this.#room().at;
  }

  #room(): { bytes: Buffer; at: number } {
    if (this.#value === undefined) {
      const bytes = Buffer.allocUnsafeSlow(VALUE);
      this.#value = { bytes, at: address(bytes) };
    }
    return this.#value;
  }

  /** openat(2). */
  *openat(dirfd: number, name: string, flags: number, mode = 0): Op<number> {
    const error = this.#text(name, 0);
    return error < 0 ? error : yield* this.#make('openat', dirfd, this.#atFirst, flags, mode);
  }

  /** A new open file of what a descriptor, O_PATH or not, stands for. No name is looked up, so nothing can be put in its place. */
  *reopen(fd: number, flags: number): Op<number> {
    this.#number(fd);
    return yield* this.#make('openat', descriptors().fd, this.#atFirst, flags, 0);
  }

  /** close(2). The descriptor is gone whatever it answers. */
  *close(fd: number): Op<number> {
    return yield* this.#make('close', fd);
  }

  /** statx(2) of a descriptor into `stat`. Here, a file server is never asked; in the background it is, as stat(2) would. */
  *statOf(fd: number): Op<number> {
    this.#memory[0] = 0;
    const result = yield* this.#make('statx', fd, this.#atFirst, AT_EMPTY_PATH | this.#statFlags, STATX_ASK, this.#atStatx);
    if (result >= 0) this.stat.read(this.#statx);
    return result;
  }

  /** statx(2) of a name into `stat`; a symlink is not followed. */
  *statAt(dirfd: number, name: string): Op<number> {
    const error = this.#text(name, 0);
    if (error < 0) return error;
    const flags = AT_SYMLINK_NOFOLLOW | this.#statFlags;
    const result = yield* this.#make('statx', dirfd, this.#atFirst, flags, STATX_ASK, this.#atStatx);
    if (result >= 0) this.stat.read(this.#statx);
    return result;
  }

  /** fstatfs(2) into `small`. */
  *fstatfs(fd: number): Op<number> {
    return yield* this.#make('fstatfs', fd, this.#atSmall);
  }

  /** mkdirat(2). */
  *mkdirat(dirfd: number, name: string, mode: number): Op<number> {
    const error = this.#text(name, 0);
    return error < 0 ? error : yield* this.#make('mkdirat', dirfd, this.#atFirst, mode);
  }

  /** mknodat(2); `device` as makedev(3) has it. */
  *mknodat(dirfd: number, name: string, mode: number, device: bigint): Op<number> {
    const error = this.#text(name, 0);
    return error < 0 ? error : yield* this.#make('mknodat', dirfd, this.#atFirst, mode, device);
  }

  /** symlinkat(2). */
  *symlinkat(target: string, dirfd: number, name: string): Op<number> {
    const error = this.#text(target, 0) || this.#text(name, TEXT);
    return error < 0 ? error : yield* this.#make('symlinkat', this.#atFirst, dirfd, this.#atSecond);
  }

  /** linkat(2) from one directory's name to another's; a symlink is linked itself. */
  *linkat(fromDirfd: number, from: string, toDirfd: number, to: string): Op<number> {
    const error = this.#text(from, 0) || this.#text(to, TEXT);
    return error < 0 ? error : yield* this.#make('linkat', fromDirfd, this.#atFirst, toDirfd, this.#atSecond, 0);
  }

  /** linkat(2) of what a descriptor stands for. */
  *linkOf(fd: number, toDirfd: number, to: string): Op<number> {
    const error = this.#text(to, TEXT);
    if (error < 0) return error;
    this.#number(fd);
    return yield* this.#make('linkat', descriptors().fd, this.#atFirst, toDirfd, this.#atSecond, AT_SYMLINK_FOLLOW);
  }

  /** renameat(2). */
  *renameat(fromDirfd: number, from: string, toDirfd: number, to: string): Op<number> {
    const error = this.#text(from, 0) || this.#text(to, TEXT);
    return error < 0 ? error : yield* this.#make('renameat', fromDirfd, this.#atFirst, toDirfd, this.#atSecond);
  }

  /** unlinkat(2), of a directory if so asked. */
  *unlinkat(dirfd: number, name: string, directory: boolean): Op<number> {
    const error = this.#text(name, 0);
    return error < 0 ? error : yield* this.#make('unlinkat', dirfd, this.#atFirst, directory ? AT_REMOVEDIR : 0);
  }

  /** readlinkat(2) of an O_PATH descriptor of a symlink, into `value`. */
  *readlink(fd: number): Op<number> {
    this.#memory[0] = 0;
    return yield* this.#make('readlinkat', fd, this.#atFirst, this.#atValue, VALUE);
  }

  /** fchownat(2) of a descriptor, O_PATH or not; 0xffffffff leaves an id as it is. */
  *chown(fd: number, uid: number, gid: number): Op<number> {
    this.#memory[0] = 0;
    return yield* this.#make('fchownat', fd, this.#atFirst, uid, gid, AT_EMPTY_PATH);
  }

  /** chmod(2) of a descriptor, O_PATH or not. */
  *chmod(fd: number, mode: number): Op<number> {
    const result = yield* this.#make('fchmod', fd, mode);
    if (result !== EBADF) return result;
    this.#number(fd);
    return yield* this.#make('fchmodat', descriptors().fd, this.#atFirst, mode, 0);
  }

  /** truncate(2) of a descriptor of a regular file, O_PATH or not. */
  *truncate(fd: number, size: number): Op<number> {
    this.#proc(fd);
    return yield* this.#make('truncate', this.#atFirst, size);
  }

  /** ftruncate(2). */
  *ftruncate(fd: number, size: number): Op<number> {
    return yield* this.#make('ftruncate', fd, size);
  }

  /** utimensat(2) of a descriptor, O_PATH or not; nanoseconds may be UTIME_NOW or UTIME_OMIT. */
  *utimens(fd: number, atimeSec: number, atimeNsec: number, mtimeSec: number, mtimeNsec: number): Op<number> {
    this.#number(fd);
    const view = this.small;
    writeSeconds(view, 0, atimeSec);
    view.setUint32(8, atimeNsec, true);
    view.setUint32(12, 0, true);
    writeSeconds(view, 16, mtimeSec);
    view.setUint32(24, mtimeNsec, true);
    view.setUint32(28, 0, true);
    return yield* this.#make('utimensat', descriptors().fd, this.#atFirst, this.#atSmall, 0);
  }

  /** getdents64(2) into `value`, at most `size` bytes. */
  *getdents(fd: number, size: number): Op<number> {
    return yield* this.#make('getdents64', fd, this.#atValue, Math.min(size, VALUE));
  }

  /** lseek(2) from the start. */
  *lseek(fd: number, offset: bigint): Op<number> {
    return yield* this.#make('lseek', fd, offset, 0);
  }

  /** pread(2) into `value`: small files whole. */
  *readValue(fd: number, size: number): Op<number> {
    return yield* this.#make('pread', fd, this.#atValue, Math.min(size, VALUE), 0);
  }

  /** pwrite(2) of `bytes` at the start: small files whole. */
  *writeValue(fd: number, bytes: Uint8Array): Op<number> {
    const size = Math.min(bytes.length, VALUE);
    this.value.set(size === bytes.length ? bytes : bytes.subarray(0, size));
    return yield* this.#make('pwrite', fd, this.#atValue, size, 0);
  }

  /** pread(2) into the caller's memory. */
  *pread(fd: number, buffer: Uint8Array, start: number, length: number, offset: number): Op<number> {
    return yield* this.#make('pread', fd, address(buffer) + start, Math.min(length, buffer.length - start), offset);
  }

  /** pwrite(2) from the caller's memory. A file opened with O_APPEND grows, whatever the offset. */
  *pwrite(fd: number, data: Uint8Array, start: number, length: number, offset: number): Op<number> {
    return yield* this.#make('pwrite', fd, address(data) + start, Math.min(length, data.length - start), offset);
  }

  /** fsync(2) or fdatasync(2). */
  *fsync(fd: number, datasync: boolean): Op<number> {
    return yield* this.#make(datasync ? 'fdatasync' : 'fsync', fd);
  }

  /** fcntl(2) with a struct flock, which is in `small` before and after. */
  *lock(fd: number, command: number): Op<number> {
    return yield* this.#make('fcntl', fd, command, this.#atSmall);
  }

  /** getxattr(2) of a descriptor, O_PATH or not, into `value`. */
  *getxattr(fd: number, name: string): Op<number> {
    const result = yield* this.fgetxattr(fd, name);
    if (result !== EBADF) return result;
    this.#proc(fd);
    return yield* this.#make('getxattr', this.#atFirst, this.#atSecond, this.#atValue, VALUE);
  }

  /** fgetxattr(2) of an open file into `value`: several times cheaper. EBADF for an O_PATH descriptor. */
  *fgetxattr(fd: number, name: string): Op<number> {
    const error = this.#text(name, TEXT);
    return error < 0 ? error : yield* this.#make('fgetxattr', fd, this.#atSecond, this.#atValue, VALUE);
  }

  /** setxattr(2) of a descriptor, O_PATH or not. */
  *setxattr(fd: number, name: string, value: Uint8Array, flags: number): Op<number> {
    const error = this.#text(name, TEXT);
    if (error < 0) return error;
    if (value.length > VALUE) return E2BIG;
    this.value.set(value);
    const result = yield* this.#make('fsetxattr', fd, this.#atSecond, this.#atValue, value.length, flags);
    if (result !== EBADF) return result;
    this.#proc(fd);
    return yield* this.#make('setxattr', this.#atFirst, this.#atSecond, this.#atValue, value.length, flags);
  }

  /** listxattr(2) of a descriptor, O_PATH or not, into `value`: names that end in NUL. */
  *listxattr(fd: number): Op<number> {
    this.#proc(fd);
    return yield* this.#make('listxattr', this.#atFirst, this.#atValue, VALUE);
  }

  /** removexattr(2) of a descriptor, O_PATH or not. */
  *removexattr(fd: number, name: string): Op<number> {
    const error = this.#text(name, TEXT);
    if (error < 0) return error;
    this.#proc(fd);
    return yield* this.#make('removexattr', this.#atFirst, this.#atSecond);
  }

  *#make(name: CallName, ...words: Word[]): Op<number> {
    if (this.#threads !== undefined) return (yield this.#threads.call(name, words)) as number;
    const result = calls()[name](...words);
    return result < 0 ? -errno() : result;
  }

  /** Puts text and its NUL into memory at `start`: 0, or why it cannot be passed. */
  #text(text: string, start: number): number {
    // A character is three bytes at most (a surrogate pair four), so short text needs no second look.
    if (text.length * 3 >= TEXT && this.sizeOf(text) >= TEXT) return ENAMETOOLONG;
    if (text.includes('\0')) return EINVAL;
    this.#memory[start + this.encode(text, this.#memory, start)] = 0;
    return 0;
  }

  /** Writes text as the kernel is to have it and tells how many bytes that took; UTF-8, unless overridden by something no longer. */
  protected encode(text: string, into: Buffer, at: number): number {
    return into.write(text, at, 'utf8');
  }

  /** How many bytes `encode` makes of text. */
  protected sizeOf(text: string): number {
    return Buffer.byteLength(text);
  }

  #proc(fd: number): void {
    this.#text(PROC + fd, 0);
  }

  /** The name of a descriptor in the directory of them. */
  #number(fd: number): void {
    const memory = this.#memory;
    let end = fd < 10 ? 1 : fd < 100 ? 2 : fd < 1000 ? 3 : String(fd).length;
    memory[end] = 0;
    for (let rest = fd; end > 0; rest = Math.floor(rest / 10)) memory[--end] = 48 + (rest % 10);
  }
}

/** A signed 64-bit number that a double holds exactly. */
function writeSeconds(view: DataView, at: number, seconds: number): void {
  view.setUint32(at, ((seconds % 0x1_0000_0000) + 0x1_0000_0000) % 0x1_0000_0000, true);
  view.setInt32(at + 4, Math.floor(seconds / 0x1_0000_0000), true);
}

const vector = lazy(() => {
  const words = new BigUint64Array(2);
  const halves = new Uint32Array(words.buffer);
  return { halves, words, at: address(new Uint8Array(words.buffer)) };
});

/** preadv2(2) with RWF_NOWAIT, on this thread: bytes that are in memory already, or -EAGAIN, or -EOPNOTSUPP where a file system cannot tell. */
export function readCached(fd: number, buffer: Uint8Array, start: number, length: number, offset: number): number {
  const { halves, at } = vector();
  const to = address(buffer) + start;
  halves[0] = to % 0x1_0000_0000;
  halves[1] = Math.floor(to / 0x1_0000_0000);
  halves[2] = Math.min(length, buffer.length - start);
  halves[3] = 0;
  const result = calls().preadv2(fd, at, 1, offset, RWF_NOWAIT);
  return result < 0 ? -errno() : result;
}

/** close(2) on this thread, for descriptors whose closing cannot block. */
export function closeNow(fd: number): void {
  calls().close(fd);
}

/** The FLOCK_SIZE bytes of `small` that `lock` uses. */
export function flockOf(files: Files): DataView {
  return new DataView(files.small.buffer, files.small.byteOffset, FLOCK_SIZE);
}
