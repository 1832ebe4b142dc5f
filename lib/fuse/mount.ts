import { availableParallelism } from 'node:os';
import type { Client } from '../client/index.js';
import { VERSION_L } from '../protocol/constants.js';
import { closeBacking, openBacking } from '../sys/passthrough.js';
import { poller } from '../sys/poller.js';
import { attrOf } from './attributes.js';
import { Bridge } from './bridge.js';
import { Awake } from './kernel/awake.js';
import { INIT2_DIRECT_IO_ALLOW_MMAP, INIT2_PASSTHROUGH } from './kernel/constants.js';
import { Device } from './kernel/device.js';
import { mountKernel, mountPoint, raiseReadAhead, unmountKernel } from './kernel/mount.js';
import { type MountEntry, mountedAt } from './kernel/mountinfo.js';
import { type BridgeOptions, type CacheMode, timeouts } from './options.js';
import { MAX_NODES, Shrinker } from './shrinker.js';
import type { Access } from './tree.js';
import { servesAcl } from './xattr.js';

/** How to mount. Times are in milliseconds. */
export interface MountOptions {
  /**
   * `kernel` (the default): the FUSE protocol on /dev/fuse. `native`: the optional package fuse-native; it can less, which it says through `warn`.
   */
  backend?: 'kernel' | 'native';
  /** Told in one line what the mount cannot do. */
  warn?: (line: string) => void;
  /** Default: `open`. */
  cache?: CacheMode;
  /**
   * Whose fids serve whom. Default: `user` for root (each caller is attached as itself, as Linux's own client does), else `any`.
   */
  access?: Access;
  /** Users other than the mounting one may enter. Default: as root. */
  allowOther?: boolean;
  /** The kernel checks permissions by mode and owner. Default: as root; an ordinary user leaves it to the server. */
  defaultPermissions?: boolean;
  /** How long the kernel may believe attributes, that a name leads to a file, that it leads nowhere. Defaults: the cache mode's. */
  attrTimeout?: number;
  entryTimeout?: number;
  negativeTimeout?: number;
  /** `remote` (the default): fcntl and flock locks are the server's. `local`: they hold on this host only. */
  locks?: 'remote' | 'local';
  /**
   * Under `open`: a write returns while it is on its way to the server (up to 4 MiB of each file; small ones that follow one another leave together). Close,
   * fsync, locks, and everybody who looks at the file through this mount wait for it; an error is told at the next write, at fsync or at close. Default:
   * true. O_SYNC, O_APPEND and O_DIRECT wait always.
   */
  writeBehind?: boolean;
  /** POSIX ACLs. Default: where the tree's root has them. */
  acl?: boolean;
  /**
   * Files have birth times (statx(2), `birthtime`), where the server tells them. The kernel asks for them by themselves, so that a program that
   * wants them, as Node's `stat` and stat(1) do, costs one request more for each file it looks at. Default: false, as with Linux's own client.
   */
  birthTimes?: boolean;
  readonly?: boolean;
  noexec?: boolean;
  nosuid?: boolean;
  nodev?: boolean;
  noatime?: boolean;
  /** Symlinks of the tree can be read, and lead nowhere (Linux 5.10). Without root only where fusermount3 knows it. */
  nosymfollow?: boolean;
  sync?: boolean;
  dirsync?: boolean;
  /** The source shown in `findmnt`. Default: the server's address. */
  fsname?: string;
  /** The type shown is `fuse.` and this. Default: `ninep`. */
  subtype?: string;
  /** Unmounts when this process dies, however it does. Default: true. */
  autoUnmount?: boolean;
  /** Kibibytes the kernel reads ahead, as far as root may say so. Default: 4096. */
  readAhead?: number;
  /**
   * Directories are listed with their entries' attributes. Default: when the kernel finds that of use; always with a server that tells them by the
   * way, as our own does, up to 4096 entries of each listing.
   */
  readdirplus?: 'never' | 'auto' | 'always';
  /**
   * The host's processors are kept from going to sleep while many requests come (/dev/cpu_dma_latency), so that whoever works on small files gets its
   * answers up to twice as fast, on a virtual machine above all. Costs power on all processors, while the requests last. Needs root. Default: as root, on no more than four
   * processors. Not with `native`.
   */
  lowLatency?: boolean;
  /**
   * Microseconds for which this process asks for the next request, and for the server's answer, again and again after each one, instead of sleeping until it comes. Only while
   * they follow one another, and not where other programs need the processor (proc_pid_schedstat(5)). Whoever works on small files gets its answers
   * in two thirds of the time for it. Default: 200, or 0 on one processor. Not with `native`.
   */
  busyPoll?: number;
  /**
   * The kernel reads and writes files of a `ninep serve` on this host by itself, through descriptors that the server passes (FOPEN_PASSTHROUGH), instead of asking
   * for their content: as fast as the disk. Default: true, where that can be done: as root, on Linux 6.9 and later, with `cache: 'open'` and without `sync` or `native`, for a
   * client that was connected to a unix socket of root's with `polled` and `descriptors`, and an export that is not read-only.
   */
  passthrough?: boolean;
  /**
   * Where that is so, for whoever opens the files of a directory one after another to read them, the next ones are opened on the server meanwhile, up to 32, for a second at
   * most: grep, tar and compilers get on at twice the speed. An open still tells no less than one that asks the server. That files are open that nobody has opened yet can be
   * seen on the server's host (fcntl(2) leases, fanotify(7), lsof(8)). Default: true.
   */
  openAhead?: boolean;
  /**
   * Files the kernel may know before it is asked to forget those that nobody uses; each takes about 1.2 KB of this process. Default: 200,000. Not with
   * `native`.
   */
  maxNodes?: number;
}

