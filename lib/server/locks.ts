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
import { Shares } from './shares.js';

interface Held {
  owner: object;
  connection: string;
  type: number;
  start: number;
  /** First byte after the range; Infinity for "to the end of the file, wherever that moves". */
  end: number;
  procId: number;
  clientId: string;
}

interface Waiter {
  want: Held;
  grant(status: number): void;
}

/** Ranges that may be held and waited for at once, of all files in the process: what clients can make the server remember. */
const MAX_RANGES = 65536;

function heldOf(owner: object, connection: string, range: LockRange): Held {
  return {
    owner,
    connection,
    type: range.type,
    start: range.start,
    end: range.length === 0 ? Number.POSITIVE_INFINITY : range.start + range.length,
    procId: range.procId,
    clientId: range.clientId,
  };
}

/**
 * The byte-range locks on one file. An owner is an open file, as with Linux's open file description locks (fcntl(2)): two opens
 * of one client stand in each other's way, and closing one gives up nothing but its own.
 */
export class LockTable {
  /** Ranges of all tables. */
  static readonly #shares = new Shares(MAX_RANGES);
  #held: Held[] = [];
  #waiters: Waiter[] = [];

  /** Whether nobody holds or waits for anything. */
  get empty(): boolean {
    return this.#held.length === 0 && this.#waiters.length === 0;
  }

  /** Ranges held and requests that wait. */
  get size(): number {
    return this.#held.length + this.#waiters.length;
  }

  /**
   * Takes, changes or gives up a range. With LOCK_FLAGS_BLOCK waits in turn until it can be had; EINTR once `signal` aborts. Without,
   * a range in use is LOCK_BLOCKED. LOCK_ERROR where that would leave more ranges, of all tables, than are the share of the owner's
   * `connection`.
   */
  lock(owner: object, range: LockRange, flags: number, signal: () => AbortSignal, connection = ''): Awaitable<number> {
    if (range.type !== LOCK_TYPE_UNLCK && range.type !== LOCK_TYPE_RDLCK && range.type !== LOCK_TYPE_WRLCK) throw failure('EINVAL');
    const want = heldOf(owner, connection, range);
    if (range.type === LOCK_TYPE_UNLCK) {
      // What is unlocked may leave two ranges where one was.
      if (!this.#keep(this.#without(owner, want.start, want.end), connection)) return LOCK_ERROR;
      this.#wake();
      return LOCK_SUCCESS;
    }
    if (this.#conflict(want) === undefined) return this.#take(want);
    if ((flags & LOCK_FLAGS_BLOCK) === 0) return LOCK_BLOCKED;
    const aborted = signal();
    if (aborted.aborted) throw failure('EINTR');
    if (!LockTable.#shares.take(connection, 1)) return LOCK_ERROR;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
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
    const other = this.#conflict(heldOf(owner, '', { ...range, type }));
    if (other === undefined) return { ...range, type: LOCK_TYPE_UNLCK };
    const length = other.end === Number.POSITIVE_INFINITY ? 0 : other.end - other.start;
    return { type: other.type, start: other.start, length, procId: other.procId, clientId: other.clientId };
  }

  /** Gives up everything an owner holds or waits for; a wait ends with LOCK_ERROR. */
  release(owner: object): void {
    if (this.empty) return;
    const waiting = this.#waiters.filter(({ want }) => want.owner === owner);
    this.#waiters = this.#waiters.filter(({ want }) => want.owner !== owner);
    const [held] = this.#held.filter((other) => other.owner === owner);
    if (held !== undefined)
      this.#keep(
        this.#held.filter((other) => other.owner !== owner),
        held.connection,
      );
    for (const { want, grant } of waiting) {
      LockTable.#shares.give(want.connection, 1);
      grant(LOCK_ERROR);
    }
    this.#wake();
  }

  #conflict(want: Held): Held | undefined {
    let first: Held | undefined;
    for (const held of this.#held) {
      if (held.owner === want.owner || held.start >= want.end || want.start >= held.end) continue;
      if (held.type === LOCK_TYPE_RDLCK && want.type === LOCK_TYPE_RDLCK) continue;
      if (first === undefined || held.start < first.start) first = held;
    }
    return first;
  }

  /** What is held once `owner` has no part of [start, end) any more. */
  #without(owner: object, start: number, end: number): Held[] {
    const rest: Held[] = [];
    for (const held of this.#held) {
      if (held.owner !== owner || held.start >= end || start >= held.end) {
        rest.push(held);
        continue;
      }
      if (held.start < start) rest.push({ ...held, end: start });
      if (held.end > end) rest.push({ ...held, start: end });
    }
    return rest;
  }

  #take(want: Held): number {
    const rest = this.#without(want.owner, want.start, want.end);
    const joined = { ...want };
    // Neighbours of the same type become one range, so that locking byte after byte takes no more room than one lock.
    const held = rest.filter((other) => {
      const touches = other.owner === want.owner && other.type === want.type && (other.end === joined.start || other.start === joined.end);
      if (touches) {
        joined.start = Math.min(joined.start, other.start);
        joined.end = Math.max(joined.end, other.end);
      }
      return !touches;
    });
    held.push(joined);
    if (!this.#keep(held, want.connection)) return LOCK_ERROR;
    // A write lock turned into a read lock may let others in.
    if (want.type === LOCK_TYPE_RDLCK) this.#wake();
    return LOCK_SUCCESS;
  }

  /** Has these ranges held instead, which differ in those of one connection; false where that has not as many. */
  #keep(held: Held[], connection: string): boolean {
    if (!LockTable.#shares.take(connection, held.length - this.#held.length)) return false;
    this.#held = held;
    return true;
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#conflict(waiter.want) === undefined) {
        LockTable.#shares.give(waiter.want.connection, 1);
        waiter.grant(this.#take(waiter.want));
      } else {
        this.#waiters.push(waiter);
      }
    }
  }
}
