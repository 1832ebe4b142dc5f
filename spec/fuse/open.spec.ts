import { afterEach, describe, expect, test, vi } from 'vitest';
import { Fid } from '../../lib/client/index.js';
import { FATTR_FH, FATTR_SIZE, FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, OPEN_KILL_SUIDGID, ROOT_ID } from '../../lib/fuse/kernel/constants.js';
import { wireFlags } from '../../lib/fuse/open.js';
import type { Attributes } from '../../lib/protocol/types.js';
import { door } from '../support/gated.js';
import { Kernelless, telling } from './kernelless.js';

afterEach(() => vi.restoreAllMocks());

const [RDONLY, WRONLY, RDWR, TRUNC, APPEND] = [0, 1, 2, 0o1000, 0o2000];
const refusing = (method: string, code: string) => (called: string) =>
  called === method ? Promise.reject(Object.assign(new Error(code), { code })) : undefined;

describe('pages that the kernel has of a file', () => {
  /** Long unchanged. */
  const OLD = { size: 7, mtime: { sec: 1000, nsec: 5 }, qid: { type: 0, path: 0n, version: 1 } };

  /** Whether they are kept by an open that finds these attributes, after one that found those. */
  async function kept(first: Partial<Attributes>, second: Partial<Attributes>, flags = RDONLY, options = {}): Promise<boolean> {
    await using world = await Kernelless.begin(options);
    let now: Partial<Attributes> = first;
    telling(() => now);
    const { nodeid } = await world.lookup('f');
    await world.release(nodeid, (await world.open(nodeid)).fh);
    now = second;
    const opened = await world.open(nodeid, flags);
    await world.release(nodeid, opened.fh);
    vi.restoreAllMocks();
    expect(opened.flags & FOPEN_DIRECT_IO).toBe(0);
    return (opened.flags & FOPEN_KEEP_CACHE) !== 0;
  }

  test('are kept while nothing of it has changed, and only then', async () => {
    expect(await kept(OLD, OLD)).toBe(true);
    expect(await kept(OLD, { ...OLD, size: 8 })).toBe(false);
    expect(await kept(OLD, { ...OLD, mtime: { sec: 1001, nsec: 5 } })).toBe(false);
    expect(await kept(OLD, { ...OLD, mtime: { sec: 1000, nsec: 6 } })).toBe(false);
    expect(await kept(OLD, { ...OLD, qid: { ...OLD.qid, version: 2 } })).toBe(false);
    expect(await kept(OLD, OLD, RDWR)).toBe(true);
    // One client alone need not compare.
    expect(await kept(OLD, { ...OLD, size: 8 }, RDONLY, { cache: 'loose' })).toBe(true);
  });

  test('are not kept of a file that was changed just before they were read: its times may not tell the next change', async () => {
    for (const [sec, keep] of [
      [1999, true],
      [2000, false],
      [2001, false],
      [2002, true],
    ] as const) {
      vi.spyOn(Date, 'now').mockReturnValue(2_000_500);
      const told = { ...OLD, mtime: { sec, nsec: 0 } };
      expect(await kept(told, told)).toBe(keep);
    }
  });

  test('are not kept by who cuts it off, even right after a look-up that saw it as it was', async () => {
    expect(await kept(OLD, OLD, WRONLY)).toBe(true);
    expect(await kept(OLD, OLD, WRONLY | TRUNC)).toBe(false);
    await using world = await Kernelless.begin();
    telling(() => OLD);
    const { nodeid } = await world.lookup('f');
    await world.release(nodeid, (await world.open(nodeid)).fh);
    // However long that takes.
    vi.spyOn(performance, 'now').mockReturnValue(performance.now());
    await world.lookup('f', 7);
    const opened = await world.open(nodeid, RDWR | TRUNC, 7);
    expect(opened.flags & FOPEN_KEEP_CACHE).toBe(0);
    await world.release(nodeid, opened.fh);
  });

  test('are none where the size says nothing of what is in it', async () => {
    for (const [told, direct] of [
      [{ ...OLD, size: 0 }, true],
      [{ ...OLD, size: 4096, blocks: 0 }, true],
      [{ ...OLD, size: 4096, blocks: 8 }, false],
      [{ ...OLD, size: 4095, blocks: 0 }, false],
    ] as const) {
      await using world = await Kernelless.begin();
      telling(() => told);
      const { nodeid } = await world.lookup('f');
      const opened = await world.open(nodeid);
      expect((opened.flags & FOPEN_DIRECT_IO) !== 0, JSON.stringify(told.size)).toBe(direct);
      await world.release(nodeid, opened.fh);
      vi.restoreAllMocks();
    }
  });

  test('are past what is only appended, whatever the kernel does with them', async () => {
    await using world = await Kernelless.begin();
    const { nodeid } = await world.lookup('f');
    for (const [flags, direct] of [
      [WRONLY | APPEND, true],
      [RDWR | APPEND, false],
    ] as const) {
      const opened = await world.open(nodeid, flags);
      expect((opened.flags & FOPEN_DIRECT_IO) !== 0).toBe(direct);
      await world.release(nodeid, opened.fh);
    }
  });
});

