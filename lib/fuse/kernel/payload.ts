/**
 * The bytes of a WRITE where they were read to. They stay there only until the operation returns: one that needs them for longer asks to keep them before, and has them
 * until the request is answered or, where that happens early, until that is done.
 */
export class Payload {
  readonly #keeper: ((bytes: Uint8Array) => Uint8Array) | undefined;
  #bytes: Uint8Array | undefined;
  #kept = false;

  /** `keeper`, whose buffer it is, puts the bytes where they may stay. Default: they stay where they are. */
  constructor(bytes: Uint8Array, keeper?: (bytes: Uint8Array) => Uint8Array) {
    this.#bytes = bytes;
    this.#keeper = keeper;
  }

  get bytes(): Uint8Array {
    if (this.#bytes === undefined) throw new Error('the bytes of a WRITE are used after its operation has returned');
    return this.#bytes;
  }

  /** The same bytes, for longer. */
  keep(): Uint8Array {
    if (this.#kept) return this.bytes;
    this.#kept = true;
    if (this.#keeper !== undefined) this.#bytes = this.#keeper(this.bytes);
    return this.bytes;
  }

  /** The operation has returned. */
  expire(): void {
    if (!this.#kept) this.#bytes = undefined;
  }
}
