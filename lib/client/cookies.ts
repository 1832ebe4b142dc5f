import { ProtocolError } from '../protocol/error.js';
import type { DirectoryEntry } from '../protocol/types.js';

/**
 * Goes along with one reading of a directory, and ends it where a server makes it go in circles or gives names that are none: a path made
 * with those would lead out of the directory.
 */
export class Cookies {
  // A cookie that comes again brings the same entries again. One of those passed is kept, later and later ones (Brent's way to find a cycle).
  #kept: bigint | undefined;
  #steps = 0;
  #turn = 1;

  /** What one Rreaddir gave; a ProtocolError if that cannot be. */
  pass(entries: readonly DirectoryEntry[]): void {
    for (const { name } of entries) {
      if (name === '' || name.includes('/') || name.includes('\0')) {
        throw new ProtocolError(`an entry named ${JSON.stringify(name.slice(0, 256))}`, 'Rreaddir.name');
      }
    }
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    if (last.offset === this.#kept) throw new ProtocolError('a listing that goes in circles', 'Rreaddir.offset');
    if (++this.#steps < this.#turn) return;
    this.#kept = last.offset;
    this.#steps = 0;
    this.#turn *= 2;
  }
}