test('an open tells the kernel where its attributes are out of date, and only there', async () => {
  await using world = await Kernelless.begin();
  const told: number[] = [];
  world.bridge.invalidate = ({ id }) => told.push(id);
  const { nodeid } = await world.lookup('f');
  await world.release(nodeid, (await world.open(nodeid)).fh);
  expect(told).toEqual([]);
  telling(() => ({ size: 8 }));
  await world.release(nodeid, (await world.open(nodeid)).fh);
  expect(told).toEqual([nodeid]);
});

test('an open waits for what was written before it', async () => {
  await using world = await Kernelless.begin({ writeBehind: true });
  const { nodeid } = await world.lookup('f');
  const writer = await world.open(nodeid, RDWR);
  const gate = door();
  const asked: string[] = [];
  world.hold = (method) => {
    asked.push(method);
    return method === 'write' ? gate.promise : undefined;
  };
  await world.write(nodeid, writer.fh, 7, '!');
  const opening = world.open(nodeid);
  await world.ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  expect(asked).toEqual(['write', 'getattr']);
  gate.open();
  const { fh } = await opening;
  expect(await world.read(nodeid, fh)).toBe('content!');
  await world.release(nodeid, fh);
  await world.release(nodeid, writer.fh);
});

describe('what was read along with an open', () => {
  for (const ordered of [false, true]) {
    test(`is for one read, of the beginning; order kept: ${ordered}`, async () => {
      await using world = await Kernelless.begin({}, ordered);
      world.tree.writeFile('other', 'other');
      const f = await world.lookup('f');
      const other = await world.lookup('other');
      const middle = await world.open(f.nodeid);
      expect(await world.read(f.nodeid, middle.fh, 100, 3)).toBe('tent');
      expect(await world.read(f.nodeid, middle.fh)).toBe('content');
      const twice = await world.open(f.nodeid);
      expect(await world.read(f.nodeid, twice.fh)).toBe('content');
      // The buffer is somebody else's now.
      const third = await world.open(other.nodeid);
      const lent = await world.lent(other.nodeid, third.fh);
      expect(lent.text).toBe('other');
      expect(await world.read(f.nodeid, twice.fh)).toBe('content');
      lent.giveBack();
      for (const { fh } of [middle, twice]) await world.release(f.nodeid, fh);
      await world.release(other.nodeid, third.fh);
    });

    test(`is nothing that was written over, or cut off, meanwhile; order kept: ${ordered}`, async () => {
      await using world = await Kernelless.begin({}, ordered);
      const { nodeid } = await world.lookup('f');
      const writer = await world.open(nodeid, WRONLY);
      const gate = door();
      world.hold = (method) => (method === 'getattr' ? gate.promise : undefined);
      const opening = world.open(nodeid);
      // The server has done it before it does what follows.
      await world.write(nodeid, writer.fh, 0, 'CON');
      world.hold = () => undefined;
      gate.open();
      const { fh } = await opening;
      // Nor is what was known of it older than that.
      expect(world.bridge.tree.nodes.get(nodeid).written).toBe(3);
      expect(await world.read(nodeid, fh)).toBe('CONtent');
      const again = await world.open(nodeid);
      const cut = await world.open(nodeid, WRONLY | TRUNC);
      expect(await world.read(nodeid, again.fh)).toBe('');
      for (const opened of [writer, { fh }, again, cut]) await world.release(nodeid, opened.fh);
    });
  }
});

