import { QTDIR, QTSYMLINK } from '../protocol/constants.js';
import type { EntryPlus } from '../protocol/plus.js';
import type { DirectoryEntry } from '../protocol/types.js';

/** So many names one after another, and whoever takes them is believed to go on. */
const ENOUGH = 4;
/** Names that may be left out between two of them, or be taken in another order by several threads. */
const NEAR = 4;
/** Names taken last that are remembered until it is seen that they go by the alphabet. */
const RECENT = 2 * ENOUGH;
/** New names in every so many, and what is in order of names is worth to be sorted anew: whoever opens a long directory's files while listing it must not wait for that each time. */
const GROWN = 4;

/** A name of a directory, as it was last listed. */
export interface Candidate {
  readonly entry: DirectoryEntry;
  told: EntryPlus;
  /** When that was asked for, in ms since the epoch. */
  at: number;
  /** It has been tried since then, and could not be had. */
  vain: boolean;
}

/** Entries of a listing, and when they were asked for. */
interface Listed {
  readonly entries: readonly EntryPlus[];
  readonly at: number;
}

/** Files of a directory in an order in which programs go through them, and how far one has come. */
class Order {
  readonly #files: Candidate[] = [];
  readonly #places = new Map<string, number>();
  /** The place of the first that is left. */
  #from = 0;
  #at = -1;
  #run = 0;

  get run(): number {
    return this.#run;
  }

  get size(): number {
    return this.#files.length;
  }

  files(): readonly Candidate[] {
    return this.#files;
  }

  get(name: string): Candidate | undefined {
    const place = this.#places.get(name);
    return place === undefined ? undefined : this.#files[place - this.#from];
  }

  push(file: Candidate): void {
    this.#places.set(file.entry.name, this.#from + this.#files.length);
    this.#files.push(file);
  }

  /** Without the first ones from now on. */
  shorten(count: number): void {
    for (const { entry } of this.#files.splice(0, count)) {
      this.#places.delete(entry.name);
      this.#from++;
    }
  }

  /** A file was taken. `run`: how many are to be believed to have been before it, where it is the first. */
  took(name: string, run: number): void {
    const place = this.#places.get(name);
    if (place === undefined) return;
    const step = place - this.#at;
    if (this.#at < 0) this.#run = run;
    else if (step > 0 && step <= NEAR) this.#run++;
    else if (step > 0 || step < -NEAR) this.#run = 0;
    if (step > 0 || step < -NEAR) this.#at = place;
  }

  *following(): IterableIterator<Candidate> {
    for (let place = this.#at + 1; ; place++) {
      const file = this.#files[place - this.#from];
      if (file === undefined) return;
      yield file;
    }
  }
}

/**
 * What a program that has taken some files of a directory will take next, as it goes by the order they are listed in, or by name, as a shell's patterns do. What is
 * listed costs nothing before a file is taken, and what is listed then costs by its own length, not by that of the directory.
 */
export class Orders {
  readonly #listing = new Order();
  #names: Order | undefined;
  #pending: Listed[] = [];
  #pendingCount = 0;
  /** Names that have come since `#names` was sorted. */
  #added = 0;
  readonly #recent: string[] = [];
  /** Names taken that each come after all before them, less those that do not. */
  #rising = 0;
  #highest = '';

  /** `files`: as they were listed. */
  constructor(files: readonly EntryPlus[] = [], at = 0) {
    this.list(files, at, true);
  }

  /** How many names there are, roughly: those that are listed again count once more until a file is taken. */
  get size(): number {
    return this.#listing.size + this.#pendingCount;
  }

  /** A part of the directory was listed: the first one (`anew`), or the next. What is known keeps its place. */
  list(entries: readonly EntryPlus[], at: number, anew: boolean): void {
    if (anew) {
      this.#pending = [];
      this.#pendingCount = 0;
    }
    if (entries.length === 0) return;
    this.#pending.push({ entries, at });
    this.#pendingCount += entries.length;
  }

  /** Without the part that was listed longest ago, unless it is the last. Whether there was one. */
  shorten(): boolean {
    const [first, second] = this.#pending;
    if (this.#listing.size > 0) this.#listing.shorten(first?.entries.length ?? NEAR);
    else if (first === undefined || second === undefined) return false;
    else {
      this.#pending.shift();
      this.#pendingCount -= first.entries.length;
    }
    return true;
  }

  has(name: string): boolean {
    this.#arrange();
    return this.#listing.get(name) !== undefined;
  }

  /** A file was taken. With `going`, by somebody who has just gone through another directory so, by names too if it is `short`. */
  took(name: string, going: boolean, short = false): void {
    this.#arrange();
    const run = going ? ENOUGH : 0;
    this.#listing.took(name, run);
    this.#names?.took(name, run);
    this.#recent.push(name);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#rises(name);
    if (this.#names === undefined ? (going && short) || this.#goesByName() : this.#goesByName() && this.#added * GROWN >= this.#names.size)
      this.#sort(run);
  }

  /** What is taken next, as far as can be told, in that order; nothing where it cannot. */
  following(): IterableIterator<Candidate> | undefined {
    let best: Order | undefined;
    for (const order of [this.#listing, this.#names])
      if (order !== undefined && order.run >= ENOUGH && order.run > (best?.run ?? 0)) best = order;
    return best?.following();
  }

  #goesByName(): boolean {
    return this.#rising >= ENOUGH && this.#listing.run < ENOUGH;
  }

  #rises(name: string): void {
    if (name > this.#highest) this.#rising = Math.min(this.#rising + 1, RECENT);
    else if (--this.#rising > 0) return;
    else this.#rising = 0;
    this.#highest = name;
  }

  #arrange(): void {
    if (this.#pending.length === 0) return;
    for (const { entries, at } of this.#pending) {
      for (const told of entries) {
        const { entry } = told;
        const known = this.#listing.get(entry.name);
        if (known !== undefined) {
          known.told = told;
          known.at = at;
          known.vain = false;
        } else if ((entry.qid.type & (QTDIR | QTSYMLINK)) === 0) {
          this.#listing.push({ entry, told, at, vain: false });
          this.#added++;
        }
      }
    }
    this.#pending = [];
    this.#pendingCount = 0;
  }

  #sort(run: number): void {
    const names = new Order();
    // Twice as fast as to sort the files by a function.
    const sorted = Array.from(this.#listing.files(), ({ entry }) => entry.name).sort();
    for (const name of sorted) {
      const file = this.#listing.get(name);
      if (file !== undefined) names.push(file);
    }
    for (const name of this.#recent) names.took(name, run);
    this.#names = names;
    this.#added = 0;
  }
}
