import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  LOCK_BLOCKED,
  LOCK_ERROR,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../../lib/protocol/constants.js';
import type { LockRange } from '../../../lib/protocol/types.js';
import type { BackendFile } from '../../../lib/server/backend.js';
import { openFiles } from '../../../lib/server/descriptors.js';
import { localBackend } from '../../../lib/server/local/index.js';
import { Door } from '../../support/gated.js';
import { markedEnvironment } from '../../support/launcher.js';
import { caller, child, Exported, hold, intercept, outcome } from './exported.js';

const range = (type: number, start = 0, length = 0, procId = 1, clientId = 'host'): LockRange => ({
  type,
  start,
  length,
  procId,
  clientId,
});

/** A local process with the file open: POSIX locks, without this package's code. */
class Locker implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async on(path: string): Promise<Locker> {
    const child = fork(fileURLToPath(new URL('locker.mjs', import.meta.url)), [path], { env: markedEnvironment() });
    await once(child, 'message');
    return new Locker(child);
  }

  async lock(type: number, start = 0, length = 0): Promise<string> {
    this.#child.send({ type, start, length });
    return String((await once(this.#child, 'message'))[0]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

describe('byte-range locks are the host’s', () => {
  test('against a local process, both ways', async () => {
    await using e = await Exported.make();
    await e.create('f', { text: 'x'.repeat(100) });
    await using local = await Locker.on(e.host('f'));
    const file = await e.open('f', 2);
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 10, 10), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await local.lock(1, 15, 1)).toBe('refused');
    expect(await local.lock(0, 15, 1)).toBe('refused');
    expect(await local.lock(1, 20, 10)).toBe('locked');
    expect(await file.lock(range(LOCK_TYPE_RDLCK, 0, 0), 0, caller())).toBe(LOCK_BLOCKED);
    expect(await file.getlock(range(LOCK_TYPE_RDLCK, 0, 0), caller())).toMatchObject({ type: LOCK_TYPE_WRLCK, start: 20, length: 10 });
    expect(await file.lock(range(LOCK_TYPE_UNLCK, 12, 2), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await local.lock(1, 12, 2)).toBe('locked');
    await file.close();
    expect(await local.lock(1, 0, 0)).toBe('locked');
  });

  test('ranges have a bound that leaves some for others, neighbours count as one, and room comes back', async () => {
    await using e = await Exported.make();
    const files: BackendFile[] = [];
    const lockEach = async (file: BackendFile, step: number): Promise<unknown> => {
      let status: unknown;
      for (let at = 0; at < 256; at++) status = await file.lock(range(LOCK_TYPE_WRLCK, at * step, 1), 0, caller());
      return status;
    };
    for (let index = 0; index < 130; index++) {
      await e.create(`f${index}`);
      files.push(await e.open(`f${index}`, 2));
    }
    const [first, second, ...others] = files;
    if (first === undefined || second === undefined) throw new Error('no files');
    // One range each.
    for (const file of [first, second]) expect(await lockEach(file, 1)).toBe(LOCK_SUCCESS);
    const statuses: unknown[] = [];
    for (const file of others) statuses.push(await lockEach(file, 2));
    expect(statuses.slice(0, -1)).toEqual(statuses.slice(0, -1).map(() => LOCK_SUCCESS));
    expect(statuses.at(-1)).toBe(LOCK_ERROR);
    // To unlock the middle of a range takes one more.
    expect(await first.lock(range(LOCK_TYPE_UNLCK, 100, 1), 0, caller())).toBe(LOCK_ERROR);
    expect(await first.lock(range(LOCK_TYPE_UNLCK, 255, 1), 0, caller())).toBe(LOCK_SUCCESS);
    const theirs = await e.at('f0', (node) => node.open(2, caller(1000, 'c2')));
    for (let at = 0; at < 256; at++) {
      expect(await theirs.lock(range(LOCK_TYPE_WRLCK, 1000 + at * 2, 1), 0, caller(1000, 'c2'))).toBe(LOCK_SUCCESS);
    }
    await theirs.close();
    await second.close();
    await others[0]?.close();
    expect(await first.lock(range(LOCK_TYPE_UNLCK, 100, 1), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await first.lock(range(LOCK_TYPE_WRLCK, 2000, 1), 0, caller())).toBe(LOCK_SUCCESS);
    for (const file of files) await file.close();
    expect(e.backend.counts().locks).toBe(0);
  });

  test('a wait ends when a local process lets go, with no unlock of ours', async () => {
    await using e = await Exported.make();
    await e.create('f');
    await using local = await Locker.on(e.host('f'));
    expect(await local.lock(1)).toBe('locked');
    const file = await e.open('f', 2);
    const waiting = Promise.resolve(file.lock(range(LOCK_TYPE_WRLCK), LOCK_FLAGS_BLOCK, caller()));
    expect(await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 50, 'waits'))])).toBe('waits');
    expect(await local.lock(2)).toBe('locked');
    expect(await waiting).toBe(LOCK_SUCCESS);
    await file.close();
  });

  test('across two servers on one host', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const other = await localBackend(e.host(), { securityModel: 'mapped-file' });
    const root = other.attach();
    const node = await child(root, 'f');
    const [mine, theirs] = [await e.open('f', 2), await node.open(2, caller())];
    expect(await mine.lock(range(LOCK_TYPE_WRLCK, 0, 10), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await theirs.lock(range(LOCK_TYPE_WRLCK, 9, 1), 0, caller())).toBe(LOCK_BLOCKED);
    expect(await theirs.lock(range(LOCK_TYPE_WRLCK, 10, 1), 0, caller())).toBe(LOCK_SUCCESS);
    const waiting = Promise.resolve(theirs.lock(range(LOCK_TYPE_WRLCK, 9, 1), LOCK_FLAGS_BLOCK, caller()));
    await mine.close();
    expect(await waiting).toBe(LOCK_SUCCESS);
    await theirs.close();
    node.release();
    root.release();
    expect(other.counts()).toMatchObject({ held: 0, locks: 0 });
    await other.close();
  });

  test('what is left of a range on both sides of what was unlocked stays locked, until each of it is', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const [mine, theirs] = [await e.open('f', 2), await e.open('f', 2)];
    const unlock = (start: number, length: number) => mine.lock(range(LOCK_TYPE_UNLCK, start, length), 0, caller());
    const free = async (start: number) => (await theirs.getlock(range(LOCK_TYPE_WRLCK, start, 1), caller())).type === LOCK_TYPE_UNLCK;
    expect(await mine.lock(range(LOCK_TYPE_WRLCK, 0, 100), 0, caller())).toBe(LOCK_SUCCESS);
    await unlock(10, 10);
    expect([await free(5), await free(15), await free(50)]).toEqual([false, true, false]);
    await unlock(0, 10);
    expect([await free(5), await free(50), await free(99)]).toEqual([true, false, false]);
    await unlock(60, 40);
    expect([await free(50), await free(60)]).toEqual([false, true]);
    await unlock(20, 40);
    expect(await free(50)).toBe(true);
    for (const file of [mine, theirs]) await file.close();
  });

  test('two processes of one client conflict over one fid, and are told of each other', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const file = await e.open('f', 2);
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 0, 10, 1), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 5, 1, 2), 0, caller())).toBe(LOCK_BLOCKED);
    const told = { type: LOCK_TYPE_WRLCK, start: 0, length: 10, procId: 1, clientId: 'host' };
    expect(await file.getlock(range(LOCK_TYPE_RDLCK, 5, 1, 2), caller())).toEqual(told);
    // As v9fs asks.
    expect(await file.getlock(range(LOCK_TYPE_UNLCK, 5, 1, 2), caller())).toEqual(told);
    expect((await file.getlock(range(LOCK_TYPE_UNLCK, 5, 1, 1), caller())).type).toBe(LOCK_TYPE_UNLCK);
    expect(await file.lock(range(LOCK_TYPE_UNLCK, 0, 0, 2), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 5, 1, 3), 0, caller())).toBe(LOCK_BLOCKED);
    expect(e.backend.counts().locks).toBe(1);
    await file.close();
    expect(e.backend.counts().locks).toBe(0);
  });

  test('waiters are served in turn, and one that is aborted is no longer in the way', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const files = await Promise.all(Array.from({ length: 8 }, () => e.open('f', 2)));
    const [first, ...others] = files;
    if (first === undefined) throw new Error('no file');
    expect(await first.lock(range(LOCK_TYPE_WRLCK), 0, caller())).toBe(LOCK_SUCCESS);
    const aborts = new AbortController();
    const order: number[] = [];
    const waits = others.map(async (file, index) => {
      const signal = index === 0 ? aborts.signal : new AbortController().signal;
      const status = await file.lock(range(LOCK_TYPE_WRLCK), LOCK_FLAGS_BLOCK, caller(1, 'c', signal));
      order.push(index);
      await file.lock(range(LOCK_TYPE_UNLCK), 0, caller());
      return status;
    });
    aborts.abort();
    expect(await outcome(() => waits[0])).toBe('EINTR');
    await first.lock(range(LOCK_TYPE_UNLCK), 0, caller());
    expect(await Promise.all(waits.slice(1))).toEqual(Array(6).fill(LOCK_SUCCESS));
    expect(order.sort()).toEqual([1, 2, 3, 4, 5, 6]);
    for (const file of files) await file.close();
    expect(e.backend.counts().locks).toBe(0);
  });

  test('ranges far beyond 4 GiB', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const [a, b] = [await e.open('f', 2), await e.open('f', 2)];
    const start = 2 ** 40 + 3;
    expect(await a.lock(range(LOCK_TYPE_WRLCK, start, 2 ** 33), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await b.lock(range(LOCK_TYPE_WRLCK, start - 1, 1), 0, caller())).toBe(LOCK_SUCCESS);
    expect(await b.lock(range(LOCK_TYPE_WRLCK, start + 2 ** 33 - 1, 1), 0, caller())).toBe(LOCK_BLOCKED);
    expect(await b.getlock(range(LOCK_TYPE_WRLCK, start, 0), caller())).toMatchObject({ start, length: 2 ** 33 });
    await a.close();
    await b.close();
  });
});

