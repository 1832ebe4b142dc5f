/** Bytes of one file on their way to the server at most, beyond which its writers wait. */
const BOUND = 4 * 1024 * 1024;

interface Flight {
  readonly start: number;
  readonly end: number;
  readonly done: Promise<void>;
}

/**
 * Writes of one file that the kernel has been told are done, and the server not yet. Everything that would notice waits for them: reads,
 * attributes, a flush, a lock. Two writes of the same bytes never fly together, as a server may do requests in any order.
 */
export class Behind {
  readonly #flights = new Set<Flight>();
  #bytes = 0;
  /** Those who wait for a flight to land. */
  #waiting: (() => void)[] = [];

  get busy(): boolean {
    return this.#flights.size > 0;
  }

  /** Whether a write of this range may begin now. */
  admits(start: number, end: number): boolean {
    if (this.#flights.size === 0) return true;
    if (this.#bytes + (end - start) > BOUND) return false;
    for (const flight of this.#flights) if (flight.start < end && start < flight.end) return false;
    return true;
  }

  /** Resolves when a write of this range may begin. */
  async room(start: number, end: number): Promise<void> {
    while (!this.admits(start, end)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** `done` has its errors dealt with. */
  add(start: number, end: number, done: Promise<void>): void {
    const flight = { start, end, done };
    this.#flights.add(flight);
    this.#bytes += end - start;
    void done.then(() => {
      this.#flights.delete(flight);
      this.#bytes -= end - start;
      const waiting = this.#waiting;
      if (waiting.length === 0) return;
      this.#waiting = [];
      for (const resolve of waiting) resolve();
    });
  }

  /** Resolves when all that was begun so far is done. */
  async idle(): Promise<void> {
    await Promise.all([...this.#flights].map((flight) => flight.done));
  }
}
