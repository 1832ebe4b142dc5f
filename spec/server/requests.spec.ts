import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Codec } from '../../lib/protocol/codec.js';
import {
  GETATTR_BASIC,
  L_O_RDONLY,
  L_O_RDWR,
  LOCK_BLOCKED,
  LOCK_FLAGS_BLOCK,
  LOCK_TYPE_WRLCK,
  ORDERED_XATTR,
} from '../../lib/protocol/constants.js';
import { ErrnoError } from '../../lib/protocol/error.js';
import { READDIR_PLUS } from '../../lib/protocol/plus.js';
import type { Backend, BackendNode, Caller } from '../../lib/server/backend.js';
import type { Limits } from '../../lib/server/limits.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import type { Receiver } from '../../lib/transport/transport.js';
import { Door, GatedBackend } from '../support/gated.js';
import { RawClient } from '../support/raw.js';

/** Methods that wait, and for what. */
let doors: Map<string, Door>;
/** Called, in order, once their door was reached. */
let calls: string[];
let callers: Caller[];
let tree: MemoryBackend;
const live: Server[] = [];

beforeEach(() => {
  doors = new Map();
  calls = [];
  callers = [];
  tree = new MemoryBackend();
  tree.writeFile('f', 'text');
  tree.writeFile('a/b/c', 'deep');
});

afterEach(async () => {
  for (const door of doors.values()) door.open();
  for (const server of live.splice(0)) {
    await server.close();
    // What hung when the server gave up on it comes to its end now.
    while (server.buffersLent > 0) await turn();
  }
  expect(tree.counts()).toMatchObject({ held: 0, locks: 0 });
});

function serve(limits: Partial<Limits> = {}): Server {
  const backend = new GatedBackend(tree, (method, caller) => {
    calls.push(method);
    if (caller !== undefined) callers.push(caller);
    return doors.get(method)?.opened;
  });
  const server = new Server({ exports: { tree: backend }, limits: { grace: 200, ...limits } });
  live.push(server);
  return server;
}

function shut(method: string): Door {
  const door = new Door();
  doors.set(method, door);
  return door;
}

/** Waits until a method has been called so often. */
async function called(method: string, times = 1): Promise<void> {
  while (calls.filter((name) => name === method).length < times) await turn();
}

const getattr = (fid: number) => ({ fid, requestMask: GETATTR_BASIC });
const read = (fid: number, count = 4) => ({ fid, offset: 0, count });

