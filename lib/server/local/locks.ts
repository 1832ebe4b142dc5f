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
import { O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } from '../../sys/flags.js';
import { F_OFD_GETLK, F_OFD_SETLK, F_RDLCK, F_UNLCK, F_WRLCK, readFlock, writeFlock } from '../../sys/lock.js';
import type { Op } from '../../sys/op.js';
import type { Awaitable, Caller } from '../backend.js';
import { failure } from '../errors.js';
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
/** Owners that may hold locks at once: each takes a descriptor. */
const MOST_OWNERS = 4096;
/** Ranges remembered for one open file; beyond, closing it unlocks everything its owner holds. */
const MOST_RANGES = 1024;
const END = Number.POSITIVE_INFINITY;

/** A range that an open file has locked: [start, end). */
interface Held {
  file: LocalFile;
  type: number;
  start: number;
  end: number;
}

/**
 * Whoever locks: a process of a client. Its locks are those of one open file description of the host (fcntl(2), F_OFD_SETLK), so
 * that they stand in the way of everybody else, on this connection, another one, another server or the host, but not in its own.
 */
interface Owner {
  readonly key: string;
  readonly file: Locked;
  readonly procId: number;
  readonly clientId: string;
  fd: number;
  /** Whether `fd` can take shared, and exclusive, locks. */
  readable: boolean;
  writable: boolean;
  held: Held[];
  /** Open files that have used this owner. */
  readonly users: Set<LocalFile>;
  /** Calls under way. */
  busy: number;
}

/** A file on which somebody holds or waits for locks. */
interface Locked {
  readonly key: string;
  readonly owners: Map<string, Owner>;
  /** Wake those that wait here, in the order they came. */
  readonly waiting: Set<() => void>;
}

/** The byte-range locks that the clients of an export hold. */
export class LocalLocks {
  readonly #tree: Tree;
  readonly #files = new Map<string, Locked>();
  readonly #byFile = new Map<LocalFile, Set<Owner>>();
  #owners = 0;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Owners with a descriptor of their own. */
  get size(): number {
    return this.#owners;
  }

  lock(file: LocalFile, range: LockRange, flags: number, caller: Caller): Awaitable<number> {
    const { type } = range;
    if (type !== LOCK_TYPE_RDLCK && type !== LOCK_TYPE_WRLCK && type !== LOCK_TYPE_UNLCK) throw failure('EINVAL');
    if (type !== LOCK_TYPE_UNLCK && !file.allows(type === LOCK_TYPE_WRLCK)) throw failure('EBADF');
    const first = this.#perform(file.node, (work) => this.#try(work, file, range, caller));
    if ((flags & LOCK_FLAGS_BLOCK) === 0 || first === LOCK_SUCCESS || first === LOCK_ERROR) return first;
    return this.#wait(first, file, range, caller);
  }

