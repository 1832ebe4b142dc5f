import { DEFAULT_MSIZE, IOHDRSZ, MIN_MSIZE } from '../protocol/constants.js';
import { descriptorLimit } from './descriptors.js';

/** What a server lets its clients have. Every figure is for one connection unless it says otherwise. */
export interface Limits {
  /** Connections of the whole server; one more is closed as soon as it comes. By default no more than an eighth of the descriptors that the process may have. */
  maxConnections: number;
  /** The largest message in bytes, from 4096 on; a client may ask for less. */
  msize: number;
  /** Fids at one time. EMFILE beyond. */
  maxFids: number;
  /** Requests begun and not answered, and as many Tflush that wait for them. Beyond, nothing more is read from the connection. */
  maxRequests: number;
  /** Requests that had arrived when reading stopped, and wait for their turn; and as many Tflush beyond maxRequests. EAGAIN beyond. */
  maxWaiting: number;
  /**
   * Bytes of payload in requests begun and not answered, and bytes of those that wait for others in the order that was promised. Beyond either,
   * nothing more is read from the connection.
   */
  maxPayload: number;
  /** Locks that wait for their range. Beyond, a lock that would wait is answered LOCK_BLOCKED, and its client asks again. */
  maxLockWaits: number;
  /** Fids that read or write an extended attribute. EMFILE beyond. */
  maxXattrFids: number;
  /** Bytes of extended attributes being read and written. ENOSPC beyond. */
  maxXattrBytes: number;
  /** Milliseconds a stop waits for requests begun and answers unsent before it cuts them off. */
  grace: number;
}

export const defaultLimits: Readonly<Limits> = {
  maxConnections: 4096,
  msize: DEFAULT_MSIZE,
  maxFids: 65536,
  maxRequests: 256,
  maxWaiting: 8192,
  maxPayload: 16 * 1024 * 1024,
  maxLockWaits: 64,
  maxXattrFids: 1024,
  maxXattrBytes: 16 * 1024 * 1024,
  grace: 5000,
};

/** The defaults with what was asked for in their place. A RangeError for a figure that makes no sense. */
export function limitsOf(asked: Partial<Limits> = {}): Limits {
  const limits: Limits = { ...defaultLimits };
  limits.maxConnections = Math.min(limits.maxConnections, Math.max(1, Math.floor(descriptorLimit() / 8)));
  for (const key of Object.keys(defaultLimits) as Array<keyof Limits>) {
    const value = asked[key];
    if (value === undefined) continue;
    const least = key === 'msize' ? MIN_MSIZE : key === 'grace' || key === 'maxLockWaits' || key === 'maxXattrFids' ? 0 : 1;
    if (!Number.isSafeInteger(value) || value < least || (key === 'msize' && value > 0x7fffffff)) {
      throw new RangeError(`${key} is ${value}; it must be an integer from ${least} on`);
    }
    limits[key] = value;
  }
  // Locks that wait must leave room for the requests that end the wait.
  limits.maxLockWaits = Math.min(limits.maxLockWaits, Math.floor(limits.maxRequests / 2));
  return limits;
}

/** Bytes of payload in one message at most. */
export function payloadOf(msize: number): number {
  return msize - IOHDRSZ;
}
