/**
 * The kernel's own calls, as libc hands them out, for suites that must see raw error numbers and exact arguments: node:fs lacks many of them and
 * rewords the rest. Independent of lib/sys on purpose: what is tested does not test itself.
 *
 * Every function answers the call's result, or the negative errno. They run on the calling thread, and so with its credentials (see {@link become}).
 */
import os from 'node:os';
import koffi from 'koffi';

/** A path: text, bytes that end in NUL, or a bare address (to hand the kernel a bad one). */
export type Path = string | Buffer | bigint;

type Int = number | bigint;

export interface Syscalls {
  open(path: Path, flags: number, mode: number): number;
  openat(dirfd: number, path: Path, flags: number, mode: number): number;
  creat(path: Path, mode: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  read(fd: number, buffer: Buffer | bigint, count: number): number;
  write(fd: number, buffer: Buffer | bigint, count: number): number;
  pread(fd: number, buffer: Buffer | bigint, count: number, offset: Int): number;
  pwrite(fd: number, buffer: Buffer | bigint, count: number, offset: Int): number;
  lseek(fd: number, offset: Int, whence: number): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  ftruncate(fd: number, length: Int): number;
  truncate(path: Path, length: Int): number;
  fallocate(fd: number, mode: number, offset: Int, length: Int): number;
  copy_file_range(fdIn: number, offsetIn: Buffer | null, fdOut: number, offsetOut: Buffer | null, length: Int, flags: number): number;
  mkdir(path: Path, mode: number): number;
  mkdirat(dirfd: number, path: Path, mode: number): number;
  rmdir(path: Path): number;
  unlink(path: Path): number;
  unlinkat(dirfd: number, path: Path, flags: number): number;
  link(from: Path, to: Path): number;
  linkat(fromfd: number, from: Path, tofd: number, to: Path, flags: number): number;
  symlink(target: Path, path: Path): number;
  symlinkat(target: Path, dirfd: number, path: Path): number;
  readlink(path: Path, buffer: Buffer, size: number): number;
  readlinkat(dirfd: number, path: Path, buffer: Buffer, size: number): number;
  rename(from: Path, to: Path): number;
  renameat(fromfd: number, from: Path, tofd: number, to: Path): number;
  renameat2(fromfd: number, from: Path, tofd: number, to: Path, flags: number): number;
  mkfifo(path: Path, mode: number): number;
  mkfifoat(dirfd: number, path: Path, mode: number): number;
  mknod(path: Path, mode: number, dev: Int): number;
  mknodat(dirfd: number, path: Path, mode: number, dev: Int): number;
  chmod(path: Path, mode: number): number;
  fchmod(fd: number, mode: number): number;
  fchmodat(dirfd: number, path: Path, mode: number, flags: number): number;
  chown(path: Path, uid: number, gid: number): number;
  lchown(path: Path, uid: number, gid: number): number;
  fchown(fd: number, uid: number, gid: number): number;
  fchownat(dirfd: number, path: Path, uid: number, gid: number, flags: number): number;
  utimensat(dirfd: number, path: Path | null, times: Buffer | null, flags: number): number;
  futimens(fd: number, times: Buffer | null): number;
  access(path: Path, mode: number): number;
  faccessat(dirfd: number, path: Path, mode: number, flags: number): number;
  statx(dirfd: number, path: Path, flags: number, mask: number, buffer: Buffer): number;
  getdents64(fd: number, buffer: Buffer, size: number): number;
  chdir(path: Path): number;
  fchdir(fd: number): number;
  chroot(path: Path): number;
  statfs(path: Path, buffer: Buffer): number;
  fcntl(fd: number, command: number, argument: Int): number;
  fcntlLock(fd: number, command: number, lock: Buffer): number;
  flock(fd: number, operation: number): number;
  poll(fds: Buffer, count: number, timeout: number): number;
  ioctl(fd: number, request: number, argument: Buffer | bigint): number;
  umask(mask: number): number;
  setxattr(path: Path, name: Path, value: Buffer, size: number, flags: number): number;
  getxattr(path: Path, name: Path, value: Buffer | null, size: number): number;
  listxattr(path: Path, list: Buffer | null, size: number): number;
  removexattr(path: Path, name: Path): number;
  mount(source: Path, target: Path, type: Path, flags: Int, data: Path | null): number;
  umount2(target: Path, flags: number): number;
  msync(address: bigint, length: number, flags: number): number;
  munmap(address: bigint, length: number): number;
}

/** What each function is to libc. Fixed arguments in place of `...` are the same to the ABIs this runs on (x86-64, arm64), where all of them travel in registers. */
const prototypes: Record<keyof Syscalls, string> = {
  open: 'int open(const char *path, int flags, uint32_t mode)',
  openat: 'int openat(int dirfd, const char *path, int flags, uint32_t mode)',
  creat: 'int creat(const char *path, uint32_t mode)',
  close: 'int close(int fd)',
  dup: 'int dup(int fd)',
  read: 'int64_t read(int fd, void *buffer, size_t count)',
  write: 'int64_t write(int fd, const void *buffer, size_t count)',
  pread: 'int64_t pread64(int fd, void *buffer, size_t count, int64_t offset)',
  pwrite: 'int64_t pwrite64(int fd, const void *buffer, size_t count, int64_t offset)',
  lseek: 'int64_t lseek64(int fd, int64_t offset, int whence)',
  fsync: 'int fsync(int fd)',
  fdatasync: 'int fdatasync(int fd)',
  ftruncate: 'int ftruncate64(int fd, int64_t length)',
  truncate: 'int truncate64(const char *path, int64_t length)',
  fallocate: 'int fallocate64(int fd, int mode, int64_t offset, int64_t length)',
  copy_file_range: 'int64_t copy_file_range(int fdIn, void *offsetIn, int fdOut, void *offsetOut, size_t length, uint32_t flags)',
  mkdir: 'int mkdir(const char *path, uint32_t mode)',
  mkdirat: 'int mkdirat(int dirfd, const char *path, uint32_t mode)',
  rmdir: 'int rmdir(const char *path)',
  unlink: 'int unlink(const char *path)',
  unlinkat: 'int unlinkat(int dirfd, const char *path, int flags)',
  link: 'int link(const char *from, const char *to)',
  linkat: 'int linkat(int fromfd, const char *from, int tofd, const char *to, int flags)',
  symlink: 'int symlink(const char *target, const char *path)',
  symlinkat: 'int symlinkat(const char *target, int dirfd, const char *path)',
  readlink: 'int64_t readlink(const char *path, void *buffer, size_t size)',
  readlinkat: 'int64_t readlinkat(int dirfd, const char *path, void *buffer, size_t size)',
  rename: 'int rename(const char *from, const char *to)',
  renameat: 'int renameat(int fromfd, const char *from, int tofd, const char *to)',
  renameat2: 'int renameat2(int fromfd, const char *from, int tofd, const char *to, uint32_t flags)',
  mkfifo: 'int mkfifo(const char *path, uint32_t mode)',
  mkfifoat: 'int mkfifoat(int dirfd, const char *path, uint32_t mode)',
  mknod: 'int mknod(const char *path, uint32_t mode, uint64_t dev)',
  mknodat: 'int mknodat(int dirfd, const char *path, uint32_t mode, uint64_t dev)',
  chmod: 'int chmod(const char *path, uint32_t mode)',
  fchmod: 'int fchmod(int fd, uint32_t mode)',
  fchmodat: 'int fchmodat(int dirfd, const char *path, uint32_t mode, int flags)',
  chown: 'int chown(const char *path, uint32_t uid, uint32_t gid)',
  lchown: 'int lchown(const char *path, uint32_t uid, uint32_t gid)',
  fchown: 'int fchown(int fd, uint32_t uid, uint32_t gid)',
  fchownat: 'int fchownat(int dirfd, const char *path, uint32_t uid, uint32_t gid, int flags)',
  utimensat: 'int utimensat(int dirfd, const char *path, const void *times, int flags)',
  futimens: 'int futimens(int fd, const void *times)',
  access: 'int access(const char *path, int mode)',
  faccessat: 'int faccessat(int dirfd, const char *path, int mode, int flags)',
  statx: 'int statx(int dirfd, const char *path, int flags, uint32_t mask, void *buffer)',
  getdents64: 'int64_t getdents64(int fd, void *buffer, size_t size)',
  chdir: 'int chdir(const char *path)',
  fchdir: 'int fchdir(int fd)',
  chroot: 'int chroot(const char *path)',
  statfs: 'int statfs64(const char *path, void *buffer)',
  fcntl: 'int fcntl(int fd, int command, intptr_t argument)',
  fcntlLock: 'int fcntl(int fd, int command, void *lock)',
  flock: 'int flock(int fd, int operation)',
  poll: 'int poll(void *fds, size_t count, int timeout)',
  ioctl: 'int ioctl(int fd, size_t request, void *argument)',
  umask: 'uint32_t umask(uint32_t mask)',
  setxattr: 'int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
  getxattr: 'int64_t getxattr(const char *path, const char *name, void *value, size_t size)',
  listxattr: 'int64_t listxattr(const char *path, void *list, size_t size)',
  removexattr: 'int removexattr(const char *path, const char *name)',
  mount: 'int mount(const char *source, const char *target, const char *type, size_t flags, const char *data)',
  umount2: 'int umount2(const char *target, int flags)',
  msync: 'int msync(void *address, size_t length, int flags)',
  munmap: 'int munmap(void *address, size_t length)',
};

const libc = koffi.load(null);

function call(prototype: string): (...args: unknown[]) => number {
  const native = libc.func(prototype);
  return (...args) => {
    const result: unknown = native(...args);
    if (typeof result === 'bigint') return Number(result);
    if (typeof result !== 'number') throw new TypeError(`${prototype} answered ${String(result)}`);
    return result === -1 ? -koffi.errno() : result;
  };
}

/** All of them. A fresh object, so that a suite may replace some to see itself fail. */
export function loadSyscalls(): Syscalls {
  const of = (name: keyof Syscalls) => call(prototypes[name]);
  return {
    open: of('open'),
    openat: of('openat'),
    creat: of('creat'),
    close: of('close'),
    dup: of('dup'),
    read: of('read'),
    write: of('write'),
    pread: of('pread'),
    pwrite: of('pwrite'),
    lseek: of('lseek'),
    fsync: of('fsync'),
    fdatasync: of('fdatasync'),
    ftruncate: of('ftruncate'),
    truncate: of('truncate'),
    fallocate: of('fallocate'),
    copy_file_range: of('copy_file_range'),
    mkdir: of('mkdir'),
    mkdirat: of('mkdirat'),
    rmdir: of('rmdir'),
    unlink: of('unlink'),
    unlinkat: of('unlinkat'),
    link: of('link'),
    linkat: of('linkat'),
    symlink: of('symlink'),
    symlinkat: of('symlinkat'),
    readlink: of('readlink'),
    readlinkat: of('readlinkat'),
    rename: of('rename'),
    renameat: of('renameat'),
    renameat2: of('renameat2'),
    mkfifo: of('mkfifo'),
    mkfifoat: of('mkfifoat'),
    mknod: of('mknod'),
    mknodat: of('mknodat'),
    chmod: of('chmod'),
    fchmod: of('fchmod'),
    fchmodat: of('fchmodat'),
    chown: of('chown'),
    lchown: of('lchown'),
    fchown: of('fchown'),
    fchownat: of('fchownat'),
    utimensat: of('utimensat'),
    futimens: of('futimens'),
    access: of('access'),
    faccessat: of('faccessat'),
    statx: of('statx'),
    getdents64: of('getdents64'),
    chdir: of('chdir'),
    fchdir: of('fchdir'),
    chroot: of('chroot'),
    statfs: of('statfs'),
    fcntl: of('fcntl'),
    fcntlLock: of('fcntlLock'),
    flock: of('flock'),
    poll: of('poll'),
    ioctl: of('ioctl'),
    umask: of('umask'),
    setxattr: of('setxattr'),
    getxattr: of('getxattr'),
    listxattr: of('listxattr'),
    removexattr: of('removexattr'),
    mount: of('mount'),
    umount2: of('umount2'),
    msync: of('msync'),
    munmap: of('munmap'),
  };
}

const nativeMmap = libc.func('void *mmap64(void *address, size_t length, int protection, int flags, int fd, int64_t offset)');
const nativeMemcpy = libc.func('void *memcpy(void *to, const void *from, size_t length)');

/** Maps a file shared (MAP_SHARED, read and write). An address, or the negative errno. */
export function mmapShared(fd: number, length: number, offset: Int): bigint | number {
  const address: unknown = nativeMmap(null, length, 3, 1, fd, offset);
  return typeof address === 'bigint' && address < 0xffff_ffff_ffff_f000n ? address : -koffi.errno();
}

/** Memory that begins at a page and belongs to nobody else, as O_DIRECT wants it. Give it back with munmap. */
export function pages(length: number): bigint {
  const address: unknown = nativeMmap(null, length, 3, 0x22, -1, 0);
  if (typeof address !== 'bigint' || address >= 0xffff_ffff_ffff_f000n)
    throw new Error(`no ${length} bytes of memory: errno ${koffi.errno()}`);
  return address;
}

/** Copies out of a mapping. */
export function peek(address: bigint, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  if (length > 0) nativeMemcpy(bytes, address, length);
  return bytes;
}

/** Copies into a mapping. */
export function poke(address: bigint, bytes: Uint8Array): void {
  if (bytes.length > 0) nativeMemcpy(address, bytes, bytes.length);
}

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

export const ROOT: User = { name: 'root', uid: 0, gid: 0, groups: [] };

const rawNumbers: Partial<Record<string, readonly [setgroups: number, setresuid: number, setresgid: number]>> = {
  x64: [116, 117, 119],
  arm64: [159, 147, 149],
};

const rawSyscall = libc.func('long syscall(long number, intptr_t a, intptr_t b, intptr_t c)');
const rawSyscallBuffer = libc.func('long syscall(long number, size_t count, void *list)');

/**
 * Makes the calling thread act as `user`: real and effective ids and supplementary groups. The kernel keeps credentials for each thread; libc's wrappers would
 * change all of them, so the raw calls are made. The saved uid stays 0: that is the way back.
 */
export function become(user: User): void {
  const numbers = rawNumbers[os.arch()];
  if (numbers === undefined) throw new Error(`no system call numbers for ${os.arch()}`);
  const [setgroups, setresuid, setresgid] = numbers;
  const must = (what: string, result: unknown): void => {
    if (result !== 0) throw new Error(`${what} for ${user.name}: errno ${koffi.errno()}`);
  };
  if (process.geteuid?.() !== 0) must('setresuid(0)', rawSyscall(setresuid, 0, 0, 0));
  must('setgroups', rawSyscallBuffer(setgroups, user.groups.length, Buffer.from(Uint32Array.from(user.groups).buffer)));
  must('setresgid', rawSyscall(setresgid, user.gid, user.gid, 0));
  if (user.uid !== 0) must('setresuid', rawSyscall(setresuid, user.uid, user.uid, 0));
}