describe('requests of one connection', () => {
  test('do not wait for each other', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    const door = shut('read');
    const slow = c.send('Tread', read(fid));
    await c.call('Tgetattr', getattr(0));
    await c.call('Tgetattr', getattr(fid));
    door.open();
    expect((await slow).name).toBe('Rread');
  });

  test('a tag in use cannot be used again', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    shut('read');
    c.send('Tread', read(fid), 9);
    c.send('Tread', read(fid), 9);
    await c.closed;
  });

  test('a fid is clunked when the last request that uses it is done', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    const door = shut('read');
    const reading = c.send('Tread', read(fid));
    const clunk = c.send('Tclunk', { fid });
    await called('read');
    // Its number is gone at once.
    expect(await c.outcome('Tgetattr', getattr(fid))).toBe('EBADF');
    expect(calls).not.toContain('close');
    door.open();
    expect((await reading).name).toBe('Rread');
    expect((await clunk).name).toBe('Rclunk');
    expect(calls.filter((name) => name === 'close')).toHaveLength(1);
  });

  test('a removal waits for nobody, and its fid goes after those who use it', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    const door = shut('read');
    const reading = c.send('Tread', read(fid));
    const removal = c.send('Tremove', { fid });
    await called('unlink');
    expect(await c.list('')).toEqual(['a']);
    door.open();
    expect((await reading).name).toBe('Rread');
    expect((await removal).name).toBe('Rremove');
  });

  test('a removal by fid is of the file that the fid stands for, whatever has its name by then', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.walk('f');
    const door = shut('unlink');
    const removal = c.outcome('Tremove', { fid });
    await called('unlink');
    // Somebody else is faster.
    const root = tree.attach({ uname: '', aname: '', uid: 0 });
    root.rename('f', root, 'moved', { uid: 0, connection: '', signal: new AbortController().signal });
    root.release();
    tree.writeFile('f', 'another');
    door.open();
    expect(await removal).toBe('ok');
    expect(await c.list('')).toEqual(['a', 'f']);
  });

  test('a listing with attributes asks for none that nobody will wait for, but a few', async () => {
    for (let index = 0; index < 100; index++) tree.writeFile(`many/f${index}`, '');
    const c = await RawClient.attached(serve());
    await c.call('Txattrwalk', { fid: 0, newfid: 7, name: ORDERED_XATTR });
    const fid = await c.open('many');
    const list = () => c.call('Treaddir', { fid, offset: 0n, count: READDIR_PLUS + 60_000 });
    const { length } = (await list()).data;
    const asked = calls.filter((method) => method === 'walk').length;
    const door = shut('walk');
    expect((await list()).data.length).toBeLessThan(length);
    expect(calls.filter((method) => method === 'walk').length - asked).toBeLessThan(10);
    door.open();
  });

  test.each([
    ['at once', false],
    ['later', true],
  ])('a name that is missing is ENOENT, or ends the walk, and frees newfid, whichever way a back-end says so %s', async (_when, later) => {
    const root = tree.attach({ uname: '', aname: '', uid: 0 });
    const { walk } = root;
    const kinds = ['undefined', 'thrown'] as const;
    for (const kind of kinds) {
      const odd: Backend = {
        attach: () => {
          root.retain();
          return Object.create(root, {
            walk: {
              value: (name: string, caller: Caller) => {
                const found = name === 'none' ? undefined : walk.call(root, name, caller);
                if (kind === 'thrown' && found === undefined) {
                  if (later) return Promise.reject(new ErrnoError('ENOENT'));
                  throw new ErrnoError('ENOENT');
                }
                return later ? Promise.resolve(found) : found;
              },
            },
          }) as BackendNode;
        },
        close: () => {},
      };
      const server = new Server({ exports: { tree: odd } });
      live.push(server);
      const c = await RawClient.attached(server);
      expect(await c.outcome('Twalk', { fid: 0, newfid: 5, wnames: ['none'] })).toBe('ENOENT');
      expect(await c.outcome('Twalk', { fid: 0, newfid: 5, wnames: ['none', 'b'] })).toBe('ENOENT');
      expect((await c.call('Twalk', { fid: 0, newfid: 5, wnames: ['a', 'none'] })).wqids).toHaveLength(1);
      expect(await c.outcome('Tgetattr', getattr(5))).toBe('EBADF');
      expect((await c.call('Twalk', { fid: 0, newfid: 5, wnames: ['a', 'b'] })).wqids).toHaveLength(2);
    }
    root.release();
  });

  test('newfid belongs to the walk that is under way', async () => {
    const c = await RawClient.attached(serve());
    const door = shut('walk');
    const walking = c.send('Twalk', { fid: 0, newfid: 5, wnames: ['a', 'b', 'c'] });
    await called('walk');
    expect(await c.outcome('Tgetattr', getattr(5))).toBe('EBADF');
    expect(await c.outcome('Tclunk', { fid: 5 })).toBe('EBADF');
    expect(await c.outcome('Twalk', { fid: 0, newfid: 5, wnames: [] })).toBe('EINVAL');
    expect(await c.outcome('Tattach', { fid: 5, afid: 0xffffffff, uname: '', aname: '', nUname: 0 })).toBe('EINVAL');
    door.open();
    expect((await walking).name).toBe('Rwalk');
    expect(await c.outcome('Tgetattr', getattr(5))).toBe('ok');
  });

  test('the source of a walk may be clunked while it runs', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.walk('a');
    const door = shut('walk');
    const walking = c.send('Twalk', { fid, newfid: 5, wnames: ['b', 'c'] });
    const clunk = c.send('Tclunk', { fid });
    await called('walk');
    door.open();
    expect((await walking).name).toBe('Rwalk');
    expect((await clunk).name).toBe('Rclunk');
  });

  test('a fid that is clunked while it moves does not come back', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.walk('a');
    const door = shut('walk');
    const walking = c.send('Twalk', { fid, newfid: fid, wnames: ['b'] });
    await called('walk');
    const clunk = c.send('Tclunk', { fid });
    await c.call('Tgetattr', getattr(0));
    door.open();
    expect((await walking).body).toEqual({ ecode: 9 });
    expect((await clunk).name).toBe('Rclunk');
    expect(await c.outcome('Tgetattr', getattr(fid))).toBe('EBADF');
  });

  test('two opens at once: the second is refused, nothing leaks', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.walk('f');
    const door = shut('open');
    const first = c.send('Tlopen', { fid, flags: L_O_RDONLY });
    await called('open');
    expect(await c.outcome('Tlopen', { fid, flags: L_O_RDONLY })).toBe('EINVAL');
    expect(await c.outcome('Tlcreate', { fid, name: 'x', flags: 0, mode: 0, gid: 0 })).toBe('EINVAL');
    expect(await c.outcome('Txattrcreate', { fid, name: 'user.x', attrSize: 0, flags: 0 })).toBe('EINVAL');
    door.open();
    expect((await first).name).toBe('Rlopen');
  });

  test('a fid that is clunked while it is opened or created leaves no open file', async () => {
    const c = await RawClient.attached(serve());
    const [fid, directory] = [await c.walk('f'), await c.walk('')];
    const [open, create] = [shut('open'), shut('create')];
    const opening = c.send('Tlopen', { fid, flags: L_O_RDONLY });
    const creating = c.send('Tlcreate', { fid: directory, name: 'new', flags: L_O_RDWR, mode: 0o644, gid: 0 });
    const clunks = [c.send('Tclunk', { fid }), c.send('Tclunk', { fid: directory })];
    await called('create');
    open.open();
    create.open();
    await Promise.all([opening, creating, ...clunks]);
    await c.clunk(0);
    expect(tree.counts().held).toBe(0);
  });

  test('data of writes under way is not disturbed by what arrives after them', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.create('g');
    const door = shut('write');
    const pieces = [10, 1000, 15_000, 20_000, 40_000].map((size, index) => Buffer.alloc(size, 65 + index));
    let offset = 0;
    const answers = pieces.map((data) => {
      const answer = c.send('Twrite', { fid, offset, data });
      offset += data.length;
      return answer;
    });
    await called('write', pieces.length);
    door.open();
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(pieces.map(({ length }) => ({ count: length })));
    expect((await c.read('g')).equals(Buffer.concat(pieces))).toBe(true);
  });
});

