/**
 * Something of which there is only so much, for all connections together. One may have as much of it as it leaves to the others: whoever has most is
 * refused first, and whoever comes later finds some.
 */
export class Shares {
  readonly #held = new Map<string, number>();
  #left: number;

  constructor(total: number) {
    this.#left = total;
  }

  /** Takes `count` more for a connection; false where that would be more than what is left then. */
  take(connection: string, count: number): boolean {
    const held = (this.#held.get(connection) ?? 0) + count;
    const left = this.#left - count;
    if (count > 0 && held > left) return false;
    this.#left = left;
    if (held === 0) this.#held.delete(connection);
    else this.#held.set(connection, held);
    return true;
  }

  give(connection: string, count: number): void {
    this.take(connection, -count);
  }

  /** How much a connection has. */
  of(connection: string): number {
    return this.#held.get(connection) ?? 0;
  }
}
