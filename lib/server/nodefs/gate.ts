/**
 * Many may look, or one may change: what checks a path and then uses it must not be overtaken by a rename that puts a symlink where
 * a directory was. Whoever asks first goes first, so nobody starves.
 */
export class Gate {
  #lookers = 0;
  #changing = false;
  readonly #queue: Array<{ change: boolean; go: () => void }> = [];

  /** Runs `act` while nothing changes. */
  look<T>(act: () => Promise<T>): Promise<T> {
    return this.#pass(false, act);
  }

  /** Runs `act` alone. */
  change<T>(act: () => Promise<T>): Promise<T> {
    return this.#pass(true, act);
  }

  async #pass<T>(change: boolean, act: () => Promise<T>): Promise<T> {
    if (this.#queue.length > 0 || !this.#open(change)) await new Promise<void>((go) => this.#queue.push({ change, go }));
    else this.#enter(change);
    try {
      return await act();
    } finally {
      if (change) this.#changing = false;
      else this.#lookers--;
      this.#admit();
    }
  }

  #open(change: boolean): boolean {
    return !this.#changing && (!change || this.#lookers === 0);
  }

  #enter(change: boolean): void {
    if (change) this.#changing = true;
    else this.#lookers++;
  }

  #admit(): void {
    for (let next = this.#queue[0]; next !== undefined && this.#open(next.change); next = this.#queue[0]) {
      this.#queue.shift();
      this.#enter(next.change);
      next.go();
    }
  }
}
