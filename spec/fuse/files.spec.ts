import { afterEach, expect, test, vi } from 'vitest';
import { F_UNLCK, F_WRLCK, ROOT_ID, WRITE_CACHE, WRITE_KILL_SUIDGID } from '../../lib/fuse/kernel/constants.js';
import { Request } from '../../lib/fuse/kernel/request.js';
import { LOCK_TYPE_UNLCK } from '../../lib/protocol/constants.js';
import { door } from '../support/gated.js';
import { Kernelless, telling } from './kernelless.js';

afterEach(() => vi.restoreAllMocks());

const [RDONLY, RDWR] = [0, 2];
const ENOSPC = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));

test('an error of a write that was answered early is told by the next one, once, or by the close', async () => {
  await using world = await Kernelless.begin({ writeBehind: true });
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const idle = () => expect.poll(() => world.bridge.tree.nodes.get(nodeid).behind?.busy).toBe(false);
  world.hold = (method) => (method === 'write' ? ENOSPC() : undefined);
  await world.write(nodeid, fh, 0, 'x');
  await idle();
  await expect(world.write(nodeid, fh, 0, 'y')).rejects.toMatchObject({ code: 'ENOSPC' });
  world.hold = () => undefined;
  await world.write(nodeid, fh, 0, 'C');
  await world.flush(nodeid, fh);
  world.hold = (method) => (method === 'write' ? ENOSPC() : undefined);
  await world.write(nodeid, fh, 0, 'x');
  await idle();
  await expect(world.flush(nodeid, fh)).rejects.toMatchObject({ code: 'ENOSPC' });
  await world.flush(nodeid, fh);
  world.hold = () => undefined;
  expect(await world.read(nodeid, fh)).toBe('Content');
  await world.release(nodeid, fh);
});

test('a page of a mapping is on the server before the kernel hears so, which keeps its error for everybody who has the file mapped', async () => {
  await using world = await Kernelless.begin({ writeBehind: true });
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const full = (method: string) => (method === 'write' ? ENOSPC() : undefined);
  world.hold = full;
  await expect(world.write(nodeid, fh, 0, 'x', WRITE_CACHE)).rejects.toMatchObject({ code: 'ENOSPC' });
  // And an error of a write(2) is no page's, which is written all the same.
  await world.write(nodeid, fh, 0, 'x');
  await expect.poll(() => world.bridge.tree.nodes.get(nodeid).behind?.busy).toBe(false);
  world.hold = () => undefined;
  await world.write(nodeid, fh, 0, 'C', WRITE_CACHE);
  await expect(world.flush(nodeid, fh)).rejects.toMatchObject({ code: 'ENOSPC' });
  expect(await world.read(nodeid, fh)).toBe('Content');
  // A part of a page is not the page.
  vi.spyOn(world.bridge.files.get(fh).pin.fid, 'write').mockResolvedValue(1);
  await expect(world.write(nodeid, fh, 0, 'two', WRITE_CACHE)).rejects.toMatchObject({ errno: -5 });
  await world.release(nodeid, fh);
});

test('who writes to the disk at once comes after what is still on its way', async () => {
  await using world = await Kernelless.begin({ writeBehind: true });
  const { nodeid } = await world.lookup('f');
  const [late, sync] = [await world.open(nodeid, RDWR), await world.open(nodeid, RDWR | 0o4010000)];
  const gate = door();
  let writes = 0;
  world.hold = (method) => (method === 'write' && ++writes === 1 ? gate.promise : undefined);
  await world.write(nodeid, late.fh, 0, 'first');
  const second = world.write(nodeid, sync.fh, 0, 'second');
  await world.ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  expect(writes).toBe(1);
  gate.open();
  await second;
  expect(await world.read(nodeid, late.fh)).toBe('secondt');
  for (const { fh } of [late, sync]) await world.release(nodeid, fh);
});

