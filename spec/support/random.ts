/**
 * Random numbers that can be had again: a test prints its seed, and NINEP_SEED repeats it.
 * splitmix32: quality is not the point, repetition is.
 */
export class Random {
  readonly seed: number;
  #state: number;

  constructor(seed = Number(process.env['NINEP_SEED'] ?? (Date.now() ^ (process.pid << 16)) >>> 0)) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** 32 bits. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor((this.next() / 2 ** 32) * (high - low + 1));
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.integer(1, n) === 1;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length - 1)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  bytes(count: number): Buffer {
    const buffer = Buffer.allocUnsafe(count);
    for (let i = 0; i < count; i++) buffer[i] = this.next();
    return buffer;
  }
}
