/** One record of getdents64(2), taken apart in place: the object is filled again by every `next`. */
export class Dirents {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #at = 0;
  #end = 0;

  ino = 0n;
  /** Where the directory goes on after this entry, for lseek(2). */
  offset = 0n;
  /** DT_* value. */
  type = 0;
  name = '';

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Begins with the records that the kernel has just put into the first `length` bytes. */
  reset(length: number): void {
    this.#at = 0;
    this.#end = length;
  }

  /** Moves to the next record; false at the end of what the kernel gave. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const view = this.#view;
    const start = this.#at;
    this.ino = view.getBigUint64(start, true);
    this.offset = view.getBigUint64(start + 8, true);
    this.type = this.#bytes[start + 18] ?? 0;
    const from = start + 19;
    const to = this.#bytes.indexOf(0, from);
    this.name = this.#bytes.toString('utf8', from, to);
    this.#at = start + view.getUint16(start + 16, true);
    return true;
  }
}
