import { Ending } from './ending.js';
import { BACKLOG } from './stream.js';
import type { Receiver, Transport } from './transport.js';

export interface MemoryOptions {
  /** Bytes on their way above which `send` returns false. Default 2 MiB. */
  backlog?: number;
  /** The largest piece that is delivered at once, in bytes; a function is asked for each piece. Default: parts arrive as they were sent. */
  chunk?: number | (() => number);
  name?: string;
}

/** Two connected transports in one process. What one sends arrives at the other without a copy. */
export function memoryPair(options: MemoryOptions = {}): [Transport, Transport] {
  const name = options.name ?? 'memory:';
  const a = new MemoryTransport(`${name}a`, options);
  const b = new MemoryTransport(`${name}b`, options);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

interface Piece {
  bytes: Uint8Array;
  sent: (() => void) | undefined;
}

/** One end. What it sends waits in its own queue until the peer's receiver takes it. */
class MemoryTransport implements Transport {
  readonly name: string;
  peer!: MemoryTransport;
  readonly #bound: number;
  readonly #chunk: () => number;
  readonly #ending = new Ending();
  readonly #queue: Piece[] = [];
  #head = 0;
  /** Bytes of the first piece that have been delivered. */
  #offset = 0;
  #waiting = 0;
  #held = false;
  #scheduled = false;
  #receiver: Receiver | undefined;
  #paused = false;
  #closing = false;

  constructor(name: string, { backlog = BACKLOG, chunk = Number.POSITIVE_INFINITY }: MemoryOptions) {
    this.name = name;
    this.#bound = backlog;
    this.#chunk = typeof chunk === 'number' ? () => chunk : chunk;
  }

  start(receiver: Receiver): void {
    this.#ending.start(receiver);
    this.#receiver = receiver;
    this.peer.#schedule();
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#closing || this.#ending.over) return false;
    let left = parts.length;
    if (left === 0) sent?.();
    for (const bytes of parts) {
      this.#queue.push({ bytes, sent: --left === 0 ? sent : undefined });
      this.#waiting += bytes.length;
    }
    if (this.#waiting > this.#bound) this.#held = true;
    this.#schedule();
    return !this.#held;
  }

  copyQueued(): void {
    for (const piece of this.#queue) piece.bytes = piece.bytes.slice();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.peer.#schedule();
  }

  close(): Promise<void> {
    if (!this.#closing && !this.#ending.over) {
      this.#closing = true;
      this.#schedule();
    }
    return this.#ending.done;
  }

  destroy(error?: Error): void {
    if (this.#ending.over) return;
    this.#end(error);
    this.peer.#end(undefined);
  }

  #schedule(): void {
    if (this.#scheduled || this.#ending.over) return;
    this.#scheduled = true;
    setImmediate(() => this.#deliver());
  }

  /** Gives the peer's receiver what waits, as long as it takes it. */
  #deliver(): void {
    this.#scheduled = false;
    const { peer } = this;
    while (this.#head < this.#queue.length && !this.#ending.over && !peer.#ending.over) {
      // A peer that is ending takes what comes and drops it, so that our own end can come about.
      const taker = peer.#closing ? undefined : peer.#receiver;
      if (taker === undefined && !peer.#closing) return;
      if (peer.#paused && !peer.#closing) return;
      const { bytes, sent } = this.#queue[this.#head] as Piece;
      const end = Math.min(bytes.length, this.#offset + Math.max(1, this.#chunk()));
      if (end > this.#offset) taker?.push(bytes.subarray(this.#offset, end));
      this.#waiting -= end - this.#offset;
      this.#offset = end;
      if (end < bytes.length) continue;
      this.#offset = 0;
      if (++this.#head === this.#queue.length || this.#head > 1024) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
      if (!this.#ending.over) sent?.();
    }
    if (this.#ending.over) return;
    if (peer.#ending.over) {
      // Nobody is there any more to take the rest.
      this.#end(undefined);
      return;
    }
    if (this.#waiting > 0 || this.#head < this.#queue.length) return;
    if (this.#held && !this.#closing) {
      this.#held = false;
      this.#receiver?.drained();
    }
    if (this.#closing) this.#closed();
  }

  /** All is delivered: both ends are over once the peer has got rid of what it still had to say. */
  #closed(): void {
    this.#end(undefined);
    void this.peer.close();
  }

  #end(error: Error | undefined): void {
    this.#queue.length = 0;
    this.#head = 0;
    this.#waiting = 0;
    this.#ending.end(error);
  }
}
