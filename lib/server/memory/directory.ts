import type { Entry } from './entry.js';

/**
 * The entries of one directory. A cookie is the number an entry got when it was made; numbers only grow, so a listing that goes
 * on after a cookie shows nothing twice and misses nothing that stayed, whatever came and went in between.
 */
export class Directory {
  readonly #byName = new Map<string, Entry>();
  /** By cookie, ascending; a removed entry leaves a hole until holes are the larger part. */
  #ordered: Array<Entry | undefined> = [];
  /** The cookies of `#ordered`, holes included. */
  #cookies: number[] = [];
  /** 1 and 2 are the cookies of "." and "..". */
  #last = 2;

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): Entry | undefined {
    return this.#byName.get(name);
  }

  /** Adds an entry at the end of the order. Its name must be free. */
  add(name: string, entry: Entry): void {
    this.#byName.set(name, entry);
    this.#ordered.push(entry);
    this.#cookies.push(++this.#last);
    entry.cookie = this.#last;
  }

  /** Puts an entry where another of the same name was: a name that stays keeps its place in a listing. */
  replace(name: string, old: Entry, entry: Entry): void {
    this.#byName.set(name, entry);
    this.#ordered[this.#position(old.cookie)] = entry;
    entry.cookie = old.cookie;
  }

  remove(name: string, entry: Entry): void {
    this.#byName.delete(name);
    this.#ordered[this.#position(entry.cookie)] = undefined;
    if (this.#ordered.length > 64 && this.#byName.size * 2 < this.#ordered.length) this.#compact();
  }

  /** Entries after a cookie, in order. */
  *after(cookie: number): Generator<Entry> {
    let at = this.#position(cookie + 1);
    for (let entries = this.#ordered; at < entries.length; at++) {
      const entry = entries[at];
      if (entry !== undefined) yield entry;
    }
  }

  /** Where the first cookie ≥ `cookie` is. */
  #position(cookie: number): number {
    let low = 0;
    let high = this.#cookies.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#cookies[middle] ?? 0) < cookie) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #compact(): void {
    const kept = this.#ordered.filter((entry) => entry !== undefined);
    this.#ordered = kept;
    this.#cookies = kept.map((entry) => entry.cookie);
  }
}
