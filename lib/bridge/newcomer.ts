import type { Receiver, Transport } from '../transport/transport.js';

/**
 * A connection that has come while another is there: nothing is answered on it yet. Its first bytes are kept for whoever starts it in the end, and no more
 * are read; until then it tells whether it says anything, and whether it went away.
 */
export class Newcomer implements Transport, Receiver {
  readonly name: string;
  readonly maxFrame?: number;
  readonly copyQueued?: () => void;
  readonly #inner: Transport;
  /** Is told of the first bytes, and of the end if nobody has started it by then. */
  readonly #onSpeech: () => void;
  readonly #onEnd: () => void;
  #receiver: Receiver | undefined;
  /** What came before it was started; undefined once that is handed on. */
  #kept: Uint8Array[] | undefined = [];
  readonly #staging = new Uint8Array(4096);
  /** The bytes that come next land in `#staging`. */
  #staged = false;
  #paused = false;

  constructor(inner: Transport, { onSpeech, onEnd }: { onSpeech: () => void; onEnd: () => void }) {
    this.#inner = inner;
    this.name = inner.name;
    if (inner.maxFrame !== undefined) this.maxFrame = inner.maxFrame;
    if (inner.copyQueued !== undefined) this.copyQueued = () => inner.copyQueued?.();
    this.#onSpeech = onSpeech;
    this.#onEnd = onEnd;
    inner.start(this);
  }

  get spoke(): boolean {
    return this.#kept === undefined || this.#kept.length > 0;
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    queueMicrotask(() => {
      for (const chunk of this.#kept ?? []) receiver.push(chunk);
      this.#kept = undefined;
      if (!this.#paused) this.#inner.resume();
    });
  }

  target(): Uint8Array {
    this.#staged = this.#kept !== undefined || this.#receiver === undefined;
    return this.#staged || this.#receiver === undefined ? this.#staging : this.#receiver.target();
  }

  filled(count: number): void {
    if (this.#staged) this.push(this.#staging.subarray(0, count));
    else this.#receiver?.filled(count);
  }

  push(chunk: Uint8Array): void {
    if (this.#kept === undefined) {
      this.#receiver?.push(chunk);
      return;
    }
    this.#kept.push(chunk.slice());
    if (this.#kept.length > 1) return;
    this.#inner.pause();
    this.#onSpeech();
  }

  drained(): void {
    this.#receiver?.drained();
  }

  closed(error?: Error): void {
    if (this.#receiver === undefined) this.#onEnd();
    else if (this.#kept === undefined) this.#receiver.closed(error);
    // Behind what has been kept.
    else queueMicrotask(() => this.#receiver?.closed(error));
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    return this.#inner.send(parts, sent);
  }

  pause(): void {
    this.#paused = true;
    this.#inner.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#kept === undefined) this.#inner.resume();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  destroy(error?: Error): void {
    this.#inner.destroy(error);
  }
}
