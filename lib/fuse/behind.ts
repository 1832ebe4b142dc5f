import type { ReadBuffers } from './buffers.js';
import type { FileHandle } from './handles.js';
import { unlessKilled } from './interrupts.js';
import type { Payload } from './kernel/payload.js';
import { Early } from './kernel/structs.js';

/** Bytes of one file on their way to the server at most, beyond which its writers wait. */
const BOUND = 4 * 1024 * 1024;

/** So many writes of a file in flight keep the server at work: what comes meanwhile gathers. */
const ENOUGH = 2;

/** A gathering takes no more bytes; and only writes so small that copying them costs less than a message of their own. */
const GATHERED = 1024 * 1024;
const SMALL = 256 * 1024;

interface Flight {
  readonly start: number;
  readonly end: number;
  readonly done: Promise<boolean>;
}

/** Writes of one handle, each beginning where the one before it ended, that will leave as one. */
interface Gathering {
  readonly handle: FileHandle;
  readonly start: number;
  end: number;
  readonly bytes: Uint8Array;
  readonly limit: number;
}

/**
 * Writes `data` to the file of a handle and settles once the server has it, or the handle the error. Never rejects. False: it may still be on its way, as
 * a stream that two roles share sends what it has begun with for a conversation that is over; nothing else may be put there.
 */
export type Send = (handle: FileHandle, data: Uint8Array, offset: number) => Promise<boolean>;

/**
 * Writes of one file that the kernel has been told are done, and the server not yet. Everything that would notice waits for them: reads,
 * attributes, a flush, a lock. Two writes of the same bytes never fly together, as a server may do requests in any order.
 *
 * The first ones leave at once. While they fly, small ones gather and leave as one, so that a program that writes 4 KiB at a time does not cost a
 * message for each. There is a gathering only while something flies, so it always leaves by itself.
 */
export class Behind {
  readonly #send: Send;
  readonly #buffers: ReadBuffers;
  readonly #flights = new Set<Flight>();
  /** When the last one landed (performance.now). */
  #landedAt = 0;
  #gathering: Gathering | undefined;
  /** In flight and gathered. */
  #bytes = 0;
  /** Those who wait for a flight to land. */
  #waiting: (() => void)[] = [];

  constructor(send: Send, buffers: ReadBuffers) {
    this.#send = send;
    this.#buffers = buffers;
  }

  get busy(): boolean {
    return this.#flights.size > 0;
  }

  /** Whether what was asked of the server at `at` (performance.now) or later may lack a write that was begun before. */
  missing(at: number): boolean {
    return this.busy || this.#landedAt >= at;
  }

  /** Whether a write of this range may begin now. */
  admits(start: number, end: number): boolean {
    if (this.#flights.size === 0) return true;
    if (this.#bytes + (end - start) > BOUND) return false;
    if (this.#gathering !== undefined && overlaps(this.#gathering, start, end)) return false;
    for (const flight of this.#flights) if (overlaps(flight, start, end)) return false;
    return true;
  }

  /** Takes a write as soon as it is admitted, `data` having been kept. In one step with that: of two that wait for one range only one may be. */
  async writeInTurn(handle: FileHandle, offset: number, data: Payload, signal: AbortSignal): Promise<number | Early> {
    while (!this.admits(offset, offset + data.bytes.length)) {
      this.#launch();
      const landed = new Promise<void>((resolve) => this.#waiting.push(resolve));
      await unlessKilled(landed, signal);
    }
    return this.write(handle, offset, data);
  }

  /** Takes a write that is admitted. */
  write(handle: FileHandle, offset: number, data: Payload): number | Early {
    const { bytes } = data;
    const gathering = this.#gathering;
    if (gathering !== undefined) {
      if (gathering.handle === handle && gathering.end === offset && bytes.length <= SMALL && bytes.length <= room(gathering)) {
        this.#gather(gathering, bytes);
        return bytes.length;
      }
      this.#launch();
    }
    if (this.#flights.size >= ENOUGH && bytes.length <= SMALL) {
      const limit = Math.min(GATHERED, handle.pin.fid.iounit);
      if (bytes.length <= limit / 2) {
        // Whoever is killed is not waited for: the file may be released before this leaves.
        handle.pin.hold();
        this.#gathering = { handle, start: offset, end: offset, bytes: this.#buffers.take(limit), limit };
        this.#gather(this.#gathering, bytes);
        return bytes.length;
      }
    }
    this.#bytes += bytes.length;
    return new Early(bytes.length, this.#fly(handle, offset, data.keep()));
  }

  #gather(gathering: Gathering, bytes: Uint8Array): void {
    gathering.bytes.set(bytes, gathering.end - gathering.start);
    gathering.end += bytes.length;
    this.#bytes += bytes.length;
    if (room(gathering) === 0) this.#launch();
  }

  /** What has gathered leaves. */
  #launch(): void {
    const gathering = this.#gathering;
    if (gathering === undefined) return;
    this.#gathering = undefined;
    const { handle, start, end, bytes } = gathering;
    void this.#fly(handle, start, bytes.subarray(0, end - start)).then((free) => {
      if (free) this.#buffers.give(bytes);
      handle.pin.drop();
    });
  }

  #fly(handle: FileHandle, start: number, data: Uint8Array): Promise<boolean> {
    const flight = { start, end: start + data.length, done: this.#send(handle, data, start) };
    this.#flights.add(flight);
    return flight.done.then((free) => {
      this.#flights.delete(flight);
      this.#landedAt = performance.now();
      this.#bytes -= data.length;
      if (this.#flights.size < ENOUGH) this.#launch();
      const waiting = this.#waiting;
      if (waiting.length > 0) {
        this.#waiting = [];
        for (const resolve of waiting) resolve();
      }
      return free;
    });
  }

  /** Resolves when all that was begun so far is done. EINTR where nobody waits for that any more. */
  async idle(signal: AbortSignal): Promise<void> {
    this.#launch();
    await unlessKilled(Promise.all([...this.#flights].map((flight) => flight.done)), signal);
  }
}

function room({ start, end, limit }: Gathering): number {
  return limit - (end - start);
}

function overlaps(range: { readonly start: number; readonly end: number }, start: number, end: number): boolean {
  return range.start < end && start < range.end;
}