describe('an open that fails', () => {
  for (const ordered of [false, true]) {
    test(`leaves nothing open, and says why; order kept: ${ordered}`, async () => {
      await using world = await Kernelless.begin({}, ordered);
      const { nodeid } = await world.lookup('f');
      // The first one by the fid of the look-up, the others by the name.
      for (const method of ['open', 'getattr', 'open', 'getattr']) {
        world.hold = refusing(method, 'EACCES');
        await expect(world.open(nodeid)).rejects.toMatchObject({ code: 'EACCES' });
        await expect(world.open(nodeid, RDWR)).rejects.toMatchObject({ code: 'EACCES' });
      }
      expect(world.bridge.files.size).toBe(0);
      world.hold = () => undefined;
      const { fh } = await world.open(nodeid);
      expect(await world.read(nodeid, fh)).toBe('content');
      await world.release(nodeid, fh);
    });

    test(`is ESTALE where the name leads to another file by now, or nowhere; order kept: ${ordered}`, async () => {
      await using world = await Kernelless.begin({}, ordered);
      const { nodeid } = await world.lookup('f');
      const root = world.bridge.client.root;
      for (const replace of [() => world.tree.writeFile('f', 'other'), () => undefined]) {
        await root.unlinkat('f');
        replace();
        // With the fid that there is, and without one.
        await expect(world.open(nodeid)).rejects.toMatchObject({ code: 'ESTALE' });
        await expect(world.open(nodeid)).rejects.toMatchObject({ code: 'ESTALE' });
        if (
          (await root.walk(['f']).then(
            (fid) => fid.clunk().then(() => true),
            () => false,
          )) === false
        )
          break;
      }
      expect(world.bridge.files.size).toBe(0);
    });
  }
});

/** By others, and by somebody in the mount. */
const replacing = {
  'behind it': async (world: Kernelless) => {
    await world.bridge.client.root.unlinkat('f');
    world.tree.writeFile('f', 'another');
  },
  'through it': async (world: Kernelless) => {
    world.tree.writeFile('g', 'another');
    await world.lookup('g');
    await world.ask('rename2', ROOT_ID, { name: 'g', newDirectory: ROOT_ID, newName: 'f', flags: 0 });
  },
};

for (const [where, ordered] of [
  ['behind it', false],
  ['behind it', true],
  ['through it', false],
  ['through it', true],
] as const) {
  test(`whoever has looked a name up opens what it led to then, though others do so too and it is replaced ${where}; order kept: ${ordered}`, async () => {
    const replace = replacing[where];
    // No time passes that anybody might take for long.
    let now = performance.now();
    vi.spyOn(performance, 'now').mockImplementation(() => {
      now += 0.001;
      return now;
    });
    await using world = await Kernelless.begin({}, ordered, where === 'behind it');
    const threads = [11, 12, 13];
    const ids = [];
    for (const thread of threads) ids.push((await world.lookup('f', thread)).nodeid);
    await replace(world);
    for (const [index, thread] of threads.entries()) {
      const nodeid = ids[index] as number;
      const { fh } = await world.open(nodeid, RDONLY, thread);
      expect(await world.read(nodeid, fh)).toBe('content');
      await world.release(nodeid, fh);
    }
  });
}

test('whoever has looked a name up opens what it led to then, though the file is changed and loses that name and another one', async () => {
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 0.001;
    return now;
  });
  await using world = await Kernelless.begin({}, true, false);
  const { nodeid } = await world.lookup('f', 11);
  await world.ask('link', ROOT_ID, { oldNode: nodeid, name: 'l' });
  await replacing['through it'](world);
  await world.bridge.client.root.unlinkat('l');
  const { fh } = await world.open(nodeid, RDONLY, 11);
  expect(await world.read(nodeid, fh)).toBe('content');
  await world.release(nodeid, fh);
  // Who has not is told that the name leads elsewhere, and looks again.
  await expect(world.open(nodeid, RDONLY, 12)).rejects.toMatchObject({ code: 'ESTALE' });
});

