import type { MountOptions } from '../lib/fuse/index.js';
import { UsageError } from './failure.js';
import { switched } from './words.js';

/** What `-o` and the options of `ninep mount` come to. */
export interface MountRequest {
  address: string;
  mount: MountOptions;
  connection: { aname?: string; uname?: string; uid?: number; msize?: number; dialect?: string; timeout?: number };
  /** Seconds; Infinity for `forever`. */
  retry: number | undefined;
  backend: 'kernel' | 'native' | undefined;
  foreground: boolean;
}

type Setter = (request: MountRequest, value: string | undefined, all: ReadonlyMap<string, string | undefined>) => void;

const flag =
  (set: (mount: MountOptions) => void): Setter =>
  ({ mount }, value) => {
    if (onOff(value)) set(mount);
  };
function onOff(value: string | undefined): boolean {
  const set = value === undefined ? true : switched(value);
  if (set === undefined) throw new UsageError(`-o: ${value} is neither on nor off`);
  return set;
}
const ignored: Setter = () => undefined;

/** v9fs's, FUSE's, mount(8)'s and our own words for `-o`. Times are seconds there, as FUSE has them. */
const setters: Readonly<Record<string, Setter>> = {
  // What v9fs knows (Documentation/filesystems/9p.rst)
  trans: ignored,
  port: ignored,
  rfdno: ignored,
  wfdno: ignored,
  aname: ({ connection }, value) => {
    connection.aname = text('aname', value);
  },
  uname: ({ connection }, value) => {
    connection.uname = text('uname', value);
  },
  uid: ({ connection }, value) => {
    connection.uid = number('uid', value);
  },
  msize: ({ connection }, value) => {
    connection.msize = number('msize', value);
  },
  version: ({ connection }, value) => {
    connection.dialect = text('version', value);
  },
  cache: ({ mount }, value) => {
    mount.cache = cacheMode(text('cache', value));
  },
  access: ({ mount }, value) => {
    mount.access = accessOf(text('access', value));
  },
  locks: ({ mount }, value) => {
    mount.locks = locksOf(text('locks', value));
  },
  posixacl: flag((mount) => {
    mount.acl = true;
  }),
  noextend: ignored,
  debug: ignored,
  // What FUSE knows (fuse(8))
  fsname: ({ mount }, value) => {
    mount.fsname = text('fsname', value);
  },
  subtype: ({ mount }, value) => {
    mount.subtype = text('subtype', value);
  },
  allow_other: flag((mount) => {
    mount.allowOther = true;
  }),
  default_permissions: flag((mount) => {
    mount.defaultPermissions = true;
  }),
  auto_unmount: flag((mount) => {
    mount.autoUnmount = true;
  }),
  attr_timeout: ({ mount }, value) => {
    mount.attrTimeout = 1000 * number('attr_timeout', value);
  },
  entry_timeout: ({ mount }, value) => {
    mount.entryTimeout = 1000 * number('entry_timeout', value);
  },
  negative_timeout: ({ mount }, value) => {
    mount.negativeTimeout = 1000 * number('negative_timeout', value);
  },
  max_readahead: ({ mount }, value) => {
    mount.readAhead = Math.ceil(number('max_readahead', value) / 1024);
  },
  // What every file system knows (mount(8))
  ro: flag((mount) => {
    mount.readonly = true;
  }),
  rw: flag((mount) => {
    mount.readonly = false;
  }),
  noexec: flag((mount) => {
    mount.noexec = true;
  }),
  exec: flag((mount) => {
    mount.noexec = false;
  }),
  nosuid: flag((mount) => {
    mount.nosuid = true;
  }),
  suid: flag((mount) => {
    mount.nosuid = false;
  }),
  nodev: flag((mount) => {
    mount.nodev = true;
  }),
  dev: flag((mount) => {
    mount.nodev = false;
  }),
  noatime: flag((mount) => {
    mount.noatime = true;
  }),
  nosymfollow: flag((mount) => {
    mount.nosymfollow = true;
  }),
  symfollow: flag((mount) => {
    mount.nosymfollow = false;
  }),
  sync: flag((mount) => {
    mount.sync = true;
  }),
  dirsync: flag((mount) => {
    mount.dirsync = true;
  }),
  remount: () => bad('-o remount: what is mounted stays as it is; unmount it and mount it again'),
  // Our own
  low_latency: ({ mount }, value) => {
    mount.lowLatency = onOff(value);
  },
  busy_poll: ({ mount }, value) => {
    // In µs, as net.core.busy_poll has them.
    mount.busyPoll = number('busy_poll', value);
  },
  passthrough: ({ mount }, value) => {
    mount.passthrough = onOff(value);
  },
  open_ahead: ({ mount }, value) => {
    mount.openAhead = onOff(value);
  },
  btime: flag((mount) => {
    mount.birthTimes = true;
  }),
  retry: (request, value) => {
    request.retry = retryOf(text('retry', value));
  },
  timeout: ({ connection }, value) => {
    connection.timeout = number('timeout', value);
  },
  backend: (request, value) => {
    request.backend = backendOf(text('backend', value));
  },
};

