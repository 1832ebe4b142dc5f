import { closeSync, fstatSync, readFileSync, statSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Message } from '../../lib/protocol/codec.js';
import {
  DESCRIPTOR_XATTR,
  GETATTR_ALL,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_TRUNC,
  L_O_WRONLY,
  NOFID,
  ORDERED_XATTR,
} from '../../lib/protocol/constants.js';
import type { Body } from '../../lib/protocol/messages.js';
import type { Caller } from '../../lib/server/backend.js';
import { openFiles } from '../../lib/server/descriptors.js';
import { failure } from '../../lib/server/errors.js';
import { type LocalOptions, localBackend, MemoryBackend, Server } from '../../lib/server/index.js';
import { MemoryFile } from '../../lib/server/memory/file.js';
import { openBelow } from '../support/descriptors.js';
import { Door, GatedBackend } from '../support/gated.js';
import { RawClient } from '../support/raw.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { passedTo, serverOf } from './local/passing.js';

/** Tcreateat, which makes and opens a file and tells all that a mount wants to know of it. */
const create = (name: string, more: Partial<Body<'Tcreateat'>> = {}): Body<'Tcreateat'> => ({
  dfid: 0,
  newfid: 1,
  lend: 0,
  name,
  flags: L_O_RDWR,
  mode: 0o640,
  gid: 0,
  ...more,
});
const getattr = (fid: number) => ({ fid, requestMask: GETATTR_ALL });

/** Asks for order, which is what Tcreateat comes with. */
async function order(c: RawClient): Promise<RawClient> {
  await c.call('Txattrwalk', { fid: 0, newfid: 7, name: ORDERED_XATTR });
  await c.call('Tclunk', { fid: 7 });
  return c;
}

async function end(c: RawClient): Promise<void> {
  await c.transport.close();
  await c.closed;
}

const text = ({ data }: { data: Uint8Array }): string => Buffer.from(data).toString();

