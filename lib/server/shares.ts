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

  /** How much a connection has. */
  of(connection: string): number {
    return this.#held.get(connection) ?? 0;
  }

  /** Whether a connection may have `count` more: not where that would be more than what is left then. */
  allow(connection: string, count: number): boolean {
    return count <= 0 || this.of(connection) + count <= this.#left - count;
  }

  /** Takes `count` more for a connection, or gives some back; false where it may not have them. */
  take(connection: string, count: number): boolean {
    if (!this.allow(connection, count)) return false;
    this.give(connection, -count);
    return true;
  }

  /** Gives some back, or takes what was allowed before. */
  give(connection: string, count: number): void {
    const held = this.of(connection) - count;
    this.#left += count;
    if (held === 0) this.#held.delete(connection);
    else this.#held.set(connection, held);
  }
}