/** What a mount has done so far. */
export interface MountCounters {
  /** Requests of the kernel by name. */
  requests: Record<string, number>;
  /** Requests that wait for an answer. */
  pending: number;
  /** Files the kernel knows, and those of them that have a fid for nothing else. */
  nodes: number;
  pinned: number;
  openFiles: number;
  openDirectories: number;
  /** Files that are open and whose content the kernel reads and writes by itself (`passthrough`). */
  backed: number;
  /** Files that are open on the server for who opens them next, and how many opens have been answered so (`openAhead`). */
  openAhead: number;
  foreseen: number;
  /** Directories of a server on this host whose names are known as they appear, and how many look-ups in vain have been answered so. */
  watched: number;
  absent: number;
}

/** A mounted tree, served by this process until it is unmounted. */
export interface Mount extends AsyncDisposable {
  /** The real path of the mount point. */
  readonly directory: string;
  /** Resolves when the mount has ended, whoever ended it; rejects when serving it failed. */
  readonly done: Promise<void>;
  counters(): MountCounters;
  /**
   * Unmounts, after buffered writes have reached the server. EBUSY while another mount lies over it, or while somebody uses it, unless `lazy`: then it leaves the tree at once
   * and ends when nobody uses it any more. Resolves when it is gone (lazily: detached). Idempotent.
   */
  unmount(options?: { lazy?: boolean }): Promise<void>;
}

/** proc(5) and sysfs, by the type that statfs tells (linux/magic.h). */
const PROC_SUPER_MAGIC = 0x9fa0;
const SYSFS_MAGIC = 0x62656572;
/** See `MountOptions.busyPoll`. */
const BUSY_POLL = 200;
/** The most the kernel takes in one request. */
const MAX_WRITE = 1 << 20;

/**
 * Mounts the tree that `client` is attached to. Needs Linux; without root, also the program fusermount3. The client stays the
 * caller's, who closes it after `done`. A server that is lost makes every request fail with EIO; unmounting works all the same.
 *
 * Never use a synchronous call of node:fs on the mount from the process that serves it: it waits for itself.
 */
