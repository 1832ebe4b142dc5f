import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FATTR_SIZE, FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, RENAME_EXCHANGE, ROOT_ID } from '../../lib/fuse/kernel/constants.js';
import type { Body, OperationName, Reply } from '../../lib/fuse/kernel/opcodes.js';
import { Early } from '../../lib/fuse/kernel/structs.js';
import { type BridgeOptions, timeouts } from '../../lib/fuse/options.js';
import { ErrnoError } from '../../lib/protocol/error.js';
import { door } from '../support/gated.js';
import { Kernelless } from './kernelless.js';

/** The bridge without a kernel: what it answers, what it keeps of the server, and what it makes of a hostile one. */
let world: Kernelless;
let tree: Kernelless['tree'];
let client: Kernelless['client'];
let bridge: Kernelless['bridge'];

async function begin(options: Partial<BridgeOptions> = {}, ordered = false, gated = true): Promise<void> {
  world = await Kernelless.begin(options, ordered, gated);
  ({ tree, client, bridge } = world);
  tree.writeFile('d/e/g', 'deep');
}

const end = (): Promise<void> => world[Symbol.asyncDispose]();

beforeEach(() => begin());
afterEach(end);

/** All of them come from one thread. */
const THREAD = 100;
const ask = <K extends OperationName>(name: K, nodeid: number, body: Body<K>, request = world.request(nodeid, THREAD)): Promise<Reply<K>> =>
  world.ask(name, nodeid, body, request);
const lookup = (nodeid: number, name: string) => ask('lookup', nodeid, { name });
const open = (nodeid: number, flags = 0) => world.open(nodeid, flags, THREAD);
const release = (nodeid: number, fh: number) => world.release(nodeid, fh);
const write = (nodeid: number, fh: number, offset: number, data: string) => world.write(nodeid, fh, offset, data);
const flush = (nodeid: number, fh: number) => world.flush(nodeid, fh);
const read = (nodeid: number, fh: number, size?: number, offset?: number) => world.read(nodeid, fh, size, offset);

/** For how long names and attributes of a piece of a listing may be believed, in ms, where it tells any. */
function believed(list: Buffer): number[] {
  const times: number[] = [];
  for (let at = 0; at < list.length; ) {
    const time = (seconds: number, nanoseconds: number): number =>
      Number(list.readBigUInt64LE(at + seconds)) * 1000 + list.readUInt32LE(at + nanoseconds) / 1e6;
    if (list.readBigUInt64LE(at) !== 0n) times.push(time(16, 32), time(24, 36));
    at = (at + 128 + 24 + list.readUInt32LE(at + 128 + 16) + 7) & ~7;
  }
  return times;
}

