import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Fid } from '../../lib/index.js';
import {
  L_O_CREAT,
  L_O_RDWR,
  LOCK_BLOCKED,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
  type LockRange,
  type Message,
} from '../../lib/protocol/index.js';
import { Between } from './between.js';

const exclusive: LockRange = { type: LOCK_TYPE_WRLCK, start: 0, length: 10, procId: 1, clientId: 'us' };
const theirs: LockRange = { ...exclusive, procId: 2, clientId: 'them' };

describe('a lock that is given up in the moment in which it is granted', () => {
  let between: Between;
  let mine: Fid;
  let other: Fid;
  beforeEach(async () => {
    between = await Between.open();
    mine = await between.client.root.clone();
    await mine.create('f', L_O_CREAT | L_O_RDWR, 0o644, 0);
    other = await between.client.root.walk(['f']);
    await other.open(L_O_RDWR);
  });
  afterEach(async () => {
    await between[Symbol.asyncDispose]();
  });

  /** Keeps the next Rlock until `release`, or until the Tflush for its request: so it counts (flush(5)). */
  function keepRlock(): { kept: Promise<void> } {
    let arrived: () => void = () => {};
    const kept = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    let rlock: Message | undefined;
    let once = false;
    between.saboteur = {
      reply(reply, request) {
        if (request.name === 'Tlock' && !once) {
          once = true;
          rlock = reply;
          arrived();
          return 'swallow';
        }
        if (request.name !== 'Tflush' || rlock === undefined) return undefined;
        const late = rlock;
        rlock = undefined;
        return { send: [late, reply] };
      },
    };
    return { kept };
  }

  async function giveUp(range: LockRange): Promise<void> {
    const { kept } = keepRlock();
    const controller = new AbortController();
    const asked = mine.lock(range, LOCK_FLAGS_BLOCK, { signal: controller.signal });
    await kept;
    controller.abort();
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
  }

  async function quiet(): Promise<void> {
    do await turn();
    while (between.client.session.counters.inFlight > 0);
  }

  test('is given back', async () => {
    await giveUp(exclusive);
    await quiet();
    expect(await other.lock(theirs, 0)).toBe(LOCK_SUCCESS);
    expect(mine.locks.held).toEqual([]);
  });

  test('leaves what was locked before, as it was', async () => {
    const before = [
      { ...exclusive, start: 1, length: 2, type: LOCK_TYPE_RDLCK },
      { ...exclusive, start: 8, length: 20 },
    ];
    for (const range of before) expect(await mine.lock(range, 0)).toBe(LOCK_SUCCESS);
    await giveUp(exclusive);
    await quiet();
    expect(mine.locks.held).toEqual(before);
    expect(await other.getlock({ ...theirs, length: 6 })).toMatchObject({ type: LOCK_TYPE_RDLCK, start: 1, length: 2 });
    expect(await other.lock({ ...theirs, type: LOCK_TYPE_RDLCK, start: 1, length: 2 }, 0)).toBe(LOCK_SUCCESS);
    expect(await other.lock({ ...theirs, start: 3, length: 5 }, 0)).toBe(LOCK_SUCCESS);
    expect(await other.lock({ ...theirs, start: 8, length: 1 }, 0)).toBe(LOCK_BLOCKED);
  });

  test('takes nothing away from whoever asks for it right afterwards', async () => {
    const { kept } = keepRlock();
    const controller = new AbortController();
    const asked = mine.lock(exclusive, LOCK_FLAGS_BLOCK, { signal: controller.signal });
    await kept;
    controller.abort();
    const again = mine.lock(exclusive, LOCK_FLAGS_BLOCK);
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
    expect(await again).toBe(LOCK_SUCCESS);
    await quiet();
    expect(await other.lock(theirs, 0)).toBe(LOCK_BLOCKED);
  });

  test('takes nothing away from whoever was asking for it at the same time', async () => {
    const { kept } = keepRlock();
    const controller = new AbortController();
    const asked = mine.lock(exclusive, LOCK_FLAGS_BLOCK, { signal: controller.signal });
    const beside = mine.lock({ ...exclusive, length: 5 }, LOCK_FLAGS_BLOCK);
    await kept;
    controller.abort();
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
    expect(await beside).toBe(LOCK_SUCCESS);
    await quiet();
    expect(await other.getlock(theirs)).toMatchObject({ type: LOCK_TYPE_WRLCK, start: 0, length: 5 });
    expect(await other.lock({ ...theirs, start: 5, length: 5 }, 0)).toBe(LOCK_SUCCESS);
  });

  test('an unlock that is given up and happened all the same is one', async () => {
    expect(await mine.lock(exclusive, 0)).toBe(LOCK_SUCCESS);
    await giveUp({ ...exclusive, type: LOCK_TYPE_UNLCK });
    await quiet();
    expect(mine.locks.held).toEqual([]);
  });

  test('is not asked about where its fid ends', async () => {
    await giveUp(exclusive);
    await mine.clunk();
    await quiet();
    expect(await other.lock(theirs, 0)).toBe(LOCK_SUCCESS);
    expect(between.serverFids).toBe(2);
  });
});

test('a lock that is waited for does not keep a client from ending', async () => {
  await using between = await Between.open();
  const [mine, other] = [await between.client.root.clone(), await between.client.root.clone()];
  await mine.create('f', L_O_CREAT | L_O_RDWR, 0o644, 0);
  await other.create('f', L_O_CREAT | L_O_RDWR, 0o644, 0);
  expect(await mine.lock(exclusive, 0)).toBe(LOCK_SUCCESS);
  const refused = expect(other.lock(theirs, LOCK_FLAGS_BLOCK)).rejects.toMatchObject({ name: 'ConnectionLostError' });
  await between.client.close();
  await refused;
});