export async function mount(client: Client, directory: string, options: MountOptions = {}): Promise<Mount> {
  if (process.platform !== 'linux') throw Object.assign(new Error('mounting needs Linux'), { code: 'ENOTSUP' });
  const root = process.geteuid?.() === 0;
  const cache = options.cache ?? 'open';
  const native = options.backend === 'native';
  if (native && options.locks === 'remote') throw lacks('locks stay on this host (locks: local)');
  if (native && (options.access ?? 'any') !== 'any') throw lacks('callers cannot be told apart (access: any)');
  const type = await client.root.statfs().then(
    (statistics) => statistics.type,
    () => 0,
  );
  const posixAcl = !native && (options.acl ?? (client.dialect === VERSION_L && (await servesAcl(client.root))));
  const own: BridgeOptions = {
    cache,
    access: options.access ?? (root && !native ? 'user' : 'any'),
    ...timeouts(cache),
    locks: client.dialect === VERSION_L && !native ? (options.locks ?? 'remote') : 'local',
    writeBehind: cache === 'open' && !options.sync && (options.writeBehind ?? true),
    openAhead: options.openAhead ?? true,
    permissions: (options.defaultPermissions ?? root) || posixAcl,
    acl: posixAcl,
    birthTimes: options.birthTimes ?? false,
    direct: type === PROC_SUPER_MAGIC || type === SYSFS_MAGIC,
  };
  if (options.attrTimeout !== undefined) own.attrTimeout = options.attrTimeout;
  if (options.entryTimeout !== undefined) own.entryTimeout = options.entryTimeout;
  if (options.negativeTimeout !== undefined) own.negativeTimeout = options.negativeTimeout;
  if (native) return mountNatively(client, directory, own, options);
  const bridge = new Bridge(client, own);
  if (client.dialect === VERSION_L) await bridge.ordered.ask();
  // Refuses here, and not at the first access, a root that is none.
  attrOf(bridge.tree.nodes.root, await client.root.getattr());
  const kernel = await mountKernel(directory, { ...looks(client, options), maxRead: MAX_WRITE });
  const agreed = {
    maxWrite: MAX_WRITE,
    maxReadahead: MAX_WRITE,
    remoteLocks: own.locks === 'remote',
    writeback: cache === 'loose',
    posixAcl,
    explicitInvalidation: false,
    cacheSymlinks: cache !== 'none',
    passthrough: (options.passthrough ?? true) && cache === 'open' && !options.sync && bridge.ordered.lends,
    readdirplus: options.readdirplus ?? (bridge.ordered.kept ? 'always' : 'auto'),
  } as const;
  const device = new Device(kernel.fd, bridge.operations, agreed, awake(options, root));
  bridge.invalidate = (node) => device.notify.attributes(node.id);
  bridge.dropPages = (node, offset, length) => device.notify.inode(node.id, offset, length);
  bridge.shrinker = new Shrinker(bridge.tree.nodes, options.maxNodes ?? MAX_NODES, (parent, name) => device.notify.entry(parent.id, name));
  device.start();
  const endPolling = poller().busyPoll(options.busyPoll ?? BUSY_POLL);
  const done = device.done.finally(async () => {
    endPolling();
    kernel.release();
    await bridge.close();
  });
  done.catch(() => {});
  try {
    const { flags2 } = await device.ready;
    // Linux has had both since 6.6.
    bridge.keepsInStep = (flags2 & INIT2_DIRECT_IO_ALLOW_MMAP) !== 0;
    if ((flags2 & INIT2_PASSTHROUGH) !== 0) {
      bridge.backings.registry = {
        open: (fd) => openBacking(kernel.fd, fd),
        close: (backing) => closeBacking(kernel.fd, backing),
      };
    }
  } catch (error) {
    await unmountKernel(kernel.directory, true).catch(() => {});
    throw error;
  }
  await raiseReadAhead(kernel.device, options.readAhead);
  const counts = { requests: () => device.requests(), pending: () => device.pending };
  return new BridgedMount(kernel.directory, counts, bridge, done, kernel.device);
}

/** Where there are more, keeping all of them awake costs more than the work that is done sooner. */
const FEW_PROCESSORS = 4;

/** Undefined where it is not wanted; and where this process may not do that, which is said if it was asked for. */
function awake({ lowLatency, warn }: MountOptions, root: boolean): Awake | undefined {
  if (!(lowLatency ?? (root && availableParallelism() <= FEW_PROCESSORS))) return undefined;
  try {
    return new Awake();
  } catch (error) {
    if (lowLatency) warn?.(`low latency: ${(error as Error).message}`);
    return undefined;
  }
}

/** The other back-end, loaded only when it is asked for. */
async function mountNatively(client: Client, directory: string, own: BridgeOptions, options: MountOptions): Promise<Mount> {
  const { LIMITS, mountNative } = await import('./native/mount.js');
  const bridge = new Bridge(client, own);
  attrOf(bridge.tree.nodes.root, await client.root.getattr());
  const served = await mountNative(bridge, directory, looks(client, options));
  options.warn?.(LIMITS);
  const done = served.done.finally(() => bridge.close());
  done.catch(() => {});
  return new BridgedMount(served.directory, { requests: () => ({ ...served.counts }), pending: () => served.pending }, bridge, done);
}

