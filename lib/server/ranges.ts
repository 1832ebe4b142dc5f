import { LOCK_TYPE_RDLCK, LOCK_TYPE_WRLCK } from '../protocol/constants.js';

/** Bytes of a file: [start, end). `end` is Infinity for "to the end of the file, wherever that moves". */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** What is to be in the place of `count` ranges from the one at `at` on. */
interface Edit<R> {
  readonly at: number;
  readonly count: number;
  readonly put: readonly R[];
}

/** Ranges in order, none of which touches another: what there is at a byte is found by halves, however many they are. */
export class Ranges<R extends Range> {
  readonly #all: R[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** The first that has a byte of [start, end). */
  first({ start, end }: Range): R | undefined {
    const found = this.#all[this.#after(start)];
    return found !== undefined && found.start < end ? found : undefined;
  }

  /** Takes [start, end) out, which may leave two where one was. */
  without({ start, end }: Range): Edit<R> {
    const edit = this.#among(this.#after(start), this.#from(end));
    const [first, last] = this.#ends(edit);
    const put: R[] = [];
    if (first !== undefined && first.start < start) put.push({ ...first, end: start });
    if (last !== undefined && last.end > end) put.push({ ...last, start: end });
    return { ...edit, put };
  }

  /** Puts a range in. It becomes one with its neighbours, so that locking byte after byte takes no more room than one lock. */
  with(range: R): Edit<R> {
    const edit = this.#among(this.#after(range.start - 1), this.#from(range.end + 1));
    const [first = range, last = range] = this.#ends(edit);
    return { ...edit, put: [{ ...range, start: Math.min(range.start, first.start), end: Math.max(range.end, last.end) }] };
  }

  apply({ at, count, put }: Edit<R>): void {
    this.#all.splice(at, count, ...put);
  }

  #among(at: number, to: number): Edit<R> {
    return { at, count: to - at, put: [] };
  }

  #ends({ at, count }: Edit<R>): [R | undefined, R | undefined] {
    return count > 0 ? [this.#all[at], this.#all[at + count - 1]] : [undefined, undefined];
  }

  /** Where the first is that ends after a byte. */
  #after(byte: number): number {
    const all = this.#all;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((all[middle] as R).end > byte) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Where the first is that starts at a byte or behind it. */
  #from(byte: number): number {
    const all = this.#all;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((all[middle] as R).start >= byte) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** What one owner has locked: no byte in more than one way. */
export class Locks<R extends Range> {
  readonly shared = new Ranges<R>();
  readonly exclusive = new Ranges<R>();

  get size(): number {
    return this.shared.size + this.exclusive.size;
  }

  /** How many ranges more there would be once one was locked in that way (LOCK_TYPE_*), or unlocked. */
  more(type: number, range: R): number {
    return this.#edits(type, range).reduce((sum, { put, count }) => sum + put.length - count, 0);
  }

  set(type: number, range: R): void {
    const [shared, exclusive] = this.#edits(type, range);
    this.shared.apply(shared);
    this.exclusive.apply(exclusive);
  }

  #edits(type: number, range: R): [Edit<R>, Edit<R>] {
    return [
      type === LOCK_TYPE_RDLCK ? this.shared.with(range) : this.shared.without(range),
      type === LOCK_TYPE_WRLCK ? this.exclusive.with(range) : this.exclusive.without(range),
    ];
  }
}

/** As Tlock says it: a length of 0 is "to the end of the file". */
export function rangeOf(start: number, length: number): Range {
  return { start, end: length === 0 ? Number.POSITIVE_INFINITY : start + length };
}