/** Lists a directory to its end; `between` runs after each piece. Gives the node of each name, 0 where the listing told of none. */
async function listed(nodeid: number, between?: (nodes: ReadonlyMap<string, number>) => Promise<unknown>): Promise<Map<string, number>> {
  const { fh } = await ask('opendir', nodeid, { flags: 0, openFlags: 0 });
  const found = new Map<string, number>();
  for (let offset = 0n; ; ) {
    const list = Buffer.from(await ask('readdirplus', nodeid, { fh, offset, size: 65_536 }));
    if (list.length === 0) break;
    for (let at = 0; at < list.length; ) {
      const length = list.readUInt32LE(at + 128 + 16);
      offset = list.readBigUInt64LE(at + 128 + 8);
      found.set(list.toString('utf8', at + 128 + 24, at + 128 + 24 + length), Number(list.readBigUInt64LE(at)));
      at = (at + 128 + 24 + length + 7) & ~7;
    }
    await between?.(found);
  }
  await ask('releasedir', nodeid, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
  return found;
}

describe('what a listing tells beside names', () => {
  beforeEach(async () => {
    await end();
    await begin({}, true);
  });

  const xattr = async (nodeid: number, name = 'user.a') => {
    const reply = await ask('getxattr', nodeid, { name, size: 100 }).catch(({ errno }: NodeJS.ErrnoException) => errno);
    return reply instanceof Uint8Array ? Buffer.from(reply).toString() : reply;
  };
  /** Bytes sent to the server meanwhile. */
  const asked = async (work: () => Promise<unknown>) => {
    await bridge.tree.clunker.idle();
    const { bytesOut } = client.session.counters;
    await work();
    await bridge.tree.clunker.idle();
    return client.session.counters.bytesOut - bytesOut;
  };

  test('is that a file has no extended attribute, once those of its neighbours are asked for', async () => {
    for (const name of ['one', 'two', 'three']) tree.writeFile(`x/${name}`, 'x');
    const x = await lookup(ROOT_ID, 'x');
    let nodes = await listed(x.nodeid);
    const node = (name: string) => nodes.get(name) ?? 0;
    await ask('setxattr', node('three'), { name: 'user.a', value: Buffer.from('value'), flags: 0, setxattrFlags: 0 });
    expect(await asked(async () => expect(await xattr(node('one'))).toBe(-61))).toBeGreaterThan(0);
    nodes = await listed(x.nodeid);
    expect(await asked(async () => expect([await xattr(node('one')), await xattr(node('two'))]).toEqual([-61, -61]))).toBe(0);
    expect(await asked(() => ask('listxattr', node('two'), { size: 0 }))).toBe(0);
    expect(await asked(async () => expect(await xattr(node('three'))).toBe('value'))).toBeGreaterThan(0);
    // What is set through this mount is seen at once.
    await ask('setxattr', node('two'), { name: 'user.a', value: Buffer.from('new'), flags: 0, setxattrFlags: 0 });
    expect(await xattr(node('two'))).toBe('new');
    // Names of a kind that the server does not have are refused as ever.
    expect(await xattr(node('one'), 'strange.kind')).toBe(await xattr(node('three'), 'strange.kind'));
  });

  test('is not believed for longer than attributes are', async () => {
    await end();
    await begin({ attrTimeout: 0 }, true);
    tree.writeFile('x/one', 'x');
    const x = await lookup(ROOT_ID, 'x');
    const one = (await listed(x.nodeid)).get('one') ?? 0;
    await xattr(one);
    await listed(x.nodeid);
    expect(await asked(() => xattr(one))).toBeGreaterThan(0);
  });

  test('is attributes of the first few thousand files, and of all where somebody asks about some of them', {
    timeout: 60_000,
  }, async () => {
    for (let index = 0; index < 9000; index++) tree.writeFile(`many/${index}`, '');
    // However long it takes: what has grown old is not told.
    let now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 0.001));
    const many = await lookup(ROOT_ID, 'many');
    const told = (nodes: ReadonlyMap<string, number>) => [...nodes.values()].filter((nodeid) => nodeid !== 0).length;
    const plain = await listed(many.nodeid);
    expect(plain.size).toBe(9002);
    expect(told(plain)).toBeGreaterThan(4000);
    expect(told(plain)).toBeLessThan(4800);
    const curious = await listed(many.nodeid, (nodes) => {
      const [name = ''] = [...nodes.keys()].slice(-1);
      return name.startsWith('.') ? Promise.resolve() : lookup(many.nodeid, name);
    });
    clock.mockRestore();
    expect(told(curious)).toBe(9000);
  });
});

