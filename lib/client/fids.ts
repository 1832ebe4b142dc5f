import { NOFID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';

/**
 * The fid numbers of one client. A number goes back only after the server's reply to whatever ended the fid: until then the server
 * may still know it (FACTS of clunk(5); a number used too early clashes).
 */
export class FidNumbers {
  readonly #free: number[] = [];
  #next = 0;
  #used = 0;

  /** Numbers in use. */
  get used(): number {
    return this.#used;
  }

  take(): number {
    const number = this.#free.pop() ?? this.#next;
    if (number === this.#next) {
      if (number === NOFID) throw new ErrnoError('EMFILE', { syscall: 'Twalk' });
      this.#next++;
    }
    this.#used++;
    return number;
  }

  give(number: number): void {
    this.#used--;
    this.#free.push(number);
  }
}
