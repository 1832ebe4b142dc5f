import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Client } from '../../lib/client/index.js';
import { Bridge } from '../../lib/fuse/bridge.js';
import { ROOT_ID } from '../../lib/fuse/kernel/constants.js';
import type { Body, OperationName, Reply } from '../../lib/fuse/kernel/opcodes.js';
import { Payload } from '../../lib/fuse/kernel/payload.js';
import { Request } from '../../lib/fuse/kernel/request.js';
import { Early } from '../../lib/fuse/kernel/structs.js';
import { timeouts } from '../../lib/fuse/options.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { Session } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { door, GatedBackend } from '../support/gated.js';
import { Random } from '../support/random.js';

/** Writes that the kernel is told are done before the server has them: what leaves, when, and that nothing of it gets lost or mixed up. */
let tree: MemoryBackend;
let server: Server;
let client: Client;
let bridge: Bridge;
/** Called before each Twrite is done. */
let hold: () => Promise<void> | undefined;
let writes: number;
let file: { nodeid: number; fh: number };
let unique = 2;

beforeEach(async () => {
  tree = new MemoryBackend();
  tree.writeFile('f', '');
  hold = () => undefined;
  writes = 0;
  const gated = new GatedBackend(tree, (method) => {
    if (method !== 'write') return undefined;
    writes++;
    return hold();
  });
  server = new Server({ exports: { tree: gated } });
  const [ours, theirs] = memoryPair();
  server.serve(theirs);
  client = new Client(await Session.open(ours));
  await client.attach();
  const own = {
    cache: 'open',
    access: 'any',
    locks: 'remote',
    writeBehind: true,
    openAhead: true,
    permissions: false,
    acl: false,
    birthTimes: false,
    direct: false,
  } as const;
  bridge = new Bridge(client, { ...own, ...timeouts('open') });
  file = await opened('f');
});