/** Words of fstab that are for mount(8), systemd or nobody. */
const forOthers = new Set([
  ...['defaults', 'auto', 'noauto', 'user', 'nouser', 'users', 'owner', 'group', '_netdev', 'nofail', 'async', 'atime', 'relatime'],
  ...['norelatime', 'strictatime', 'nostrictatime', 'diratime', 'nodiratime', 'lazytime', 'nolazytime', 'mand', 'nomand', 'loud', 'silent'],
]);

/** Applies `-o` texts to a request. A UsageError for a word nobody knows. */
export function applyMountOptions(request: MountRequest, texts: readonly string[]): void {
  const all = new Map<string, string | undefined>();
  for (const part of texts.flatMap((one) => one.split(/(?<!\\),/))) {
    const [key = '', ...rest] = part.replaceAll('\\,', ',').split('=');
    if (key === '') continue;
    // The last one counts, also between two that exclude each other.
    all.delete(key);
    all.set(key, rest.length === 0 ? undefined : rest.join('='));
  }
  for (const [key, value] of all) {
    if (forOthers.has(key) || /^(x-|comment$)/.test(key)) continue;
    const set = setters[key];
    if (set === undefined) throw new UsageError(`-o ${key}: no such option`);
    set(request, value, all);
  }
  request.address = withTransport(request.address, all);
}

/** v9fs names the server by `trans=` and friends beside a source; here it is one address. */
function withTransport(source: string, options: ReadonlyMap<string, string | undefined>): string {
  const trans = options.get('trans');
  const port = options.get('port');
  if (/^(tcp|tls|unix|exec|fd|dev|vsock|vsock\+unix|qemu):/.test(source)) {
    if (port === undefined) return source;
    const url = /^(tcp|tls):\/\/(\[[^\]]*\]|[^/:?]*)(?::\d+)?(.*)$/.exec(source);
    if (url === null) throw new UsageError(`-o port: ${source} has no port`);
    return `${url[1]}://${url[2]}:${port}${url[3]}`;
  }
  switch (trans ?? (source.startsWith('/') ? 'unix' : 'tcp')) {
    case 'tcp':
      return `tcp://${source.includes(':') ? `[${source}]` : source}${port === undefined ? '' : `:${port}`}/`;
    case 'unix':
      return `unix:${source}`;
    case 'fd':
      return `fd:${options.get('rfdno') ?? '0'},${options.get('wfdno') ?? '1'}`;
    default:
      throw new UsageError(
        `-o trans=${trans}: that is for a guest's kernel; here it is tcp, unix or fd, or an address such as vsock://CID:PORT`,
      );
  }
}

function text(key: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new UsageError(`-o ${key}: takes a value`);
  return value;
}

function number(key: string, value: string | undefined): number {
  const result = Number(text(key, value));
  if (!Number.isFinite(result) || result < 0) throw new UsageError(`-o ${key}=${value}: takes a number`);
  return result;
}

export function cacheMode(word: string): 'none' | 'open' | 'loose' {
  // v9fs's other words: mmap is none with shared mappings, which `open` has; fscache is loose on a disk.
  const modes: Readonly<Record<string, 'none' | 'open' | 'loose'>> = {
    none: 'none',
    open: 'open',
    loose: 'loose',
    mmap: 'open',
    readahead: 'open',
    fscache: 'loose',
  };
  return modes[word] ?? bad(`cache=${word}: it is none, open or loose`);
}

export function accessOf(word: string): 'user' | 'any' | number {
  if (word === 'user' || word === 'any') return word;
  if (word === 'client') return 'user';
  return /^\d+$/.test(word) ? Number(word) : bad(`access=${word}: it is user, any or a uid`);
}

export function locksOf(word: string): 'remote' | 'local' {
  return word === 'remote' || word === 'local' ? word : bad(`locks=${word}: they are remote or local`);
}

export function backendOf(word: string): 'kernel' | 'native' {
  return word === 'kernel' || word === 'native' ? word : bad(`backend=${word}: it is kernel or native`);
}

/** Seconds a request waits for a lost server; Infinity for "forever". */
export function retryOf(word: string): number {
  if (word === 'forever') return Number.POSITIVE_INFINITY;
  const seconds = Number(word);
  return word !== '' && Number.isFinite(seconds) && seconds >= 0 ? seconds : bad(`retry=${word}: it is seconds, or "forever"`);
}

function bad(message: string): never {
  throw new UsageError(message);
}
