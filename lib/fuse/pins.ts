import type { Fid } from '../client/index.js';

/** Clunks in flight at most: nobody waits for them, and a whole tree may be forgotten at once. */
const IN_FLIGHT = 32;

/** Ends fids in the background. What a server has to say about a clunk interests nobody here. */
export class Clunker {
  readonly #waiting: Fid[] = [];
  #inFlight = 0;
  #idle: (() => void)[] = [];

  give(fid: Fid): void {
    if (this.#inFlight < IN_FLIGHT) this.#clunk(fid);
    else this.#waiting.push(fid);
  }

  #clunk(fid: Fid): void {
    this.#inFlight++;
    const next = (): void => {
      this.#inFlight--;
      const waiting = this.#waiting.pop();
      if (waiting !== undefined) this.#clunk(waiting);
      else if (this.#inFlight === 0) for (const idle of this.#idle.splice(0)) idle();
    };
    fid.clunk().then(next, next);
  }

  /** Resolves when all that was given has ended. */
  idle(): Promise<void> {
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
