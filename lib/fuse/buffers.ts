/** Free buffers of one size that are kept. */
const KEPT = 16;

/** Buffers that replies to READ are put into, by powers of two. Not cleared: only what a server sent is ever passed on. */
export class ReadBuffers {
  readonly #free = new Map<number, Uint8Array[]>();

  /** At least `size` bytes. */
  take(size: number): Uint8Array {
    const room = size <= 4096 ? 4096 : 2 ** Math.ceil(Math.log2(size));
    return this.#free.get(room)?.pop() ?? Buffer.allocUnsafeSlow(room);
  }

  /** Only what nobody writes to any more. */
  give(buffer: Uint8Array): void {
    const free = this.#free.get(buffer.length);
    if (free === undefined) this.#free.set(buffer.length, [buffer]);
    else if (free.length < KEPT) free.push(buffer);
  }
}