describe('Tcreateat', () => {
  let holds: Map<string, (caller: Caller | undefined) => Promise<void> | undefined>;
  let doors: Door[];
  let failed: unknown[];
  let tree: MemoryBackend;
  let server: Server;

  beforeEach(() => {
    holds = new Map();
    doors = [];
    failed = [];
    tree = new MemoryBackend();
    tree.writeFile('f', 'text');
    tree.writeFile('a/b', 'deep');
    const gated = new GatedBackend(tree, (method, caller) => holds.get(method)?.(caller));
    server = new Server({
      exports: { tree: gated },
      limits: { grace: 200 },
      log: (event) => {
        if (event.type === 'error') failed.push(event.error);
      },
    });
    server.export('read', gated, { readonly: true });
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    holds.clear();
    for (const door of doors) door.open();
    await server.close();
    while (server.buffersLent > 0) await turn();
    expect(tree.counts()).toMatchObject({ held: 0 });
  });

  const client = async (aname = 'tree'): Promise<RawClient> => order(await RawClient.attached(server, { aname }));

  /** Has the first call of a method, or all from then on, wait; `reached` when it is made. */
  function shut(method: string): { door: Door; reached: Promise<void> } {
    const [door, here] = [new Door(), new Door()];
    doors.push(door);
    holds.set(method, () => {
      here.open();
      return door.opened;
    });
    return { door, reached: here.opened };
  }

  /** Has the first call of a method fail: at once, or when its answer is waited for. */
  function fail(method: string, later: boolean): void {
    holds.set(method, () => {
      holds.delete(method);
      if (later) return Promise.reject(failure('ENOSPC'));
      throw failure('ENOSPC');
    });
  }

  const names = async (c: RawClient, path = ''): Promise<string[]> => c.list(path);

  test('is none of this server’s to a conversation that has not asked for order, or not since it began anew', async () => {
    const c = await RawClient.attached(server, { aname: 'tree' });
    expect(await c.outcome('Tcreateat', create('new'))).toBe('EOPNOTSUPP');
    await order(c);
    await c.call('Tcreateat', create('ordered'));
    await c.version();
    await c.attach(0, 'tree');
    expect(await c.outcome('Tcreateat', create('new'))).toBe('EOPNOTSUPP');
    expect(await names(c)).toEqual(['a', 'f', 'ordered']);
    await end(c);
  });

  test('makes a file and opens it, and the directory’s fid stays the directory', async () => {
    const c = await client();
    const made = await c.call('Tcreateat', create('new', { mode: 0o102751, gid: 5 }));
    expect(made).toMatchObject({ lent: 0, attributes: { mode: 0o102751, gid: 5, size: 0, nlink: 1 } });
    const { iounit } = await c.call('Tlcreate', { fid: await c.walk(''), name: 'other', flags: L_O_RDWR, mode: 0o600, gid: 0 });
    expect(made.iounit).toBe(iounit);
    expect(await c.call('Twrite', { fid: 1, offset: 0, data: Buffer.from('written') })).toEqual({ count: 7 });
    expect(text(await c.call('Tread', { fid: 1, offset: 0, count: 20 }))).toBe('written');
    // Open already.
    expect(await c.outcome('Tlopen', { fid: 1, flags: L_O_RDONLY })).toBe('EINVAL');
    expect((await c.call('Tgetattr', getattr(0))).qid.path).toBe(made.directory.qid.path);
    await c.call('Tcreateat', create('next', { newfid: 2, flags: L_O_WRONLY }));
    expect(await c.outcome('Tread', { fid: 2, offset: 0, count: 1 })).toBe('EBADF');
    expect((await c.read('new')).toString()).toBe('written');
    expect(await names(c)).toEqual(['a', 'f', 'new', 'next', 'other']);
    await end(c);
  });

  test('uses a directory that is open as well, and one that is clunked right behind', async () => {
    const c = await client();
    const open = await c.open('a');
    await c.call('Tcreateat', create('new', { dfid: open }));
    expect((await c.entries(open)).map(({ name }) => name)).toContain('new');
    const { door, reached } = shut('create');
    const made = c.call('Tcreateat', create('newer', { dfid: open, newfid: 2 }));
    await reached;
    const clunked = c.call('Tclunk', { fid: open });
    await c.call('Tgetattr', getattr(0));
    door.open();
    await clunked;
    expect(await made).toMatchObject({ directory: { valid: expect.toSatisfy((valid: bigint) => valid > 0n) } });
    expect(await names(c, 'a')).toEqual(['b', 'new', 'newer']);
    await end(c);
  });

  test('opens what is there already, and cuts it off if told to', async () => {
    const c = await client();
    expect(await c.call('Tcreateat', create('f', { flags: L_O_RDWR | L_O_CREAT, mode: 0 }))).toMatchObject({
      attributes: { size: 4, mode: (await c.call('Tgetattr', getattr(await c.walk('f')))).mode },
    });
    expect(text(await c.call('Tread', { fid: 1, offset: 0, count: 20 }))).toBe('text');
    const cut = await c.call('Tcreateat', create('f', { newfid: 2, flags: L_O_WRONLY | L_O_CREAT | L_O_TRUNC }));
    expect(cut.attributes.size).toBe(0);
    expect(text(await c.call('Tread', { fid: 1, offset: 0, count: 20 }))).toBe('');
    expect(await c.outcome('Tcreateat', create('a', { newfid: 3 }))).toBe('EISDIR');
    await end(c);
  });

  const refusals: [string, string, Partial<Body<'Tcreateat'>>][] = [
    ['of what is there, if it is to be new', 'EEXIST', { name: 'f', flags: L_O_RDWR | L_O_CREAT | L_O_EXCL | L_O_TRUNC }],
    ['without a name', 'ENOENT', { name: '' }],
    ['of "."', 'EEXIST', { name: '.' }],
    ['of ".."', 'EEXIST', { name: '..' }],
    ['of a path', 'EINVAL', { name: 'a/new' }],
    ['of a name with a NUL', 'EINVAL', { name: 'a\0' }],
    ['of a name too long', 'ENAMETOOLONG', { name: 'é'.repeat(128) }],
    ['in a file', 'ENOTDIR', { dfid: 5 }],
    ['in what is no file', 'EINVAL', { dfid: 6 }],
    ['in nothing', 'EBADF', { dfid: 77 }],
    ['neither for reading nor for writing', 'EINVAL', { flags: 3 }],
    ['of a directory', 'EINVAL', { flags: L_O_RDONLY | L_O_DIRECTORY }],
    ['as a number in use', 'EINVAL', { newfid: 5 }],
    ['as its directory', 'EINVAL', { newfid: 0 }],
    ['as no number', 'EINVAL', { newfid: NOFID }],
  ];

  test.each(refusals)('is refused %s with %s, and leaves nothing', async (_, code, more) => {
    const c = await client();
    await c.call('Twalk', { fid: 0, newfid: 5, wnames: ['f'] });
    await c.call('Txattrwalk', { fid: 0, newfid: 6, name: '' });
    expect(await c.outcome('Tcreateat', { ...create('new'), ...more })).toBe(code);
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    expect(await names(c)).toEqual(['a', 'f']);
    expect((await c.read('f')).toString()).toBe('text');
    // The number is free, those in use are what they were.
    await c.call('Tcreateat', create('new'));
    expect((await c.call('Tgetattr', getattr(5))).size).toBe(4);
    await end(c);
  });

  test('is refused in an export that is only read', async () => {
    const c = await client('read');
    expect(await c.outcome('Tcreateat', create('new'))).toBe('EROFS');
    expect(await c.outcome('Tcreateat', create('f', { flags: L_O_RDONLY }))).toBe('EROFS');
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    expect(await names(c)).toEqual(['a', 'f']);
    await end(c);
  });

  test('has those wait that name the new fid, and nobody else', async () => {
    const c = await client();
    const { door } = shut('create');
    const over: string[] = [];
    const note = <T>(name: string, answer: Promise<T>): Promise<T> => answer.finally(() => over.push(name));
    const made = note('create', c.call('Tcreateat', create('new')));
    const seen = note('getattr', c.call('Tgetattr', getattr(1)));
    const clunked = note('clunk', c.call('Tclunk', { fid: 1 }));
    const again = note('again', c.call('Tcreateat', create('newer')));
    await note('directory', c.call('Tgetattr', getattr(0)));
    door.open();
    expect(await seen).toEqual((await made).attributes);
    await Promise.all([clunked, again]);
    expect(over).toEqual(['directory', 'create', 'getattr', 'clunk', 'again']);
    await end(c);
  });

  test('waits for what makes its directory, and fails with it', async () => {
    const c = await client();
    const { door } = shut('walk');
    const walked = c.call('Twalk', { fid: 0, newfid: 2, wnames: ['a'] });
    const made = c.call('Tcreateat', create('new', { dfid: 2 }));
    const missing = c.outcome('Twalk', { fid: 0, newfid: 3, wnames: ['nothing'] });
    const lost = c.outcome('Tcreateat', create('new', { dfid: 3, newfid: 4 }));
    const behind = c.outcome('Tgetattr', getattr(4));
    door.open();
    await Promise.all([walked, made]);
    expect([await missing, await lost, await behind]).toEqual(['ENOENT', 'EBADF', 'EBADF']);
    expect(await names(c, 'a')).toEqual(['b', 'new']);
    await end(c);
  });

  test('a flush that comes too late is answered after it, and the file is its client’s', async () => {
    const c = await client();
    const { door, reached } = shut('create');
    const made = c.send('Tcreateat', create('new'));
    await reached;
    const flushed = c.send('Tflush', { oldtag: made.tag });
    door.open();
    await flushed;
    expect(c.received.slice(-2).map(({ name }) => name)).toEqual(['Rcreateat', 'Rflush']);
    expect(await c.call('Twrite', { fid: 1, offset: 0, data: Buffer.from('x') })).toEqual({ count: 1 });
    await end(c);
  });

  test.each(['create', 'getattr'])('a flush that ends it in its %s leaves no fid and no answer but its own', async (method) => {
    const c = await client();
    const here = new Door();
    holds.set(method, (caller) => {
      holds.delete(method);
      here.open();
      return new Promise((_, reject) => caller?.signal.addEventListener('abort', () => reject(failure('EINTR'))));
    });
    const { tag } = c.send('Tcreateat', create('new'));
    await here.opened;
    const before = c.received.length;
    await c.call('Tflush', { oldtag: tag });
    expect(c.received.slice(before).map(({ name }) => name)).toEqual(['Rflush']);
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    await c.call('Tcreateat', create('new'));
    await end(c);
  });

  test('a flush of one that waits has it never come', async () => {
    const c = await client();
    const { door } = shut('walk');
    const walked = c.call('Twalk', { fid: 0, newfid: 2, wnames: ['a'] });
    const { tag } = c.send('Tcreateat', create('new', { dfid: 2 }));
    const behind = c.outcome('Tgetattr', getattr(1));
    await c.call('Tflush', { oldtag: tag });
    expect(await behind).toBe('EBADF');
    door.open();
    await walked;
    expect(await names(c, 'a')).toEqual(['b']);
    await end(c);
  });

  test.each(['stream', 'session'])('the end of the %s while it is made waits for it to be closed', async (what) => {
    const c = await client();
    const [made, closed] = [shut('create'), shut('close')];
    c.send('Tcreateat', create('new')).catch(() => {});
    await made.reached;
    const connection = server.connections[0];
    let over = false;
    const ending = what === 'stream' ? end(c).then(() => connection?.done) : c.version();
    const ended = Promise.resolve(ending).then(() => {
      over = true;
    });
    for (let turns = 0; turns < 5; turns++) await turn();
    made.door.open();
    await closed.reached;
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(over).toBe(false);
    closed.door.open();
    await ended;
    expect(c.received.some(({ name }) => name === 'Rcreateat')).toBe(false);
    if (what === 'session') await end(c);
    // The root is held by nobody either.
    await expect.poll(() => tree.counts().held).toBe(0);
  });

  test('the end of the session while its attributes are asked for closes it after they came', async () => {
    const c = await client();
    const { door, reached } = shut('getattr');
    let closed = false;
    holds.set('close', () => {
      closed = true;
      return undefined;
    });
    c.send('Tcreateat', create('new')).catch(() => {});
    await reached;
    const ended = c.version();
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(closed).toBe(false);
    door.open();
    await ended;
    expect(closed).toBe(true);
    expect(tree.counts().held).toBe(0);
    await end(c);
  });

  test.each([false, true])('leaves no fid where the file’s attributes cannot be had (later: %s)', async (later) => {
    const c = await client();
    fail('getattr', later);
    expect(await c.outcome('Tcreateat', create('new'))).toBe('ENOSPC');
    expect(await c.outcome('Tgetattr', getattr(1))).toBe('EBADF');
    // What is done is done.
    expect(await names(c)).toEqual(['a', 'f', 'new']);
    await c.call('Tcreateat', create('new'));
    await c.call('Tclunk', { fid: 1 });
    await end(c);
  });

  test('asks no more of a directory than its request lasts, though the file’s attributes cannot be had', async () => {
    const c = await client();
    const door = new Door();
    doors.push(door);
    const asked: string[] = [];
    holds.set('getattr', () => {
      asked.push('getattr');
      return asked.length === 1 ? Promise.reject(failure('ENOSPC')) : door.opened;
    });
    const made = c.send('Tcreateat', create('new'));
    await expect.poll(() => asked.length).toBe(2);
    for (let turns = 0; turns < 5; turns++) await turn();
    expect(c.received.some(({ tag }) => tag === made.tag)).toBe(false);
    door.open();
    expect((await made).name).toBe('Rlerror');
    await end(c);
  });

  test.each([false, true])('says that the directory’s attributes are not known where they cannot be had (later: %s)', async (later) => {
    const c = await client();
    const [file, directory] = [vi.fn(), vi.fn()];
    holds.set('getattr', () => {
      if (file.mock.calls.length === 0) return file();
      directory();
      if (later) return Promise.reject(failure('EIO'));
      throw failure('EIO');
    });
    const made = await c.call('Tcreateat', create('new'));
    expect(directory).toHaveBeenCalledOnce();
    expect(made).toMatchObject({ attributes: { mode: 0o100640 }, directory: { valid: 0n } });
    holds.clear();
    expect(await c.call('Tgetattr', getattr(1))).toEqual(made.attributes);
    await end(c);
  });

  test('a file that can neither be asked nor closed is an error in the log, and the client hears of the first', async () => {
    const c = await client();
    const closing = failure('EDQUOT');
    const { close: closes } = MemoryFile.prototype;
    const close = vi.spyOn(MemoryFile.prototype, 'close').mockImplementationOnce(async function (this: MemoryFile) {
      closes.call(this);
      throw closing;
    });
    fail('getattr', true);
    expect(await c.outcome('Tcreateat', create('new'))).toBe('ENOSPC');
    expect(close).toHaveBeenCalledOnce();
    expect(failed).toEqual([closing]);
    await end(c);
  });
});

