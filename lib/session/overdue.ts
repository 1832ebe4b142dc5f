import type { Call } from './call.js';
import type { Tags } from './tags.js';

/**
 * Which requests have taken too long. One that waits for a tag has its time counted from the last progress of those before it: a long queue that moves is none to
 * give up, one behind requests that are never answered is.
 */
export class Overdue {
  readonly #tags: Tags;
  readonly #patience: (call: Call) => number;
  /** Answers, and requests that got a tag after they had waited for one: how many, how many when that was last looked at, and when there were more than before. */
  #moves = 0;
  #seen = 0;
  #movedAt = 0;

  /** `patience`: for how many milliseconds a request is waited for; 0 for any number. */
  constructor(tags: Tags, patience: (call: Call) => number) {
    this.#tags = tags;
    this.#patience = patience;
  }

  /** Something was answered, or need not wait for a tag any more. */
  moved(): void {
    this.#moves++;
  }

  /** Those in flight that are overdue at `now` (performance.now), and whether any has a deadline at all. */
  inFlight(now: number): { calls: Call[]; pending: boolean } {
    let pending = false;
    const calls: Call[] = [];
    for (const call of this.#tags.calls()) {
      if (call.deadline === 0 || call.flushing) continue;
      pending = true;
      if (call.deadline <= now) calls.push(call);
    }
    return { calls, pending };
  }

  /** Takes those out of the queue that have waited too long for a tag. */
  waiting(now: number): Call[] {
    if (this.#tags.waiting === 0) return [];
    if (this.#moves !== this.#seen) {
      this.#seen = this.#moves;
      this.#movedAt = now;
      return [];
    }
    return this.#tags.withdraw((call) => call.deadline > 0 && Math.max(call.deadline, this.#movedAt + this.#patience(call)) <= now);
  }
}