test('an open that is tried again opens what the second look found, on a host so busy that others would no longer be believed', async () => {
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 0.001;
    return now;
  });
  await using world = await Kernelless.begin({}, true, false);
  const first = await world.lookup('f', 11);
  await world.ask('link', ROOT_ID, { oldNode: first.nodeid, name: 'l' });
  await replacing['through it'](world);
  await world.bridge.client.root.unlinkat('l');
  now += 50;
  await expect(world.open(first.nodeid, RDONLY, 11)).rejects.toMatchObject({ code: 'ESTALE' });
  for (const [name, thread] of [
    ['m', 11],
    ['n', 12],
  ] as const) {
    const { nodeid } = await world.lookup('f', thread);
    await world.ask('link', ROOT_ID, { oldNode: nodeid, name });
    await replacing['through it'](world);
    await world.bridge.client.root.unlinkat(name);
    now += 50;
    if (thread === 12) await expect(world.open(nodeid, RDONLY, thread)).rejects.toMatchObject({ code: 'ESTALE' });
    else {
      const { fh } = await world.open(nodeid, RDONLY, thread);
      expect(await world.read(nodeid, fh)).toBe('another');
      await world.release(nodeid, fh);
    }
  }
});

for (const ordered of [false, true])
  for (const cache of ['open', 'none'] as const)
    test(`a file that others have moved away is not cut off or written to by its old name; order kept: ${ordered}, cache=${cache}`, async () => {
      await using world = await Kernelless.begin({ cache }, ordered, false);
      const { root } = world.client;
      const { nodeid } = await world.lookup('f');
      await root.renameat('f', root, 'x');
      for (const flags of [WRONLY | TRUNC, RDWR | TRUNC, WRONLY, WRONLY | APPEND])
        await expect(world.open(nodeid, flags)).rejects.toMatchObject({ code: 'ESTALE' });
      world.tree.writeFile('f', 'another');
      await expect(world.open(nodeid, WRONLY | TRUNC)).rejects.toMatchObject({ code: 'ESTALE' });
      // Nor is what has that name now, before anybody has looked whether the caller may.
      expect((await world.lookup('f')).attr.size).toBe('another'.length);
      const moved = await world.lookup('x');
      const { fh } = await world.open(moved.nodeid, RDONLY);
      expect(await world.read(moved.nodeid, fh)).toBe('content');
      await world.release(moved.nodeid, fh);
    });

