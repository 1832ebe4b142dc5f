/**
 * A split virtqueue in memory that the device sees too (virtio 1.0, 2.4). Every request is a chain of two descriptors: what
 * the device reads, and where it may write. As guest memory is ours to lay out, both are in one piece, however large.
 *
 *     base ┌ descriptors, 16 bytes each ┬ available ring ┬ used ring ┬ … ┬ slot 0: request, reply ┬ slot 1 … ┐
 */
const DESCRIPTOR = 16;
const NEXT = 1;
const WRITE = 2;
const PAGE = 4096;

/** The device did what no device may do. */
export class QueueError extends Error {}

/** One request's place in the queue. */
export interface Slot {
  readonly index: number;
  /** Where the request goes. */
  readonly request: Uint8Array;
  /** Where the reply comes. */
  readonly reply: Uint8Array;
}

/** Bytes of memory that a queue of `depth` requests of up to `frame` bytes takes from its base on. */
export function queueBytes(depth: number, frame: number): number {
  return layout(0, depth, frame).end;
}

function layout(base: number, depth: number, frame: number) {
  const entries = entriesFor(depth);
  const available = base + entries * DESCRIPTOR;
  const used = align(available + 4 + 2 * entries + 2, PAGE);
  const slots = align(used + 4 + 8 * entries + 2, PAGE);
  const size = align(frame, PAGE);
  return { entries, available, used, slots, size, end: slots + depth * 2 * size };
}

/** The queue's size must be a power of two. */
function entriesFor(depth: number): number {
  return 2 ** Math.ceil(Math.log2(depth * 2));
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}

export class Queue {
  readonly depth: number;
  /** Its size in descriptors, and where its three parts lie: what the device is told. */
  readonly entries: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  readonly #view: DataView;
  readonly #slots: Slot[] = [];
  readonly #free: number[] = [];
  readonly #availableIndex: Uint16Array;
  readonly #usedIndex: Uint16Array;
  #submitted = 0;
  #seen = 0;
  #inFlight = 0;

  /** `memory` is the guest's from address 0; the queue lies at `base`, a multiple of 4096. */
  constructor(memory: Uint8Array, base: number, depth: number, frame: number) {
    const { entries, available, used, slots, size } = layout(base, depth, frame);
    this.depth = depth;
    this.entries = entries;
    this.descriptors = base;
    this.available = available;
    this.used = used;
    const { buffer, byteOffset } = memory;
    this.#view = new DataView(buffer, byteOffset, memory.length);
    this.#availableIndex = new Uint16Array(buffer, byteOffset + available + 2, 1);
    this.#usedIndex = new Uint16Array(buffer, byteOffset + used + 2, 1);
    for (let index = depth - 1; index >= 0; index--) {
      const request = slots + index * 2 * size;
      const reply = request + size;
      this.#slots[index] = { index, request: memory.subarray(request, request + frame), reply: memory.subarray(reply, reply + frame) };
      this.#free.push(index);
      this.#describe(index * 2, request, 0, NEXT, index * 2 + 1);
      this.#describe(index * 2 + 1, reply, frame, WRITE, 0);
    }
  }

  #describe(entry: number, address: number, length: number, flags: number, next: number): void {
    const at = this.descriptors + entry * DESCRIPTOR;
    this.#view.setUint32(at, address, true);
    this.#view.setUint32(at + 4, 0, true);
    this.#view.setUint32(at + 8, length, true);
    this.#view.setUint16(at + 12, flags, true);
    this.#view.setUint16(at + 14, next, true);
  }

  /** Requests that the device has and has not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** A place for a request, or undefined if all are taken. The last one given back comes first: its pages are warm. */
  take(): Slot | undefined {
    const index = this.#free.pop();
    return index === undefined ? undefined : this.#slots[index];
  }

  /** Offers a request of `length` bytes to the device. It has to be notified afterwards, once for any number of them. */
  submit(slot: Slot, length: number): void {
    const entry = slot.index * 2;
    this.#view.setUint32(this.descriptors + entry * DESCRIPTOR + 8, length, true);
    this.#view.setUint16(this.available + 4 + 2 * (this.#submitted & (this.entries - 1)), entry, true);
    this.#submitted = (this.#submitted + 1) & 0xffff;
    this.#inFlight++;
    // The device must not see the index before what it stands for.
    Atomics.store(this.#availableIndex, 0, this.#submitted);
  }

  /**
   * The next request that the device is done with, and how much it wrote; undefined if there is none. The slot is given back by
   * `release` once its reply has been read. Throws a QueueError for what no device may say.
   */
  next(): { slot: Slot; length: number } | undefined {
    if (Atomics.load(this.#usedIndex, 0) === this.#seen) return undefined;
    const at = this.used + 4 + 8 * (this.#seen & (this.entries - 1));
    const entry = this.#view.getUint32(at, true);
    const length = this.#view.getUint32(at + 4, true);
    const slot = this.#slots[entry / 2];
    if (slot === undefined || this.#inFlight === 0 || length > slot.reply.length)
      throw new QueueError(`the device answered descriptor ${entry} with ${length} bytes`);
    this.#seen = (this.#seen + 1) & 0xffff;
    this.#inFlight--;
    return { slot, length };
  }

  release(slot: Slot): void {
    this.#free.push(slot.index);
  }
}
