import { messages } from '../protocol/messages.js';

const names: Array<string | undefined> = new Array(256).fill(undefined);
for (const [name, { type }] of Object.entries(messages)) names[type] = name;

/** What was done, since the beginning. */
export class Counters {
  readonly #byType = new Float64Array(256);
  requests = 0;
  /** Rlerror sent. */
  errors = 0;
  attaches = 0;
  /** Bytes that arrived, heads included. */
  bytesIn = 0;
  /** Bytes of payload in Rread and Twrite. */
  bytesRead = 0;
  bytesWritten = 0;

  /** One more request of that type byte. */
  count(type: number): void {
    this.requests++;
    this.#byType[type] = (this.#byType[type] ?? 0) + 1;
  }

  /** Requests by the name of their message; those that never came are left out. */
  byName(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [type, name] of names.entries()) {
      const count = this.#byType[type] ?? 0;
      if (name !== undefined && count > 0) counts[name] = count;
    }
    return counts;
  }
}