for (const ordered of [false, true]) {
  test(`a name that the kernel may still believe is not taken for the one under which the file has been found since; order kept: ${ordered}`, async () => {
    let passed = 0;
    const { now } = performance;
    vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + passed);
    await using world = await Kernelless.begin({}, ordered, false);
    const { root } = world.client;
    const { nodeid } = await world.lookup('f');
    await root.renameat('f', root, 'x');
    world.tree.writeFile('f', 'another');
    expect((await world.lookup('x')).nodeid).toBe(nodeid);
    for (const flags of [RDONLY, RDWR, WRONLY, WRONLY | APPEND, WRONLY | TRUNC])
      await expect(world.open(nodeid, flags)).rejects.toMatchObject({ code: 'ESTALE' });
    const reads = async (thread: number) => {
      const { fh } = await world.open(nodeid, RDONLY, thread);
      expect(await world.read(nodeid, fh)).toBe('content');
      await world.release(nodeid, fh);
    };
    // Nor where its other name has just been looked up, maybe for something else.
    await world.lookup('x', 9);
    await expect(world.open(nodeid, WRONLY | TRUNC, 9)).rejects.toMatchObject({ code: 'ESTALE' });
    // The kernel looks again where it went by a name; who comes by a descriptor has none to look up.
    for (const looks of [true, false]) {
      const thread = looks ? 11 : 13;
      await expect(world.open(nodeid, RDONLY, thread)).rejects.toMatchObject({ code: 'ESTALE' });
      if (looks) await world.lookup('x', thread);
      await reads(thread);
    }
    // Who has looked in vain is told the next time as well.
    await expect(world.open(nodeid, RDONLY, 15)).rejects.toMatchObject({ code: 'ESTALE' });
    expect((await world.lookup('gone', 15)).nodeid).toBe(0);
    await expect(world.open(nodeid, RDONLY, 15)).rejects.toMatchObject({ code: 'ESTALE' });
    passed += 1500;
    await reads(17);
    await world.lookup('x');
    // What the kernel has been told of the old name since then, it believes.
    await root.renameat('x', root, 'y');
    await world.lookup('y');
    await expect(world.open(nodeid, RDONLY, 19)).rejects.toMatchObject({ code: 'ESTALE' });
    world.tree.writeFile('x', 'a third');
    await world.lookup('x');
    await reads(21);
  });

  test(`each name of a file that the kernel may have come by is looked at, as long as it may; order kept: ${ordered}`, async () => {
    let passed = 0;
    const { now } = performance;
    vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + passed);
    await using world = await Kernelless.begin({}, ordered, false);
    const { nodeid } = await world.lookup('f');
    await world.ask('link', ROOT_ID, { oldNode: nodeid, name: 'l' });
    for (const flags of [RDONLY, WRONLY]) await world.release(nodeid, (await world.open(nodeid, flags)).fh);
    await world.client.root.unlinkat('f');
    world.tree.writeFile('f', 'another');
    for (const flags of [RDONLY, RDWR, WRONLY, WRONLY | APPEND, WRONLY | TRUNC])
      await expect(world.open(nodeid, flags)).rejects.toMatchObject({ code: 'ESTALE' });
    // The other name may have been looked up for something else.
    for (const [flags, thread] of [
      [WRONLY | TRUNC, 9],
      [RDONLY, 11],
    ] as const) {
      await world.lookup('l', thread);
      await expect(world.open(nodeid, flags, thread)).rejects.toMatchObject({ code: 'ESTALE' });
    }
    await world.lookup('l', 11);
    const { fh } = await world.open(nodeid, RDONLY, 11);
    expect(await world.read(nodeid, fh)).toBe('content');
    await world.release(nodeid, fh);
    passed += 1500;
    await world.release(nodeid, (await world.open(nodeid, RDONLY)).fh);
  });

  test(`what others have moved away is not cut off by its old name without being opened; order kept: ${ordered}`, async () => {
    await using world = await Kernelless.begin({}, ordered, false);
    const { root } = world.client;
    const { nodeid } = await world.lookup('f');
    await root.renameat('f', root, 'x');
    const cut = (thread: number, fh?: number) => {
      const times = { atime: { sec: 0, nsec: 0 }, mtime: { sec: 0, nsec: 0 }, ctime: { sec: 0, nsec: 0 } };
      const valid = FATTR_SIZE | (fh === undefined ? 0 : FATTR_FH);
      const body = { valid, fh: fh ?? 0, size: 3, lockOwner: 0n, mode: 0, uid: 0, gid: 0, ...times };
      return world.ask('setattr', nodeid, body, world.request(nodeid, thread));
    };
    await expect(cut(11)).rejects.toMatchObject({ code: 'ESTALE' });
    world.tree.writeFile('f', 'another');
    await expect(cut(21)).rejects.toMatchObject({ code: 'ESTALE' });
    expect((await world.lookup('x')).attr.size).toBe('content'.length);
    // It has been found since; the kernel may still have come by the old name.
    await expect(cut(13)).rejects.toMatchObject({ code: 'ESTALE' });
    await world.lookup('x', 13);
    expect((await cut(13)).attr.size).toBe(3);
    await expect(world.open(nodeid, RDWR, 15)).rejects.toMatchObject({ code: 'ESTALE' });
    await world.lookup('x', 15);
    const { fh } = await world.open(nodeid, RDWR, 15);
    await root.renameat('x', root, 'y');
    expect((await cut(15, fh)).attr.size).toBe(3);
    await world.release(nodeid, fh);
    expect((await world.lookup('f')).attr.size).toBe('another'.length);
  });
}

