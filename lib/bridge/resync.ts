import type { Receiver, Transport } from '../transport/transport.js';

/** Silence in the middle of a frame after which its rest is not believed in any more, if a new beginning follows. Milliseconds. */
const SILENCE = 1000;
/** No process dies, is started again and says its first words in less. Milliseconds. */
const RESTART = 100;
const TVERSION = 100;
/** size[4] type[1] tag[2] msize[4] and the size of the version string. */
const HEAD = 13;
/** The smallest and the largest version message that begins a conversation: of 9P2000 and of 9P2000.L. */
const SMALLEST = HEAD + 6;
const LARGEST = HEAD + 8;

/**
 * A channel that has no connections, such as a virtio-serial port, carries on when one end is restarted: the other end then
 * finds the rest of a frame that will never be whole, and behind it, or in the middle, the beginning of another conversation. This wraps such
 * a channel: bytes are thrown away until a Tversion or Rversion begins, at the start and whenever one follows upon a silence inside a frame.
 * Nothing of a half frame is ever taken for a message.
 *
 * Who is started again at once lets no silence come before its Tversion, but one after it: it waits for an answer. So a version message inside a frame that
 * is the last that is heard is held back until more comes, of the frame then, or until nothing has come for a while. Where it would make the frame whole to
 * the byte, it is a part of it (whoever sent that waits for an answer too), unless a pause came before it.
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
  /** Bytes inside a frame that are held back, and what came before them in that piece: the silence, or 0 if there was something else. */
  #doubtful: Uint8Array | undefined;
  #pauseBefore = 0;
  #timer: NodeJS.Timeout | undefined;
  #paused = false;
  #over = false;
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
    if (!this.#synced) this.#search(chunk);
    else if (this.#inside && silence >= SILENCE && versionAt(chunk, 0) === 'yes') this.#beginAnew(chunk);
    else if (this.#doubtful === undefined) this.#take(chunk, silence);
    else this.#resolve(this.#doubtful, chunk);
  }

  get #inside(): boolean {
    return this.#left > 0 || this.#headSize > 0;
  }

  #beginAnew(bytes: Uint8Array): void {
    this.#discarded += this.#doubtful?.length ?? 0;
    this.#trust();
    this.#left = this.#headSize = 0;
    this.#onLoss();
    this.#pass(bytes);
  }

  /** Hands on, but for what may be a new beginning at the end of it. */
  #take(chunk: Uint8Array, silence: number): void {
    const at = versionAtEnd(chunk);
    if (at < 0) {
      this.#pass(chunk);
      return;
    }
    if (at > 0) this.#pass(chunk.subarray(0, at));
    this.#hold(chunk.slice(at), at === 0 ? silence : 0);
  }

  /** Holds back what may be a new beginning, if it is inside a frame and need not be the end of it. */
  #hold(bytes: Uint8Array, pauseBefore: number): void {
    const whole = versionAt(bytes, 0) === 'yes';
    const ends = whole ? this.#left === bytes.length && pauseBefore < RESTART : this.#left <= bytes.length;
    if (!this.#inside || ends) {
      this.#pass(bytes);
      return;
    }
    this.#doubtful = bytes;
    this.#pauseBefore = pauseBefore;
    if (!whole) return;
    this.#wait(bytes);
  }

  /** What has come meanwhile is read behind the timers that are due. */
  #wait(bytes: Uint8Array): void {
    if (!this.#paused) this.#timer = setTimeout(() => setImmediate(() => this.#believe(bytes)), SILENCE);
  }

  #believe(bytes: Uint8Array): void {
    if (this.#over || this.#paused || this.#doubtful !== bytes) return;
    this.#doubtful = undefined;
    this.#beginAnew(bytes);
  }

  #trust(): void {
    clearTimeout(this.#timer);
    this.#doubtful = undefined;
  }

  /** More has come behind what is held back. */
  #resolve(held: Uint8Array, chunk: Uint8Array): void {
    this.#trust();
    const joined = new Uint8Array(held.length + Math.min(chunk.length, 2 * LARGEST));
    joined.set(held);
    joined.set(chunk.subarray(0, joined.length - held.length), held.length);
    const found = versionAt(joined, 0);
    const size = joined[0] as number;
    // It asks, and may have answered where this side has begun as well.
    const rest = held.length + chunk.length - size;
    const both = found === 'yes' && rest === joined[size] && versionAt(joined, size) === 'yes';
    if (found === 'maybe' || both || (found === 'yes' && rest === 0)) {
      this.#hold(joined, this.#pauseBefore);
    } else {
      this.#pass(held);
      this.#take(chunk, 0);
    }
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
      this.#take(bytes.subarray(at), 0);
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
    this.#over = true;
    this.#trust();
    this.#receiver?.closed(error);
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    return this.#inner.send(parts, sent);
  }

  /** Nothing comes while nobody reads, which is no silence. */
  pause(): void {
    this.#paused = true;
    clearTimeout(this.#timer);
    this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#lastArrival = performance.now();
    if (this.#doubtful !== undefined && versionAt(this.#doubtful, 0) === 'yes') {
      clearTimeout(this.#timer);
      this.#wait(this.#doubtful);
    }
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

/** Where a version message, or the beginning of one, is the end of what has come; -1: nowhere. */
function versionAtEnd(bytes: Uint8Array): number {
  for (let at = Math.max(0, bytes.length - LARGEST); at < bytes.length; at++) {
    const size = bytes[at] as number;
    if (size < SMALLEST || size > LARGEST || at + size < bytes.length) continue;
    if (versionAt(bytes, at) !== 'no') return at;
  }
  return -1;
}
