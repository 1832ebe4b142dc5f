import { declare, lazy, outcome } from './libc.js';

const calls = lazy(() => ({
  ioctl: declare<(fd: number, request: number, argument: Uint32Array) => number>('int ioctl(int, unsigned long, void *)'),
}));

/** _IOR('f', 1, long), and flags of it (linux/fs.h). */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_ENCRYPT_FL = 0x800;
const FS_CASEFOLD_FL = 0x40000000;

/**
 * Whether names may lead somewhere in an open directory that have not appeared in it as inotify(7) tells, as far as its file system says so by its flags (ext4, f2fs, tmpfs):
 * where it takes names for one that differ in case (chattr(1), +F), and where it is encrypted, as all its names are others once somebody has brought the key.
 */
export function findsUntold(directory: number): boolean {
  const flags = new Uint32Array(2);
  const got = outcome(calls().ioctl(directory, FS_IOC_GETFLAGS, flags)) >= 0;
  return got && ((flags[0] ?? 0) & (FS_CASEFOLD_FL | FS_ENCRYPT_FL)) !== 0;
}
