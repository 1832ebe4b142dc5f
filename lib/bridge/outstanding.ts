import { u16At } from '../protocol/cursor.js';
import { messages } from '../protocol/messages.js';

const TFLUSH = messages.Tflush.type;

/** How many bytes of requests are on their way or wait for their reply. */
export class Outstanding {
  readonly #bound: number;
  readonly #sizes = new Map<number, number>();
  /** Tags of the Tflush under way, and what each of them flushes. */
  readonly #flushes = new Map<number, number>();
  #bytes = 0;

  constructor(bound: number) {
    this.#bound = bound;
  }

  get full(): boolean {
    return this.#bytes > this.#bound;
  }

  /** Not even a Tflush, and what was asked before it, may be added. */
  get crammed(): boolean {
    return this.#bytes > this.#bound * 1.5;
  }

  /** A request is sent: the beginning of its frame, and its size. */
  sent(head: Uint8Array, bytes: number): void {
    const tag = u16At(head, 5);
    if (head[4] === TFLUSH) this.#flushes.set(tag, u16At(head, 7));
    this.#bytes += bytes - (this.#sizes.get(tag) ?? 0);
    this.#sizes.set(tag, bytes);
  }

  /** A reply has come. True if there was no room before it and is now. */
  answered(tag: number): boolean {
    const wasFull = this.full;
    const flushed = this.#flushes.get(tag);
    this.#flushes.delete(tag);
    this.#free(tag);
    // What it had flushed is not answered any more.
    if (flushed !== undefined) this.#free(flushed);
    return wasFull && !this.full;
  }

  #free(tag: number): void {
    this.#bytes -= this.#sizes.get(tag) ?? 0;
    this.#sizes.delete(tag);
    // The tag may be given to another request now, which nobody has flushed.
    if (this.#flushes.size > 0) for (const [flush, old] of this.#flushes) if (old === tag) this.#flushes.delete(flush);
  }
}
