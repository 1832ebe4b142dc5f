import { spawn } from 'node:child_process';
import { readlink, realpath, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { openDevice } from '../../sys/device.js';
import { close } from '../../sys/io.js';
import * as sys from '../../sys/mount.js';
import { fusermount, fusermountUnmount } from './fusermount.js';
import { mountedAt, mounts } from './mountinfo.js';

/** How a mount is to look to the rest of the host. */
export interface KernelMountOptions {
  /** Shown as the source in `mount` and `findmnt`. */
  fsname: string;
  /** The type becomes `fuse.` and this. */
  subtype: string;
  /** Others than the mounting user may enter. Without root, /etc/fuse.conf must say user_allow_other. */
  allowOther: boolean;
  /** The kernel checks permissions by mode, uid and gid; else every request goes to the server. */
  defaultPermissions: boolean;
  /** Bytes of one READ at most. */
  maxRead: number;
  readonly?: boolean;
  noexec?: boolean;
  /** Default true, as fusermount3 insists. */
  nosuid?: boolean;
  nodev?: boolean;
  noatime?: boolean;
  nosymfollow?: boolean;
  sync?: boolean;
  dirsync?: boolean;
  /** Unmounts when this process ends without having done so, be it by SIGKILL. Default true. */
  autoUnmount?: boolean;
  /** How to mount: `auto` tries mount(2) as root, and fusermount3 otherwise. */
  via?: 'auto' | 'mount' | 'fusermount';
}

/** A mounted connection; who holds it serves the descriptor and closes it. */
export interface KernelMount {
  /** Open descriptor of /dev/fuse, for a Device. */
  readonly fd: number;
  /** The real path of the directory. */
  readonly directory: string;
  /** Device number of the mount, `major:minor`. */
  readonly device: string;
  /** The connection has ended: stops what watches over it. */
  release(): void;
}

/** Kernels read ahead in pieces of max_read only as far as the mount's bdi allows: 128 KiB unless raised. */
const READ_AHEAD_KIB = 4096;

/** Mounts on a directory. Nothing is served yet: nobody may touch the directory from this thread before a Device has started. */
export async function mountKernel(directory: string, options: KernelMountOptions): Promise<KernelMount> {
  const target = await realpath(directory);
  const details = await stat(target);
  if (!details.isDirectory())
    throw Object.assign(new Error(`ENOTDIR: not a directory, mount '${target}'`), {
      code: 'ENOTDIR',
      errno: -20,
      syscall: 'mount',
      path: target,
    });
  const via = options.via ?? 'auto';
  if (via === 'fusermount' || (via === 'auto' && process.geteuid?.() !== 0)) return withHelper(target, options);
  try {
    return await direct(target, options);
  } catch (error) {
    // Root of a container, without the privilege to mount.
    if (via === 'auto' && (error as NodeJS.ErrnoException).code === 'EPERM') return withHelper(target, options);
    throw error;
  }
}

async function direct(target: string, options: KernelMountOptions): Promise<KernelMount> {
  const fd = openDevice('/dev/fuse');
  try {
    const data = [
      `fd=${fd}`,
      'rootmode=40000',
      `user_id=${process.getuid?.() ?? 0}`,
      `group_id=${process.getgid?.() ?? 0}`,
      `max_read=${options.maxRead}`,
    ];
    if (options.allowOther) data.push('allow_other');
    if (options.defaultPermissions) data.push('default_permissions');
    let flags = 0;
    if (options.nosuid ?? true) flags |= sys.MS_NOSUID;
    if (options.nodev ?? true) flags |= sys.MS_NODEV;
    if (options.readonly) flags |= sys.MS_RDONLY;
    if (options.noexec) flags |= sys.MS_NOEXEC;
    if (options.noatime) flags |= sys.MS_NOATIME;
    if (options.nosymfollow) flags |= sys.MS_NOSYMFOLLOW;
    if (options.sync) flags |= sys.MS_SYNCHRONOUS;
    if (options.dirsync) flags |= sys.MS_DIRSYNC;
    await sys.mount(options.fsname, target, `fuse.${options.subtype}`, flags, data.join(','));
  } catch (error) {
    close(fd);
    throw error;
  }
  return mounted(fd, target, options);
}

async function mounted(fd: number, target: string, options: KernelMountOptions): Promise<KernelMount> {
  const device = (await mountedAt(target))?.device ?? '';
  const release = (options.autoUnmount ?? true) ? guardMount(target, device) : () => {};
  return { fd, directory: target, device, release };
}

async function withHelper(target: string, options: KernelMountOptions): Promise<KernelMount> {
  const list = [`fsname=${escapeOption(options.fsname)}`, `subtype=${options.subtype}`, `max_read=${options.maxRead}`];
  if (options.allowOther) list.push('allow_other');
  if (options.defaultPermissions) list.push('default_permissions');
  if (options.readonly) list.push('ro');
  if (options.noexec) list.push('noexec');
  if (options.noatime) list.push('noatime');
  // A helper that does not know it refuses it, rather than to mount what follows symlinks.
  if (options.nosymfollow) list.push('nosymfollow');
  if (options.sync) list.push('sync');
  if (options.dirsync) list.push('dirsync');
  if (options.nosuid === false) list.push('suid');
  if (options.nodev === false) list.push('dev');
  return mounted(await fusermount(target, list), target, options);
}

/** fusermount3 splits at commas that have no backslash before them. */
function escapeOption(text: string): string {
  return text.replace(/[\\,]/g, '\\$&');
}

/** Waits for this process to end; then unmounts what has our device number, which nothing else can have while it is mounted. */
const GUARD = `
read -r line && exit 0
while read -r id parent device root point rest; do
  if [ "$device" = "$1" ]; then umount -l "$2" || fusermount3 -u -z -- "$2" || fusermount -u -z -- "$2"; exit; fi
done < /proc/self/mountinfo
`;

/** Unmounts when this process dies, however it does; until what this gives is called. */
export function guardMount(target: string, device: string): () => void {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'sh', device, target], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, cwd: '/' });
  guard.on('error', () => {});
  guard.stdin.on('error', () => {});
  guard.unref();
  (guard.stdin as unknown as { unref(): void }).unref();
  return () => guard.stdin.end('done\n');
}