test('fallocate makes a file longer, never shorter, and does nothing else', async () => {
  await using world = await Kernelless.begin({ writeBehind: true });
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const fallocate = (offset: number, length: number, mode = 0) => world.ask('fallocate', nodeid, { fh, offset, length, mode });
  await fallocate(0, 3);
  expect(await world.read(nodeid, fh)).toBe('content');
  await fallocate(4, 5);
  expect(await world.read(nodeid, fh)).toBe('content\0\0');
  // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, and FALLOC_FL_KEEP_SIZE alone.
  for (const mode of [3, 1]) await expect(fallocate(0, 100, mode)).rejects.toMatchObject({ errno: -95 });
  expect(await world.read(nodeid, fh)).toBe('content\0\0');
  // What is on its way counts: without it the file would be cut.
  const gate = door();
  world.hold = (method) => (method === 'write' ? gate.promise : undefined);
  await world.write(nodeid, fh, 7, 'and much more than that');
  const longer = fallocate(0, 20);
  await world.ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  gate.open();
  await longer;
  expect(await world.read(nodeid, fh)).toBe('contentand much more than that');
  await world.release(nodeid, fh);
});

test('locks end with the close of who holds them, and with the file that they were taken through', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const [mine, other] = [await world.open(nodeid, RDWR), await world.open(nodeid, RDWR)];
  const lock = (fh: number, owner: bigint) =>
    world.ask('setlk', nodeid, { fh, owner, lock: { start: 0, end: 9, type: F_WRLCK, pid: Number(owner) }, lkFlags: 0 });
  const holder = async () =>
    (await world.ask('getlk', nodeid, { fh: other.fh, owner: 2n, lock: { start: 0, end: 9, type: F_WRLCK, pid: 2 }, lkFlags: 0 })).type;
  await lock(mine.fh, 1n);
  await expect(lock(other.fh, 2n)).rejects.toMatchObject({ errno: -11 });
  await world.flush(nodeid, mine.fh);
  expect(await holder()).toBe(F_UNLCK);
  // Whoever is killed does not flush; and the fid ends later than the file, with others.
  await lock(mine.fh, 1n);
  expect(await holder()).toBe(F_WRLCK);
  const unlocked = vi.spyOn(world.bridge.files.get(mine.fh).pin.fid, 'lock');
  await world.release(nodeid, mine.fh);
  expect(unlocked).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ type: LOCK_TYPE_UNLCK, start: 0, length: 0 }), 0);
  await expect.poll(holder).toBe(F_UNLCK);
  await world.ask('flush', nodeid, { fh: other.fh, lockOwner: 2n });
  await world.release(nodeid, other.fh);
});

test('with a lock the kernel drops what it has cached, unless that is how the file still is', async () => {
  await using world = await Kernelless.begin();
  const OLD = { mtime: { sec: 1_000_000, nsec: 5 } };
  let told: Parameters<typeof telling>[0] = () => OLD;
  telling(() => told());
  const pages = vi.spyOn(world.bridge, 'dropPages');
  const attributes = vi.spyOn(world.bridge, 'invalidate');
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const lock = (type: number) => world.ask('setlk', nodeid, { fh, owner: 1n, lock: { start: 0, end: 9, type, pid: 1 }, lkFlags: 0 });
  await lock(F_WRLCK);
  expect(pages).not.toHaveBeenCalled();
  // Somebody else has had the lock meanwhile.
  told = () => ({ mtime: { sec: 1_000_000, nsec: 6 } });
  await lock(F_UNLCK);
  expect(pages).not.toHaveBeenCalled();
  await lock(F_WRLCK);
  expect(pages).toHaveBeenCalledExactlyOnceWith(world.bridge.tree.nodes.get(nodeid), 0, 0);
  // Changed so shortly ago that its times need not tell.
  told = () => ({ mtime: { sec: Math.floor(Date.now() / 1000), nsec: 0 } });
  for (const _ of [1, 2]) {
    pages.mockClear();
    await lock(F_WRLCK);
    expect(pages).toHaveBeenCalledOnce();
  }
  // Nobody has pages of it, and attributes everybody.
  world.bridge.files.get(fh).cached = false;
  pages.mockClear();
  attributes.mockClear();
  await lock(F_WRLCK);
  expect([pages.mock.calls.length, attributes.mock.calls.length]).toEqual([0, 1]);
  await world.release(nodeid, fh);
});

