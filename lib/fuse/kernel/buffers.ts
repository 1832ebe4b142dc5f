/** A buffer that one request is read into, with its view made once. */
export interface PooledBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Free buffers kept for the next requests; more are let go. Only pages that were written to take memory. */
const KEPT = 16;

/** Buffers of one size. A WRITE holds on to the one it was read into until it is answered. */
export class BufferPool {
  readonly #size: number;
  readonly #free: PooledBuffer[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  take(): PooledBuffer {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const bytes = Buffer.allocUnsafeSlow(this.#size);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
  }

  give(buffer: PooledBuffer): void {
    if (this.#free.length < KEPT) this.#free.push(buffer);
  }
}