  async #wait(first: Awaitable<number>, file: LocalFile, range: LockRange, caller: Caller): Promise<number> {
    let status = await first;
    const { signal } = caller;
    const locked = this.#locked(file.node);
    let pause = FIRST_PAUSE;
    let wake: () => void = () => {};
    const ring = () => wake();
    locked.waiting.add(ring);
    signal.addEventListener('abort', ring);
    try {
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
        status = await this.#perform(file.node, (work) => this.#try(work, file, range, caller));
      }
      return status;
    } finally {
      signal.removeEventListener('abort', ring);
      locked.waiting.delete(ring);
      this.#forget(locked);
    }
  }

  getlock(file: LocalFile, range: LockRange, caller: Caller): Awaitable<LockRange> {
    const { type } = range;
    if (type !== LOCK_TYPE_RDLCK && type !== LOCK_TYPE_WRLCK && type !== LOCK_TYPE_UNLCK) throw failure('EINVAL');
    return this.#perform(file.node, (work) => this.#get(work, file, range, caller));
  }

  *#get(work: Work, file: LocalFile, range: LockRange, caller: Caller): Op<LockRange> {
    const owner = this.#files.get(keyOf(file.node))?.owners.get(ownerKey(range, caller));
    // v9fs asks with UNLCK whatever lock it is about: what would be in the way of an exclusive one?
    writeFlock(work.small, range.type === LOCK_TYPE_RDLCK ? F_RDLCK : F_WRLCK, range.start, range.length);
    must(yield* work.lock(owner?.fd ?? file.descriptor, F_OFD_GETLK));
    const found = readFlock(work.small);
    if (found.type === F_UNLCK) return { ...range, type: LOCK_TYPE_UNLCK };
    const type = found.type === F_RDLCK ? LOCK_TYPE_RDLCK : LOCK_TYPE_WRLCK;
    const holder = this.#holder(file.node, owner, type, found.start, found.length);
    const { start, length } = found;
    return { type, start, length, procId: holder?.procId ?? Math.max(found.pid, 0), clientId: holder?.clientId ?? '' };
  }

  /** Which of our owners a lock that the kernel told of belongs to. */
  #holder(node: LocalNode, asking: Owner | undefined, type: number, start: number, length: number): Owner | undefined {
    const end = length === 0 ? END : start + length;
    for (const owner of this.#files.get(keyOf(node))?.owners.values() ?? []) {
      if (owner !== asking && owner.held.some((held) => held.type === type && held.start < end && held.end > start)) return owner;
    }
    return undefined;
  }

  *#try(work: Work, file: LocalFile, range: LockRange, caller: Caller): Op<number> {
    const owner = yield* this.#owner(work, file, range, caller);
    if (owner === undefined) return range.type === LOCK_TYPE_UNLCK ? LOCK_SUCCESS : LOCK_ERROR;
    owner.busy++;
    try {
      const type = range.type === LOCK_TYPE_RDLCK ? F_RDLCK : range.type === LOCK_TYPE_WRLCK ? F_WRLCK : F_UNLCK;
      writeFlock(work.small, type, range.start, range.length);
      const result = yield* work.lock(owner.fd, F_OFD_SETLK);
      if (result === EAGAIN || result === EACCES) return LOCK_BLOCKED;
      if (result < 0) fail(result);
      this.#note(owner, file, range);
      return LOCK_SUCCESS;
    } finally {
      owner.busy--;
      this.#settle(owner);
    }
  }

  /** Whoever asks, with a descriptor; undefined to unlock what was never locked, or where there are too many. */
  *#owner(work: Work, file: LocalFile, range: LockRange, caller: Caller): Op<Owner | undefined> {
    const key = ownerKey(range, caller);
    const known = this.#files.get(keyOf(file.node))?.owners.get(key);
    if (known !== undefined) {
      const fits = range.type === LOCK_TYPE_UNLCK || (range.type === LOCK_TYPE_WRLCK ? known.writable : known.readable);
      if (!fits) throw failure('EBADF');
      this.#uses(file, known);
      return known;
    }
    if (range.type === LOCK_TYPE_UNLCK || this.#owners >= MOST_OWNERS) return undefined;
    // For reading and writing where that is allowed: the owner's next open file may want the other kind of lock.
    let fd = yield* work.reopen(file.descriptor, O_RDWR | OWN);
    const both = fd >= 0;
    if (!both) fd = must(yield* work.reopen(file.descriptor, (file.allows(true) ? O_WRONLY : O_RDONLY) | OWN));
    const locked = this.#locked(file.node);
    const rival = locked.owners.get(key);
    if (rival !== undefined) {
      closeNow(fd);
      this.#uses(file, rival);
      return rival;
    }
    const readable = both || !file.allows(true);
    const owner: Owner = {
      key,
      file: locked,
      procId: range.procId,
      clientId: range.clientId,
      fd,
      readable,
      writable: both || !readable,
      held: [],
      users: new Set(),
      busy: 0,
    };
    locked.owners.set(key, owner);
    this.#owners++;
    this.#uses(file, owner);
    return owner;
  }

  #uses(file: LocalFile, owner: Owner): void {
    owner.users.add(file);
    const owners = this.#byFile.get(file);
    if (owners === undefined) this.#byFile.set(file, new Set([owner]));
    else owners.add(owner);
  }

  /** Keeps account of who holds what. */
  #note(owner: Owner, file: LocalFile, { type, start, length }: LockRange): void {
    const end = length === 0 ? END : start + length;
    const held: Held[] = [];
    for (const range of owner.held) {
      if (range.start >= end || range.end <= start) held.push(range);
      else {
        if (range.start < start) held.push({ ...range, end: start });
        if (range.end > end) held.push({ ...range, start: end });
      }
    }
    if (type !== LOCK_TYPE_UNLCK) held.push({ file, type, start, end });
    owner.held = held;
    // An unlock, or an exclusive lock that became a shared one, may be what others wait for.
    if (type !== LOCK_TYPE_WRLCK) this.#wake(owner.file);
  }

  /** An open file is closed: the locks that were taken through it are gone. */
  release(file: LocalFile): void {
    const owners = this.#byFile.get(file);
    if (owners === undefined) return;
    this.#byFile.delete(file);
    for (const owner of owners) {
      owner.users.delete(file);
      const gone = owner.held.filter((held) => held.file === file);
      owner.held = owner.held.filter((held) => held.file !== file);
      if (owner.users.size > 0 && gone.length > 0) {
        const ranges = gone.length > MOST_RANGES ? [{ start: 0, end: END }] : gone;
        const unlocked = this.#perform(file.node, (work) => this.#unlock(work, owner, ranges));
        if (unlocked instanceof Promise) unlocked.catch(() => {});
      }
      this.#settle(owner);
      this.#wake(owner.file);
    }
  }

  *#unlock(work: Work, owner: Owner, ranges: readonly { start: number; end: number }[]): Op<void> {
    owner.busy++;
    try {
      for (const { start, end } of ranges) {
        writeFlock(work.small, F_UNLCK, start, end === END ? 0 : end - start);
        must(yield* work.lock(owner.fd, F_OFD_SETLK));
      }
    } finally {
      owner.busy--;
      this.#settle(owner);
      this.#wake(owner.file);
    }
  }

  /** Closes an owner that holds nothing and whom nobody uses: with its descriptor go its locks. */
  #settle(owner: Owner): void {
    if (owner.busy > 0 || owner.fd < 0 || (owner.users.size > 0 && owner.held.length > 0)) return;
    closeNow(owner.fd);
    owner.fd = -1;
    this.#owners--;
    owner.file.owners.delete(owner.key);
    for (const file of owner.users) this.#byFile.get(file)?.delete(owner);
    this.#forget(owner.file);
  }

  #locked(node: LocalNode): Locked {
    const key = keyOf(node);
    let locked = this.#files.get(key);
    if (locked === undefined) {
      locked = { key, owners: new Map(), waiting: new Set() };
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
    for (const locked of [...this.#files.values()]) {
      for (const owner of [...locked.owners.values()]) {
        owner.users.clear();
        this.#settle(owner);
      }
    }
  }

  #perform<T>(node: LocalNode, body: (work: Work) => Op<T>): Awaitable<T> {
    return this.#tree.perform(node, body);
  }
}

function keyOf(node: LocalNode): string {
  return `${node.device.dev}:${node.ino}`;
}

function ownerKey({ procId, clientId }: LockRange, caller: Caller): string {
  return `${caller.connection}\0${clientId}\0${procId}`;
}
