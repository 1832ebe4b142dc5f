import { u16At } from '../protocol/cursor.js';

/** How many bytes of requests are on their way or wait for their reply. */
export class Outstanding {
  readonly #bound: number;
  readonly #sizes = new Map<number, number>();
  #bytes = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get full(): boolean {
    return this.#bytes > this.#bound;
  }

  /** A request is sent: the beginning of its frame, and its size. */
  sent(head: Uint8Array, bytes: number): void {
    const tag = u16At(head, 5);
    this.#bytes += bytes - (this.#sizes.get(tag) ?? 0);
    this.#sizes.set(tag, bytes);
  }

  /** A reply has come. True if there was no room before it and is now. */
  answered(tag: number): boolean {
    const bytes = this.#sizes.get(tag);
    if (bytes === undefined) return false;
    const wasFull = this.full;
    this.#sizes.delete(tag);
    this.#bytes -= bytes;
    return wasFull && !this.full;
  }
}