function lacks(what: string): Error {
  return Object.assign(new Error(`with the native back-end ${what}`), { code: 'ENOTSUP' });
}

/** How the mount is to look to the rest of the host. */
function looks(client: Client, options: MountOptions) {
  const root = process.geteuid?.() === 0;
  return {
    fsname: options.fsname ?? client.session.address,
    subtype: options.subtype ?? 'ninep',
    allowOther: options.allowOther ?? root,
    defaultPermissions: options.defaultPermissions ?? root,
    ...flags(options),
  };
}

function flags({ readonly, noexec, nosuid, nodev, noatime, nosymfollow, sync, dirsync, autoUnmount }: MountOptions) {
  return {
    ...(readonly === undefined ? {} : { readonly }),
    ...(noexec === undefined ? {} : { noexec }),
    ...(nosuid === undefined ? {} : { nosuid }),
    ...(nodev === undefined ? {} : { nodev }),
    ...(noatime === undefined ? {} : { noatime }),
    ...(nosymfollow === undefined ? {} : { nosymfollow }),
    ...(sync === undefined ? {} : { sync }),
    ...(dirsync === undefined ? {} : { dirsync }),
    ...(autoUnmount === undefined ? {} : { autoUnmount }),
  };
}

/** What a back-end counts. */
interface Counts {
  requests(): Record<string, number>;
  pending(): number;
}

class BridgedMount implements Mount {
  readonly directory: string;
  readonly done: Promise<void>;
  readonly #counts: Counts;
  readonly #bridge: Bridge;
  /** The device number that tells it from another mount on the same directory; undefined where that is not known. */
  readonly #device: string | undefined;
  #ended = false;

  constructor(directory: string, counts: Counts, bridge: Bridge, done: Promise<void>, device?: string) {
    this.directory = directory;
    this.#device = device;
    this.#counts = counts;
    this.#bridge = bridge;
    this.done = done;
    const ended = (): void => {
      this.#ended = true;
    };
    done.then(ended, ended);
  }

  counters(): MountCounters {
    const { tree, files, directories, backings, opens, absent } = this.#bridge;
    return {
      requests: this.#counts.requests(),
      pending: this.#counts.pending(),
      nodes: tree.nodes.size,
      pinned: tree.pinned,
      openFiles: files.size,
      openDirectories: directories.size,
      backed: backings.count,
      openAhead: opens.count,
      foreseen: opens.foreseen,
      watched: absent.count,
      absent: absent.told,
    };
  }

  async unmount({ lazy = false }: { lazy?: boolean } = {}): Promise<void> {
    if (!this.#ended) {
      const top = this.#device && (await mountedAt(this.directory))?.device;
      if (top && top !== this.#device) throw Object.assign(new Error(`${this.directory}: another mount lies over it`), { code: 'EBUSY' });
      try {
        await unmountKernel(this.directory, lazy);
      } catch (error) {
        // Somebody else was quicker.
        if (!this.#ended && (error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      }
    }
    if (!lazy) await this.done;
  }

  /** Unmounts; what is still in use is detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.unmount();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
      await this.unmount({ lazy: true });
    }
  }
}

/**
 * Unmounts a directory, whichever process serves it, or none any more. Errors as `Mount.unmount` has them; EINVAL where nothing is mounted, or something that is
 * no mount of ninep.
 */
export async function unmount(directory: string, options: { lazy?: boolean } = {}): Promise<void> {
  const target = await mountPoint(directory);
  const there = await mountedAt(target);
  if (there !== undefined && !isOurs(there)) {
    throw Object.assign(new Error(`EINVAL: is a mount of ${there.type}, not of ninep, umount '${directory}'`), {
      code: 'EINVAL',
      syscall: 'umount',
      path: directory,
    });
  }
  await unmountKernel(target, options.lazy);
}

/** By its type, or, where that was given another name, by the address in the place of its device. */
function isOurs({ type, source }: MountEntry): boolean {
  return type === 'fuse.ninep' || (type.startsWith('fuse.') && /^(tcp|tls|unix|exec|fd|dev|vsock|vsock\+unix|qemu):/.test(source));
}
