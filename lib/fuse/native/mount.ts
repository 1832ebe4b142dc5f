import { readdirSync, readlinkSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bridge } from '../bridge.js';
import { FuseMissingError } from '../kernel/fusermount.js';
import { guardMount, type KernelMountOptions } from '../kernel/mount.js';
import { mountedAt } from '../kernel/mountinfo.js';
import { handlersOf, loadBinding } from './binding.js';
import { nativeCalls } from './operations.js';
import { Paths } from './paths.js';

/** How a native mount is to look to the rest of the host. */
export type NativeMountOptions = Omit<KernelMountOptions, 'maxRead' | 'via'>;

/** A connection that libfuse serves on threads of its own. */
export interface NativeMount {
  readonly directory: string;
  /** Resolves when the connection has ended: nothing is asked any more. */
  readonly done: Promise<void>;
  /** Requests so far by name, and how many wait for an answer. */
  readonly counts: Readonly<Record<string, number>>;
  readonly pending: number;
}

/** What one line says at start-up of a mount that is less than the kernel back-end's. */
export const LIMITS =
  'the native back-end keeps locks on this host, cannot tell callers apart, shows 32-bit inode numbers and milliseconds, sets the two times of a file ' +
  'only together, and a process that waits for the server cannot be killed';

/** The longest mount point and option text that fuse-native takes. */
const LONGEST = 1023;
/** How often it is looked whether libfuse has let go of the connection, in ms: it does not say. */
const LOOK = 100;

/** libfuse's threads use this memory to the end of the process. */
const kept = new Set<unknown>();

export async function mountNative(bridge: Bridge, directory: string, options: NativeMountOptions): Promise<NativeMount> {
  const binding = loadBinding();
  const target = await realpath(directory);
  const text = `-o${optionList(bridge, options).join(',')}`;
  if (Buffer.byteLength(target) > LONGEST || Buffer.byteLength(text) > LONGEST)
    throw Object.assign(new Error(`ENAMETOOLONG: name too long, mount '${target}'`), {
      code: 'ENAMETOOLONG',
      syscall: 'mount',
      path: target,
    });
  const paths = new Paths(bridge);
  const ready = newPromise();
  const calls = nativeCalls(bridge, paths, ready.resolve);
  const { handlers, implemented } = handlersOf(binding, calls, (error) => bridge.operations.errno?.(error) ?? 5);
  const thread = Buffer.alloc(binding.sizeof_fuse_thread_t);
  const allocate = (size: number): Buffer => {
    const bytes = Buffer.alloc(size);
    kept.add(bytes);
    return bytes;
  };
  kept.add(thread).add(handlers);
  const before = new Set(devices());
  try {
    binding.fuse_native_mount(target, text, thread, paths, allocate, handlers, implemented);
  } catch (cause) {
    // libfuse has told its reasons on stderr and tells us none.
    if (process.geteuid?.() !== 0 && !hasFusermount()) throw new FuseMissingError(cause);
    throw Object.assign(new Error(`EIO: libfuse could not mount, mount '${target}'`, { cause }), {
      code: 'EIO',
      syscall: 'mount',
      path: target,
    });
  }
  const fd = devices().find((each) => !before.has(each));
  const device = (await mountedAt(target))?.device ?? '';
  const release = (options.autoUnmount ?? true) ? guardMount(target, device) : () => {};
  const ended = end(fd).then(() => {
    release();
    binding.fuse_native_unmount(target, thread);
  });
  await Promise.race([ready.promise, ended]);
  return {
    directory: target,
    done: ended,
    counts: paths.counts,
    get pending() {
      return paths.pending;
    },
  };
}

function optionList(bridge: Bridge, o: NativeMountOptions): string[] {
  const { cache, direct, attrTimeout, entryTimeout, negativeTimeout } = bridge.options;
  const list = [
    `fsname=${o.fsname.replace(/[\\,]/g, '\\$&')}`,
    `subtype=${o.subtype}`,
    // Inode numbers are the server's; writes are not cut into pages; what the directory holds below the mount is nobody's matter.
    ...['use_ino', 'big_writes', 'nonempty'],
    `entry_timeout=${entryTimeout / 1000}`,
    `attr_timeout=${attrTimeout / 1000}`,
    `negative_timeout=${negativeTimeout / 1000}`,
  ];
  if (direct || cache === 'none') list.push('direct_io');
  else list.push(cache === 'loose' ? 'kernel_cache' : 'auto_cache');
  if (o.allowOther) list.push('allow_other');
  if (o.defaultPermissions) list.push('default_permissions');
  if (o.readonly) list.push('ro');
  if (o.noexec) list.push('noexec');
  if (o.noatime) list.push('noatime');
  if (o.nosymfollow) list.push('nosymfollow');
  if (o.sync) list.push('sync');
  if (o.dirsync) list.push('dirsync');
  if (o.nosuid === false) list.push('suid');
  if (o.nodev === false) list.push('dev');
  return list;
}

/** This process's descriptors of /dev/fuse. */
function devices(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isDevice);
}

function isDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}

/** Resolves when libfuse has closed the connection. */
async function end(fd: number | undefined): Promise<void> {
  while (fd !== undefined && isDevice(fd)) await delay(LOOK);
}

function hasFusermount(): boolean {
  const folders = ['/usr/local/bin', ...(process.env['PATH'] ?? '').split(':')];
  return folders.some((folder) => {
    try {
      return readdirSync(folder).includes('fusermount');
    } catch {
      return false;
    }
  });
}

function newPromise(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
