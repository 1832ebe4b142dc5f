import { readFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import type { Exported as Export } from './exported.js';

vi.mock('../../../lib/sys/files.js', { spy: true });
// Another spec of this process may have loaded what is to be spied on.
vi.resetModules();
const { LocalNode } = await import('../../../lib/server/local/node.js');
const { readCached } = await import('../../../lib/sys/files.js');
const { caller, Exported, outcome } = await import('./exported.js');

const EIO = -5;
const EAGAIN = -11;
const ENOSPC = -28;
const EOPNOTSUPP = -95;

/** Has the calls of that name on other threads move at most so many bytes each, or answer with an error, one after another; then all they can. */
function scant(e: Export, name: 'pread' | 'pwrite', ...results: readonly number[]): void {
  if (!(e.root instanceof LocalNode)) throw new Error('no node of a host directory');
  const { threads } = e.root.device;
  const call = threads.call.bind(threads);
  const left = [...results];
  vi.spyOn(threads, 'call').mockImplementation((made, words) => {
    const result = made === name ? left.shift() : undefined;
    if (result === undefined) return call(made, words);
    if (result <= 0) return Promise.resolve(result);
    const [fd = 0, at = 0, length = 0, offset = 0] = words;
    return call(made, [fd, at, Math.min(Number(length), result), offset]);
  });
}

afterEach(() => {
  vi.restoreAllMocks();
  vi.mocked(readCached).mockReset();
});

// Nor is the next one to find what is spied on.
afterAll(() => {
  vi.resetModules();
});

describe('a read', () => {
  /** What is in memory: so many bytes at a time, or an error. */
  function cached(...results: readonly number[]): void {
    for (const result of results) {
      vi.mocked(readCached).mockImplementationOnce((_fd, buffer, start) => {
        if (result > 0) Buffer.from('0123456789').copy(buffer, start, start, start + result);
        return result;
      });
    }
  }

  async function read(e: Export): Promise<string> {
    const file = await e.open('f');
    const buffer = Buffer.alloc(10);
    try {
      return buffer.toString('utf8', 0, await file.read(buffer, 0, caller()));
    } finally {
      await file.close();
    }
  }

  test.each([
    ['all of it in pieces', [4, 4, 2], [], '0123456789'],
    ['the end of the file after a piece', [4, 0], [], '0123'],
    ['an error after a piece', [4, EIO], [], '0123'],
    ['no answer without waiting after a piece', [4, EAGAIN], [], '0123456789'],
    ['that, and an end', [4, EAGAIN], [0], '0123'],
    ['that, and an error', [4, EAGAIN], [EIO], '0123'],
    ['that, and another piece', [4, EAGAIN], [3], '0123456'],
    ['no file system that can tell after a piece', [4, EOPNOTSUPP], [], '0123'],
  ] as const)('gives what it has: %s', async (_, memory, disk, text) => {
    await using e = await Exported.make();
    await e.create('f', { text: '0123456789' });
    scant(e, 'pread', ...disk);
    cached(...memory);
    expect(await read(e)).toBe(text);
  });

  test.each([
    ['at once', [EIO], []],
    ['from another thread', [EAGAIN], [EIO]],
  ] as const)('fails where it has nothing: %s', async (_, memory, disk) => {
    await using e = await Exported.make();
    await e.create('f', { text: '0123456789' });
    scant(e, 'pread', ...disk);
    cached(...memory);
    expect(await outcome(() => read(e))).toBe('EIO');
  });
});

describe('a write', () => {
  test.each([
    ['all of it in pieces', [3, 3, 3, 1], 10],
    ['an error after a piece', [4, ENOSPC], 4],
    ['an error after two', [4, 3, ENOSPC], 7],
    ['no more after a piece', [4, 0], 4],
    ['nothing', [0], 0],
  ] as const)('tells how much is there: %s', async (_, results, count) => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f', { text: '..............' });
    const file = await e.open('f', 2);
    scant(e, 'pwrite', ...results);
    expect(await file.write(Buffer.from('0123456789'), 2, caller())).toBe(count);
    expect(readFileSync(e.host('f'), 'utf8')).toBe(`..${'0123456789'.slice(0, count)}${'.'.repeat(12 - count)}`);
    await file.close();
  });

  test('fails where nothing is there', async () => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f');
    const file = await e.open('f', 2);
    scant(e, 'pwrite', ENOSPC);
    expect(await outcome(() => file.write(Buffer.from('0123456789'), 0, caller()))).toBe('ENOSPC');
    await file.close();
  });

  test('to the end of the file goes on there', async () => {
    await using e = await Exported.make({ background: 'always' });
    await e.create('f', { text: '..' });
    const file = await e.open('f', 0o2001);
    scant(e, 'pwrite', 3, 3);
    expect(await file.write(Buffer.from('0123456789'), 0, caller())).toBe(10);
    expect(readFileSync(e.host('f'), 'utf8')).toBe('..0123456789');
    await file.close();
  });
});
