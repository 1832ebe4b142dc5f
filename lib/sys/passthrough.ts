import { declare, lazy, outcome } from './libc.js';

/** Backing files of a FUSE connection (linux/fuse.h). The numbers of the requests are those of all architectures but MIPS, PowerPC and SPARC. */
const calls = lazy(() => ({
  ioctl: declare<(fd: number, request: number, argument: Uint32Array) => number>('int ioctl(int, unsigned long, void *)'),
}));

/** _IOW(229, 1, struct fuse_backing_map) and _IOW(229, 2, uint32_t). */
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

/**
 * Registers what `fd` has open as a backing file of the connection of the device `fuse`; `fd` may be closed then. The number (over 0) to name it by,
 * or an error number negated: EPERM without CAP_SYS_ADMIN, EOPNOTSUPP for what is no regular file, ELOOP for one that lies over another file system.
 */
export function openBacking(fuse: number, fd: number): number {
  // struct fuse_backing_map: fd, flags, padding.
  return outcome(calls().ioctl(fuse, FUSE_DEV_IOC_BACKING_OPEN, Uint32Array.of(fd, 0, 0, 0)));
}

/** Takes back a number. Files that were opened with it keep what they have. */
export function closeBacking(fuse: number, backing: number): void {
  calls().ioctl(fuse, FUSE_DEV_IOC_BACKING_CLOSE, Uint32Array.of(backing));
}
