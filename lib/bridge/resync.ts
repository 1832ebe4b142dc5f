import type { Receiver, Transport } from '../transport/transport.js';

/** Silence in the middle of a frame after which its rest is not believed in any more, if a new beginning follows. Milliseconds. */
const SILENCE = 1000;
const TVERSION = 100;
/** size[4] type[1] tag[2] msize[4] and the size of the version string. */
const HEAD = 13;

/**
 * A channel that has no connections, such as a virtio-serial port, carries on when one end is restarted: the other end then
 * finds the rest of a frame that will never be whole, and behind it, or in the middle, the beginning of another conversation. This wraps such
 * a channel: bytes are thrown away until a Tversion or Rversion begins, at the start and whenever one follows upon a silence inside a frame.
 * Nothing of a half frame is ever taken for a message.
 */
export class ResyncTransport implements Transport, Receiver {
  readonly name: string;
  readonly maxFrame?: number;
  readonly copyQueued?: () => void;
  readonly #inner: Transport;
  readonly #onLoss: () => void;
  #receiver: Receiver | undefined;
  #synced = false;
  /** What may be the beginning of a version message. */
  #held: Uint8Array = new Uint8Array(0);
  /** Bytes of the frame that is passing that have not arrived. */
  #left = 0;
  #head = new Uint8Array(4);
  #headSize = 0;
  #lastArrival = 0;
  #discarded = 0;
  readonly #staging = new Uint8Array(64 * 1024);

  /** `onLoss`: a frame that had begun was given up, so whoever received its beginning must begin anew. */
  constructor(inner: Transport, onLoss: () => void = () => undefined) {
    this.#inner = inner;
    this.name = inner.name;
    if (inner.maxFrame !== undefined) this.maxFrame = inner.maxFrame;
    if (inner.copyQueued !== undefined) this.copyQueued = () => inner.copyQueued?.();
    this.#onLoss = onLoss;
  }

  /** Bytes that were thrown away so far. */
  get discarded(): number {
    return this.#discarded;
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#inner.start(this);
  }

  target(): Uint8Array {
    return this.#staging;
  }

  filled(count: number): void {
    this.push(this.#staging.subarray(0, count));
  }

  push(chunk: Uint8Array): void {
    const now = performance.now();
    const silence = now - this.#lastArrival;
    this.#lastArrival = now;
    const inside = this.#left > 0 || this.#headSize > 0;
    if (this.#synced && inside && silence >= SILENCE && versionAt(chunk, 0) === 'yes') {
      this.#left = this.#headSize = 0;
      this.#onLoss();
    }
    if (this.#synced) this.#pass(chunk);
    else this.#search(chunk);
  }

  #search(chunk: Uint8Array): void {
    const bytes = new Uint8Array(this.#held.length + chunk.length);
    bytes.set(this.#held);
    bytes.set(chunk, this.#held.length);
    for (let at = 0; at < bytes.length; at++) {
      const found = versionAt(bytes, at);
      if (found === 'no') continue;
      this.#discarded += at;
      if (found === 'maybe') {
        this.#held = bytes.slice(at);
        return;
      }
      this.#synced = true;
      this.#held = new Uint8Array(0);
      this.#pass(bytes.subarray(at));
      return;
    }
    this.#discarded += bytes.length;
    this.#held = new Uint8Array(0);
  }

  /** Hands on, keeping count of where frames end. */
  #pass(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, chunk.length - at);
        this.#left -= count;
        at += count;
        continue;
      }
      this.#head[this.#headSize++] = chunk[at++] as number;
      if (this.#headSize < 4) continue;
      this.#headSize = 0;
      this.#left = Math.max(0, new DataView(this.#head.buffer).getUint32(0, true) - 4);
    }
    this.#receiver?.push(chunk);
  }

  drained(): void {
    this.#receiver?.drained();
  }

  closed(error?: Error): void {
    this.#receiver?.closed(error);
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    return this.#inner.send(parts, sent);
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  destroy(error?: Error): void {
    this.#inner.destroy(error);
  }
}

/** Whether a whole version message begins at `at`: size, type, NOTAG and a known version string must agree. */
function versionAt(bytes: Uint8Array, at: number): 'yes' | 'no' | 'maybe' {
  const left = bytes.length - at;
  const byte = (index: number) => bytes[at + index] as number;
  if (left > 4 && byte(4) !== TVERSION && byte(4) !== TVERSION + 1) return 'no';
  if (left > 5 && byte(5) !== 0xff) return 'no';
  if (left > 6 && byte(6) !== 0xff) return 'no';
  if (left > 3 && (byte(1) !== 0 || byte(2) !== 0 || byte(3) !== 0)) return 'no';
  if (left < HEAD) return 'maybe';
  const length = byte(11) | (byte(12) << 8);
  if (byte(0) !== HEAD + length) return 'no';
  const text = String.fromCharCode(...bytes.subarray(at + HEAD, at + HEAD + Math.min(length, left - HEAD)));
  const known = ['9P2000', 'unknown'].some((word) => (text.length < word.length ? word.startsWith(text) : text.startsWith(word)));
  if (!known) return 'no';
  return left < HEAD + length ? 'maybe' : 'yes';
}