describe('Tflush', () => {
  test('of a tag that is unknown, answered or its own is answered at once', async () => {
    const c = await RawClient.attached(serve());
    expect((await c.send('Tflush', { oldtag: 1234 })).name).toBe('Rflush');
    expect((await c.send('Tflush', { oldtag: 44 }, 44)).name).toBe('Rflush');
  });

  test('is answered after what it flushes, whose answer still counts', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    const door = shut('read');
    const reading = c.send('Tread', read(fid));
    await called('read');
    expect(callers.at(-1)?.signal.aborted).toBe(false);
    const flush = c.send('Tflush', { oldtag: reading.tag });
    const again = c.send('Tflush', { oldtag: reading.tag });
    const ofFlush = c.send('Tflush', { oldtag: flush.tag });
    await c.call('Tgetattr', getattr(0));
    expect(callers.find(({ signal }) => signal.aborted)).toBeDefined();
    expect(c.received.some(({ name }) => name === 'Rflush')).toBe(false);
    door.open();
    await Promise.all([reading, flush, again, ofFlush]);
    const order = c.received.slice(-4).map(({ tag }) => tag);
    expect(order[0]).toBe(reading.tag);
    expect(order.indexOf(ofFlush.tag)).toBeGreaterThan(order.indexOf(flush.tag));
    // The tag is free again.
    doors.clear();
    expect((await c.send('Tread', read(fid), reading.tag)).name).toBe('Rread');
  });

  test('may be flushed in turn, as often as there are tags', async () => {
    const c = await RawClient.attached(serve({ maxWaiting: 60_000 }));
    const fid = await c.open('f');
    const door = shut('read');
    const tags = Array.from({ length: 30_000 }, (_, index) => 1000 + index);
    const answers = tags.map((tag) => c.expect(tag));
    c.bytes(c.frame('Tread', read(fid), 999), ...tags.map((tag) => c.frame('Tflush', { oldtag: tag - 1 }, tag)));
    await called('read');
    door.open();
    await Promise.all(answers);
    expect(c.received.slice(-tags.length - 1).map(({ tag }) => tag)).toEqual([999, ...tags]);
  });

  test('drops a request whose turn has not come', async () => {
    const c = await RawClient.attached(serve({ maxRequests: 2 }));
    const fid = await c.open('f');
    const door = shut('read');
    const frames = [1, 2, 3].map((tag) => c.frame('Tread', read(fid), 200 + tag));
    const answers = [c.expect(201), c.expect(202)];
    c.bytes(Buffer.concat([...frames, c.frame('Tflush', { oldtag: 203 }, 300)]));
    expect((await c.expect(300)).name).toBe('Rflush');
    door.open();
    await Promise.all(answers);
    await c.call('Tgetattr', getattr(0));
    expect(c.received.some(({ tag }) => tag === 203)).toBe(false);
    expect(calls.filter((name) => name === 'read')).toHaveLength(2);
  });
});

