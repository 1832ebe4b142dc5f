import { HEADER_SIZE } from './constants.js';
import { u32At } from './cursor.js';
import { ProtocolError } from './error.js';
import { messages } from './messages.js';

/** Who takes the frames that a Framer cuts out of a stream. */
export interface FrameHandler {
  /** A whole frame. The view is valid until this returns. */
  frame(frame: Uint8Array): void;
  /**
   * The beginning of an Rread, Rreaddir or Twrite has arrived: `head` is all of it up to the payload (valid until this returns),
   * `count` the payload's size in bytes. Gives a buffer of at least `count` bytes to take the payload, or undefined to get
   * the frame whole. Large payloads then go from the transport to where they are wanted without a copy between.
   */
  payload?(head: Uint8Array, count: number): Uint8Array | undefined;
  /** The frame whose payload went to `payload`, the first `count` bytes of the buffer that `payload()` gave. */
  payloadFrame?(head: Uint8Array, payload: Uint8Array): void;
}

/** Bytes before the payload, by type, of the messages that carry one; each ends in the payload's count[4]. */
const HEAD: Readonly<Record<number, number>> = {
  [messages.Rread.type]: HEADER_SIZE + 4,
  [messages.Rreaddir.type]: HEADER_SIZE + 4,
  [messages.Twrite.type]: HEADER_SIZE + 16,
};

const STAGING = 64 * 1024;

/**
 * Cuts a stream of bytes into frames, wherever it was cut on its way. Takes bytes by `push`, or has them put where `target` says.
 * Throws a ProtocolError for a size that no frame has; nothing can follow that. Holds at most one frame of `maxFrame` bytes.
 */
export class Framer {
  readonly #handler: FrameHandler;
  /** The largest frame that is taken: msize. */
  maxFrame: number;
  // Bytes of a frame that has not arrived whole: #staging[#start..#end).
  #staging = new Uint8Array(STAGING);
  #start = 0;
  #end = 0;
  // The frame whose payload is on its way elsewhere.
  #head: Uint8Array = new Uint8Array(0);
  #payload: Uint8Array | undefined;
  #arrived = 0;
  #stopped = false;

  constructor(handler: FrameHandler, maxFrame: number) {
    this.#handler = handler;
    this.maxFrame = maxFrame;
  }

  /** Takes nothing any more; may be called by the handler. */
  stop(): void {
    this.#stopped = true;
  }

  /** Whether it is in the middle of a frame: a stream that ends now was cut. */
  get inside(): boolean {
    return this.#payload !== undefined || this.#end > this.#start;
  }

  /** The head of the frame whose payload is arriving, if one is. */
  get diverted(): Uint8Array | undefined {
    return this.#payload === undefined ? undefined : this.#head;
  }

  /** Sends the rest of the payload that is arriving to a buffer nobody reads: whoever gave its target wants it back. */
  abandonPayload(): void {
    if (this.#payload !== undefined) this.#payload = new Uint8Array(this.#payload.length);
  }

  /** Where the next bytes are to land; never empty. Valid until the next call. */
  target(): Uint8Array {
    if (this.#payload !== undefined) return this.#payload.subarray(this.#arrived);
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#staging.length - this.#end < this.#staging.length / 4) this.#makeRoom();
    return this.#staging.subarray(this.#end);
  }

  /** `count` bytes have arrived in the last `target()`. */
  filled(count: number): void {
    if (this.#payload !== undefined) {
      this.#arrived += count;
      this.#finishPayload();
      return;
    }
    this.#end += count;
    const consumed = this.#parse(this.#staging, this.#start, this.#end);
    this.#start = consumed;
  }

  /** Takes bytes in a buffer of the caller's, who may reuse it afterwards. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#payload !== undefined) {
        const count = Math.min(chunk.length - at, this.#payload.length - this.#arrived);
        this.#payload.set(chunk.subarray(at, at + count), this.#arrived);
        this.#arrived += count;
        at += count;
        this.#finishPayload();
      } else if (this.#end > this.#start) {
        const target = this.target();
        const count = Math.min(chunk.length - at, target.length);
        target.set(chunk.subarray(at, at + count));
        at += count;
        this.filled(count);
      } else {
        at = this.#parse(chunk, at, chunk.length);
        // What #parse left is the beginning of a frame, unless it went to a payload.
        if (this.#payload === undefined && at < chunk.length && !this.#stopped) {
          this.#start = 0;
          this.#end = chunk.length - at;
          this.#reserve(this.#end);
          this.#staging.set(chunk.subarray(at));
          at = chunk.length;
        }
      }
    }
  }

  #finishPayload(): void {
    const payload = this.#payload as Uint8Array;
    if (this.#arrived < payload.length) return;
    this.#payload = undefined;
    if (!this.#stopped) this.#handler.payloadFrame?.(this.#head, payload);
  }

  /** Hands on every frame in bytes[start..end) and gives where the first one begins that is not whole. */
  #parse(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (end - at >= HEADER_SIZE && !this.#stopped) {
      const size = u32At(bytes, at);
      if (size < HEADER_SIZE || size > this.maxFrame) {
        this.#stopped = true;
        throw new ProtocolError(`a frame of ${size} bytes; 7 to ${this.maxFrame} are allowed`, 'size', 0);
      }
      const type = bytes[at + 4] as number;
      const headSize = HEAD[type];
      if (headSize !== undefined && this.#handler.payload !== undefined) {
        if (end - at < headSize && size >= headSize) return at;
        const next = this.#divert(bytes, at, end, size, headSize);
        if (next !== undefined) {
          at = next;
          if (this.#payload !== undefined) return at;
          continue;
        }
      }
      if (end - at < size) return at;
      this.#handler.frame(bytes.subarray(at, at + size));
      at += size;
    }
    return this.#stopped ? end : at;
  }

  /** Sends the payload of the frame at `at` where the handler wants it; undefined if it wants the frame whole. */
  #divert(bytes: Uint8Array, at: number, end: number, size: number, headSize: number): number | undefined {
    const count = size - headSize;
    // A count that disagrees with the size is for the decoder to complain about.
    if (count <= 0 || u32At(bytes, at + headSize - 4) !== count) return undefined;
    const target = this.#handler.payload?.(bytes.subarray(at, at + headSize), count);
    if (target === undefined) return undefined;
    const payload = target.length === count ? target : target.subarray(0, count);
    const here = Math.min(count, end - at - headSize);
    payload.set(bytes.subarray(at + headSize, at + headSize + here));
    if (here === count) {
      this.#handler.payloadFrame?.(bytes.subarray(at, at + headSize), payload);
      return at + size;
    }
    this.#head = bytes.slice(at, at + headSize);
    this.#payload = payload;
    this.#arrived = here;
    return at + headSize + here;
  }

  #makeRoom(): void {
    const have = this.#end - this.#start;
    const size = have >= 4 ? u32At(this.#staging, this.#start) : 0;
    // Grows with what has arrived, not with what a size field claims.
    this.#reserve(Math.min(Math.max(size, STAGING), 2 * Math.max(have, STAGING)));
    this.#staging.copyWithin(0, this.#start, this.#end);
    this.#start = 0;
    this.#end = have;
  }

  #reserve(room: number): void {
    if (this.#staging.length >= room) return;
    const staging = new Uint8Array(room);
    staging.set(this.#staging);
    this.#staging = staging;
  }
}
