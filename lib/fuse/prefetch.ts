import type { Fid } from '../client/index.js';
import type { ReadBuffers } from './buffers.js';
import { Lent } from './kernel/structs.js';

/** Files up to this size, in bytes, are read while their open is being answered. */
export const PREFETCH_MAX = 64 * 1024;
/** How long after the open that may wait for the read it was done for, in ms. */
const LIFETIME = 50;
const PAGE = 4096;

/** The content of a small file, asked for before the kernel does: the open's way back and the read's way here cost as much as the server. */
export class Prefetch {
  /** The file's size, in bytes, that it goes by. */
  readonly size: number;
  #openedAt = 0;
  readonly #room: number;
  readonly #buffer: Uint8Array;
  readonly #buffers: ReadBuffers;
  readonly #count: Promise<number>;

  /** `size`: of the file, in bytes, as just seen. */
  constructor(fid: Fid, size: number, buffers: ReadBuffers) {
    this.size = size;
    this.#room = Math.ceil(size / PAGE) * PAGE;
    this.#buffers = buffers;
    this.#buffer = buffers.take(this.#room);
    this.#count = fid.read(this.#buffer.subarray(0, this.#room), 0);
    // Whoever reads will hear of it; nobody may.
    this.#count.catch(() => {});
  }

  /** The open is answered now, however long that took. To be called before `take`. */
  opened(): this {
    this.#openedAt = performance.now();
    return this;
  }

  /** What a read of `size` bytes at the beginning is to be given; undefined where this does not tell. To be called once. */
  async take(size: number): Promise<Lent | undefined> {
    if (performance.now() - this.#openedAt > LIFETIME) return undefined;
    const count = await this.#count;
    // A full buffer does not say whether more follows.
    if (count === this.#room && size > count) return undefined;
    return new Lent(this.#buffer.subarray(0, Math.min(count, size)), () => this.#buffers.give(this.#buffer));
  }
}
