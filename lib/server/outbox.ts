import { MAX_PASSED } from '../sys/rights.js';
import type { Transport } from '../transport/transport.js';
import type { BufferPool } from './buffers.js';
import { openFiles, unlent } from './descriptors.js';

/** Bytes after which a batch of answers is sent before it is complete. */
const BATCH = 256 * 1024;
/** Answers up to this size are put together into one piece: a piece costs more to send than so much to copy. */
const SMALL = 1024;
/** Bytes that small answers are put together in: at first, and at most. */
const FIRST_SLAB = 4 * 1024;
const SLAB = 64 * 1024;

/** Buffers that go back when they were sent, and how many descriptors leave with them. */
interface Sending {
  readonly lent: readonly Uint8Array[];
  readonly descriptors: number;
}

/**
 * Collects the answers that become ready together and sends them as one. Small ones share a slab, so that what was encoded here and
 * there leaves as one piece; payloads go as they are.
 */
export class Outbox {
  readonly #transport: Transport;
  readonly #pool: BufferPool;
  /** Whose share the descriptors are of. */
  readonly #connection: string;
  #parts: Uint8Array[] = [];
  #lent: Uint8Array[] = [];
  /** What leaves with the batch, in the order of the answers that promise it. */
  #descriptors: number[] = [];
  /** What the transport has of batches that it has not finished with. */
  readonly #sending = new Set<Sending>();
  /**
   * Where small answers are put together; what was written is never written again. It is this connection's alone: those that a client does not take keep
   * what they lie in, which must not be full of what others have got long ago.
   */
  #slab = new Uint8Array(0);
  /** The piece of it that is not among the parts yet: from `#begin` to `#end`. */
  #begin = 0;
  #end = 0;
  #bytes = 0;
  #held = false;
  #scheduled = false;
  /** The transport has more than it wants until it says `drained`. */
  full = false;

  constructor(transport: Transport, pool: BufferPool, connection: string) {
    this.#transport = transport;
    this.#pool = pool;
    this.#connection = connection;
  }

  /** Until `release`, answers are collected. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.flush();
  }

  /** An answer, or a part of one. The bytes must never be written again. A descriptor that it is to take along (`lending`) is the outbox's. */
  put(part: Uint8Array, descriptor?: number): void {
    if (descriptor !== undefined) {
      if (this.#descriptors.length === MAX_PASSED) this.flush();
      this.#descriptors.push(descriptor);
    }
    if (part.length <= SMALL) this.#copy(part);
    else this.#add(part);
    this.#due(part.length);
  }

  /** An answer in a buffer of the pool's, which goes back there once it was sent. */
  putLent(part: Uint8Array, buffer: Uint8Array): void {
    if (part.length <= SMALL) {
      this.#copy(part);
      this.#pool.give(buffer);
    } else {
      this.#add(part);
      this.#lent.push(buffer);
    }
    this.#due(part.length);
  }

  #copy(part: Uint8Array): void {
    if (this.#end + part.length > this.#slab.length) {
      this.#seal();
      this.#slab = new Uint8Array(Math.min(SLAB, Math.max(FIRST_SLAB, 2 * this.#slab.length)));
      this.#begin = this.#end = 0;
    }
    this.#slab.set(part, this.#end);
    this.#end += part.length;
  }

  #add(part: Uint8Array): void {
    this.#seal();
    this.#parts.push(part);
  }

  #seal(): void {
    if (this.#end > this.#begin) this.#parts.push(this.#slab.subarray(this.#begin, this.#end));
    this.#begin = this.#end;
  }

  #due(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes >= BATCH) this.flush();
    else if (!this.#held && !this.#scheduled) {
      this.#scheduled = true;
      // Answers that are resolved in one turn of the event loop leave together.
      queueMicrotask(() => {
        this.#scheduled = false;
        if (!this.#held) this.flush();
      });
    }
  }

  /** Sends what there is. */
  flush(): void {
    this.#seal();
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    if (!this.#send(parts)) this.full = true;
  }

  #send(parts: Uint8Array[]): boolean {
    const [lent, descriptors] = [this.#lent, this.#descriptors];
    if (lent.length === 0 && descriptors.length === 0) return this.#transport.send(parts);
    this.#lent = [];
    this.#descriptors = [];
    const sending: Sending = { lent, descriptors: descriptors.length };
    this.#sending.add(sending);
    return this.#transport.send(parts, () => this.#sent(sending), descriptors.length > 0 ? descriptors : undefined);
  }

  #sent(sending: Sending): void {
    if (!this.#sending.delete(sending)) return;
    for (const buffer of sending.lent) this.#pool.give(buffer);
    if (sending.descriptors > 0) openFiles().give(this.#connection, sending.descriptors);
  }

  /** The stream has ended: the transport uses nothing any more, and nothing more is sent. */
  end(): void {
    for (const sending of this.#sending) this.#sent(sending);
    for (const buffer of this.#lent.splice(0)) this.#pool.give(buffer);
    for (const fd of this.#descriptors.splice(0)) unlent(this.#connection, fd);
    this.#parts = [];
    this.#begin = this.#end;
  }
}
