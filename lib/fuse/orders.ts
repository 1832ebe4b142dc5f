import type { EntryPlus } from '../protocol/plus.js';

/** So many names one after another, and whoever takes them is believed to go on. */
const ENOUGH = 4;
/** Names that may be left out between two of them, or be taken in another order by several threads. */
const NEAR = 4;

/** Files of a directory in an order in which programs go through them, and how far one has come. */
class Order {
  readonly #files: readonly EntryPlus[];
  readonly #places = new Map<string, number>();
  #at = -1;
  #run = 0;

  constructor(files: readonly EntryPlus[]) {
    this.#files = files;
    for (const [place, { entry }] of files.entries()) this.#places.set(entry.name, place);
  }

  get run(): number {
    return this.#run;
  }

  has(name: string): boolean {
    return this.#places.has(name);
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

  *following(): IterableIterator<EntryPlus> {
    for (let place = this.#at + 1; ; place++) {
      const file = this.#files[place];
      if (file === undefined) return;
      yield file;
    }
  }
}

/** What a program that has taken some files of a directory will take next, as it goes by the order they are listed in, or by name, as a shell's patterns do. */
export class Orders {
  readonly #orders: readonly Order[];

  /** `files`: as they were listed. */
  constructor(files: readonly EntryPlus[]) {
    const names = [...files].sort((one, other) => (one.entry.name < other.entry.name ? -1 : 1));
    this.#orders = [new Order(files), new Order(names)];
  }

  has(name: string): boolean {
    return this.#orders[0]?.has(name) === true;
  }

  /** A file was taken. With `going`, by somebody who has just gone through another directory so. */
  took(name: string, going: boolean): void {
    for (const order of this.#orders) order.took(name, going ? ENOUGH : 0);
  }

  /** What is taken next, as far as can be told, in that order; nothing where it cannot. */
  following(): IterableIterator<EntryPlus> | undefined {
    let best: Order | undefined;
    for (const order of this.#orders) if (order.run >= ENOUGH && order.run > (best?.run ?? 0)) best = order;
    return best?.following();
  }
}
