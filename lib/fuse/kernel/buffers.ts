import { address } from '../../sys/libc.js';

/** A buffer that one request is read into, with its view made once. */
export interface PooledBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Where its bytes are in memory, for system calls: asking costs as much as the call. */
  readonly address: number;
  /** Where it goes back to. */
  readonly pool: BufferPool;
}

/**
 * Bytes of free buffers kept for the next requests: enough for all the writes of a few files that are on their way, as new ones have the
 * collector run for each few dozens (that took 40 % of the time of a large write). Only pages that were written to take memory.
 */
const KEPT = 64 * 1024 * 1024;

/** Buffers of one size. A WRITE holds on to the one it was read into until it is answered. */
export class BufferPool {
  readonly size: number;
  readonly #kept: number;
  readonly #free: PooledBuffer[] = [];

  constructor(size: number) {
    this.size = size;
    this.#kept = Math.floor(KEPT / size);
  }

  take(): PooledBuffer {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const bytes = Buffer.allocUnsafeSlow(this.size);
    return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), address: address(bytes), pool: this };
  }

  give(buffer: PooledBuffer): void {
    if (this.#free.length < this.#kept) this.#free.push(buffer);
  }
}