for (const ordered of [false, true])
  for (const how of ['renamed', 'linked'] as const)
    test(`what others have ${how} to a name just before it would have been made is the file that is open here; order kept: ${ordered}`, async () => {
      await using world = await Kernelless.begin({}, ordered, false);
      const { root } = world.client;
      const { nodeid } = await world.lookup('f');
      const { fh } = await world.open(nodeid, RDWR);
      for (const [name, flags] of [
        ['g', WRONLY | APPEND],
        ['h', RDWR],
        ['i', RDWR | TRUNC],
      ] as const) {
        await using fid = await root.walk([name === 'g' || how === 'linked' ? 'f' : name === 'h' ? 'g' : 'h']);
        if (how === 'linked') await root.link(name, fid);
        else await root.renameat(name === 'g' ? 'f' : name === 'h' ? 'g' : 'h', root, name);
        const { entry, open } = await world.ask('create', ROOT_ID, { flags, mode: 0o644, umask: 0, openFlags: 0, name });
        expect(entry).toMatchObject({ nodeid, attr: { size: (flags & TRUNC) === 0 ? 7 : 0 } });
        // What is cached of it may be older.
        expect(open.flags & FOPEN_KEEP_CACHE).toBe(0);
        expect(await world.read(nodeid, fh)).toBe((flags & TRUNC) === 0 ? 'content' : '');
        await world.release(nodeid, open.fh);
      }
      await world.release(nodeid, fh);
    });

test('who is told that a name leads elsewhere is not told where it led by a listing that is older', async () => {
  await using world = await Kernelless.begin({}, true);
  const { nodeid } = await world.lookup('f', 11);
  await world.release(nodeid, (await world.open(nodeid, RDONLY, 11)).fh);
  const names = Array.from({ length: 200 }, (_, index) => `n${index}`);
  for (const name of names) world.tree.writeFile(name, name);
  let walks = 0;
  world.hold = (method) => {
    if (method === 'walk') walks++;
    return undefined;
  };
  // Until a look-up is answered from what was listed ahead, `f` being there as well.
  for (let before = -1; before !== walks; ) {
    before = walks;
    await world.lookup(names.pop() ?? '');
  }
  await world.bridge.client.root.unlinkat('f');
  await expect(world.open(nodeid, RDONLY, 11)).rejects.toMatchObject({ code: 'ESTALE' });
  expect(await world.lookup('f', 11)).toMatchObject({ nodeid: 0 });
});

test('what is opened is the file that was meant, on a server that tells only then', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const { open } = Fid.prototype;
  vi.spyOn(Fid.prototype, 'open').mockImplementation(async function (this: Fid, flags) {
    const opened = await open.call(this, flags);
    this.qid = { ...this.qid, path: this.qid.path + 1n };
    return opened;
  });
  await expect(world.open(nodeid, WRONLY)).rejects.toMatchObject({ code: 'ESTALE' });
  expect(world.bridge.files.size).toBe(0);
});

test('nothing stays open of an open that fails when all but the last of it is done', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const node = world.bridge.tree.nodes.get(nodeid);
  node.mode = 0o104755;
  telling(() => ({ mode: 0o104755 }));
  const fids = world.client.fidCount.alive;
  world.hold = refusing('setattr', 'EPERM');
  await expect(world.ask('open', nodeid, { flags: WRONLY | TRUNC, openFlags: OPEN_KILL_SUIDGID })).rejects.toMatchObject({ code: 'EPERM' });
  expect(world.bridge.files.size).toBe(0);
  expect(node.handles).toBeUndefined();
  await expect.poll(() => world.client.fidCount.alive).toBeLessThanOrEqual(fids);
});

test('where the kernel writes back, appended bytes go where it says, and what is only written is read too', () => {
  expect(wireFlags(WRONLY | APPEND, true)).toBe(RDWR);
  expect(wireFlags(RDWR | APPEND | TRUNC, true)).toBe(RDWR | TRUNC);
  expect(wireFlags(WRONLY | APPEND, false)).toBe(WRONLY | APPEND);
});

test('who may only write can do without reading, where the kernel writes back', async () => {
  await using world = await Kernelless.begin({ cache: 'loose' });
  const { nodeid } = await world.lookup('f');
  let tries = 0;
  world.hold = (method) => (method === 'open' && ++tries === 1 ? refusing('open', 'EACCES')('open') : undefined);
  const { fh } = await world.open(nodeid, WRONLY);
  expect(world.bridge.files.get(fh).flags).toBe(WRONLY);
  await world.release(nodeid, fh);
});
