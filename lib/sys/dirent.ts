/** Bytes of a record of getdents64(2) before its name: d_ino[8] d_off[8] d_reclen[2] d_type[1]. */
const NAME = 19;
const OFFSET = 8;
const LENGTH = 16;
const TYPE = 18;

/** The records of getdents64(2), taken apart in place: no entry costs an allocation but what is asked of it. */
export class Dirents {
  /** Where the kernel puts records. */
  readonly bytes: Buffer;
  readonly #view: DataView;
  #next = 0;
  #end = 0;
  /** Where the record begins. */
  #at = 0;
  /** Where its name begins and ends. */
  nameStart = 0;
  nameEnd = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Begins with the records that are in the first `length` bytes. */
  reset(length: number): void {
    this.#next = 0;
    this.#end = length;
  }

  /** Moves to the next record; false at the end of what the kernel gave. */
  next(): boolean {
    if (this.#next >= this.#end) return false;
    const at = this.#next;
    this.#at = at;
    this.#next = at + this.#view.getUint16(at + LENGTH, true);
    this.nameStart = at + NAME;
    // Records are padded to eight bytes, so the NUL is among the last eight; what follows it may be anything.
    let end = Math.max(this.nameStart, this.#next - 8);
    while (this.bytes[end] !== 0 && end < this.#next) end++;
    this.nameEnd = end;
    return true;
  }

  /** Undoes the last `next`. */
  back(): void {
    this.#next = this.#at;
  }

  get ino(): bigint {
    return this.#view.getBigUint64(this.#at, true);
  }

  /** Whether the inode number is below 2⁴⁸. */
  get inoIsShort(): boolean {
    return this.#view.getUint16(this.#at + 6, true) === 0;
  }

  /** Where the directory goes on after this entry, for lseek(2). */
  get offset(): bigint {
    return this.#view.getBigUint64(this.#at + OFFSET, true);
  }

  /** DT_* value. */
  get type(): number {
    return this.bytes[this.#at + TYPE] ?? 0;
  }

  /** Whether the name is "." or "..". */
  get isDots(): boolean {
    const { bytes, nameStart } = this;
    const length = this.nameEnd - nameStart;
    return bytes[nameStart] === 0x2e && (length === 1 || (length === 2 && bytes[nameStart + 1] === 0x2e));
  }

  /** Copies the inode number, eight bytes, little endian. */
  copyIno(into: Uint8Array, at: number): void {
    for (let index = 0; index < 8; index++) into[at + index] = this.bytes[this.#at + index] ?? 0;
  }

  /** Copies the offset likewise. */
  copyOffset(into: Uint8Array, at: number): void {
    for (let index = 0; index < 8; index++) into[at + index] = this.bytes[this.#at + OFFSET + index] ?? 0;
  }

  /** Copies the name. */
  copyName(into: Uint8Array, at: number): void {
    const { bytes, nameStart, nameEnd } = this;
    if (nameEnd - nameStart > 32) {
      bytes.copy(into, at, nameStart, nameEnd);
      return;
    }
    for (let from = nameStart; from < nameEnd; from++) into[at + from - nameStart] = bytes[from] ?? 0;
  }
}
