import type { StatFs } from '../../sys/stat.js';
import { sleeps } from '../../sys/switches.js';
import { OwnThreads, sharedThreads, type Threads } from '../../sys/threads.js';
import { failure } from '../errors.js';
import type { MultiDevices } from './options.js';

/** File systems whose metadata calls answer from memory or a local disk (statfs(2), linux/magic.h). */
const LOCAL = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630, 0x858458f6, 0xf2f52010, 0x73717368, 0x9660, 0x4d44, 0x2011bab0, 0xe0f5e1e2,
  0x2fc12fc1, 0x7366746e, 0x3153464a, 0x52654973, 0x3434, 0x15013346, 0x958458f6, 0x6e736673,
]);
/** Of these, the ones whose files change without a word: size and times tell nothing. */
const VOLATILE = new Set([
  0x9fa0, 0x62656572, 0x64626720, 0x74726163, 0x27e0eb, 0x63677270, 0x73636673, 0x62656570, 0xcafe4a11, 0x6165676c, 0x1cd1, 0x19800202,
  0x42494e4d,
]);
/** File systems that change a file's ctime with its xattrs, without exception. */
const CTIME_TELLS = new Set([0xef53, 0x58465342, 0x9123683e, 0xf2f52010]);
/** File systems of which inotify(7) tells all that is made in them, and whose directories say where they fold case. */
const NAMES_TELL = new Set([0xef53, 0x9123683e, 0xf2f52010, 0x01021994, 0x794c7630]);

/**
 * Milliseconds: an operation on this thread that takes longer than SLOW is suspicious; the next ones are watched for WATCH, as it may have been the
 * scheduler's doing. Those that were seen asleep for more than BUDGET of that time send others to other threads, for AWAY at first.
 */
const SLOW = 5;
const WATCH = 1000;
const BUDGET = 50;
const AWAY = 200;
const AWAY_MOST = 10_000;
const IN_MEMORY = new Set([0x01021994, 0x858458f6, 0x958458f6]);

/** A file system under the export. */
export class Device {
  /** As Stat.dev. */
  readonly dev: number;
  /** Its place among the devices of the export; the root's is 0. */
  readonly index: number;
  /** Whether files here change unseen, so that qid.version must be 0. */
  readonly volatile: boolean;
  /** Whether a changed xattr shows in the ctime. */
  readonly ctimeTells: boolean;
  /** Whether new names here are told (inotify(7)), and found by their own bytes where a directory does not say otherwise. */
  readonly tellsNames: boolean;
  /** Whom this file system calls the owner of what the server makes, where that was found to be somebody else. */
  owner: number | undefined;
  /** Whether this file system refuses RWF_NOWAIT. */
  uncached = false;
  /** Where calls are made that may block. */
  readonly threads: Threads;
  readonly #remote: boolean;
  readonly #inMemory: boolean;
  #awayUntil = 0;
  #away = AWAY;
  #watchedUntil = 0;
  #slept = 0;

  constructor(dev: number, index: number, type: number, background: boolean) {
    this.dev = dev;
    this.index = index;
    this.volatile = VOLATILE.has(type);
    this.ctimeTells = CTIME_TELLS.has(type);
    this.tellsNames = NAMES_TELL.has(type);
    this.#inMemory = IN_MEMORY.has(type);
    this.#remote = background || !(LOCAL.has(type) || this.volatile);
    // A read of /proc may wait for the process it is about, for as long as that hangs.
    this.threads = this.#remote || this.volatile ? new OwnThreads() : sharedThreads;
  }

  /** Whether calls may be made on this thread now. */
  here(now: number): boolean {
    return !this.#remote && now >= this.#awayUntil;
  }

  /** Before an operation on this thread: what `took` wants to know afterwards. */
  begin(now: number): number {
    return now < this.#watchedUntil ? sleeps() : -1;
  }

