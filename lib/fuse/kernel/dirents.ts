import { encodeText, textBytes } from '../../protocol/text.js';
import { Encoder, type EntryReply, putEntry } from './structs.js';

const DIRENT_SIZE = 24;
const ENTRY_SIZE = 128;

/** One name of a READDIR or READDIRPLUS reply. */
export interface Dirent {
  ino: bigint;
  /** Cookie of what follows: comes back as the offset of the next request. */
  offset: bigint;
  /** DT_* value. */
  type: number;
  name: string;
}

/**
 * A READDIR or READDIRPLUS reply in the making, of at most `limit` bytes. The caller adds entries until one does not fit; with
 * READDIRPLUS every added entry that has a node id counts as one look-up of that node (but "." and ".." must not have one).
 */
export class Dirents {
  readonly #bytes: Buffer;
  readonly #plus: boolean;
  #size = 0;
  static readonly #scratch = new Encoder();

  constructor(limit: number, plus: boolean) {
    this.#bytes = Buffer.allocUnsafe(limit);
    this.#plus = plus;
  }

  /** Whether a name would fit. */
  fits(name: string): boolean {
    return this.#size + this.sizeOf(name) <= this.#bytes.length;
  }

  /** Bytes that a name takes in the reply. */
  sizeOf(name: string): number {
    return this.#sizeOf(textBytes(name));
  }

  get empty(): boolean {
    return this.#size === 0;
  }

  #sizeOf(nameLength: number): number {
    return ((this.#plus ? ENTRY_SIZE : 0) + DIRENT_SIZE + nameLength + 7) & ~7;
  }

  /** False, and nothing done, where it does not fit. */
  add(dirent: Dirent, entry?: EntryReply): boolean {
    const nameLength = textBytes(dirent.name);
    const size = this.#sizeOf(nameLength);
    if (this.#size + size > this.#bytes.length) return false;
    let at = this.#size;
    if (this.#plus) {
      if (entry === undefined) {
        this.#bytes.fill(0, at, at + ENTRY_SIZE);
      } else {
        const scratch = Dirents.#scratch;
        scratch.size = 0;
        putEntry(scratch, entry);
        scratch.bytes.copy(this.#bytes, at, 0, ENTRY_SIZE);
      }
      at += ENTRY_SIZE;
    }
    const end = this.#size + size;
    this.#bytes.writeBigUInt64LE(dirent.ino, at);
    this.#bytes.writeBigUInt64LE(dirent.offset, at + 8);
    this.#bytes.writeUInt32LE(nameLength, at + 16);
    this.#bytes.writeUInt32LE(dirent.type, at + 20);
    encodeText(dirent.name, this.#bytes, at + DIRENT_SIZE);
    this.#bytes.fill(0, at + DIRENT_SIZE + nameLength, end);
    this.#size = end;
    return true;
  }

  /** What has been added so far. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }
}
