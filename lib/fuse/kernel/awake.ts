import { closeSync, openSync, writeSync } from 'node:fs';

/** Where a process says how long it may take a processor to wake up (Documentation/power/pm_qos_interface.rst): for as long as it is open. */
const DEVICE = '/dev/cpu_dma_latency';
/** So many requests, within so many ms, are worth it. */
const MANY = 16;
const WITHIN = 10;
/** How often it is asked whether there still are any, in ms. */
const LOOK = 20;

/**
 * Keeps idle processors awake while requests come thick and fast. Whoever works on small files waits for this process and this one for the server, so
 * that each of them sleeps for some ten microseconds at a time; to be woken from that takes as long as all the work, on a virtual machine above all.
 * It costs power on all processors, for as long as the requests last and a moment longer.
 */
export class Awake {
  #requests = 0;
  #checked = 0;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #fd: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #device: string;

  /** Throws where this process may not say so: EACCES without root, ENOENT on a kernel that knows no such thing. */
  constructor(device = DEVICE) {
    this.#device = device;
    closeSync(openSync(device, 'r+'));
  }

  /** Processors are being kept awake. */
  get holds(): boolean {
    return this.#fd !== undefined;
  }

  /** A request has come. */
  request(): void {
    if (++this.#requests - this.#checked < MANY) return;
    const now = performance.now();
    if (this.#fd === undefined && now - this.#checkedAt < WITHIN) this.#hold();
    this.#checked = this.#requests;
    this.#checkedAt = now;
  }

  #hold(): void {
    try {
      this.#fd = openSync(this.#device, 'r+');
      // A whole int in the host's order; 0 µs is the same in any.
      writeSync(this.#fd, new Uint8Array(4));
    } catch {
      this.release();
      return;
    }
    let seen = this.#requests;
    this.#timer = setInterval(() => {
      if (this.#requests === seen) this.release();
      seen = this.#requests;
    }, LOOK);
    this.#timer.unref();
  }

  /** Processors may sleep. Idempotent. */
  release(): void {
    clearInterval(this.#timer);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
