import { failure } from '../errors.js';

/** What a tree in memory may use: bytes of content and attributes, and a number of files. */
export class Quota {
  readonly maxBytes: number;
  readonly maxFiles: number;
  #bytes = 0;
  #files = 0;

  constructor(maxBytes: number, maxFiles: number) {
    this.maxBytes = maxBytes;
    this.maxFiles = maxFiles;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get files(): number {
    return this.#files;
  }

  /** Whether so many more bytes may be used. */
  admits(bytes: number): boolean {
    return this.#bytes + bytes <= this.maxBytes;
  }

  /** Bytes taken (positive) or given back (negative). */
  account(bytes: number): void {
    this.#bytes += bytes;
  }

  /** One more file; ENOSPC where that is one too many. */
  addFile(): void {
    if (this.#files >= this.maxFiles) throw failure('ENOSPC');
    this.#files++;
  }

  removeFile(): void {
    this.#files--;
  }
}
