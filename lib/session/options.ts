import type { Dialect } from '../protocol/constants.js';

/** How a conversation is begun. */
export interface SessionOptions {
  /** The largest frame to ask for, in bytes. What Rversion gives is obeyed. Default: 1 MiB + 24. */
  msize?: number | undefined;
  /** The version string to ask for. Default: 9P2000.L, then the older dialects if the server does not know it. */
  version?: Dialect | undefined;
  /** Requests in flight at most; more wait for a tag. Default: 256. */
  window?: number | undefined;
  /**
   * Milliseconds a request may take before it is flushed and fails with ETIMEDOUT; 0: for ever. Default: 0. The time that it waits for a tag while answers to
   * others keep coming does not count.
   */
  timeout?: number | undefined;
  /** Ends the attempt to begin. */
  signal?: AbortSignal | undefined;
}
