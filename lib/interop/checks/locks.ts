import {
  L_O_RDWR,
  LOCK_BLOCKED,
  LOCK_ERROR,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../protocol/constants.js';
import { type Check, checks } from '../check.js';
import { refused, same, that } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';

/** Two owners of locks on one file, each with an open fid. */
async function two(t: Trial): Promise<{ one: Handle; other: Handle }> {
  const file = await t.file(Buffer.alloc(1000));
  const other = await (await file.clone()).open(L_O_RDWR);
  return { one: await file.open(L_O_RDWR), other };
}

/** The answer, if it comes at once: before that to the last of many questions that are asked one after the other. */
export async function atOnce<T>(answer: Promise<T>, asked: Handle): Promise<T | undefined> {
  for (let round = 0; round < 20; round++) {
    const first = await Promise.race([answer, asked.getattr().then(() => undefined)]);
    if (first !== undefined) return first;
  }
  return undefined;
}

const read = LOCK_TYPE_RDLCK;
const write = LOCK_TYPE_WRLCK;
const off = LOCK_TYPE_UNLCK;
const them = { procId: 2, clientId: 'other' };

async function granted(status: Promise<number>): Promise<void> {
  same(await status, LOCK_SUCCESS, 'the status');
}

async function blocked(status: Promise<number>): Promise<void> {
  same(await status, LOCK_BLOCKED, 'the status');
}

export const locks: Check[] = checks(
  'locks',
  { source: '9P2000.L protocol description: lock, getlock; fcntl(2)' },
  {
    'lock.granted': ['A lock that nobody stands in the way of is granted', async (t) => granted((await two(t)).one.lock({ type: write }))],
    'lock.conflict': [
      'A write lock keeps others from locking',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write }));
        await blocked(other.lock({ type: write, ...them }));
        await blocked(other.lock({ type: read, ...them }));
      },
    ],
    'lock.read-read': [
      'Read locks go together',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: read }));
        await granted(other.lock({ type: read, ...them }));
      },
    ],
    'lock.read-write': [
      'A read lock keeps others from locking for writing',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: read }));
        await blocked(other.lock({ type: write, ...them }));
      },
    ],
    'lock.unlock': [
      'What was unlocked is free',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write }));
        await blocked(other.lock({ type: write, ...them }));
        await granted(one.lock({ type: off }));
        await granted(other.lock({ type: write, ...them }));
      },
    ],
    'lock.ranges': [
      'Locks of ranges that do not meet go together',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write, start: 0, length: 10 }));
        await granted(other.lock({ type: write, start: 10, length: 10, ...them }));
        await blocked(other.lock({ type: write, start: 9, length: 1, ...them }));
      },
    ],
    'lock.overlap': [
      'Locks of ranges that share a byte do not',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write, start: 100, length: 100 }));
        await blocked(other.lock({ type: write, start: 0, length: 101, ...them }));
        await granted(other.lock({ type: write, start: 0, length: 100, ...them }));
      },
    ],
    'lock.to-end': [
      'A length of 0 reaches to the end, wherever that will be',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write, start: 500, length: 0 }));
        await blocked(other.lock({ type: write, start: 1_000_000, length: 1, ...them }));
        await granted(other.lock({ type: write, start: 499, length: 1, ...them }));
      },
    ],
    'lock.split': [
      'Unlocking the middle leaves both ends locked',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write, start: 0, length: 30 }));
        await granted(one.lock({ type: off, start: 10, length: 10 }));
        await granted(other.lock({ type: write, start: 10, length: 10, ...them }));
        await blocked(other.lock({ type: write, start: 9, length: 1, ...them }));
        await blocked(other.lock({ type: write, start: 20, length: 1, ...them }));
      },
    ],
    'lock.own': [
      'An owner’s own locks do not stand in its way',
      async (t) => {
        const { one } = await two(t);
        await granted(one.lock({ type: write, start: 0, length: 20 }));
        await granted(one.lock({ type: write, start: 10, length: 20 }));
      },
    ],
    'lock.downgrade': [
      'A write lock can become a read lock',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write }));
        await blocked(other.lock({ type: read, ...them }));
        await granted(one.lock({ type: read }));
        await granted(other.lock({ type: read, ...them }));
      },
    ],
    'lock.clunk': [
      'A clunk ends the locks of its fid',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write }));
        await blocked(other.lock({ type: write, ...them }));
        await one.clunk();
        await granted(other.lock({ type: write, ...them }));
      },
      { source: 'fcntl(2): close releases' },
    ],
    'lock.connection': [
      'The end of a connection ends its locks',
      async (t) => {
        const { one } = await two(t);
        const gone = await t.other();
        const theirs = await (await (await gone.dir()).walk('file')).open(L_O_RDWR);
        await granted(theirs.lock({ type: write, ...them }));
        await blocked(one.lock({ type: write }));
        await gone.wire.close();
        for (let tries = 0; (await one.lock({ type: write })) !== LOCK_SUCCESS; tries++) {
          that(tries < 50, 'they are still there');
          await new Promise((resolve) => setTimeout(resolve, t.patience / 50));
        }
      },
    ],
    'lock.waits': [
      'A lock with BLOCK is granted when the way is free, or answered BLOCKED at once',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write }));
        const waiting = other.lock({ type: write, ...them }, LOCK_FLAGS_BLOCK);
        waiting.catch(() => undefined);
        const first = await atOnce(waiting, one);
        if (first !== undefined) return same(first, LOCK_BLOCKED, 'the status while it is held');
        await granted(one.lock({ type: off }));
        const status = await t.soon(waiting, 'the lock is not granted');
        return that(status === LOCK_SUCCESS || status === LOCK_BLOCKED, `the status is ${status}`);
      },
      { source: 'Linux v9fs asks again after BLOCKED' },
    ],
    'lock.type': ['A type that there is not is refused', async (t) => badLock((await two(t)).one.lock({ type: 7 }))],
    'lock.unopened': ['A fid that is not open cannot lock', async (t) => badLock((await t.file()).lock({ type: write }))],
    'lock.unknown-fid': [
      'A fid that is not there cannot lock',
      (t) => refused(t.request('Tlock', { fid: STRANGER, type: write, flags: 0, start: 0, length: 0, procId: 1, clientId: 'x' })),
    ],
    'getlock.free': [
      'Where nothing stands in the way the answer is of type UNLCK',
      async (t) => same((await (await two(t)).one.getlock({ type: write })).type, off, 'the type'),
    ],
    'getlock.conflict': [
      'Where a lock stands in the way the answer is its type, range and owner',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: write, start: 10, length: 20, procId: 77 }));
        const { type, start, length, procId } = await other.getlock({ type: write, start: 0, length: 100, ...them });
        same([type, start, length, procId], [write, 10, 20, 77], 'type, start, length and proc_id');
      },
    ],
    'getlock.type': [
      'A read lock does not stand in the way of another',
      async (t) => {
        const { one, other } = await two(t);
        await granted(one.lock({ type: read }));
        same((await other.getlock({ type: read, ...them })).type, off, 'the type for a read lock');
        same((await other.getlock({ type: write, ...them })).type, read, 'the type for a write lock');
      },
    ],
    'getlock.takes-nothing': [
      'Asking takes no lock',
      async (t) => {
        const { one, other } = await two(t);
        await one.getlock({ type: write });
        await granted(other.lock({ type: write, ...them }));
      },
    ],
    'getlock.unlock': [
      'Tgetlock may be asked with type UNLCK',
      async (t) => void (await (await two(t)).one.getlock({ type: off })),
      { source: 'Linux v9fs does so' },
    ],
    'getlock.unknown-fid': [
      'A fid that is not there has no locks',
      (t) => refused(t.request('Tgetlock', { fid: STRANGER, type: write, start: 0, length: 0, procId: 1, clientId: 'x' })),
    ],
  },
);

/** An error, or the status that says so: after BLOCKED a client asks again and again. */
async function badLock(attempt: Promise<number>): Promise<void> {
  const done = attempt.then((status) => {
    if (status === LOCK_SUCCESS) return;
    same(status, LOCK_ERROR, 'the status');
    throw new Refusal();
  });
  await refused(done).catch((error) => {
    if (!(error instanceof Refusal)) throw error;
  });
}

class Refusal extends Error {}