for (const ordered of [false, true]) {
  describe(`the bridge, ${ordered ? 'with a server that keeps order' : 'one request after another'}`, () => {
    beforeEach(async () => {
      await end();
      await begin({}, ordered);
    });

    test('counts look-ups and lets go of what is forgotten', async () => {
      const d = await lookup(ROOT_ID, 'd');
      const again = await lookup(ROOT_ID, 'd');
      expect(again.nodeid).toBe(d.nodeid);
      const e = await lookup(d.nodeid, 'e');
      const g = await lookup(e.nodeid, 'g');
      expect(g.attr.size).toBe(4);
      bridge.operations.forget(d.nodeid, 1);
      expect((await lookup(d.nodeid, 'e')).nodeid).toBe(e.nodeid);
      bridge.operations.forget(g.nodeid, 1);
      bridge.operations.forget(e.nodeid, 2);
      bridge.operations.forget(d.nodeid, 1);
      bridge.operations.forget(12345, 1);
      expect(bridge.tree.nodes.size).toBe(1);
      await expect(lookup(d.nodeid, 'e')).rejects.toMatchObject({ code: 'ESTALE' });
      await bridge.tree.clunker.idle();
    });

    test('two names of one file are one node, a name that leads nowhere none', async () => {
      const f = await lookup(ROOT_ID, 'f');
      const linked = await ask('link', ROOT_ID, { oldNode: f.nodeid, name: 'h' });
      expect([linked.nodeid, linked.attr.nlink]).toEqual([f.nodeid, 2]);
      expect((await lookup(ROOT_ID, 'h')).nodeid).toBe(f.nodeid);
      await ask('unlink', ROOT_ID, { name: 'f' });
      expect((await lookup(ROOT_ID, 'f')).nodeid).toBe(0);
      expect((await ask('getattr', f.nodeid, { flags: 0, fh: 0 })).attr.nlink).toBe(1);
    });

    test('makes, moves, changes and removes; a file stays what it is while it is open', async () => {
      await end();
      await begin({}, ordered, false);
      const d = await ask('mkdir', ROOT_ID, { mode: 0o755, umask: 0, name: 'new' });
      const made = await ask('create', d.nodeid, { flags: 0o2, mode: 0o640, umask: 0, openFlags: 0, name: 'file' });
      expect(made.entry.attr.mode).toBe(0o100640);
      expect(await write(made.entry.nodeid, made.open.fh, 0, 'hello')).toBe(5);
      await ask('rename', d.nodeid, { newDirectory: ROOT_ID, flags: 0, name: 'file', newName: 'moved' });
      expect((await lookup(ROOT_ID, 'moved')).nodeid).toBe(made.entry.nodeid);
      await ask('unlink', ROOT_ID, { name: 'moved' });
      expect(await read(made.entry.nodeid, made.open.fh)).toBe('hello');
      const zero = { sec: 0, nsec: 0 };
      const change = { valid: FATTR_SIZE, fh: 0, size: 2, lockOwner: 0n, atime: zero, mtime: zero, ctime: zero, mode: 0, uid: 0, gid: 0 };
      expect((await ask('setattr', made.entry.nodeid, change)).attr.size).toBe(2);
      expect((await ask('getattr', made.entry.nodeid, { flags: 0, fh: 0 })).attr.size).toBe(2);
      await release(made.entry.nodeid, made.open.fh);
      await ask('rmdir', ROOT_ID, { name: 'new' });
      await expect(
        ask('rename2', ROOT_ID, { newDirectory: ROOT_ID, flags: RENAME_EXCHANGE, name: 'f', newName: 'd' }),
      ).rejects.toMatchObject({ errno: -22 });
      const link = await ask('symlink', ROOT_ID, { name: 'l', target: 'tö/where' });
      expect(Buffer.from(await ask('readlink', link.nodeid, undefined)).toString()).toBe('tö/where');
    });

    test('a file without a fid is opened by its name, and found to be another by now', async () => {
      const f = await lookup(ROOT_ID, 'f');
      // Whether an open leaves one behind depends on how long ago the look-up was.
      const forgetFids = () => bridge.tree.unpin(bridge.tree.nodes.get(f.nodeid));
      forgetFids();
      const first = await open(f.nodeid);
      expect(await read(f.nodeid, first.fh)).toBe('content');
      await release(f.nodeid, first.fh);
      // For writing, too.
      forgetFids();
      const second = await open(f.nodeid, 0o2);
      expect(await read(f.nodeid, second.fh)).toBe('content');
      await release(f.nodeid, second.fh);
      forgetFids();
      await ask('unlink', ROOT_ID, { name: 'f' });
      tree.writeFile('f', 'other');
      await expect(open(f.nodeid)).rejects.toMatchObject({ code: 'ESTALE' });
    });

    test('lists a directory to its end, in pieces of any size', async () => {
      for (let index = 0; index < 50; index++) tree.writeFile(`many/file ${index}`, 'x');
      const many = await lookup(ROOT_ID, 'many');
      for (const plus of [false, true]) {
        const { fh } = await ask('opendir', many.nodeid, { flags: 0, openFlags: 0 });
        const names = new Set<string>();
        for (let offset = 0n; ; ) {
          const list = Buffer.from(await ask(plus ? 'readdirplus' : 'readdir', many.nodeid, { fh, offset, size: 700 }));
          if (list.length === 0) break;
          for (let at = 0; at < list.length; ) {
            const head = at + (plus ? 128 : 0);
            const length = list.readUInt32LE(head + 16);
            offset = list.readBigUInt64LE(head + 8);
            names.add(list.toString('utf8', head + 24, head + 24 + length));
            at = (head + 24 + length + 7) & ~7;
          }
        }
        expect(names.size).toBe(52);
        await ask('releasedir', many.nodeid, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
      }
      expect(bridge.tree.nodes.size).toBe(52);
    });

    test('a failing half of a large read is an error, never the end of the file', async () => {
      tree.writeFile('large', Buffer.alloc(3 << 20, 'x'));
      const large = await lookup(ROOT_ID, 'large');
      const { fh } = await open(large.nodeid);
      let reads = 0;
      world.hold = (method) =>
        method === 'read' && ++reads === 2 ? Promise.reject(Object.assign(new Error('bad block'), { code: 'EIO' })) : undefined;
      await expect(read(large.nodeid, fh, 3 << 20)).rejects.toMatchObject({ code: 'EIO' });
      world.hold = () => undefined;
      await release(large.nodeid, fh);
    });

    test('an aborted request is EINTR, and what it began is ended', async () => {
      const { promise, open: unlock } = door();
      world.hold = (method) => (method === 'walk' ? promise : undefined);
      const request = world.request(ROOT_ID, THREAD);
      const asked = ask('lookup', ROOT_ID, { name: 'f' }, request);
      await new Promise((resolve) => setImmediate(resolve));
      request.abort();
      const error = await asked.catch((reason: unknown) => reason);
      expect(bridge.operations.errno?.(error)).toBe(4);
      unlock();
      world.hold = () => undefined;
      await lookup(ROOT_ID, 'd');
    });
  });
}

describe('a small file is read while it is being opened', () => {
  test('by what is asked for with the open', async () => {
    await end();
    await begin({}, true);
    const asked: string[] = [];
    const shut = door();
    world.hold = (method) => {
      if (method === 'open' || method === 'read') asked.push(method);
      return method === 'open' ? shut.promise : undefined;
    };
    const { nodeid } = await lookup(ROOT_ID, 'f');
    const { bytesOut } = client.session.counters;
    const opening = open(nodeid);
    await vi.waitFor(() => expect(asked).toEqual(['open']));
    // Everything has been sent, and the server keeps the order.
    const sent = client.session.counters.bytesOut - bytesOut;
    shut.open();
    const { fh } = await opening;
    expect(await read(nodeid, fh)).toBe('content');
    expect(client.session.counters.bytesOut - bytesOut).toBe(sent);
    expect(asked).toEqual(['open', 'read']);
    await release(nodeid, fh);
  });

  test.each([false, true])('and anew after somebody wrote to it (with the open: %s)', async (ordered) => {
    await end();
    await begin({}, ordered);
    const { nodeid } = await lookup(ROOT_ID, 'f');
    const { fh } = await open(nodeid);
    const writer = await open(nodeid, 1);
    await write(nodeid, writer.fh, 0, 'CON');
    expect(await read(nodeid, fh)).toBe('CONtent');
    await release(nodeid, fh);
    await release(nodeid, writer.fh);
  });
});

describe('writes that are answered before the server has', () => {
  beforeEach(async () => {
    await end();
    await begin({ writeBehind: true });
  });

  test('are waited for by whoever looks, and by the flush', async () => {
    const f = await lookup(ROOT_ID, 'f');
    const { fh } = await open(f.nodeid, 2);
    const gate = door();
    world.hold = (method) => (method === 'write' ? gate.promise : undefined);
    const reply = await write(f.nodeid, fh, 7, ' and more');
    expect(reply).toBeInstanceOf(Early);
    const order: string[] = [];
    const waiting = [
      ask('getattr', f.nodeid, { flags: 0, fh }).then(({ attr }) => order.push(`size ${attr.size}`)),
      read(f.nodeid, fh).then((text) => order.push(text)),
      flush(f.nodeid, fh).then(() => order.push('flushed')),
      lookup(ROOT_ID, 'f').then(({ attr }) => order.push(`found ${attr.size}`)),
    ];
    const overlapping = write(f.nodeid, fh, 8, 'AND');
    await lookup(ROOT_ID, 'd');
    expect(order).toEqual([]);
    gate.open();
    await Promise.all(waiting);
    expect(order.sort()).toEqual(
      ['content and more', 'flushed', 'found 16', 'size 16'].map((text) => (order.includes(text) ? text : expect.anything())).sort(),
    );
    expect(order).toContain('size 16');
    await overlapping;
    await flush(f.nodeid, fh);
    expect(await read(f.nodeid, fh)).toBe('content AND more');
    await release(f.nodeid, fh);
  });

  test('tell their error at the next call, once', async () => {
    const f = await lookup(ROOT_ID, 'f');
    const { fh } = await open(f.nodeid, 2);
    world.hold = (method) => (method === 'write' ? Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) : undefined);
    await write(f.nodeid, fh, 0, 'x');
    await expect(flush(f.nodeid, fh)).rejects.toMatchObject({ code: 'ENOSPC' });
    await flush(f.nodeid, fh);
    await write(f.nodeid, fh, 0, 'x');
    await expect(ask('fsync', f.nodeid, { fh, fsyncFlags: 0 })).rejects.toMatchObject({ code: 'ENOSPC' });
    world.hold = () => undefined;
    await write(f.nodeid, fh, 0, 'C');
    await flush(f.nodeid, fh);
    expect(await read(f.nodeid, fh)).toBe('Content');
    await release(f.nodeid, fh);
  });

  test('are not for who appends or asks for the disk', async () => {
    const f = await lookup(ROOT_ID, 'f');
    for (const flags of [0o2002, 0o4010002, 0o10002, constants.O_DIRECT | 2]) {
      const { fh } = await open(f.nodeid, flags);
      expect(typeof (await write(f.nodeid, fh, 7, '!'))).toBe('number');
      await release(f.nodeid, fh);
    }
  });
});

