import { LOCK_SUCCESS, LOCK_TYPE_UNLCK } from '../protocol/constants.js';
import type { LockRange } from '../protocol/types.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/**
 * Tlock through `fid`, kept in its book. A request that is given up may have been granted all the same, which its asker does not learn: it is given back as soon
 * as that shows, and what this fid asks for meanwhile waits, so that nothing is given back that was asked for later.
 */
export async function lockThrough(fid: Fid, range: LockRange, flags: number, options: RequestOptions | undefined): Promise<number> {
  const { locks } = fid;
  for (;;) {
    while (locks.returning.size > 0 && options?.signal?.aborted !== true) await eitherOf(locks.returning, options?.signal);
    const before = locks.returned;
    const status = await fid.client.verbs.lock(fid, range, flags, options, (fate) => returnIfGranted(fid, range, fate));
    if (status !== LOCK_SUCCESS) return status;
    // It was on its way while something was given back, which may have been this.
    if (locks.returned !== before) continue;
    locks.granted(range);
    return status;
  }
}

/** All of them, or the signal. */
async function eitherOf(all: Iterable<Promise<void>>, signal: AbortSignal | undefined): Promise<void> {
  let unwatch: (() => void) | undefined;
  const aborted = new Promise<void>((resolve) => {
    const listener = () => resolve();
    signal?.addEventListener('abort', listener, { once: true });
    unwatch = () => signal?.removeEventListener('abort', listener);
  });
  await Promise.race([Promise.all(all), aborted]);
  unwatch?.();
}

function returnIfGranted(fid: Fid, range: LockRange, fate: Promise<boolean>): void {
  const { locks } = fid;
  const returned = fate
    .then((granted) => {
      if (!granted) return undefined;
      if (range.type !== LOCK_TYPE_UNLCK) return giveBack(fid, range);
      locks.granted(range);
      return undefined;
    })
    .finally(() => locks.returning.delete(returned));
  locks.returning.add(returned);
}

/** Has the server agree with the book again: the owner may have held some of it before, of either kind. */
async function giveBack(fid: Fid, range: LockRange): Promise<void> {
  const { locks, client } = fid;
  locks.returned++;
  for (const piece of locks.within(range)) {
    // With the fid its locks end.
    if (fid.ended) return;
    await client.verbs.lock(fid, piece, 0).catch(() => undefined);
  }
}