test('a write by an ordinary user takes the privileges from a file, before it is answered', async () => {
  await using world = await Kernelless.begin();
  // A server that leaves that to its clients.
  let mode = 0o106755;
  telling(() => ({ mode }));
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const { fid } = world.bridge.files.get(fh).pin;
  const changed = vi.spyOn(fid, 'setattr').mockImplementation((change) => {
    if (change.mode !== undefined) mode = 0o100000 | change.mode;
    return Promise.resolve();
  });
  await world.write(nodeid, fh, 0, 'C');
  expect(changed).not.toHaveBeenCalled();
  await world.write(nodeid, fh, 0, 'C', WRITE_KILL_SUIDGID);
  expect(mode).toBe(0o100755);
  await world.write(nodeid, fh, 0, 'C', WRITE_KILL_SUIDGID);
  expect(changed).toHaveBeenCalledOnce();
  // The kernel says nothing of them when it has a file made longer.
  const body = { fh, offset: 0, length: 9, mode: 0 };
  for (const [uid, left] of [
    [0, 0o106755],
    [1000, 0o100755],
  ] as const) {
    mode = 0o106755;
    await world.ask('getattr', nodeid, { flags: 0, fh });
    await world.ask('fallocate', nodeid, body, new Request(2, nodeid, uid, 0, 5));
    expect(mode).toBe(left);
  }
  vi.restoreAllMocks();
  await world.release(nodeid, fh);
});

test('what a listing told while a file was being written is not believed', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  const gate = door();
  world.hold = (method) => (method === 'write' ? gate.promise : undefined);
  const writing = world.write(nodeid, fh, 7, ' and more');
  const at = performance.now();
  const attributes = await world.bridge.files.get(fh).pin.fid.getattr();
  gate.open();
  await writing;
  const { root } = world.bridge.tree.nodes;
  expect(world.bridge.listed(root, 'f', { attributes, bare: false }, at)).toBeUndefined();
  expect(world.bridge.listed(root, 'f', { attributes, bare: false }, performance.now() + 1)).toMatchObject({ nodeid });
  await world.release(nodeid, fh);
});

test('a birth time is told with what is known, until the file has been read or written', async () => {
  await using world = await Kernelless.begin({ birthTimes: true });
  const { nodeid } = await world.lookup('f');
  const node = world.bridge.tree.nodes.get(nodeid);
  const { fh } = await world.open(nodeid, RDWR);
  // The first is told what the open saw.
  await world.ask('getattr', nodeid, { flags: 0, fh: 0 });
  for (const touch of [() => world.read(nodeid, fh, 1, 1), () => world.write(nodeid, fh, 0, 'C')]) {
    await world.ask('getattr', nodeid, { flags: 0, fh: 0 });
    expect(world.bridge.holds(node)).toBeGreaterThan(0);
    await touch();
    expect(world.bridge.holds(node)).toBe(0);
  }
  await world.release(nodeid, fh);
});

test('a file without a name is as long as it was, or as far as was written since', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDWR);
  await world.ask('unlink', ROOT_ID, { name: 'f' });
  // A server whose fids are paths.
  world.hold = (method) => (method === 'getattr' ? Promise.reject(Object.assign(new Error('gone'), { code: 'ENOENT' })) : undefined);
  const size = async () => (await world.ask('getattr', nodeid, { flags: 1, fh })).attr.size;
  expect(await size()).toBe(7);
  await world.write(nodeid, fh, 2, 'x');
  expect(await size()).toBe(7);
  await world.write(nodeid, fh, 20, 'beyond');
  expect(await size()).toBe(26);
  await world.write(nodeid, fh, 10, 'x');
  expect(await size()).toBe(26);
  await world.release(nodeid, fh);
});

test('what lies beyond any offset is neither read nor written', async () => {
  await using world = await Kernelless.begin();
  const { nodeid } = await world.lookup('f');
  const { fh } = await world.open(nodeid, RDONLY);
  expect(await world.read(nodeid, fh, 2, Number.MAX_SAFE_INTEGER)).toBe('');
  await world.release(nodeid, fh);
  const writer = await world.open(nodeid, RDWR);
  await expect(world.write(nodeid, writer.fh, Number.MAX_SAFE_INTEGER, 'xx')).rejects.toMatchObject({ errno: -27 });
  await world.release(nodeid, writer.fh);
});
