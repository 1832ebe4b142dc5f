/** Room beside the payload in every buffer: the head of an Rread goes before it, so that both leave as one piece. */
const SLACK = 64;
const SMALLEST = 12;
const LARGEST = 26;

/** Buffers for payloads, used again and again. One pool serves all connections of a server. */
export class BufferPool {
  readonly #idle: Uint8Array[][] = Array.from({ length: LARGEST + 1 }, () => []);
  readonly #maxIdle: number;
  #idleBytes = 0;
  #lent = 0;

  /** `maxIdle`: bytes that are kept for later at most. */
  constructor(maxIdle = 32 * 1024 * 1024) {
    this.#maxIdle = maxIdle;
  }

  /** Buffers that were taken and not given back. */
  get lent(): number {
    return this.#lent;
  }

  /** A buffer for `count` bytes of payload and a head. What is in it is left from earlier: never send what was not written. */
  take(count: number): Uint8Array {
    this.#lent++;
    let power = SMALLEST;
    while (2 ** power < count) power++;
    const idle = this.#idle[power]?.pop();
    if (idle === undefined) return new Uint8Array(Buffer.allocUnsafeSlow(2 ** power + SLACK).buffer);
    this.#idleBytes -= idle.length;
    return idle;
  }

  /** Takes a buffer back, which nobody may use any more. */
  give(buffer: Uint8Array): void {
    this.#lent--;
    if (this.#idleBytes + buffer.length > this.#maxIdle) return;
    this.#idle[Math.log2(buffer.length - SLACK)]?.push(buffer);
    this.#idleBytes += buffer.length;
  }
}
