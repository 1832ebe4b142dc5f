import { type Declared, declare, lazy } from './libc.js';

/** An argument: every one is a word, pointers too, so that a call can be made here or handed to another thread as it is. */
export type Word = number | bigint;
type Native = Declared<(...words: Word[]) => number>;

/** The system calls on files, by libc's prototypes. Where C has `...`, the fixed arguments are the same to the ABIs this runs on. */
export const prototypes = {
  openat: 'int openat(int, uintptr_t, int, unsigned int)',
  close: 'int close(int)',
  statx: 'int statx(int, uintptr_t, int, unsigned int, uintptr_t)',
  fstatfs: 'int fstatfs(int, uintptr_t)',
  mkdirat: 'int mkdirat(int, uintptr_t, unsigned int)',
  mknodat: 'int mknodat(int, uintptr_t, unsigned int, uint64_t)',
  symlinkat: 'int symlinkat(uintptr_t, int, uintptr_t)',
  linkat: 'int linkat(int, uintptr_t, int, uintptr_t, int)',
  renameat: 'int renameat(int, uintptr_t, int, uintptr_t)',
  unlinkat: 'int unlinkat(int, uintptr_t, int)',
  readlinkat: 'intptr_t readlinkat(int, uintptr_t, uintptr_t, size_t)',
  fchownat: 'int fchownat(int, uintptr_t, unsigned int, unsigned int, int)',
  fchmodat: 'int fchmodat(int, uintptr_t, unsigned int, int)',
  fchmod: 'int fchmod(int, unsigned int)',
  truncate: 'int truncate64(uintptr_t, int64_t)',
  ftruncate: 'int ftruncate64(int, int64_t)',
  utimensat: 'int utimensat(int, uintptr_t, uintptr_t, int)',
  getdents64: 'intptr_t getdents64(int, uintptr_t, size_t)',
  lseek: 'int64_t lseek64(int, int64_t, int)',
  pread: 'intptr_t pread64(int, uintptr_t, size_t, int64_t)',
  pwrite: 'intptr_t pwrite64(int, uintptr_t, size_t, int64_t)',
  preadv2: 'intptr_t preadv2(int, uintptr_t, int, int64_t, int)',
  fsync: 'int fsync(int)',
  fdatasync: 'int fdatasync(int)',
  fcntl: 'int fcntl(int, int, uintptr_t)',
  fgetxattr: 'intptr_t fgetxattr(int, uintptr_t, uintptr_t, size_t)',
  getxattr: 'intptr_t getxattr(uintptr_t, uintptr_t, uintptr_t, size_t)',
  setxattr: 'int setxattr(uintptr_t, uintptr_t, uintptr_t, size_t, int)',
  fsetxattr: 'int fsetxattr(int, uintptr_t, uintptr_t, size_t, int)',
  listxattr: 'intptr_t listxattr(uintptr_t, uintptr_t, size_t)',
  removexattr: 'int removexattr(uintptr_t, uintptr_t)',
} as const;

export type CallName = keyof typeof prototypes;

/** The calls themselves, declared when the first is made. */
export const calls = lazy(() => {
  const of = (name: CallName): Native => declare<(...words: Word[]) => number>(prototypes[name]);
  return {
    openat: of('openat'),
    close: of('close'),
    statx: of('statx'),
    fstatfs: of('fstatfs'),
    mkdirat: of('mkdirat'),
    mknodat: of('mknodat'),
    symlinkat: of('symlinkat'),
    linkat: of('linkat'),
    renameat: of('renameat'),
    unlinkat: of('unlinkat'),
    readlinkat: of('readlinkat'),
    fchownat: of('fchownat'),
    fchmodat: of('fchmodat'),
    fchmod: of('fchmod'),
    truncate: of('truncate'),
    ftruncate: of('ftruncate'),
    utimensat: of('utimensat'),
    getdents64: of('getdents64'),
    lseek: of('lseek'),
    pread: of('pread'),
    pwrite: of('pwrite'),
    preadv2: of('preadv2'),
    fsync: of('fsync'),
    fdatasync: of('fdatasync'),
    fcntl: of('fcntl'),
    fgetxattr: of('fgetxattr'),
    getxattr: of('getxattr'),
    setxattr: of('setxattr'),
    fsetxattr: of('fsetxattr'),
    listxattr: of('listxattr'),
    removexattr: of('removexattr'),
  } satisfies Record<CallName, Native>;
});