describe('what Tcreateat tells', () => {
  const kinds: [string, LocalOptions | undefined][] = [
    ['a tree in memory', undefined],
    ['mapped-xattr', { securityModel: 'mapped-xattr' }],
    ['mapped-file', { securityModel: 'mapped-file' }],
    ['none', { securityModel: 'none' }],
    ['none, on other threads', { securityModel: 'none', background: 'always' }],
    ...(process.geteuid?.() === 0 ? ([['passthrough', { securityModel: 'passthrough' }]] as [string, LocalOptions][]) : []),
  ];

  test.each(kinds)('is what Tgetattr tells afterwards: %s', async (_, options) => {
    await using directory = new TemporaryDirectory('creating');
    const server = new Server({
      exports: { tree: options === undefined ? new MemoryBackend() : await localBackend(directory.path, options) },
    });
    for (const uid of [process.geteuid?.() ?? 0, 1000]) {
      const c = await order(await RawClient.attached(server, { uid }));
      await c.call('Tmkdir', { dfid: 0, name: `d${uid}`, mode: 0o2775, gid: 50 });
      const dfid = await c.walk(`d${uid}`);
      await c.write('full', 'content', dfid);
      const asked: Partial<Body<'Tcreateat'>>[] = [
        { name: 'plain', mode: 0o644 },
        { name: 'private', mode: 0 },
        { name: 'marked', mode: 0o4755, gid: 60 },
        { name: 'program', mode: 0o3711, flags: L_O_WRONLY | L_O_EXCL },
        { name: 'plain', mode: 0o600 },
        { name: 'full', flags: L_O_RDONLY },
        { name: 'full', flags: L_O_RDWR | L_O_TRUNC },
      ];
      for (const [index, more] of asked.entries()) {
        const newfid = 1000 + index;
        const { attributes, directory: around } = await c.call('Tcreateat', { ...create(''), dfid, newfid, ...more });
        const label = `${uid} ${index} ${more.name}`;
        expect([label, attributes]).toEqual([label, await c.call('Tgetattr', getattr(newfid))]);
        expect([label, around]).toEqual([label, await c.call('Tgetattr', getattr(dfid))]);
        const walked = await c.walk(more.name ?? '', dfid);
        expect([label, await c.call('Tgetattr', getattr(walked))]).toEqual([label, attributes]);
      }
      await end(c);
    }
    await server.close();
  });
});

