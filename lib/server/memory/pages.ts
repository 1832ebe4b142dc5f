import { failure } from '../errors.js';
import type { Quota } from './quota.js';

/** Bytes in a full page. A page starts small and grows up to this, so that a file of ten bytes costs no more than 512. */
const PAGE = 65536;
const SMALLEST = 512;

/** The content of one file. Holes take no memory, so a client that claims a size makes nobody pay for it. */
export class Pages {
  readonly #quota: Quota;
  readonly #pages = new Map<number, Uint8Array>();
  #allocated = 0;

  constructor(quota: Quota) {
    this.#quota = quota;
  }

  /** Bytes of memory in use. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Fills `buffer` from `offset`; the caller has clipped it to the file's size. */
  read(buffer: Uint8Array, offset: number): void {
    let done = 0;
    while (done < buffer.length) {
      const at = offset + done;
      const within = at % PAGE;
      const length = Math.min(PAGE - within, buffer.length - done);
      const page = this.#pages.get((at - within) / PAGE);
      const present = page === undefined ? 0 : Math.max(0, Math.min(page.length - within, length));
      if (page !== undefined && present > 0) buffer.set(page.subarray(within, within + present), done);
      if (present < length) buffer.fill(0, done + present, done + length);
      done += length;
    }
  }

  /** Stores `data` at `offset`; returns how much of it found room, which is all unless the quota is used up. ENOSPC for none. */
  write(data: Uint8Array, offset: number): number {
    let done = 0;
    while (done < data.length) {
      const at = offset + done;
      const within = at % PAGE;
      const length = Math.min(PAGE - within, data.length - done);
      const page = this.#grown((at - within) / PAGE, within + length);
      if (page === undefined) break;
      page.set(data.subarray(done, done + length), within);
      done += length;
    }
    if (done === 0 && data.length > 0) throw failure('ENOSPC');
    return done;
  }

  /** Forgets everything from `size` on: what is read there later is zeros. */
  truncate(size: number): void {
    const within = size % PAGE;
    const last = (size - within) / PAGE;
    for (const [index, page] of this.#pages) {
      if (index > last || (index === last && within === 0)) {
        this.#pages.delete(index);
        this.#account(-page.length);
      } else if (index === last && within < page.length) {
        page.fill(0, within);
      }
    }
  }

  #grown(index: number, length: number): Uint8Array | undefined {
    const page = this.#pages.get(index);
    const before = page?.length ?? 0;
    if (page !== undefined && before >= length) return page;
    let size = Math.max(SMALLEST, before);
    while (size < length) size *= 2;
    if (!this.#quota.admits(size - before)) return undefined;
    const larger = new Uint8Array(size);
    if (page !== undefined) larger.set(page);
    this.#pages.set(index, larger);
    this.#account(size - before);
    return larger;
  }

  #account(bytes: number): void {
    this.#allocated += bytes;
    this.#quota.account(bytes);
  }
}