  /** After it. A disk that is slow again right after its time away stays away for longer. */
  took(milliseconds: number, now: number, begun: number): void {
    if (milliseconds <= SLOW || this.#inMemory) return;
    if (now >= this.#watchedUntil) this.#slept = 0;
    this.#watchedUntil = now + WATCH;
    if (begun < 0 || sleeps() === begun) return;
    this.#slept += milliseconds;
    if (this.#slept <= BUDGET) return;
    this.#slept = 0;
    this.#away = now < this.#awayUntil + WATCH ? Math.min(this.#away * 2, AWAY_MOST) : AWAY;
    this.#awayUntil = now + this.#away;
    this.#watchedUntil = this.#awayUntil + WATCH;
  }
}

const PREFIX_SHIFT = 48n;
const INODE_MASK = (1n << PREFIX_SHIFT) - 1n;
const MOST_PREFIXES = 65536;

/** 1 to 65535, by FNV-1a. */
function prefixOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return ((hash >>> 0) % (MOST_PREFIXES - 1)) + 1;
}

/** The file systems under an export, and the qid paths of their files. */
export class Devices {
  readonly #devices = new Map<number, Device>();
  /** For the first look at a file system: it may be one that hangs. */
  readonly strangers = { threads: new OwnThreads() };
  /** A device and the upper 16 bits of an inode number, to the upper 16 bits of its qid paths. */
  readonly #prefixes = new Map<string, bigint>();
  readonly #taken = new Set<number>();
  readonly #multidevs: MultiDevices;
  readonly #background: boolean;
  readonly #warn: (message: string) => void;
  #warned = false;

  constructor(multidevs: MultiDevices, background: boolean, warn: (message: string) => void) {
    this.#multidevs = multidevs;
    this.#background = background;
    this.#warn = warn;
  }

  /** The device of that number, if files of it were seen before. */
  get(dev: number): Device | undefined {
    return this.#devices.get(dev);
  }

  /** Notes a device. ENODEV for a second one under multidevs=forbid. */
  add(dev: number, statfs: StatFs): Device {
    const known = this.#devices.get(dev);
    if (known !== undefined) return known;
    if (this.#devices.size > 0 && this.#multidevs !== 'remap') {
      const forbidden = this.#multidevs === 'forbid';
      if (!this.#warned) {
        this.#warned = true;
        this.#warn(
          `the export spans several file systems${forbidden ? ': those below its own are refused' : ', whose inode numbers may meet: use multidevs=remap'}`,
        );
      }
      if (forbidden) throw failure('ENODEV');
    }
    const device = new Device(dev, this.#devices.size, statfs.type, this.#background);
    this.#devices.set(dev, device);
    return device;
  }

  /** Ends the threads that are idle. */
  close(): void {
    for (const { threads } of [this.strangers, ...this.#devices.values()]) threads.close();
  }

  /** Whether qid paths of a device's files are their inode numbers, as long as those are below 2⁴⁸. */
  pathIsIno(device: Device): boolean {
    return this.#multidevs !== 'remap' || device.index === 0;
  }

  /** qid.path: the inode number, made unique among the devices of the export (multidevs=remap). */
  path(device: Device, ino: bigint): bigint {
    if (this.#multidevs !== 'remap') return ino;
    if (device.index === 0 && ino <= INODE_MASK) return ino;
    const key = `${device.dev}:${ino >> PREFIX_SHIFT}`;
    let prefix = this.#prefixes.get(key);
    if (prefix === undefined) {
      // Prefix 0 is the root device's own, for inode numbers that fit below it.
      if (this.#prefixes.size + 1 >= MOST_PREFIXES) throw failure('ENFILE');
      // A client that comes back after a restart wants its files under the same numbers, whatever is looked at first.
      let number = prefixOf(key);
      while (this.#taken.has(number)) number = (number % (MOST_PREFIXES - 1)) + 1;
      this.#taken.add(number);
      prefix = BigInt(number) << PREFIX_SHIFT;
      this.#prefixes.set(key, prefix);
    }
    return prefix | (ino & INODE_MASK);
  }
}
