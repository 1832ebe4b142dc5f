import { VERSION_U } from '../protocol/constants.js';
import { decodeStats, entryBytes } from '../protocol/directory.js';
import type { DirectoryEntry, LegacyStat } from '../protocol/types.js';
import type { Fid } from './fid.js';
import { modeOf } from './stat.js';
import type { RequestOptions } from './verbs.js';

/**
 * A directory of 9P2000 is read like a file, from its start on and each Tread where the last one ended (read(5)); Treaddir's callers come back
 * with the cookie of any entry. So cookies are ordinal numbers, the last piece that was read is kept, and who goes back further makes
 * the server start again.
 */
class Listing {
  /** Entries of the last pieces that have not been passed yet; the first one has the cookie `#first + 1`. */
  #kept: DirectoryEntry[] = [];
  #first = 0;
  /** The byte where the next Tread goes on. */
  #offset = 0;
  #ended = false;
  #turn: Promise<unknown> = Promise.resolve();

  /** Entries after the cookie `after` that fit into `count` bytes of an Rreaddir. One caller at a time: the server keeps one position. */
  read(fid: Fid, after: bigint, count: number, options: RequestOptions | undefined): Promise<DirectoryEntry[]> {
    const turn = this.#turn.then(() => this.#read(fid, Number(after), count, options));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #read(fid: Fid, after: number, count: number, options: RequestOptions | undefined): Promise<DirectoryEntry[]> {
    if (after === 0 || after < this.#first) this.#rewind();
    while (!this.#ended && after >= this.#first + this.#kept.length) await this.#more(fid, options);
    if (after > this.#first) this.#pass(after);
    const fitting: DirectoryEntry[] = [];
    let bytes = 0;
    for (const entry of this.#kept) {
      bytes += entryBytes(entry.name);
      if (bytes > count) break;
      fitting.push(entry);
    }
    return fitting;
  }

  #rewind(): void {
    this.#kept = [];
    this.#first = 0;
    this.#offset = 0;
    this.#ended = false;
  }

  #pass(after: number): void {
    const passed = Math.min(after - this.#first, this.#kept.length);
    this.#kept.splice(0, passed);
    this.#first += passed;
  }

  /**
   * The next piece. QEMU answers ENOENT where a file vanishes while it makes the stats, and does not come back to what it had read before that
   * (interop: concurrency.list-and-change): so it is made to start again, and what was passed already is read over.
   */
  async #piece(fid: Fid, options: RequestOptions | undefined): Promise<Uint8Array> {
    const read = async (offset: number): Promise<Uint8Array> =>
      (await fid.client.request('Tread', { fid: fid.number, offset, count: fid.iounit }, options)).data;
    for (let tries = 1; ; tries++) {
      try {
        if (tries > 1) {
          let at = 0;
          while (at < this.#offset) {
            const { length } = await read(at);
            if (length === 0) return new Uint8Array(0);
            at += length;
          }
          this.#offset = at;
        }
        return await read(this.#offset);
      } catch (error) {
        if (tries === TRIES || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  async #more(fid: Fid, options: RequestOptions | undefined): Promise<void> {
    // What lies before what is wanted now has been passed.
    this.#pass(this.#first + this.#kept.length);
    const data = await this.#piece(fid, options);
    this.#offset += data.length;
    this.#ended = data.length === 0;
    let cookie = this.#first;
    for (const stat of decodeStats(data, fid.client.dialect === VERSION_U)) this.#kept.push(entryOf(stat, ++cookie));
  }
}

const TRIES = 8;

function entryOf(stat: LegacyStat, cookie: number): DirectoryEntry {
  return { qid: stat.qid, offset: BigInt(cookie), type: modeOf(stat) >>> 12, name: stat.name };
}

const listings = new WeakMap<Fid, Listing>();

/** Treaddir in the dialects that read directories like files. */
export function readListing(fid: Fid, after: bigint, count: number, options: RequestOptions | undefined): Promise<DirectoryEntry[]> {
  let listing = listings.get(fid);
  if (listing === undefined) {
    listing = new Listing();
    listings.set(fid, listing);
  }
  return listing.read(fid, after, count, options);
}
