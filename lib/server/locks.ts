import {
  LOCK_BLOCKED,
  LOCK_ERROR,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../protocol/constants.js';
import type { LockRange } from '../protocol/types.js';
import type { Awaitable } from './backend.js';
import { failure } from './errors.js';
import { Locks, type Range, rangeOf } from './ranges.js';
import { Shares } from './shares.js';

/** A range that is locked, or to be. */
interface Held extends Range {
  type: number;
  procId: number;
  clientId: string;
}

/** What an owner holds. */
interface Holder {
  readonly connection: string;
  readonly locks: Locks<Held>;
}

interface Waiter {
  owner: object;
  connection: string;
  want: Held;
  grant(status: number): void;
}

/** Ranges that may be held and waited for at once, of all files in the process: what clients can make the server remember. */
const MAX_RANGES = 65536;
/** Owners that may hold some: whoever locks a file is compared with each that has locked a part of it. */
const MAX_OWNERS = 4096;

function heldOf({ type, start, length, procId, clientId }: LockRange): Held {
  return { ...rangeOf(start, length), type, procId, clientId };
}

/**
 * The byte-range locks on one file. An owner is an open file, as with Linux's open file description locks (fcntl(2)): two opens
 * of one client stand in each other's way, and closing one gives up nothing but its own.
 */
export class LockTable {
  /** Ranges of all tables. */
  static readonly #shares = new Shares(MAX_RANGES);
  static readonly #owners = new Shares(MAX_OWNERS);
  readonly #holders = new Map<object, Holder>();
  #waiters: Waiter[] = [];

  /** Whether nobody holds or waits for anything. */
  get empty(): boolean {
    return this.#holders.size === 0 && this.#waiters.length === 0;
  }

  /** Ranges held and requests that wait. */
  get size(): number {
    let size = this.#waiters.length;
    for (const { locks } of this.#holders.values()) size += locks.size;
    return size;
  }

  /**
   * Takes, changes or gives up a range. With LOCK_FLAGS_BLOCK waits in turn until it can be had; EINTR once `signal` aborts. Without,
   * a range in use is LOCK_BLOCKED. LOCK_ERROR where that would leave more ranges, of all tables, than are the share of the owner's
   * `connection`.
   */
  lock(owner: object, range: LockRange, flags: number, signal: () => AbortSignal, connection = ''): Awaitable<number> {
    if (range.type !== LOCK_TYPE_UNLCK && range.type !== LOCK_TYPE_RDLCK && range.type !== LOCK_TYPE_WRLCK) throw failure('EINVAL');
    const want = heldOf(range);
    if (range.type === LOCK_TYPE_UNLCK || this.#conflict(owner, want) === undefined) return this.#set(owner, connection, want);
    if ((flags & LOCK_FLAGS_BLOCK) === 0) return LOCK_BLOCKED;
    const aborted = signal();
    if (aborted.aborted) throw failure('EINTR');
    if (!LockTable.#shares.take(connection, 1)) return LOCK_ERROR;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        owner,
        connection,
        want,
        grant: (status) => {
          aborted.removeEventListener('abort', abort);
          resolve(status);
        },
      };
      const abort = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        LockTable.#shares.give(connection, 1);
        reject(failure('EINTR'));
      };
      aborted.addEventListener('abort', abort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** The first lock of another owner in the way of `range`; `range` with LOCK_TYPE_UNLCK where there is none. */
  getlock(owner: object, range: LockRange): LockRange {
    // v9fs asks with LOCK_TYPE_UNLCK whatever lock fcntl(F_GETLK) is about: it is told what would be in the way of an exclusive one.
    if (range.type !== LOCK_TYPE_UNLCK && range.type !== LOCK_TYPE_RDLCK && range.type !== LOCK_TYPE_WRLCK) throw failure('EINVAL');
    const type = range.type === LOCK_TYPE_UNLCK ? LOCK_TYPE_WRLCK : range.type;
    const other = this.#conflict(owner, heldOf({ ...range, type }));
    if (other === undefined) return { ...range, type: LOCK_TYPE_UNLCK };
    const length = other.end === Number.POSITIVE_INFINITY ? 0 : other.end - other.start;
    return { type: other.type, start: other.start, length, procId: other.procId, clientId: other.clientId };
  }

  /** Gives up everything an owner holds or waits for; a wait ends with LOCK_ERROR. */
  release(owner: object): void {
    if (this.empty) return;
    const waiting = this.#waiters.filter((waiter) => waiter.owner === owner);
    this.#waiters = this.#waiters.filter((waiter) => waiter.owner !== owner);
    const holder = this.#holders.get(owner);
    if (holder !== undefined) {
      LockTable.#shares.give(holder.connection, holder.locks.size);
      this.#forget(owner, holder);
    }
    for (const { connection, grant } of waiting) {
      LockTable.#shares.give(connection, 1);
      grant(LOCK_ERROR);
    }
    this.#wake();
  }

  #conflict(owner: object, want: Held): Held | undefined {
    let first: Held | undefined;
    for (const [other, { locks }] of this.#holders) {
      if (other === owner) continue;
      first = earlier(first, locks.exclusive.first(want));
      if (want.type !== LOCK_TYPE_RDLCK) first = earlier(first, locks.shared.first(want));
    }
    return first;
  }

  /** Has an owner hold a range in another way, or not at all. LOCK_ERROR where that leaves more ranges than the connection may have: an unlock, too, may make two of one. */
  #set(owner: object, connection: string, want: Held): number {
    const holder = this.#holders.get(owner) ?? { connection, locks: new Locks<Held>() };
    const { locks } = holder;
    const more = locks.more(want.type, want);
    if (!LockTable.#shares.allow(connection, more) || (locks.size === 0 && more > 0 && !this.#admit(owner, holder))) return LOCK_ERROR;
    LockTable.#shares.give(connection, -more);
    locks.set(want.type, want);
    if (locks.size === 0) this.#forget(owner, holder);
    // A write lock turned into a read lock may let others in, as does what is unlocked.
    if (want.type !== LOCK_TYPE_WRLCK) this.#wake();
    return LOCK_SUCCESS;
  }

  #admit(owner: object, holder: Holder): boolean {
    if (!LockTable.#owners.take(holder.connection, 1)) return false;
    this.#holders.set(owner, holder);
    return true;
  }

  #forget(owner: object, { connection }: Holder): void {
    if (this.#holders.delete(owner)) LockTable.#owners.give(connection, 1);
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      const { owner, connection, want, grant } = waiter;
      if (this.#conflict(owner, want) === undefined) {
        LockTable.#shares.give(connection, 1);
        grant(this.#set(owner, connection, want));
      } else {
        this.#waiters.push(waiter);
      }
    }
  }
}

function earlier(one: Held | undefined, other: Held | undefined): Held | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return other.start < one.start ? other : one;
}