describe('who locks', () => {
  const count = async (next: (index: number) => Promise<unknown>, most: number): Promise<number> => {
    for (let index = 0; index < most; index++) if ((await next(index)) !== LOCK_SUCCESS) return index;
    return most;
  };

  test('leaves descriptors and places to lock for other connections', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const file = await e.open('f', 2);
    const lock = (on: BackendFile, procId: number, type = LOCK_TYPE_WRLCK) => on.lock(range(type, procId, 1, procId), 0, caller());
    const most = openFiles().allow('c1', 2048) ? 2048 : 0;
    const locked = await count(async (index) => lock(file, index), 4096);
    if (most > 0) expect(locked).toBe(most);
    expect(openFiles().of('c1')).toBe(locked + 1);
    expect(await lock(file, locked)).toBe(LOCK_ERROR);
    const theirs = await e.at('f', (node) => node.open(2, caller(1000, 'c2')));
    expect(await count(async (index) => lock(theirs, 5000 + index), 20)).toBe(20);
    // Whoever holds a lock already may hold more, and whoever gives up the last makes room.
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 9000, 1, 7), 0, caller())).toBe(LOCK_SUCCESS);
    await theirs.close();
    expect(await lock(file, 3, LOCK_TYPE_UNLCK)).toBe(LOCK_SUCCESS);
    expect(await lock(file, locked)).toBe(LOCK_SUCCESS);
    await file.close();
    expect(openFiles().of('c1')).toBe(0);
    expect(e.backend.counts().locks).toBe(0);
  });

  test('must be able to read what is locked shared, and to write what is locked exclusively, but for flock(2)', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const [reads, writes] = [await e.open('f', 0), await e.open('f', 1)];
    const tried = async (file: BackendFile, type: number, start: number, length: number) => {
      const told = await outcome(async () => expect(await file.lock(range(type, start, length), 0, caller())).toBe(LOCK_SUCCESS));
      await file.lock(range(LOCK_TYPE_UNLCK), 0, caller());
      return told;
    };
    const ranges = [
      [0, 10],
      [1, 0],
      [0, 0],
    ] as const;
    const table: Record<string, string[]> = {};
    for (const [name, file, type] of [
      ['shared, reads', reads, LOCK_TYPE_RDLCK],
      ['exclusive, reads', reads, LOCK_TYPE_WRLCK],
      ['shared, writes', writes, LOCK_TYPE_RDLCK],
      ['exclusive, writes', writes, LOCK_TYPE_WRLCK],
    ] as const) {
      table[name] = [];
      for (const [start, length] of ranges) table[name].push(await tried(file, type, start, length));
    }
    expect(table).toEqual({
      'shared, reads': ['done', 'done', 'done'],
      'exclusive, reads': ['EBADF', 'EBADF', 'done'],
      'shared, writes': ['EBADF', 'EBADF', 'EBADF'],
      'exclusive, writes': ['done', 'done', 'done'],
    });
    for (const file of [reads, writes]) await file.close();
  });

  test('is told of another, not of itself', async () => {
    await using e = await Exported.make();
    await e.create('f');
    const file = await e.open('f', 2);
    for (const procId of [1, 2]) {
      expect(await file.lock(range(LOCK_TYPE_RDLCK, 0, 10, procId), 0, caller())).toBe(LOCK_SUCCESS);
    }
    for (const [asks, other] of [
      [1, 2],
      [2, 1],
    ] as const) {
      expect(await file.getlock(range(LOCK_TYPE_WRLCK, 5, 1, asks), caller())).toMatchObject({ type: LOCK_TYPE_RDLCK, procId: other });
    }
    await file.close();
  });

  test.each([
    ['openat', 'before'],
    ['openat', 'answer'],
    ['fcntl', 'before'],
    ['fcntl', 'answer'],
  ] as const)('through a file that is closed meanwhile locks nothing: %s, %s', async (name, when) => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f');
    const [file, other] = [await e.open('f', 2), await e.open('f', 2)];
    const { reached, door } = hold(e, name, when);
    const locked = outcome(() => file.lock(range(LOCK_TYPE_WRLCK), 0, caller()));
    await reached;
    const closed = file.close();
    door.open();
    expect(await locked).toBe('EBADF');
    await closed;
    expect(e.backend.counts().locks).toBe(0);
    expect(await other.lock(range(LOCK_TYPE_WRLCK), 0, caller())).toBe(LOCK_SUCCESS);
    await other.close();
    expect(openFiles().of('c1')).toBe(0);
  });

  test('for the first time, and twice at once, does it with one descriptor', async () => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f');
    const [file, other] = [await e.open('f', 2), await e.open('f', 2)];
    const { reached, door } = hold(e, 'openat', 'answer');
    const first = file.lock(range(LOCK_TYPE_WRLCK, 0, 1), 0, caller());
    await reached;
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 1, 1), 0, caller())).toBe(LOCK_SUCCESS);
    door.open();
    expect(await first).toBe(LOCK_SUCCESS);
    expect(e.backend.counts().locks).toBe(1);
    expect(openFiles().of('c1')).toBe(3);
    expect(await other.getlock(range(LOCK_TYPE_WRLCK, 0, 0, 2), caller())).toMatchObject({ start: 0, length: 2, procId: 1 });
    for (const open of [file, other]) await open.close();
  });

  test('exclusively, twice at once, through a file that is open for reading never lets go of it', async () => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f');
    const [file, other] = [await e.open('f', 0), await e.open('f', 2)];
    expect(await file.lock(range(LOCK_TYPE_RDLCK), 0, caller())).toBe(LOCK_SUCCESS);
    const [reached, door] = [new Door(), new Door()];
    let opens = 0;
    let others: unknown;
    intercept(e, ['openat', 'fcntl'], async (make, name) => {
      if (name === 'openat' && ++opens === 1) {
        const fd = await make();
        reached.open();
        await door.opened;
        opens = 10;
        return fd;
      }
      if (opens === 10) {
        // The second call has its descriptor, and has not locked it yet.
        opens++;
        others = await other.lock(range(LOCK_TYPE_RDLCK, 0, 1), 0, caller());
      }
      return make();
    });
    const second = file.lock(range(LOCK_TYPE_WRLCK), 0, caller());
    await reached.opened;
    expect(await file.lock(range(LOCK_TYPE_WRLCK), 0, caller())).toBe(LOCK_SUCCESS);
    door.open();
    expect(await second).toBe(LOCK_SUCCESS);
    expect(others).toBe(LOCK_BLOCKED);
    for (const open of [file, other]) await open.close();
    expect(openFiles().of('c1')).toBe(0);
  });

  test('keeps the descriptor that another call is using', async () => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f');
    const [file, other] = [await e.open('f', 2), await e.open('f', 2)];
    expect(await file.lock(range(LOCK_TYPE_WRLCK, 0, 1), 0, caller())).toBe(LOCK_SUCCESS);
    const { reached, door } = hold(e, 'fcntl', 'before');
    const second = file.lock(range(LOCK_TYPE_WRLCK, 10, 1), 0, caller());
    await reached;
    expect(await file.lock(range(LOCK_TYPE_UNLCK, 0, 1), 0, caller())).toBe(LOCK_SUCCESS);
    door.open();
    expect(await second).toBe(LOCK_SUCCESS);
    expect(await other.lock(range(LOCK_TYPE_WRLCK, 10, 1), 0, caller())).toBe(LOCK_BLOCKED);
    expect(await other.lock(range(LOCK_TYPE_WRLCK, 0, 1), 0, caller())).toBe(LOCK_SUCCESS);
    for (const open of [file, other]) await open.close();
    expect(e.backend.counts().locks).toBe(0);
  });
});