afterEach(async () => {
  await ask('release', file.nodeid, { fh: file.fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
  await bridge.close();
  expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  await client.close();
  await server.close();
});

/** A request as the kernel makes it; throws the errno of a negative answer. */
async function ask<K extends OperationName>(name: K, nodeid: number, body: Body<K>): Promise<Reply<K>> {
  const operation = bridge.operations[name] as (body: Body<K>, request: Request) => Reply<K> | number | Promise<Reply<K> | number>;
  const data = (body as { data?: unknown }).data;
  const pending = operation.call(bridge.operations, body, new Request(unique++, nodeid, 0, 0, 1));
  if (data instanceof Payload) data.expire();
  const reply = await pending;
  if (typeof reply === 'number' && reply < 0) throw Object.assign(new Error(`errno ${-reply}`), { errno: reply });
  return reply as Reply<K>;
}

async function opened(name: string): Promise<{ nodeid: number; fh: number }> {
  const { nodeid } = await ask('lookup', ROOT_ID, { name });
  return { nodeid, fh: (await ask('open', nodeid, { flags: 2, openFlags: 0 })).fh };
}

/** The payload lies where the next one will, unless it is kept: as the device has it. */
const device = Buffer.alloc(1024 * 1024);
function write(offset: number, data: Uint8Array, { nodeid, fh } = file): Promise<number | Early> {
  const lent = device.subarray(0, data.length);
  lent.set(data);
  return ask('write', nodeid, { fh, offset, writeFlags: 0, flags: 0, data: new Payload(lent, (bytes) => Buffer.from(bytes)) });
}

const flush = ({ nodeid, fh } = file) => ask('flush', nodeid, { fh, lockOwner: 1n });

/** What the server has, as one sees it who knows nothing of this mount. */
async function content(): Promise<Buffer> {
  const fid = await client.root.walk(['f']);
  await fid.open(0);
  const { size } = await fid.getattr();
  const bytes = Buffer.alloc(size);
  expect(await fid.read(bytes, 0)).toBe(size);
  await fid.clunk();
  return bytes;
}

const piece = (index: number) => Buffer.alloc(1000, index);

test('small ones gather while two fly, and leave as one', async () => {
  const gate = door();
  hold = () => gate.promise;
  for (let index = 0; index < 100; index++) {
    const reply = await write(index * 1000, piece(index));
    if (index < 2) expect(reply).toMatchObject({ count: 1000 });
    else expect(reply).toBe(1000);
  }
  await expect.poll(() => writes).toBe(2);
  gate.open();
  await flush();
  expect(writes).toBe(3);
  expect(await content()).toEqual(Buffer.concat(Array.from({ length: 100 }, (_, index) => piece(index))));
});

test('what does not follow leaves by itself, and so does what a gathering has no room for', async () => {
  const gate = door();
  const other = await opened('f');
  hold = () => gate.promise;
  const large = Buffer.alloc(400 * 1024, 'l');
  await write(0, piece(1));
  await write(1000, piece(2));
  await write(2000, piece(3));
  await write(3000, piece(4));
  // Not where the last one ended; then too large to be copied; then by another handle.
  await write(8000, piece(5));
  expect(await write(9000, large)).toBeInstanceOf(Early);
  const end = 9000 + large.length;
  await write(end, piece(6));
  await write(end + 1000, piece(7), other);
  gate.open();
  await flush(other);
  await flush();
  expect(writes).toBe(7);
  const gap = Buffer.alloc(4000);
  const all = Buffer.concat([...[1, 2, 3, 4].map(piece), gap, piece(5), large, piece(6), piece(7)]);
  expect(differences(await content(), all)).toBe('none');
  await ask('release', other.nodeid, { fh: other.fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
});

test('a gathering that is full leaves, and beyond 4 MiB the writer waits', async () => {
  const gate = door();
  hold = () => gate.promise;
  const block = Buffer.alloc(128 * 1024, 'b');
  let offset = 0;
  for (; offset < 4 * 1024 * 1024; offset += block.length) await write(offset, block);
  await expect.poll(() => writes).toBe(5);
  let waited = false;
  const late = write(offset, block).then(() => {
    waited = true;
  });
  await ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  expect(waited).toBe(false);
  gate.open();
  await late;
  await flush();
  expect(differences(await content(), Buffer.alloc(offset + block.length, 'b'))).toBe('none');
  // What has landed counts no more: two at once again.
  const again = door();
  hold = () => again.promise;
  const before = writes;
  const two = [write(0, block), write(block.length, block)];
  await expect.poll(() => writes).toBe(before + 2);
  again.open();
  await Promise.all(two);
  await flush();
});

test('a gathering takes what just fits, and nothing that is longer by a byte', async () => {
  const gate = door();
  hold = () => gate.promise;
  const limit = Math.min(1024 * 1024, bridge.files.get(file.fh).pin.fid.iounit);
  const parts = [1000, 1000, ...Array.from({ length: Math.floor(limit / 100_000) }, () => 100_000), (limit % 100_000) + 1];
  let offset = 0;
  for (const length of parts) {
    await write(offset, Buffer.alloc(length, 'b'));
    offset += length;
  }
  gate.open();
  await flush();
  expect(writes).toBe(4);
  expect(differences(await content(), Buffer.alloc(offset, 'b'))).toBe('none');
});

test('a look-up that was answered before a write has landed, and comes after it, does not tell the size from before', async () => {
  const gate = door();
  hold = () => gate.promise;
  await write(0, piece(1));
  await expect.poll(() => writes).toBe(1);
  const { getattr } = client.verbs;
  vi.spyOn(client.verbs, 'getattr').mockImplementationOnce(async (...args) => {
    const before = await getattr.apply(client.verbs, args);
    gate.open();
    await expect.poll(() => bridge.tree.nodes.get(file.nodeid).behind?.busy).toBe(false);
    return before;
  });
  expect((await ask('lookup', ROOT_ID, { name: 'f' })).attr.size).toBe(1000);
});

test('what a server takes only in part is an error to its writer', async () => {
  vi.spyOn(bridge.files.get(file.fh).pin.fid, 'write').mockResolvedValueOnce(999);
  await write(0, piece(1));
  await expect(flush()).rejects.toMatchObject({ code: 'EIO' });
  await flush();
});

test('of several errors the first is told', async () => {
  const gate = door();
  const codes = ['ENOSPC', 'EIO'];
  hold = () => gate.promise.then(() => Promise.reject(Object.assign(new Error('no'), { code: codes.shift() })));
  await write(0, piece(1));
  await write(5000, piece(2));
  gate.open();
  await expect(flush()).rejects.toMatchObject({ code: 'ENOSPC' });
  await flush();
});

test('a single byte in common is enough to wait, for what flies and for what has gathered', async () => {
  const gate = door();
  hold = () => gate.promise;
  await write(1000, piece(1));
  const late = [write(1999, piece(2)), write(1, piece(3))];
  await ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  expect(writes).toBe(1);
  gate.open();
  await Promise.all(late);
  await flush();
  expect(writes).toBe(3);
  const again = door();
  hold = () => again.promise;
  for (const index of [4, 5, 6]) await write(index * 1000, piece(index));
  const over = write(6999, piece(7));
  // It sends what it waits for on its way, and stays behind.
  await expect.poll(() => writes).toBe(6);
  await ask('getattr', ROOT_ID, { flags: 0, fh: 0 });
  expect(writes).toBe(6);
  again.open();
  await over;
  await flush();
  const start = [Buffer.alloc(1), piece(3), piece(1).subarray(1, 999), piece(2), Buffer.alloc(1001)];
  expect(differences(await content(), Buffer.concat([...start, piece(4), piece(5), piece(6).subarray(1), piece(7)]))).toBe('none');
});

test('of two that wait to write the same bytes one goes at a time', async () => {
  let [flying, most] = [0, 0];
  hold = async () => {
    most = Math.max(most, ++flying);
    await new Promise((resolve) => setImmediate(resolve));
    flying--;
  };
  await write(0, piece(1));
  await Promise.all([write(0, piece(2)), write(500, piece(3)), write(0, piece(4))]);
  await flush();
  expect(writes).toBe(4);
  expect(most).toBe(1);
  expect(differences(await content(), Buffer.concat([piece(4), piece(3).subarray(500)]))).toBe('none');
});

test('one error is told to the handle that gathered, once', async () => {
  const gate = door();
  const other = await opened('f');
  hold = () => gate.promise;
  await write(0, piece(1));
  await write(1000, piece(2));
  await expect.poll(() => writes).toBe(2);
  hold = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  await write(2000, piece(3), other);
  await write(3000, piece(4), other);
  gate.open();
  await expect(flush(other)).rejects.toMatchObject({ code: 'ENOSPC' });
  await flush(other);
  await flush();
  hold = () => undefined;
  await ask('release', other.nodeid, { fh: other.fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
});

test('nothing else is put where the bytes of a write are that failed: they may still be on their way', async () => {
  const gate = door();
  const give = vi.spyOn(bridge.buffers, 'give');
  hold = () => gate.promise;
  const [one, two] = [await write(0, piece(1)), await write(1000, piece(2))];
  await write(2000, piece(3));
  await expect.poll(() => writes).toBe(2);
  hold = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
  gate.open();
  await expect(flush()).rejects.toMatchObject({ code: 'ENOSPC' });
  const failed = await write(3000, piece(4));
  await expect(flush()).rejects.toMatchObject({ code: 'ENOSPC' });
  const free = [one, two, failed].map((reply) => (reply instanceof Early ? reply.done : undefined));
  expect(await Promise.all(free)).toEqual([true, true, false]);
  expect(give).not.toHaveBeenCalled();
  // The bytes of a gathering that the server has are free again.
  const again = door();
  hold = () => again.promise;
  for (let index = 0; index < 3; index++) await write(index * 1000, piece(index));
  again.open();
  await flush();
  expect(give).toHaveBeenCalledOnce();
});

test('what has gathered leaves even if the file is released without a flush, as it is when its writer is killed', async () => {
  const gate = door();
  const killed = await opened('f');
  // With these, a fid that nobody holds is clunked at once.
  const crowd = await Promise.all(Array.from({ length: 15 }, () => client.root.walk(['f'])));
  hold = () => gate.promise;
  // The two that fly are another handle's, so that nothing but the gathering needs this one's fid.
  for (let index = 0; index < 5; index++) await write(index * 1000, piece(index), index < 2 ? file : killed);
  for (const fid of crowd) bridge.tree.clunker.give(fid);
  await ask('release', killed.nodeid, { fh: killed.fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
  gate.open();
  await expect.poll(async () => differences(await content(), Buffer.concat([0, 1, 2, 3, 4].map(piece)))).toBe('none');
});

test('whatever is written in whatever order ends up as on a disk', async () => {
  const random = new Random();
  console.log(`seed ${random.seed}`);
  hold = () => (random.oneIn(3) ? undefined : new Promise((resolve) => setImmediate(resolve)));
  let model = Buffer.alloc(0);
  let next = 0;
  const under: Promise<unknown>[] = [];
  for (let round = 0; round < 600; round++) {
    const at = random.oneIn(6) ? random.integer(0, 3_000_000) : next;
    const data = random.bytes(random.oneIn(20) ? random.integer(1, 900_000) : random.integer(1, 9000));
    next = at + data.length;
    if (next > model.length) model = Buffer.concat([model, Buffer.alloc(next - model.length)]);
    data.copy(model, at);
    under.push(write(at, data));
    // The kernel has one write of a file at a time.
    if (!random.oneIn(50)) await under.at(-1);
    else await Promise.all(under.splice(0));
    if (random.oneIn(60)) {
      await Promise.all(under.splice(0));
      await flush();
      expect(differences(await content(), model), `after round ${round}`).toBe('none');
    }
  }
  await Promise.all(under);
  await flush();
  expect(differences(await content(), model)).toBe('none');
});

function differences(found: Buffer, expected: Buffer): string {
  if (found.equals(expected)) return 'none';
  const at = expected.findIndex((byte, index) => byte !== found[index]);
  return `${found.length} bytes, ${expected.length} expected, the first difference at ${at}`;
}
