import { ProtocolError } from './error.js';
import { decodeText, encodeText, textBytes } from './text.js';

// One scratch serves all 64-bit numbers: to ask a frame for its buffer, or to make a DataView of it, would cost more than the copy.
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
const LOW = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1 ? 0 : 1;
const HIGH = 1 - LOW;
const TWO_32 = 0x100000000;

/** Reads little-endian fields out of one frame. Every read checks its bounds; what does not fit is a ProtocolError. */
export class Reader {
  #bytes: Uint8Array = new Uint8Array(0);
  #end = 0;
  /** Where the next field begins, in bytes from the start of the frame. */
  at = 0;
  /** The message that is read and the field in it, for the error that may come. */
  message = '';
  field = '';

  /** Begins with `bytes` at offset `at`. The view must stay as it is while it is read. */
  reset(bytes: Uint8Array, at: number, message: string): void {
    this.#bytes = bytes;
    this.#end = bytes.length;
    this.at = at;
    this.message = message;
    this.field = '';
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#end - this.at;
  }

  fail(problem: string, at = this.at, answer?: number): never {
    throw new ProtocolError(problem, this.field === '' ? this.message : `${this.message}.${this.field}`, at, answer);
  }

  #take(count: number): number {
    const at = this.at;
    if (at + count > this.#end) this.fail(`frame ends ${at + count - this.#end} bytes too early`);
    this.at = at + count;
    return at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u16(): number {
    const at = this.#take(2);
    const bytes = this.#bytes;
    return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  }

  u32(): number {
    return u32At(this.#bytes, this.#take(4));
  }

  u64(): bigint {
    return u64At(this.#bytes, this.#take(8));
  }

  /** An unsigned 64-bit size or offset; EOVERFLOW where a number cannot hold it. */
  size64(): number {
    const at = this.#take(8);
    const value = numberAt(this.#bytes, at);
    if (value > Number.MAX_SAFE_INTEGER) this.fail('a size or offset beyond 2^53', at, 75);
    return value;
  }

  /** As size64, but all ones, "leave it as it is" in a Twstat (stat(5)), give -1. */
  keepOrSize64(): number {
    const { at } = this;
    if (this.u32() === 0xffffffff && this.u32() === 0xffffffff) return -1;
    this.at = at;
    return this.size64();
  }

  /** Signed 64 bits, clamped to what a number holds: seconds. */
  i64(): number {
    const at = this.#take(8);
    const high = u32At(this.#bytes, at + 4) | 0;
    const value = high * TWO_32 + u32At(this.#bytes, at);
    return Number.isSafeInteger(value) ? value : Math.sign(value) * Number.MAX_SAFE_INTEGER;
  }

  str(): string {
    const length = this.u16();
    const at = this.#take(length);
    return decodeText(this.#bytes, at, at + length);
  }

  /** The next `count` bytes: a view into the frame. */
  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }
}

/** The little-endian u32 at `at`. */
export function u32At(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0
  );
}

/** The little-endian u16 at `at`. */
export function u16At(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

/** The little-endian u64 at `at`. */
export function u64At(bytes: Uint8Array, at: number): bigint {
  halves[LOW] = u32At(bytes, at);
  halves[HIGH] = u32At(bytes, at + 4);
  return whole[0] as bigint;
}

/** The unsigned 64 bits at `at` as a number, which is exact up to 2^53. */
export function numberAt(bytes: Uint8Array, at: number): number {
  return u32At(bytes, at + 4) * TWO_32 + u32At(bytes, at);
}

/** The size of a slab: some hundred small messages. */
const SLAB = 32 * 1024;

/**
 * Writes frames one after another into slabs. A frame is a view into its slab, which is never written again: it lives
 * as long as its frames do.
 */
export class Writer {
  #bytes: Uint8Array;
  #buffer: ArrayBuffer;
  #view: DataView | undefined;
  #start = 0;
  at = 0;
  /** The message and field that is written, for the error that may come. */
  message = '';
  field = '';

  /** `room`: bytes of the first slab. */
  constructor(room = SLAB) {
    this.#buffer = new ArrayBuffer(room);
    this.#bytes = new Uint8Array(this.#buffer);
  }

  /** What was written since the last frame ended, where no frame is meant: a view. */
  written(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.at);
  }

  /** Begins a frame with `size` left open. */
  begin(message: string, type: number, tag: number): void {
    this.message = message;
    this.field = '';
    this.#start = this.at;
    this.#room(7);
    const bytes = this.#bytes;
    const at = this.at;
    bytes[at + 4] = type;
    bytes[at + 5] = tag;
    bytes[at + 6] = tag >>> 8;
    this.at = at + 7;
  }

  /** Ends the frame, of which `payload` more bytes follow elsewhere. */
  end(payload = 0): Uint8Array {
    const start = this.#start;
    const length = this.at - start;
    putU32(this.#bytes, start, length + payload);
    return new Uint8Array(this.#buffer, start, length);
  }

  /** Drops the frame that was begun. */
  abandon(): void {
    this.at = this.#start;
  }

  #room(count: number): void {
    if (this.at + count <= this.#bytes.length) return;
    const begun = this.#bytes.subarray(this.#start, this.at);
    this.#buffer = new ArrayBuffer(Math.max(SLAB, 2 * (begun.length + count)));
    this.#view = undefined;
    const bytes = new Uint8Array(this.#buffer);
    bytes.set(begun);
    this.#bytes = bytes;
    this.at = begun.length;
    this.#start = 0;
  }

  fail(problem: string): never {
    throw new RangeError(`${problem} (${this.message}.${this.field})`);
  }

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.at++] = value;
  }

  u16(value: number): void {
    this.#room(2);
    const bytes = this.#bytes;
    bytes[this.at++] = value;
    bytes[this.at++] = value >>> 8;
  }

  u32(value: number): void {
    this.#room(4);
    putU32(this.#bytes, this.at, value);
    this.at += 4;
  }

  u64(value: bigint): void {
    this.#room(8);
    whole[0] = value;
    putU32(this.#bytes, this.at, halves[LOW] as number);
    putU32(this.#bytes, this.at + 4, halves[HIGH] as number);
    this.at += 8;
  }

  /** The slab as it is now. */
  get view(): DataView {
    this.#view ??= new DataView(this.#buffer);
    return this.#view;
  }

  /** Leaves room for `count` bytes, which the caller writes into `view`; gives where. */
  reserve(count: number): number {
    this.#room(count);
    const at = this.at;
    this.at = at + count;
    return at;
  }

  /** Refuses what is no size or offset. */
  checkSize64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) this.fail(`${value} is no size or offset`);
  }

  size64(value: number): void {
    this.checkSize64(value);
    this.i64(value);
  }

  /** As size64, but -1 becomes all ones. */
  keepOrSize64(value: number): void {
    if (value === -1) this.i64(-1);
    else this.size64(value);
  }

  /** What `write` writes, behind a u16 of its size. */
  sized(write: () => void): void {
    this.u16(0);
    const begin = this.at - this.#start;
    write();
    const size = this.at - this.#start - begin;
    if (size > 0xffff) this.fail(`${size} bytes; 65,535 is the most`);
    const at = this.#start + begin - 2;
    this.#bytes[at] = size;
    this.#bytes[at + 1] = size >>> 8;
  }

  i64(value: number): void {
    this.#room(8);
    const high = Math.floor(value / TWO_32);
    putU32(this.#bytes, this.at, value - high * TWO_32);
    putU32(this.#bytes, this.at + 4, high);
    this.at += 8;
  }

  str(text: string): void {
    const most = 3 * text.length;
    if (most <= 0xffff && this.at + 2 + most <= this.#bytes.length) {
      const length = encodeText(text, this.#bytes, this.at + 2);
      this.u16(length);
      this.at += length;
      return;
    }
    const length = textBytes(text);
    if (length > 0xffff) this.fail(`a string of ${length} bytes; 65,535 is the most`);
    this.#room(2 + length);
    this.u16(length);
    this.at += encodeText(text, this.#bytes, this.at);
  }

  bytes(data: Uint8Array): void {
    this.#room(data.length);
    this.#bytes.set(data, this.at);
    this.at += data.length;
  }
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
