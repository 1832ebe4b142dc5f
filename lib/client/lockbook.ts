import { LOCK_TYPE_UNLCK } from '../protocol/constants.js';
import type { LockRange } from '../protocol/types.js';

/** Where a range ends; one of length 0 never does. */
function endOf({ start, length }: LockRange): number {
  return length === 0 ? Number.POSITIVE_INFINITY : start + length;
}

function between(range: LockRange, start: number, end: number): LockRange {
  return { ...range, start, length: end === Number.POSITIVE_INFINITY ? 0 : end - start };
}

/** The byte ranges that are locked through one fid, by owner, so that they can be taken again after a lost connection. */
export class LockBook {
  #held: LockRange[] = [];
  /** Locks that were given up and may have been granted: each until that has shown and they are given back. */
  readonly returning = new Set<Promise<void>>();
  /** How many have been given back. */
  returned = 0;

  get held(): readonly LockRange[] {
    return this.#held;
  }

  /** The server has granted `range`: as fcntl(2), it replaces what its owner held there, or ends it. */
  granted(range: LockRange): void {
    const start = range.start;
    const end = endOf(range);
    const kept: LockRange[] = [];
    for (const held of this.#held) {
      const heldEnd = endOf(held);
      const other = held.procId !== range.procId || held.clientId !== range.clientId;
      if (other || heldEnd <= start || held.start >= end) {
        kept.push(held);
        continue;
      }
      if (held.start < start) kept.push(between(held, held.start, start));
      if (heldEnd > end) kept.push(between(held, end, heldEnd));
    }
    if (range.type !== LOCK_TYPE_UNLCK) kept.push({ ...range });
    this.#held = kept;
  }

  /** What the owner of `range` holds within it, piece by piece, and LOCK_TYPE_UNLCK for what it does not. */
  within(range: LockRange): LockRange[] {
    const end = endOf(range);
    const pieces: LockRange[] = [];
    let at = range.start;
    for (const held of this.#held.toSorted((one, other) => one.start - other.start)) {
      const other = held.procId !== range.procId || held.clientId !== range.clientId;
      if (other || endOf(held) <= at || held.start >= end) continue;
      if (held.start > at) pieces.push({ ...between(range, at, held.start), type: LOCK_TYPE_UNLCK });
      pieces.push(between(held, Math.max(held.start, at), Math.min(endOf(held), end)));
      at = endOf(held);
    }
    if (at < end) pieces.push({ ...between(range, at, end), type: LOCK_TYPE_UNLCK });
    return pieces;
  }
}
