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

interface Held {
  owner: object;
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

/** Ranges that may be held at once, of all files in the process: what clients can make the server remember. */
const MAX_RANGES = 65536;

function heldOf(owner: object, range: LockRange): Held {
  return {
    owner,
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
  /** Ranges that are held in all tables. */
  static #total = 0;
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
   * a range in use is LOCK_BLOCKED.
   */
  lock(owner: object, range: LockRange, flags: number, signal: () => AbortSignal): Awaitable<number> {
    if (range.type !== LOCK_TYPE_UNLCK && range.type !== LOCK_TYPE_RDLCK && range.type !== LOCK_TYPE_WRLCK) throw failure('EINVAL');
    const want = heldOf(owner, range);
    if (range.type === LOCK_TYPE_UNLCK) {
      this.#keep(this.#without(owner, want.start, want.end));
      this.#wake();
      return LOCK_SUCCESS;
    }
    if (this.#conflict(want) === undefined) return this.#take(want);
    if ((flags & LOCK_FLAGS_BLOCK) === 0) return LOCK_BLOCKED;
    if (this.size >= MAX_RANGES) return LOCK_ERROR;
    const aborted = signal();
    if (aborted.aborted) throw failure('EINTR');
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
    const other = this.#conflict(heldOf(owner, { ...range, type }));
    if (other === undefined) return { ...range, type: LOCK_TYPE_UNLCK };
    const length = other.end === Number.POSITIVE_INFINITY ? 0 : other.end - other.start;
    return { type: other.type, start: other.start, length, procId: other.procId, clientId: other.clientId };
  }

  /** Gives up everything an owner holds or waits for; a wait ends with LOCK_ERROR. */
  release(owner: object): void {
    if (this.empty) return;
    const waiting = this.#waiters.filter(({ want }) => want.owner === owner);
    this.#waiters = this.#waiters.filter(({ want }) => want.owner !== owner);
    this.#keep(this.#held.filter((held) => held.owner !== owner));
    for (const waiter of waiting) waiter.grant(LOCK_ERROR);
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
    const more = held.length - this.#held.length;
    if (more > 0 && LockTable.#total + more > MAX_RANGES) return LOCK_ERROR;
    this.#keep(held);
    // A write lock turned into a read lock may let others in.
    if (want.type === LOCK_TYPE_RDLCK) this.#wake();
    return LOCK_SUCCESS;
  }

  #keep(held: Held[]): void {
    LockTable.#total += held.length - this.#held.length;
    this.#held = held;
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) {
      if (this.#conflict(waiter.want) === undefined) waiter.grant(this.#take(waiter.want));
      else this.#waiters.push(waiter);
    }
  }
}
