import type { Receiver } from './transport.js';

/**
 * The end of one transport: it is told to the receiver once, never from inside the call that brought it about, and not before
 * `start`. Every transport has one and asks it whether anything may still be called.
 */
export class Ending {
  /** Resolves after `closed` was called (or would have been, had anybody started). */
  readonly done: Promise<void>;
  #resolve!: () => void;
  #receiver: Receiver | undefined;
  #over = false;
  #told = false;
  #error: Error | undefined;

  constructor() {
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The stream has ended: the receiver is called no more, but for `closed`. */
  get over(): boolean {
    return this.#over;
  }

  start(receiver: Receiver): void {
    if (this.#receiver !== undefined) throw new Error('a transport is started once');
    this.#receiver = receiver;
    if (this.#over) process.nextTick(() => this.#tell());
  }

  /** The first call counts. */
  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    process.nextTick(() => this.#tell());
  }

  #tell(): void {
    if (this.#receiver !== undefined && !this.#told) {
      this.#told = true;
      this.#receiver.closed(this.#error);
    }
    this.#resolve();
  }
}
