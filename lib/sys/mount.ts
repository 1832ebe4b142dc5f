import { background, declare, lazy, SystemError } from './libc.js';

/**
 * mount(2) and umount2(2). Both walk the path, and so may wait for a file system that this very thread serves: they run
 * on the thread pool.
 */
const calls = lazy(() => ({
  mount: declare<(source: string, target: string, type: string, flags: number, data: string) => number>(
    'int mount(const char *, const char *, const char *, unsigned long, const char *)',
  ),
  umount: declare<(target: string, flags: number) => number>('int umount2(const char *, int)'),
}));

/** Mount flags (mount(2)). */
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_SYNCHRONOUS = 16;
export const MS_DIRSYNC = 128;
export const MS_NOSYMFOLLOW = 256;
export const MS_NOATIME = 1024;
export const MS_NODIRATIME = 2048;

/** Detach now, end when nobody uses it any more. */
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** Throws a SystemError. */
export async function mount(source: string, target: string, type: string, flags: number, data: string): Promise<void> {
  const result = await background(calls().mount, source, target, type, flags, data);
  if (result < 0) throw new SystemError(result, 'mount', target);
}

/** Throws a SystemError: EBUSY while it is used, EINVAL where nothing is mounted, EPERM without the privilege. */
export async function unmount(target: string, flags = 0): Promise<void> {
  const result = await background(calls().umount, target, flags);
  if (result < 0) throw new SystemError(result, 'umount', target);
}