describe('what is only written', () => {
  const [KEEP, DIRECT] = [FOPEN_KEEP_CACHE, FOPEN_DIRECT_IO];
  const RDONLY = 0;
  const WRONLY = 1;
  const RDWR = 2;
  const creates = (name: string, flags: number) =>
    ask('create', ROOT_ID, { flags: flags | 0o100, mode: 0o600, umask: 0, openFlags: 0, name });

  test('goes past the kernel’s cache, where the kernel drops what it has of it', async () => {
    for (const [cache, keepsInStep, past] of [
      ['open', true, true],
      ['open', false, false],
      ['loose', true, false],
    ] as const) {
      await end();
      await begin({ cache, ...timeouts(cache) });
      bridge.keepsInStep = keepsInStep;
      const { nodeid } = await lookup(ROOT_ID, 'f');
      for (const flags of [WRONLY, RDWR]) {
        const opened = await open(nodeid, flags);
        if (past && flags === WRONLY) expect(opened.flags).toBe(KEEP | DIRECT);
        else expect(opened.flags & DIRECT, `${cache} ${keepsInStep} ${flags}`).toBe(0);
        await release(nodeid, opened.fh);
        const made = await creates(`made ${flags}`, flags);
        expect(made.open.flags, `${cache} ${keepsInStep} ${flags}`).toBe(past && flags === WRONLY ? DIRECT : KEEP);
        await release(made.entry.nodeid, made.open.fh);
      }
    }
  });

  for (const writeBehind of [false, true]) {
    test(`is dropped from it again where others have the file open, before the write is done; write-behind: ${writeBehind}`, async () => {
      await end();
      await begin({ writeBehind });
      bridge.keepsInStep = true;
      const gate = door();
      const order: string[] = [];
      bridge.dropPages = (node, offset, length) => {
        order.push(`drop ${node.id} ${offset} ${length}`);
        return gate.promise;
      };
      const { nodeid } = await lookup(ROOT_ID, 'f');
      const writer = await open(nodeid, WRONLY);
      const other = await open(nodeid, WRONLY);
      await write(nodeid, writer.fh, 0, 'alone');
      expect(order).toEqual([]);

      const reader = await open(nodeid, RDONLY);
      const writing = write(nodeid, writer.fh, 2, 'seen').then(() => order.push('written'));
      await expect.poll(() => order).toEqual([`drop ${nodeid} 2 4`]);
      // Whoever reads meanwhile gets what is written, and keeps nobody waiting.
      expect(await read(nodeid, reader.fh)).toBe('alseent');
      expect(order).toHaveLength(1);
      gate.open();
      await writing;
      expect(order).toEqual([`drop ${nodeid} 2 4`, 'written']);

      // Through the cache there is nothing to drop.
      const both = await open(nodeid, RDWR);
      await write(nodeid, both.fh, 0, 'A');
      expect(order).toHaveLength(2);
      for (const { fh } of [writer, other, reader, both]) {
        await flush(nodeid, fh);
        await release(nodeid, fh);
      }
    });
  }
});

