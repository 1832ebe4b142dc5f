import type { BufferPool } from './buffers.js';
import type { Counters } from './counters.js';
import type { ServerEvent } from './events.js';
import type { Exports } from './exports.js';
import type { Limits } from './limits.js';

/** What the connections of a server share. */
export interface ServerContext {
  readonly exports: Exports;
  readonly limits: Limits;
  readonly pool: BufferPool;
  readonly counters: Counters;
  readonly log: (event: ServerEvent) => void;
}