describe('limits', () => {
  test('requests under way: the rest waits for its turn, in order', async () => {
    const server = serve({ maxRequests: 4 });
    const c = await RawClient.attached(server);
    const fid = await c.open('f');
    const door = shut('read');
    const answers = Array.from({ length: 100 }, () => c.send('Tread', read(fid)));
    await called('read', 4);
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(calls.filter((name) => name === 'read')).toHaveLength(4);
    door.open();
    for (const answer of answers) expect((await answer).name).toBe('Rread');
    await c.call('Tgetattr', getattr(0));
  });

  test('requests that wait: EAGAIN beyond', async () => {
    const c = await RawClient.attached(serve({ maxRequests: 2, maxWaiting: 3 }));
    const fid = await c.open('f');
    const door = shut('read');
    const frames = Array.from({ length: 8 }, (_, index) => c.frame('Tread', read(fid), 200 + index));
    const answers = frames.map((_, index) => c.expect(200 + index));
    c.bytes(Buffer.concat(frames));
    for (const answer of answers.slice(5)) expect((await answer).body).toEqual({ ecode: 11 });
    door.open();
    for (const answer of answers.slice(0, 5)) expect((await answer).name).toBe('Rread');
  });

  test('Tflush that wait: nothing is read beyond, and EAGAIN for what had arrived', async () => {
    const c = await RawClient.attached(serve({ maxRequests: 2, maxWaiting: 3 }));
    const fid = await c.open('f');
    const door = shut('read');
    const tags = [301, 302, 303, 304, 305, 306, 307, 308];
    const answers = tags.map((tag) => c.expect(tag));
    c.bytes(Buffer.concat([c.frame('Tread', read(fid), 300), ...tags.map((tag) => c.frame('Tflush', { oldtag: 300 }, tag))]));
    for (const answer of answers.slice(5)) expect((await answer).body).toEqual({ ecode: 11 });
    const later = c.send('Tgetattr', getattr(0));
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(c.received.some(({ tag }) => tag === later.tag)).toBe(false);
    door.open();
    for (const answer of answers.slice(0, 5)) expect((await answer).name).toBe('Rflush');
    expect((await later).name).toBe('Rgetattr');
    // There is room again.
    expect((await c.send('Tflush', { oldtag: 300 })).name).toBe('Rflush');
  });

  test('payload under way: large reads wait, whatever they claim', async () => {
    const server = serve({ maxPayload: 100_000 });
    const c = await RawClient.attached(server);
    const fid = await c.open('f');
    const door = shut('read');
    const frames = Array.from({ length: 50 }, (_, index) => c.frame('Tread', read(fid, 0xffffffff), 200 + index));
    const answers = frames.map((_, index) => c.expect(200 + index));
    c.bytes(Buffer.concat(frames));
    await called('read');
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(server.buffersLent).toBeLessThanOrEqual(2);
    door.open();
    for (const answer of answers) expect((await answer).name).toBe('Rread');
  });

  test('fids: EMFILE beyond', async () => {
    const c = await RawClient.attached(serve({ maxFids: 3 }));
    const fids = [await c.walk(''), await c.walk('f')];
    expect(await c.outcome('Twalk', { fid: 0, newfid: 9, wnames: [] })).toBe('EMFILE');
    expect(await c.outcome('Tattach', { fid: 9, afid: 0xffffffff, uname: '', aname: '', nUname: 0 })).toBe('EMFILE');
    await c.clunk(fids[0] ?? 0);
    await c.walk('');
  });

  test('extended attributes: EMFILE and ENOSPC beyond, and room again after the clunk', async () => {
    const c = await RawClient.attached(serve({ maxXattrFids: 2, maxXattrBytes: 1000 }));
    const create = (fid: number, attrSize: number) => c.outcome('Txattrcreate', { fid, name: 'user.x', attrSize, flags: 0 });
    const [one, two, three] = [await c.walk('f'), await c.walk('f'), await c.walk('f')];
    expect(await create(one, 1001)).toBe('ENOSPC');
    expect(await create(one, 900)).toBe('ok');
    expect(await create(two, 200)).toBe('ENOSPC');
    expect(await create(two, 100)).toBe('ok');
    expect(await create(three, 0)).toBe('EMFILE');
    expect(await c.outcome('Txattrwalk', { fid: three, newfid: 9, name: '' })).toBe('EMFILE');
    expect(await c.outcome('Tclunk', { fid: one })).toBe('EINVAL');
    expect(await create(three, 500)).toBe('ok');
    await c.version();
    await c.attach();
    const again = await c.walk('f');
    expect(await create(again, 1000)).toBe('ok');
  });

  test('locks that wait: LOCK_BLOCKED beyond, and other requests go on', async () => {
    const c = await RawClient.attached(serve({ maxLockWaits: 2 }));
    const holder = await c.open('f', L_O_RDWR);
    const lock = { type: LOCK_TYPE_WRLCK, start: 0, length: 0, procId: 1, clientId: '', flags: LOCK_FLAGS_BLOCK };
    await c.call('Tlock', { ...lock, fid: holder });
    const waits = [];
    for (let index = 0; index < 2; index++) waits.push(c.send('Tlock', { ...lock, fid: await c.open('f', L_O_RDWR) }));
    expect(await c.call('Tlock', { ...lock, fid: await c.open('f', L_O_RDWR) })).toEqual({ status: LOCK_BLOCKED });
    await c.clunk(holder);
    await Promise.race(waits);
  });

  test('connections of the server', async () => {
    const server = serve({ maxConnections: 2 });
    const first = await RawClient.attached(server);
    await RawClient.attached(server);
    const third = RawClient.connect(server);
    await third.closed;
    await first.end();
    while (server.connections.length > 1) await turn();
    await RawClient.attached(server);
  });

  test('make sense or are refused', () => {
    for (const limits of [{ msize: 4095 }, { maxFids: 0 }, { maxRequests: 1.5 }, { grace: -1 }, { msize: Number.NaN }]) {
      expect(() => new Server({ limits })).toThrow(RangeError);
    }
  });
});