test('what a listing told is believed for as long as if it had just been asked for then', async () => {
  await end();
  await begin({}, true);
  const { fh } = await ask('opendir', ROOT_ID, { flags: 0, openFlags: 0 });
  const now = performance.now.bind(performance);
  const later = vi.spyOn(performance, 'now').mockImplementation(() => now() + 400);
  try {
    const times = believed(Buffer.from(await ask('readdirplus', ROOT_ID, { fh, offset: 0n, size: 65_536 })));
    expect(times.length).toBeGreaterThan(0);
    for (const time of times) expect(time).toBeLessThanOrEqual(600);
  } finally {
    later.mockRestore();
  }
  await ask('releasedir', ROOT_ID, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
});

test('a close is told of unless nothing waits for it', async () => {
  for (const [locks, writeBehind, readers, writers] of [
    ['remote', true, true, true],
    ['remote', false, true, true],
    ['local', true, false, true],
    ['local', false, false, false],
  ] as const) {
    await end();
    await begin({ locks, writeBehind });
    const { nodeid } = await lookup(ROOT_ID, 'f');
    for (const [flags, told] of [
      [0, readers],
      [1, writers],
      [2, writers],
    ] as const) {
      const opened = await open(nodeid, flags);
      expect((opened.flags & FOPEN_NOFLUSH) === 0, `${locks} ${writeBehind} ${flags}`).toBe(told);
      await release(nodeid, opened.fh);
      const made = await ask('create', ROOT_ID, { flags: flags | 0o100, mode: 0o600, umask: 0, openFlags: 0, name: `made ${flags}` });
      expect((made.open.flags & FOPEN_NOFLUSH) === 0, `${locks} ${writeBehind} ${flags}`).toBe(told);
      await release(made.entry.nodeid, made.open.fh);
    }
  }
});

describe('a directory with a new name', () => {
  beforeEach(async () => {
    await end();
    await begin({}, true, false);
  });

  test('is the one it was, if a fid from before is still good', async () => {
    const d = await lookup(ROOT_ID, 'd');
    await client.root.renameat('d', client.root, 'moved');
    expect((await lookup(ROOT_ID, 'moved')).nodeid).toBe(d.nodeid);
    const e = await lookup(d.nodeid, 'e');
    expect((await lookup(e.nodeid, 'g')).attr.size).toBe(4);
  });

  test.each(['ENOENT', 'ESTALE'] as const)('is another one with its inode number, if that is gone (%s)', async (code) => {
    const d = await lookup(ROOT_ID, 'd');
    const old = bridge.tree.nodes.get(d.nodeid);
    const [pin] = old.pins?.values() ?? [];
    await client.root.renameat('d', client.root, 'moved');
    vi.spyOn(pin?.fid ?? client.root, 'getattr').mockRejectedValueOnce(new ErrnoError(code));
    const moved = await lookup(ROOT_ID, 'moved');
    expect(moved.nodeid).not.toBe(d.nodeid);
    expect(moved.attr.ino).toBe(d.attr.ino);
    // What is asked for by its name and its number from now on is the new one.
    expect((await lookup(ROOT_ID, 'moved')).nodeid).toBe(moved.nodeid);
    bridge.forget(d.nodeid, 1);
    expect((await lookup(ROOT_ID, 'moved')).nodeid).toBe(moved.nodeid);
  });

  test('is the one it was, if its fids are paths, when it has not been changed for longer than it takes to make another', async () => {
    await client.root.walk(['d']).then(async (fid) => {
      await fid.setattr({ mtime: { sec: 1_000_000, nsec: 5 } });
      await fid.clunk();
    });
    for (const [to, nsec] of [
      ['moved', 5],
      ['changed', 6],
    ] as const) {
      const from = to === 'moved' ? 'd' : 'moved';
      const d = await lookup(ROOT_ID, from);
      const old = bridge.tree.nodes.get(d.nodeid);
      const [pin] = old.pins?.values() ?? [];
      await client.root.renameat(from, client.root, to);
      vi.spyOn(pin?.fid ?? client.root, 'getattr').mockRejectedValueOnce(new ErrnoError('ENOENT'));
      await using fid = await client.root.walk([to]);
      await fid.setattr({ mtime: { sec: 1_000_000, nsec } });
      const moved = await lookup(ROOT_ID, to);
      if (nsec === 5) expect(moved.nodeid).toBe(d.nodeid);
      else expect(moved.nodeid).not.toBe(d.nodeid);
    }
  });

  test('is not known, if nobody can tell', async () => {
    const d = await lookup(ROOT_ID, 'd');
    const [pin] = bridge.tree.nodes.get(d.nodeid).pins?.values() ?? [];
    await client.root.renameat('d', client.root, 'moved');
    vi.spyOn(pin?.fid ?? client.root, 'getattr').mockRejectedValueOnce(new ErrnoError('EACCES'));
    await expect(lookup(ROOT_ID, 'moved')).rejects.toMatchObject({ code: 'EACCES' });
    expect((await lookup(ROOT_ID, 'moved')).nodeid).toBe(d.nodeid);
  });
});

describe('a server that is not to be trusted', () => {
  test('types that cannot be are refused, and so is another file in the place of one', async () => {
    const f = await lookup(ROOT_ID, 'f');
    const node = bridge.tree.nodes.get(f.nodeid);
    const fid = await client.root.walk(['f']);
    const attributes = await fid.getattr();
    expect(() => bridge.attr(node, { ...attributes, mode: 0o644 }, 0)).toThrow(/ESTALE|EIO/);
    expect(() => bridge.attr(node, { ...attributes, mode: 0o040755 }, 0)).toThrow(/ESTALE/);
    expect(() => bridge.attr(node, { ...attributes, qid: { ...attributes.qid, path: 99n } }, 0)).toThrow(/ESTALE/);
    await fid.clunk();
  });

  test('two files with one qid stay two', async () => {
    tree.writeFile('one', '1');
    tree.writeFile('two', '22');
    const one = await lookup(ROOT_ID, 'one');
    const { nodes } = bridge.tree;
    const first = nodes.get(one.nodeid);
    const second = await bridge.tree.nodeFor(
      nodes.root,
      'two',
      { type: first.type, version: 0, path: first.path },
      { nlink: 1, mtime: { sec: 0, nsec: 0 } },
      false,
      -1,
    );
    expect(second).not.toBe(first);
    expect(second.ino).not.toBe(first.ino);
    // Renamed by somebody else: the old name is gone.
    await ask('unlink', ROOT_ID, { name: 'f' });
    nodes.orphan(second);
  });
});
