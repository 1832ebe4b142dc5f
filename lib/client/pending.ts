import type { Body, TName } from '../protocol/messages.js';
import type { CallOptions, Done } from '../session/call.js';

/** A request that outlives connections. */
export interface Pending<N extends TName = TName> {
  readonly name: N;
  readonly body: Body<N>;
  readonly done: Done<N>;
  readonly options: CallOptions<N> | undefined;
  /** Requests are sent again in the order in which they were made. */
  readonly order: number;
  /** It was in flight when a connection was lost, so the server may have done it. */
  sent: boolean;
  /** Conversations that were lost with it under way. */
  tries?: number;
  unwatch?: () => void;
  /** Whoever asked has been told that it was given up; only `late` is still to hear of it. */
  givenUp?: Error;
  /** Told when it is done or waits for another connection. */
  followers?: (() => void)[];
}

/** What changes nothing of the fid that it names, or may take for ever. */
const HARMLESS: ReadonlySet<TName> = new Set<TName>([
  'Tread',
  'Treaddir',
  'Tgetattr',
  'Treadlink',
  'Tstatfs',
  'Tgetlock',
  'Tlock',
  'Tfsync',
]);

/**
 * Sends again what was parked. A server that promised to keep order may have got requests that need what another makes; the new conversation has
 * no such promise yet. So each waits for those before it that change one of its fids.
 */
export function inOrder(parked: readonly Pending[], again: (pending: Pending) => void): void {
  const changing = new Map<number, Pending>();
  const first: Pending[] = [];
  for (const pending of parked) {
    const before = new Set<Pending>();
    for (const number of fidsOf(pending.body)) {
      const earlier = changing.get(number);
      if (earlier !== undefined) before.add(earlier);
      if (!HARMLESS.has(pending.name)) changing.set(number, pending);
    }
    pending.followers = [];
    let left = before.size;
    if (left === 0) first.push(pending);
    for (const earlier of before) {
      earlier.followers?.push(() => {
        if (--left === 0) again(pending);
      });
    }
  }
  for (const pending of first) again(pending);
}

/** The fields of messages that hold a fid: fid, dfid, newfid, olddirfid, newdirfid, and Tunlinkat's dirfd. */
const FID = /fid$|^dirfd$/;

/** The fids that a request names. */
export function fidsOf(body: object): Set<number> {
  const numbers = new Set<number>();
  for (const [key, value] of Object.entries(body)) if (FID.test(key) && typeof value === 'number') numbers.add(value);
  return numbers;
}

/** `pending` is done, or waits for another connection: what waited for it goes on. */
export function tellFollowers(pending: { followers?: (() => void)[] }): void {
  const followers = pending.followers ?? [];
  delete pending.followers;
  for (const follower of followers) follower();
}
