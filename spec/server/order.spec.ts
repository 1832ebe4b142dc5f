import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GETATTR_BASIC, L_O_RDONLY, L_O_RDWR, ORDERED_XATTR } from '../../lib/protocol/constants.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { Door, GatedBackend } from '../support/gated.js';
import { RawClient } from '../support/raw.js';

/** What the server promises who asks for it: a request waits for those before it that make the fid it names. */
let doors: Map<string, Door>;
let tree: MemoryBackend;
let server: Server;

beforeEach(() => {
  doors = new Map();
  tree = new MemoryBackend();
  tree.writeFile('f', 'text');
  tree.writeFile('a/b/c', 'deep');
  server = new Server({ exports: { tree: new GatedBackend(tree, (method) => doors.get(method)?.opened) }, limits: { grace: 200 } });
});

afterEach(async () => {
  for (const door of doors.values()) door.open();
  await server.close();
  while (server.buffersLent > 0) await turn();
  expect(tree.counts()).toMatchObject({ held: 0 });
});

function shut(method: string): Door {
  const door = new Door();
  doors.set(method, door);
  return door;
}

/** A client that has asked for order. */
async function ordered(): Promise<RawClient> {
  const c = await RawClient.attached(server);
  expect(await c.call('Txattrwalk', { fid: 0, newfid: 7, name: ORDERED_XATTR })).toMatchObject({ size: 1 });
  await c.call('Tclunk', { fid: 7 });
  return c;
}

async function end(c: RawClient): Promise<void> {
  await c.transport.close();
  await c.closed;
}

const getattr = (fid: number) => ({ fid, requestMask: GETATTR_BASIC });
const walk = (newfid: number, ...wnames: string[]) => ({ fid: 0, newfid, wnames });

describe('requests that name what another is making', () => {
  test('fail where nobody asked for order', async () => {
    const c = await RawClient.attached(server);
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    door.open();
    await walked;
    await end(c);
  });

  test('wait for it, in the order they came, and others do not', async () => {
    const c = await ordered();
    const door = shut('walk');
    const order: string[] = [];
    const note = <T>(name: string, answer: Promise<T>): Promise<T> => answer.finally(() => order.push(name));
    const walked = note('walk', c.call('Twalk', walk(1, 'f')));
    const seen = note('getattr', c.call('Tgetattr', getattr(1)));
    const opened = note('open', c.call('Tlopen', { fid: 1, flags: L_O_RDONLY }));
    const read = note('read', c.call('Tread', { fid: 1, offset: 0, count: 4 }));
    await note('other', c.call('Tgetattr', getattr(0)));
    door.open();
    expect(Buffer.from((await read).data).toString()).toBe('text');
    await Promise.all([walked, seen, opened]);
    expect(order).toEqual(['other', 'walk', 'getattr', 'open', 'read']);
    await end(c);
  });

  test('see a change of the directory they walk from, and of the file they ask about', async () => {
    const c = await ordered();
    shut('mkdir');
    const made = c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o750, gid: 0 });
    const walked = c.call('Twalk', walk(1, 'd'));
    const seen = c.call('Tgetattr', getattr(1));
    doors.get('mkdir')?.open();
    await Promise.all([made, walked]);
    expect((await seen).mode & 0o777).toBe(0o750);
    await c.call('Twalk', walk(2, 'f'));
    shut('setattr');
    const time = { sec: 0, nsec: 0 };
    const changed = c.call('Tsetattr', { fid: 2, valid: 8, mode: 0, uid: 0, gid: 0, size: 2, atime: time, mtime: time });
    const after = c.call('Tgetattr', getattr(2));
    doors.get('setattr')?.open();
    await changed;
    expect((await after).size).toBe(2);
    await end(c);
  });

  test('fail by themselves where it fails, and payloads survive the wait', async () => {
    const c = await ordered();
    const door = shut('walk');
    const missing = c.call('Twalk', walk(1, 'nothing'));
    const seen = c.call('Tgetattr', getattr(1));
    const walked = c.call('Twalk', walk(2, 'f'));
    const opened = c.call('Tlopen', { fid: 2, flags: L_O_RDWR });
    const written = c.call('Twrite', { fid: 2, offset: 0, data: Buffer.from('TEXT') });
    door.open();
    await expect(missing).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(seen).rejects.toThrow();
    await Promise.all([walked, opened]);
    expect(await written).toEqual({ count: 4 });
    await end(c);
  });

  test('a flush of one that waits ends it and nothing else', async () => {
    const c = await ordered();
    const door = shut('walk');
    const walked = c.call('Twalk', walk(1, 'f'));
    const { tag } = c.send('Tgetattr', getattr(1));
    const second = c.call('Tgetattr', getattr(1));
    await c.call('Tflush', { oldtag: tag });
    door.open();
    await walked;
    expect((await second).size).toBe(4);
    await end(c);
  });

  test('the end of the stream ends those that wait', async () => {
    const c = await ordered();
    shut('walk');
    c.call('Twalk', walk(1, 'f')).catch(() => {});
    c.call('Tgetattr', getattr(1)).catch(() => {});
    await end(c);
  });
});
