import type { Fid } from '../client/index.js';

/** Clunks in flight at most: nobody waits for them, and a whole tree may be forgotten at once. */
const IN_FLIGHT = 32;

/** How long a fid may wait for others to be ended with, in ms, and how many of them make a crowd. */
const PAUSE = 5;
const CROWD = 16;

/**
 * Ends fids in the background, several at once: a message that travels alone wakes the server, and costs more than all that
 * it has to do. What a server has to say about a clunk interests nobody here.
 */
export class Clunker {
  readonly #waiting: Fid[] = [];
  #inFlight = 0;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void)[] = [];

  give(fid: Fid): void {
    fid.unneeded = true;
    this.#waiting.push(fid);
    if (this.#waiting.length >= CROWD) this.#flush();
    else this.#timer ??= setTimeout(this.#flush, PAUSE);
  }

  readonly #flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#inFlight < IN_FLIGHT) {
      const fid = this.#waiting.pop();
      if (fid === undefined) break;
      this.#inFlight++;
      fid.clunk().then(this.#done, this.#done);
    }
  };

  readonly #done = (): void => {
    this.#inFlight--;
    if (this.#inFlight > 0) return;
    if (this.#waiting.length > 0) this.#flush();
    if (this.#inFlight === 0) for (const idle of this.#idle.splice(0)) idle();
  };

  /** Resolves when all that was given has ended. */
  idle(): Promise<void> {
    this.#flush();
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }
}

/** A fid that several requests may use at once: it is clunked when its owner has let go of it and the last of them is done. */
export class Pin {
  readonly fid: Fid;
  readonly #clunker: Clunker;
  #users = 0;
  #ended = false;

  constructor(fid: Fid, clunker: Clunker) {
    this.fid = fid;
    this.#clunker = clunker;
  }

  get busy(): boolean {
    return this.#users > 0;
  }

  /** One more user, who must call `drop`. */
  hold(): this {
    this.#users++;
    return this;
  }

  drop(): void {
    this.#users--;
    if (this.#ended && this.#users === 0) this.#clunker.give(this.fid);
  }

  /** The owner needs it no more. Idempotent. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#users === 0) this.#clunker.give(this.fid);
  }
}
