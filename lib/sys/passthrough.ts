import { O_CLOEXEC, O_PATH } from './flags.js';
import { close } from './io.js';
import { check, declare, lazy, outcome } from './libc.js';

/** Backing files of a FUSE connection (linux/fuse.h). The numbers of the requests are those of all architectures but MIPS, PowerPC and SPARC. */
const calls = lazy(() => ({
  open: declare<(path: string, flags: number) => number>('int open(const char *, int, ...)'),
  ioctl: declare<(fd: number, request: number, argument: Uint32Array) => number>('int ioctl(int, unsigned long, void *)'),
  capget: declare<(header: Uint32Array, data: Uint32Array) => number>('int capget(void *, void *)'),
  capset: declare<(header: Uint32Array, data: Uint32Array) => number>('int capset(void *, void *)'),
}));

/** _IOW(229, 1, struct fuse_backing_map) and _IOW(229, 2, uint32_t). */
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

/** capabilities(7) */
const LINUX_CAPABILITY_VERSION_3 = 0x20080522;
const CAP_FSETID = 4;
const CAP_SYS_RESOURCE = 24;

/**
 * This thread's capabilities, as capget(2) gives them and as a backing file is to have them. The kernel writes to it with the rights of who registered it, and
 * root's would leave set-user-ID in place whoever writes, and take what a quota or the disk keeps for root.
 */
const capabilities = lazy(() => {
  const header = Uint32Array.of(LINUX_CAPABILITY_VERSION_3, 0);
  // Two times effective, permitted, inheritable: the low 32 bits of each, then the high ones.
  const own = new Uint32Array(6);
  check(calls().capget(header, own), 'capget');
  const fewer = own.slice();
  fewer[0] = (own[0] ?? 0) & ~((1 << CAP_FSETID) | (1 << CAP_SYS_RESOURCE));
  return { header, own, fewer };
});

/** What the older of the kernels that have backing files say of an O_PATH descriptor. */
const EBADF = -9;
const EOPNOTSUPP = -95;

/**
 * Registers what `fd` has open as a backing file of the connection of the device `fuse`; `fd` may be closed then. The number (over 0) to name it by,
 * or an error number negated: EPERM without CAP_SYS_ADMIN, EOPNOTSUPP for what is no regular file, ELOOP for one that lies over another file system.
 */
export function openBacking(fuse: number, fd: number): number {
  // The kernel keeps what it is given, for as long as anybody has the file open, and needs no more of it than what file it is. The open file of `fd` itself
  // would stay a writer after its owner has closed it, and no program could be started from it (ETXTBSY).
  const named = outcome(calls().open(`/proc/self/fd/${fd}`, O_PATH | O_CLOEXEC));
  if (named < 0) return named;
  const backing = register(fuse, named);
  close(named);
  return backing === EBADF || backing === EOPNOTSUPP ? register(fuse, fd) : backing;
}

function register(fuse: number, fd: number): number {
  const { header, own, fewer } = capabilities();
  check(calls().capset(header, fewer), 'capset');
  // struct fuse_backing_map: fd, flags, padding.
  const backing = outcome(calls().ioctl(fuse, FUSE_DEV_IOC_BACKING_OPEN, Uint32Array.of(fd, 0, 0, 0)));
  check(calls().capset(header, own), 'capset');
  return backing;
}

/** Takes back a number. Files that were opened with it keep what they have. */
export function closeBacking(fuse: number, backing: number): void {
  calls().ioctl(fuse, FUSE_DEV_IOC_BACKING_CLOSE, Uint32Array.of(backing));
}