/**
 * Lets the kernel read ahead further than 128 KiB at once. To be called after the connection is ready, as that sets it anew. Does
 * nothing where it may not.
 */
export async function raiseReadAhead(device: string, kib = READ_AHEAD_KIB): Promise<boolean> {
  try {
    await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, String(kib));
    return true;
  } catch {
    return false;
  }
}

/**
 * Unmounts a directory. What is in use is EBUSY unless `lazy`, which detaches it at once. A connection that is dead can be unmounted, too.
 */
export async function unmountKernel(directory: string, lazy = false): Promise<void> {
  const target = await mountPoint(directory);
  try {
    await sys.unmount(target, lazy ? sys.MNT_DETACH : 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    await fusermountUnmount(target, lazy);
  }
}

/** The real path of a mount point, without asking the file system mounted there, which may be dead. */
export async function mountPoint(directory: string): Promise<string> {
  const points = new Set((await mounts()).map(({ point }) => point));
  let path = resolve(directory);
  // umount(2) goes where a symlink leads. Longer chains than that it refuses itself.
  for (let links = 0; !points.has(path) && links < 40; links++) {
    try {
      path = join(await realpath(dirname(path)), basename(path));
    } catch (error) {
      throw error instanceof Error ? Object.assign(error, { path: directory }) : error;
    }
    if (points.has(path)) break;
    const target = await readlink(path).catch(() => undefined);
    if (target === undefined) break;
    path = resolve(dirname(path), target);
  }
  return path;
}