requires('root')('the descriptor of a new file', () => {
  let root: TemporaryDirectory;
  let server: Server;
  const clients: RawClient[] = [];

  beforeEach(async () => {
    root = new TemporaryDirectory('creating');
    server = await serverOf(root.path, {}, {});
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    for (const { transport } of clients.splice(0)) transport.destroy();
    await server.close();
    root.remove();
  });

  async function client(): Promise<RawClient> {
    const c = await passedTo(server);
    clients.push(c);
    return order(c);
  }

  const taken = (c: RawClient): number => {
    const fd = c.transport.takeDescriptor?.();
    if (fd === undefined) throw new Error('no descriptor came');
    return fd;
  };

  test('comes along where it is asked for, and is as good as the flags say', async () => {
    const c = await client();
    expect(await c.call('Tcreateat', create('asked', { lend: 1 }))).toMatchObject({ lent: 1 });
    const fd = taken(c);
    writeSync(fd, 'through it');
    closeSync(fd);
    expect(readFileSync(root.join('asked'), 'utf8')).toBe('through it');
    expect(text(await c.call('Tread', { fid: 1, offset: 0, count: 20 }))).toBe('through it');
    expect(await c.call('Tcreateat', create('not asked', { newfid: 2 }))).toMatchObject({ lent: 0 });
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
    expect(await c.call('Tcreateat', create('asked', { newfid: 3, lend: 1, flags: L_O_RDONLY }))).toMatchObject({ lent: 1 });
    const reading = taken(c);
    expect(() => writeSync(reading, 'x')).toThrow('EBADF');
    closeSync(reading);
  });

  test('comes in the order of the answers, with errors and answers without one among them', async () => {
    const c = await client();
    const before = openBelow(root.path);
    const frames: Uint8Array[] = [];
    const answers: Promise<Message>[] = [];
    for (let index = 0; index < 60; index++) {
      const tag = c.nextTag();
      const flags = L_O_RDWR | L_O_EXCL;
      frames.push(
        c.frame(
          'Tcreateat',
          create(index % 7 === 6 ? 'f0' : `f${index}`, { newfid: 1000 + index, lend: index % 3 === 0 ? 0 : 1, flags }),
          tag,
        ),
      );
      answers.push(c.expect(tag));
    }
    c.bytes(...frames);
    const lent: string[] = [];
    for (const [index, answer] of (await Promise.all(answers)).entries()) {
      expect(answer.name).toBe(index % 7 === 6 ? 'Rlerror' : 'Rcreateat');
      if (answer.name !== 'Rcreateat') continue;
      expect(answer.body.lent).toBe(index % 3 === 0 ? 0 : 1);
      if (answer.body.lent !== 0) lent.push(`f${index}`);
    }
    for (const name of lent) {
      const fd = taken(c);
      expect([name, fstatSync(fd).ino]).toEqual([name, statSync(root.join(name)).ino]);
      closeSync(fd);
    }
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
    await c.version();
    expect(openBelow(root.path)).toBe(before);
  });

  test('stays where none may leave, and the file is made all the same', async () => {
    const plain = await order(await RawClient.attached(server, { aname: 'tree' }));
    expect(await plain.call('Tcreateat', create('plain', { lend: 1 }))).toMatchObject({ lent: 0 });
    await end(plain);
    await server.close();
    server = await serverOf(root.path, { lend: false }, {});
    const c = await client();
    expect(await c.call('Tcreateat', create('kept', { lend: 1 }))).toMatchObject({ lent: 0 });
    expect(await c.call('Twrite', { fid: 1, offset: 0, data: Buffer.from('x') })).toEqual({ count: 1 });
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
    await server.close();
    server = await serverOf('', {}, {});
    const memory = await client();
    expect(await memory.call('Tcreateat', create('kept', { lend: 1 }))).toMatchObject({ lent: 0 });
    expect(memory.transport.takeDescriptor?.()).toBeUndefined();
  });

  test('stays where the connection’s share is used up by the file, which is made all the same', async () => {
    const c = await client();
    const shares = openFiles();
    const take = shares.take.bind(shares);
    vi.spyOn(shares, 'take').mockImplementationOnce(take).mockReturnValueOnce(false);
    expect(await c.call('Tcreateat', create('new', { lend: 1 }))).toMatchObject({ lent: 0, attributes: { size: 0 } });
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
    expect(await c.call('Twrite', { fid: 1, offset: 0, data: Buffer.from('x') })).toEqual({ count: 1 });
    expect(await c.call('Txattrwalk', { fid: 1, newfid: NOFID, name: DESCRIPTOR_XATTR })).toEqual({ size: 1 });
    closeSync(taken(c));
  });

  test('where not even the file may be opened, it is not made, and the number is free', async () => {
    const c = await client();
    vi.spyOn(openFiles(), 'take').mockReturnValueOnce(false);
    expect(await c.outcome('Tcreateat', create('new', { lend: 1, flags: L_O_RDWR | L_O_EXCL }))).toBe('EMFILE');
    expect(await c.call('Tcreateat', create('new', { lend: 1, flags: L_O_RDWR | L_O_EXCL }))).toMatchObject({ lent: 1 });
    closeSync(taken(c));
  });

  test('what its client no longer gets is closed', async () => {
    const other = await client();
    const before = openBelow(root.path);
    const c = await client();
    c.transport.pause();
    c.bytes(
      ...Array.from({ length: 50 }, (_, index) =>
        c.frame('Tcreateat', create(`f${index}`, { newfid: 1000 + index, lend: 1 }), index + 100),
      ),
    );
    await expect.poll(() => server.connections.map(({ pending }) => pending)).toEqual([0, 0]);
    await other.call('Tgetattr', getattr(0));
    c.transport.destroy();
    await c.closed;
    await expect.poll(() => openBelow(root.path)).toBe(before);
  });
});
