import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  LOCK_BLOCKED,
  LOCK_ERROR,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../lib/protocol/constants.js';
import { LockTable } from '../../lib/server/locks.js';

const signal = () => new AbortController().signal;
/** Bytes the oracle looks at; ranges to the end of the file reach beyond. */
const BYTES = 40;

test('a table of ranges does what one lock for each byte does', () => {
  const owners = [{}, {}, {}];
  const step = fc.record({
    owner: fc.nat(2),
    type: fc.constantFrom(LOCK_TYPE_RDLCK, LOCK_TYPE_WRLCK, LOCK_TYPE_UNLCK),
    start: fc.nat(30),
    length: fc.nat(9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const table = new LockTable();
      // For each byte, what each owner holds there.
      const bytes = Array.from({ length: BYTES }, () => owners.map((): number | undefined => undefined));
      for (const { owner, type, start, length } of steps) {
        const end = length === 0 ? BYTES : start + length;
        const touched = bytes.slice(start, end);
        const inTheWay = touched.some((held) =>
          held.some((other, index) => index !== owner && other !== undefined && (other === LOCK_TYPE_WRLCK || type === LOCK_TYPE_WRLCK)),
        );
        const blocked = type !== LOCK_TYPE_UNLCK && inTheWay;
        const range = { type, start, length, procId: owner, clientId: '' };
        const found = table.getlock(owners[owner] ?? {}, range);
        // v9fs always asks with LOCK_TYPE_UNLCK, and means an exclusive lock.
        const others = touched.some((held) => held.some((other, index) => index !== owner && other !== undefined));
        const told = type === LOCK_TYPE_UNLCK ? others : blocked;
        expect(found.type === LOCK_TYPE_UNLCK).toBe(!told);
        if (told) {
          // What is in the way lies there, and is held by who is said to hold it.
          expect(found.procId).not.toBe(owner);
          expect(bytes[Math.max(found.start, start)]?.[found.procId]).toBe(found.type);
        }
        const status = table.lock(owners[owner] ?? {}, range, 0, signal);
        expect(status).toBe(blocked ? LOCK_BLOCKED : LOCK_SUCCESS);
        if (!blocked) for (const held of touched) held[owner] = type === LOCK_TYPE_UNLCK ? undefined : type;
      }
      for (const owner of owners) table.release(owner);
      expect(table.empty).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test('neighbours of one owner and type become one range', () => {
  const table = new LockTable();
  const owner = {};
  for (let start = 0; start < 1000; start++) {
    table.lock(owner, { type: LOCK_TYPE_WRLCK, start, length: 1, procId: 1, clientId: '' }, 0, signal);
  }
  expect(table.size).toBe(1);
  table.release(owner);
});

test('what all tables together remember has a bound, each connection leaves some of it to others, and room comes back', () => {
  const tables = Array.from({ length: 260 }, () => new LockTable());
  const owners = new Map(Array.from({ length: 30 }, (_, index) => [`c${index}`, {}]));
  const every = (table: LockTable, connection: string): number[] => {
    const statuses: number[] = [];
    const owner = owners.get(connection) ?? {};
    for (let start = 0; start < 512; start += 2) {
      const range = { type: LOCK_TYPE_RDLCK, start, length: 1, procId: 1, clientId: '' };
      statuses.push(Number(table.lock(owner, range, 0, signal, connection)));
    }
    return statuses;
  };
  const held = () => tables.reduce((sum, { size }) => sum + size, 0);
  const room: number[] = [];
  for (const connection of owners.keys()) {
    const before = held();
    const last = tables.map((table) => every(table, connection)).at(-1);
    expect(new Set(last)).toEqual(new Set([LOCK_ERROR]));
    room.push(held() - before);
    if (room.length === 3) break;
  }
  expect(room).toEqual([32768, 16384, 8192]);
  for (const table of tables) for (const owner of owners.values()) table.release(owner);
  expect(held()).toBe(0);
  const [one] = tables;
  expect(one === undefined ? [] : new Set(every(one, 'c9'))).toEqual(new Set([LOCK_SUCCESS]));
  one?.release(owners.get('c9') ?? {});
});

test('so have those that hold them, each of whom is asked whenever somebody locks', () => {
  const [table, other] = [new LockTable(), {}];
  const owners = Array.from({ length: 5000 }, () => ({}));
  const shared = { type: LOCK_TYPE_RDLCK, start: 0, length: 1, procId: 1, clientId: '' };
  const every = (connection: string) => owners.map((owner) => table.lock(owner, shared, 0, signal, connection));
  expect(every('one').filter((status) => status === LOCK_SUCCESS)).toHaveLength(2048);
  expect(table.lock(other, shared, 0, signal, 'other')).toBe(LOCK_SUCCESS);
  for (const owner of owners) table.release(owner);
  expect(table.size).toBe(1);
  expect(every('two').filter((status) => status === LOCK_SUCCESS)).toHaveLength(2047);
  for (const owner of [...owners, other]) table.release(owner);
  expect(table.empty).toBe(true);
});

test('to unlock the middle of a range takes room as well, and all of it does not', () => {
  const [tables, owner] = [Array.from({ length: 130 }, () => new LockTable()), {}];
  const lock = (table: LockTable, type: number, start: number, length: number) =>
    table.lock(owner, { type, start, length, procId: 1, clientId: '' }, 0, signal, 'one');
  for (const table of tables) {
    expect(lock(table, LOCK_TYPE_WRLCK, 0, 0)).toBe(LOCK_SUCCESS);
    for (let start = 1; start < 600; start += 2) if (lock(table, LOCK_TYPE_UNLCK, start, 1) !== LOCK_SUCCESS) break;
    if (table.size < 301) break;
  }
  expect(tables.reduce((sum, { size }) => sum + size, 0)).toBe(32768);
  for (const table of tables) expect(lock(table, LOCK_TYPE_UNLCK, 0, 0)).toBe(LOCK_SUCCESS);
  expect(tables.every(({ empty }) => empty)).toBe(true);
});

test('those that wait have a bound, and room comes back however a wait ends', async () => {
  const [table, holder, waiter] = [new LockTable(), {}, {}];
  const aborts = new AbortController();
  table.lock(holder, whole(LOCK_TYPE_WRLCK), 0, signal, 'other');
  const wait = (abort = signal()) => table.lock(waiter, whole(LOCK_TYPE_WRLCK), LOCK_FLAGS_BLOCK, () => abort, 'one');
  const fill = () => {
    const waits: unknown[] = [];
    for (let status: unknown; status !== LOCK_ERROR && waits.length < 70_000; waits.push(status)) status = wait();
    return waits.slice(0, -1);
  };
  const first = wait(aborts.signal);
  expect(fill().length).toBe(32766);
  aborts.abort();
  await expect(first).rejects.toMatchObject({ code: 'EINTR' });
  const last = wait();
  expect(wait()).toBe(LOCK_ERROR);
  table.release(waiter);
  expect(await last).toBe(LOCK_ERROR);
  const granted = wait();
  table.release(holder);
  expect(await granted).toBe(LOCK_SUCCESS);
  table.release(waiter);
  table.lock(holder, whole(LOCK_TYPE_WRLCK), 0, signal, 'other');
  expect(fill().length).toBe(32767);
  for (const owner of [waiter, holder]) table.release(owner);
  expect(table.empty).toBe(true);
});

const whole = (type: number) => ({ type, start: 0, length: 0, procId: 1, clientId: '' });

test('who waits goes on as soon as what is in the way is less, and hears of the end of its own file', async () => {
  const table = new LockTable();
  const [one, two, three] = [{}, {}, {}];
  table.lock(one, whole(LOCK_TYPE_WRLCK), 0, signal);
  const shared = table.lock(two, whole(LOCK_TYPE_RDLCK), LOCK_FLAGS_BLOCK, signal);
  const exclusive = table.lock(three, whole(LOCK_TYPE_WRLCK), LOCK_FLAGS_BLOCK, signal);
  // An exclusive lock that becomes a shared one lets others in.
  table.lock(one, whole(LOCK_TYPE_RDLCK), 0, signal);
  expect(await shared).toBe(LOCK_SUCCESS);
  table.release(three);
  expect(await exclusive).toBe(LOCK_ERROR);
  table.release(one);
  table.release(two);
  expect(table.empty).toBe(true);
});

test('who is given up before it waits does not wait', async () => {
  const table = new LockTable();
  table.lock({}, whole(LOCK_TYPE_WRLCK), 0, signal);
  const wait = async () => table.lock({}, whole(LOCK_TYPE_WRLCK), LOCK_FLAGS_BLOCK, () => AbortSignal.abort());
  await expect(wait()).rejects.toMatchObject({ code: 'EINTR' });
  expect(table.size).toBe(1);
});
