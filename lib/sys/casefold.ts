import { declare, lazy, outcome } from './libc.js';

const calls = lazy(() => ({
  ioctl: declare<(fd: number, request: number, argument: Uint32Array) => number>('int ioctl(int, unsigned long, void *)'),
}));

/** _IOR('f', 1, long), and a flag of it (linux/fs.h). */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_CASEFOLD_FL = 0x40000000;

/** Whether an open directory takes names for one that differ in case (chattr(1), +F), as far as its file system says so by its flags: ext4, f2fs, tmpfs. */
export function foldsCase(directory: number): boolean {
  const flags = new Uint32Array(2);
  return outcome(calls().ioctl(directory, FS_IOC_GETFLAGS, flags)) >= 0 && ((flags[0] ?? 0) & FS_CASEFOLD_FL) !== 0;
}