describe('back-pressure', () => {
  test('a client that takes no answers is not read from, and loses none', async () => {
    const server = serve();
    const c = RawClient.connect(server, { backlog: 100_000 });
    await c.version();
    await c.attach();
    tree.writeFile('large', Buffer.alloc(65536, 'x'));
    const fid = await c.open('large');
    c.transport.pause();
    const answers = Array.from({ length: 500 }, () => c.send('Tread', read(fid, 60_000)));
    for (let turns = 0; turns < 50; turns++) await turn();
    // 500 answers would be 30 MB.
    expect(server.buffersLent).toBeLessThan(20);
    c.transport.resume();
    for (const answer of answers) expect((await answer).name).toBe('Rread');
  });

  test('what a client does not take has the server keep little more than that, whatever others get meanwhile', async () => {
    const server = serve();
    // Each answer for itself, as a queue that is never sent holds it.
    const kept: Uint8Array[] = [];
    let receiver: Receiver | undefined;
    server.serve({
      name: 'takes nothing',
      start: (its) => {
        receiver = its;
      },
      send: (parts) => kept.push(...parts) > 0,
      pause: () => {},
      resume: () => {},
      close: async () => receiver?.closed(),
      destroy: () => receiver?.closed(),
    });
    const [codec, other] = [new Codec(), await RawClient.attached(server)];
    tree.writeFile('small', Buffer.alloc(1000, 'x'));
    const fid = await other.open('small');
    for (let round = 0; round < 20; round++) {
      // Before a version there is nothing but an error.
      receiver?.push(codec.encode('Tclunk', round, { fid: 1 }));
      await Promise.all(Array.from({ length: 64 }, () => other.send('Tread', read(fid, 1000))));
    }
    expect(kept.reduce((sum, { length }) => sum + length, 0)).toBe(20 * 11);
    expect([...new Set(kept.map(({ buffer }) => buffer))].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(8192);
  });
});

describe('the end of a connection', () => {
  test('in the middle of anything leaves nothing behind', async () => {
    const server = serve();
    for (const method of ['walk', 'read', 'write', 'open', 'create', 'getattr', 'readdir', 'unlink', 'close', 'setxattr', 'attach']) {
      doors.clear();
      const c = await RawClient.attached(server);
      const [file, directory, xattr] = [await c.open('f', L_O_RDWR), await c.open('a'), await c.walk('f')];
      await c.call('Txattrcreate', { fid: xattr, name: 'user.x', attrSize: 1, flags: 0 });
      await c.call('Twrite', { fid: xattr, offset: 0, data: Buffer.from('x') });
      const before = calls.filter((name) => name === method).length;
      const door = shut(method);
      c.send('Twalk', { fid: 0, newfid: 5, wnames: ['a', 'b', 'c'] });
      c.send('Twalk', { fid: 0, newfid: 6, wnames: ['f'] });
      c.send('Tread', read(file, 50_000));
      c.send('Twrite', { fid: file, offset: 0, data: new Uint8Array(50_000) });
      c.send('Tlopen', { fid: await c.walk('').catch(() => 0), flags: L_O_RDONLY }).catch(() => {});
      c.send('Tlcreate', { fid: 0, name: `new-${method}`, flags: L_O_RDWR, mode: 0o644, gid: 0 });
      c.send('Treaddir', { fid: directory, offset: 0n, count: 1000 });
      c.send('Tunlinkat', { dirfd: directory, name: 'none', flags: 0 });
      c.send('Tgetattr', getattr(file));
      c.send('Tclunk', { fid: xattr });
      c.send('Tclunk', { fid: directory });
      c.send('Tattach', { fid: 8, afid: 0xffffffff, uname: '', aname: '', nUname: 0 });
      await called(method, before + 1);
      // Half a write is on its way too.
      c.bytes(c.frame('Twrite', { fid: file, offset: 0, data: new Uint8Array(60_000) }).subarray(0, 40_000));
      await turn();
      c.transport.destroy();
      await turn();
      door.open();
      while (server.connections.length > 0) await turn();
      expect(tree.counts()).toMatchObject({ held: 0, locks: 0 });
      expect(server.buffersLent).toBe(0);
    }
  });

  test('Tversion drops the answers of what it ended, and is answered after it', async () => {
    const c = await RawClient.attached(serve());
    const fid = await c.open('f');
    const door = shut('read');
    c.send('Tread', read(fid), 500);
    await called('read');
    const version = c.version();
    // A client that does not wait for the answer gets the new session all the same.
    const attach = c.attach();
    await turn();
    await turn();
    expect(callers.at(-1)?.signal.aborted).toBe(true);
    door.open();
    await Promise.all([version, attach]);
    expect(c.received.some(({ tag }) => tag === 500)).toBe(false);
    expect(await c.outcome('Tgetattr', getattr(fid))).toBe('EBADF');
    expect(await c.outcome('Tgetattr', getattr(0))).toBe('ok');
  });

  test('a new session waits for the files of the last, and then goes on', async () => {
    const c = await RawClient.attached(serve());
    await c.open('f');
    const door = shut('close');
    const version = c.version();
    const attach = c.attach();
    await called('close');
    await turn();
    expect(c.received.some(({ name, tag }) => name === 'Rversion' && tag === 0xffff && c.received.length > 4)).toBe(false);
    door.open();
    await Promise.all([version, attach]);
    // It is read from again.
    for (let index = 0; index < 3; index++) expect(await c.outcome('Tgetattr', getattr(0))).toBe('ok');
  });

  test('close() answers what was begun first, and cuts off what hangs', async () => {
    const server = serve();
    const c = await RawClient.attached(server);
    const fid = await c.open('f', L_O_RDWR);
    const door = shut('read');
    const reading = c.send('Tread', read(fid));
    await called('read');
    const closing = server.close();
    expect(server.close()).toBe(closing);
    await turn();
    door.open();
    expect((await reading).name).toBe('Rread');
    await closing;
    await c.closed;
    const late = RawClient.connect(server);
    await late.closed;

    const hanging = serve();
    const d = await RawClient.attached(hanging);
    const hung = await d.open('f');
    shut('read');
    const never = d.send('Tread', read(hung));
    await called('read', 2);
    await hanging.close();
    await expect(never).rejects.toThrow('ended');
  });

  test('close() ends locks that wait', async () => {
    const server = serve();
    const c = await RawClient.attached(server);
    const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
    const lock = { type: LOCK_TYPE_WRLCK, start: 0, length: 0, procId: 1, clientId: '', flags: LOCK_FLAGS_BLOCK };
    await c.call('Tlock', { ...lock, fid: a });
    const waiting = c.send('Tlock', { ...lock, fid: b });
    await c.call('Tgetattr', getattr(0));
    await server.close();
    expect((await waiting).body).toEqual({ ecode: 4 });
  });
});

describe('mistakes in a back-end', () => {
  test('are EIO to the client and told to the log', async () => {
    const errors: unknown[] = [];
    const backend = new GatedBackend(tree, (method) => (method === 'getattr' ? Promise.reject(new TypeError('a mistake')) : undefined));
    await using server = new Server({ exports: { tree: backend }, log: (event) => event.type === 'error' && errors.push(event.error) });
    const c = await RawClient.attached(server);
    expect(await c.outcome('Tgetattr', getattr(0))).toBe('EIO');
    expect(errors).toEqual([new TypeError('a mistake')]);
  });
});

test('what goes wrong while a later answer is dealt with costs that client its connection, and nobody else anything', async () => {
  const errors: unknown[] = [];
  const backend = new GatedBackend(tree, (method) => (method === 'statfs' ? Promise.reject(new Error('of no code')) : undefined));
  const server = new Server({
    exports: { tree: backend },
    limits: { grace: 200 },
    log: (event) => {
      if (event.type === 'error' && errors.push(event.error) === 1) throw new Error('no room for a line');
    },
  });
  live.push(server);
  const [c, other] = [await RawClient.attached(server), await RawClient.attached(server)];
  c.send('Tstatfs', { fid: 0 });
  await c.closed;
  expect(errors).toMatchObject([{ message: 'of no code' }, { message: 'no room for a line' }]);
  expect(await other.outcome('Tgetattr', getattr(0))).toBe('ok');
  while (server.connections.length > 1) await turn();
  await other.end();
});
