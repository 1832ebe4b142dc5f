import { memoryPair } from '../../lib/transport/memory.js';
import type { Receiver, Transport } from '../../lib/transport/transport.js';
import type { Random } from './random.js';

/** What is done to the bytes of one direction, counted from the first that passes. */
export interface RelayFaults {
  /** So many bytes arrive, and then both ends are told that the stream is over. */
  cutAfter?: number;
  /** So many bytes arrive, and then nothing more, and no end either (half-open). */
  swallowAfter?: number;
  /** The number of the bit that is flipped. */
  flip?: number | undefined;
  /** Milliseconds that each piece is held back. */
  delay?: number;
}

export interface RelayOptions {
  /** Bytes arrive in pieces of at most this many, in both directions. */
  chunk?: number;
  /** Pieces of 1 to this many bytes, drawn from `random`. */
  randomChunk?: number;
  random?: Random;
}

/** What a FaultProxy does to sockets, between two transports in memory and to the byte: hand `near` to one side and `far` to the other. */
export class Relay {
  readonly near: Transport;
  readonly far: Transport;
  readonly toFar: RelayFaults;
  readonly toNear: RelayFaults;
  /** Bytes that have come in, in each direction. */
  readonly passed = { toFar: 0, toNear: 0 };
  readonly #inner: [Transport, Transport];

  constructor(toFar: RelayFaults = {}, toNear: RelayFaults = {}, { chunk, randomChunk, random }: RelayOptions = {}) {
    this.toFar = toFar;
    this.toNear = toNear;
    const pieces = randomChunk !== undefined && random !== undefined ? { chunk: () => random.integer(1, randomChunk) } : { chunk };
    const options = pieces.chunk === undefined ? {} : { chunk: pieces.chunk };
    const [near, a] = memoryPair({ ...options, name: 'relay:near/' });
    const [b, far] = memoryPair({ ...options, name: 'relay:far/' });
    this.near = near;
    this.far = far;
    this.#inner = [a, b];
    a.start(this.#receiver('toFar', a, b));
    b.start(this.#receiver('toNear', b, a));
  }

  /** The connection is lost: each end gets what was on its way to it, and its end. */
  cut(): void {
    for (const inner of this.#inner) void inner.close();
  }

  #receiver(direction: 'toFar' | 'toNear', from: Transport, to: Transport): Receiver {
    const staging = new Uint8Array(65536);
    let last = Promise.resolve();
    const pass = (bytes: Uint8Array) => {
      if (!to.send([bytes])) from.pause();
    };
    const push = (chunk: Uint8Array) => {
      const faults = this[direction];
      const at = this.passed[direction];
      this.passed[direction] += chunk.length;
      const { cutAfter = Number.POSITIVE_INFINITY, swallowAfter = Number.POSITIVE_INFINITY, flip, delay } = faults;
      // A copy: a piece belongs to its sender again once this returns.
      const bytes = chunk.slice(0, Math.max(0, Math.min(cutAfter, swallowAfter) - at));
      if (flip !== undefined) flipBit(bytes, flip - at * 8);
      if (delay === undefined) {
        if (bytes.length > 0) pass(bytes);
      } else {
        last = last.then(() => new Promise((resolve) => setTimeout(resolve, delay))).then(() => pass(bytes));
      }
      if (at + chunk.length > cutAfter) this.cut();
    };
    return {
      target: () => staging,
      filled: (count) => push(staging.subarray(0, count)),
      push,
      drained: () => to.resume(),
      // An end is not told over a connection that carries nothing any more.
      closed: () => {
        if (this.passed[direction] < (this[direction].swallowAfter ?? Number.POSITIVE_INFINITY)) void to.close();
      },
    };
  }
}

function flipBit(bytes: Uint8Array, bit: number): void {
  const byte = bytes[bit >> 3];
  if (bit >= 0 && byte !== undefined) bytes[bit >> 3] = byte ^ (1 << (bit & 7));
}
