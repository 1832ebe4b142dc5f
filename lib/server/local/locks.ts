import {
  LOCK_BLOCKED,
  LOCK_ERROR,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../protocol/constants.js';
import type { LockRange } from '../../protocol/types.js';
import { closeNow, EAGAIN } from '../../sys/files.js';
import { O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDWR } from '../../sys/flags.js';
import { F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, readFlock, writeFlock } from '../../sys/lock.js';
import type { Op } from '../../sys/op.js';
import type { Awaitable, Caller } from '../backend.js';
import { openFiles } from '../descriptors.js';
import { failure } from '../errors.js';
import { Locks, type Range, rangeOf } from '../ranges.js';
import { Shares } from '../shares.js';
import { fail, must } from './fail.js';
import type { LocalFile } from './file.js';
import type { LocalNode } from './node.js';
import type { Tree } from './tree.js';
import type { Work } from './work.js';

const OWN = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
const EACCES = -13;
/** Milliseconds between two tries for a lock that another process holds: at first, and at most. */
const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 200;
/** Owners that may hold locks at once, of all connections: each takes a descriptor, out of its connection's share of those. */
const MOST_OWNERS = 4096;
/** Ranges that they may hold, all together: the kernel, too, remembers each. */
const MOST_RANGES = 65536;

/**
 * Whoever locks: a process of a client, through one open file. Its locks are those of an open file description of the host's of its own (fcntl(2),
 * F_OFD_SETLK): they stand in the way of everybody else, on this fid, another one, another server or the host, and end with it.
 */
interface Owner {
  readonly key: string;
  readonly open: LocalFile;
  readonly file: Locked;
  readonly procId: number;
  readonly clientId: string;
  fd: number;
  /** Whether that is open for writing, which an exclusive lock needs. */
  writes: boolean;
  held: Locks<Range>;
  /** Calls under way. */
  busy: number;
}

/** A file on which somebody holds or waits for locks. */
interface Locked {
  readonly key: string;
  readonly owners: Set<Owner>;
  /** Wake those that wait here, in the order they came. */
  readonly waiting: Set<() => void>;
}

/** The byte-range locks that the clients of an export hold. */
export class LocalLocks {
  readonly #tree: Tree;
  readonly #files = new Map<string, Locked>();
  readonly #opens = new Map<LocalFile, Map<string, Owner>>();
  readonly #owners = new Shares(MOST_OWNERS);
  readonly #ranges = new Shares(MOST_RANGES);

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Owners that hold locks, each with a descriptor, and waits. */
  get size(): number {
    let size = 0;
    for (const { owners, waiting } of this.#files.values()) size += owners.size + waiting.size;
    return size;
  }

  lock(open: LocalFile, range: LockRange, flags: number, caller: Caller): Awaitable<number> {
    const { type } = range;
    checkType(type);
    if (type !== LOCK_TYPE_UNLCK && !open.allows(type === LOCK_TYPE_WRLCK) && !isFlock(range)) throw failure('EBADF');
    const first = this.#tree.perform(open.node, (work) => this.#try(work, open, range));
    if ((flags & LOCK_FLAGS_BLOCK) === 0 || first === LOCK_SUCCESS || first === LOCK_ERROR) return first;
    return this.#wait(first, open, range, caller.signal);
  }

  /** Tries again when a lock here is given up, and, as nobody tells of locks elsewhere, now and then: no thread is kept waiting. */
  async #wait(first: Awaitable<number>, open: LocalFile, range: LockRange, signal: AbortSignal): Promise<number> {
    const locked = this.#locked(open.node);
    let pause = FIRST_PAUSE;
    let wake: () => void = () => {};
    const ring = () => wake();
    locked.waiting.add(ring);
    signal.addEventListener('abort', ring);
    try {
      let status = await first;
      while (status === LOCK_BLOCKED) {
        if (signal.aborted) throw failure('EINTR');
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, pause);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        pause = Math.min(pause * 2, LONGEST_PAUSE);
        if (signal.aborted) throw failure('EINTR');
        status = await this.#tree.perform(open.node, (work) => this.#try(work, open, range));
      }
      return status;
    } finally {
      signal.removeEventListener('abort', ring);
      locked.waiting.delete(ring);
      this.#forget(locked);
    }
  }

  *#try(work: Work, open: LocalFile, range: LockRange): Op<number> {
    const owner = yield* this.#owner(work, open, range);
    if (owner === undefined) return range.type === LOCK_TYPE_UNLCK ? LOCK_SUCCESS : LOCK_ERROR;
    // An unlock, too, may leave two ranges where one was.
    if (!this.#ranges.allow(open.connection, owner.held.more(range.type, rangeOf(range.start, range.length)))) {
      this.#settle(owner);
      return LOCK_ERROR;
    }
    if (range.type === LOCK_TYPE_WRLCK && !owner.writes && !(yield* this.#widen(work, owner))) return LOCK_BLOCKED;
    owner.busy++;
    try {
      const type = range.type === LOCK_TYPE_RDLCK ? F_RDLCK : range.type === LOCK_TYPE_WRLCK ? F_WRLCK : F_UNLCK;
      writeFlock(work.small, type, range.start, range.length);
      const result = yield* work.lock(owner.fd, F_OFD_SETLK);
      if (result === EAGAIN || result === EACCES) return LOCK_BLOCKED;
      if (result < 0) fail(result);
      // What was held through it was given up when it was closed, and nobody would give up this.
      if (open.closing) throw failure('EBADF');
      this.#note(owner, range);
      return LOCK_SUCCESS;
    } finally {
      owner.busy--;
      this.#settle(owner);
    }
  }

  /** Whoever asks, with a descriptor; undefined to unlock what was never locked, or where there are too many. */
  *#owner(work: Work, open: LocalFile, range: LockRange): Op<Owner | undefined> {
    const key = `${range.procId} ${range.clientId}`;
    const known = this.#opens.get(open)?.get(key);
    if (known !== undefined) return known;
    const { descriptor } = open;
    if (range.type === LOCK_TYPE_UNLCK || !this.#admit(open)) return undefined;
    const writes = open.allows(true);
    const fd = yield* work.reopen(descriptor, open.access | OWN);
    const rival = this.#opens.get(open)?.get(key);
    if (fd < 0 || rival !== undefined || open.closing) {
      if (fd >= 0) closeNow(fd);
      this.#dismiss(open);
      must(fd);
      if (rival === undefined) throw failure('EBADF');
      return rival;
    }
    const file = this.#locked(open.node);
    const owner: Owner = { key, open, file, procId: range.procId, clientId: range.clientId, fd, writes, held: new Locks(), busy: 0 };
    file.owners.add(owner);
    const owners = this.#opens.get(open);
    if (owners === undefined) this.#opens.set(open, new Map([[key, owner]]));
    else owners.set(key, owner);
    return owner;
  }

  /** Takes what one more owner takes of its connection's shares; false where that has none left. */
  #admit({ connection }: LocalFile): boolean {
    if (!this.#owners.take(connection, 1)) return false;
    if (openFiles().take(connection, 1)) return true;
    this.#owners.give(connection, 1);
    return false;
  }

  #dismiss({ connection }: LocalFile): void {
    this.#owners.give(connection, 1);
    openFiles().give(connection, 1);
  }

  /**
   * Gives an owner whose file is open for reading a descriptor that may be locked exclusively. What it held is gone with the old one: flock(2) does not
   * promise more of a lock that becomes another. False while calls that use the old one are under way.
   */
  *#widen(work: Work, owner: Owner): Op<boolean> {
    if (owner.busy > 0) return false;
    const fd = yield* work.reopen(owner.open.descriptor, O_RDWR | OWN);
    if (fd < 0) {
      this.#settle(owner);
      fail(fd);
    }
    if (owner.busy > 0 || owner.fd < 0 || owner.writes) {
      closeNow(fd);
      // Another call has done it meanwhile, and may hold by now what must not be let go.
      return owner.fd >= 0 && owner.writes;
    }
    closeNow(owner.fd);
    owner.fd = fd;
    owner.writes = true;
    this.#drop(owner);
    this.#wake(owner.file);
    return true;
  }

  /** Keeps account of who holds what. */
  #note(owner: Owner, range: LockRange): void {
    const bytes = rangeOf(range.start, range.length);
    this.#ranges.give(owner.open.connection, -owner.held.more(range.type, bytes));
    owner.held.set(range.type, bytes);
    // An unlock, or an exclusive lock that became a shared one, may be what others wait for.
    if (range.type !== LOCK_TYPE_WRLCK) this.#wake(owner.file);
  }

  /** What it held is gone. */
  #drop(owner: Owner): void {
    this.#ranges.give(owner.open.connection, owner.held.size);
    owner.held = new Locks();
  }

  getlock(open: LocalFile, range: LockRange): Awaitable<LockRange> {
    checkType(range.type);
    return this.#tree.perform(open.node, (work) => this.#get(work, open, range));
  }

  *#get(work: Work, open: LocalFile, range: LockRange): Op<LockRange> {
    const owner = this.#opens.get(open)?.get(`${range.procId} ${range.clientId}`);
    // v9fs asks with UNLCK whatever lock it is about: then what is told is what would be in the way of an exclusive one.
    writeFlock(work.small, range.type === LOCK_TYPE_RDLCK ? F_RDLCK : F_WRLCK, range.start, range.length);
    must(yield* work.lock(owner?.fd ?? open.descriptor, F_OFD_GETLK));
    const found = readFlock(work.small);
    if (found.type === F_UNLCK) return { ...range, type: LOCK_TYPE_UNLCK };
    const { start, length } = found;
    const type = found.type === F_RDLCK ? LOCK_TYPE_RDLCK : LOCK_TYPE_WRLCK;
    const holder = this.#holder(open.node, owner, type, rangeOf(start, length));
    return { type, start, length, procId: holder?.procId ?? Math.max(found.pid, 0), clientId: holder?.clientId ?? '' };
  }

  /** Which of our owners a lock that the kernel told of belongs to. */
  #holder(node: LocalNode, asking: Owner | undefined, type: number, range: Range): Owner | undefined {
    for (const owner of this.#files.get(keyOf(node))?.owners ?? []) {
      const { shared, exclusive } = owner.held;
      if (owner !== asking && (type === LOCK_TYPE_RDLCK ? shared : exclusive).first(range) !== undefined) return owner;
    }
    return undefined;
  }

  /** An open file is closed: the locks that were taken through it are gone. */
  release(open: LocalFile): void {
    const owners = this.#opens.get(open);
    if (owners === undefined) return;
    for (const owner of [...owners.values()]) {
      this.#drop(owner);
      this.#settle(owner);
    }
  }

  /** Closes an owner that holds nothing: with its descriptor go its locks. */
  #settle(owner: Owner): void {
    if (owner.busy > 0 || owner.fd < 0 || owner.held.size > 0) return;
    closeNow(owner.fd);
    owner.fd = -1;
    this.#dismiss(owner.open);
    owner.file.owners.delete(owner);
    const owners = this.#opens.get(owner.open);
    owners?.delete(owner.key);
    if (owners?.size === 0) this.#opens.delete(owner.open);
    this.#wake(owner.file);
    this.#forget(owner.file);
  }

  #locked(node: LocalNode): Locked {
    const key = keyOf(node);
    let locked = this.#files.get(key);
    if (locked === undefined) {
      locked = { key, owners: new Set(), waiting: new Set() };
      this.#files.set(key, locked);
    }
    return locked;
  }

  #forget(locked: Locked): void {
    if (locked.owners.size === 0 && locked.waiting.size === 0 && this.#files.get(locked.key) === locked) this.#files.delete(locked.key);
  }

  #wake(locked: Locked): void {
    for (const ring of [...locked.waiting]) ring();
  }

  /** Ends every owner. */
  close(): void {
    for (const open of [...this.#opens.keys()]) this.release(open);
  }
}

function checkType(type: number): void {
  if (type !== LOCK_TYPE_RDLCK && type !== LOCK_TYPE_WRLCK && type !== LOCK_TYPE_UNLCK) throw failure('EINVAL');
}

/** A lock of the whole file is how Linux sends flock(2)'s LOCK_EX, which asks for no write access. */
function isFlock({ type, start, length }: LockRange): boolean {
  return type === LOCK_TYPE_WRLCK && start === 0 && length === 0;
}

function keyOf(node: LocalNode): string {
  return `${node.device.dev}:${node.ino}`;
}
