/** One coarse timer for all deadlines of a session: a timer for each request would cost more than the request. */
export class Deadlines {
  readonly #check: (now: number) => boolean;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `check` ends what is overdue at `now` (by performance.now()) and tells whether there are deadlines to come. It is asked once what has come is read: timers
   * have their turn before that, and after a time in which the process stood still the answers lie there.
   */
  constructor(check: (now: number) => boolean) {
    this.#check = check;
  }

  /** The deadline of something that has to end within so many milliseconds from now. */
  within(milliseconds: number): number {
    this.#timer ??= setInterval(() => setImmediate(this.#look), Math.max(5, Math.min(milliseconds / 8, 1000)));
    return performance.now() + milliseconds;
  }

  readonly #look = (): void => {
    if (this.#timer !== undefined && !this.#check(performance.now())) this.stop();
  };

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
