import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Fid } from '../../lib/index.js';
import { L_O_APPEND, L_O_CREAT, L_O_RDONLY, L_O_RDWR, L_O_WRONLY } from '../../lib/protocol/index.js';
import { fail, from, hangUp, twist } from '../interop/sabotage.js';
import { Random } from '../support/random.js';
import { Between } from './between.js';

const random = new Random();

describe(`reads and writes larger than a message (seed ${random.seed})`, () => {
  let between: Between;
  let root: Fid;
  const content = random.bytes(300_000);

  beforeEach(async () => {
    between = await Between.open({ msize: 8192 });
    root = between.client.root;
  });

  afterEach(() => between[Symbol.asyncDispose]());

  async function file(flags = L_O_RDWR): Promise<Fid> {
    const fid = await root.clone();
    await fid.create('file', L_O_CREAT | flags, 0o644, 0);
    return fid;
  }

  test('are split, and whole again at the other end', async () => {
    await using fid = await file();
    expect(await fid.write(content, 1000)).toBe(content.length);
    const buffer = Buffer.alloc(content.length + 5000);
    expect(await fid.read(buffer, 1000)).toBe(content.length);
    expect(buffer.subarray(0, content.length).equals(content)).toBe(true);
    expect(await fid.read(buffer, 0)).toBe(content.length + 1000);
    expect(buffer.subarray(1000, 1000 + content.length).equals(content)).toBe(true);
  });

  test.each([1, 8168, 8169, 16336, 16337, 130_688, 130_689])('of %i bytes', async (size) => {
    await using fid = await file();
    expect(await fid.write(content.subarray(0, size), 3)).toBe(size);
    const buffer = Buffer.alloc(size);
    expect(await fid.read(buffer, 3)).toBe(size);
    expect(buffer.equals(content.subarray(0, size))).toBe(true);
    expect((await fid.getattr()).size).toBe(size + 3);
  });

  test('end with the file, wherever that is', async () => {
    await using fid = await file();
    await fid.write(content.subarray(0, 20_000), 0);
    const buffer = Buffer.alloc(100_000);
    expect(await fid.read(buffer, 0)).toBe(20_000);
    expect(await fid.read(buffer, 19_999)).toBe(1);
    expect(await fid.read(buffer, 20_000)).toBe(0);
    expect(await fid.read(buffer, 1_000_000)).toBe(0);
    expect(await fid.read(Buffer.alloc(0), 0)).toBe(0);
  });

  test('go on where a server gives or takes less', async () => {
    await using fid = await file();
    // A server that moves 1000 bytes at a time, whatever it is asked for.
    between.saboteur = {
      request: (request) => {
        if (request.name === 'Tread') return { pass: { ...request, body: { ...request.body, count: Math.min(request.body.count, 1000) } } };
        if (request.name === 'Twrite')
          return { pass: { ...request, body: { ...request.body, data: request.body.data.subarray(0, 1000) } } };
        return undefined;
      },
    };
    expect(await fid.write(content.subarray(0, 50_000), 0)).toBe(50_000);
    const buffer = Buffer.alloc(50_000);
    expect(await fid.read(buffer, 0)).toBe(50_000);
    expect(buffer.equals(content.subarray(0, 50_000))).toBe(true);
  });

  test('do not go on for ever where a server takes nothing', async () => {
    await using fid = await file();
    between.saboteur = from(
      3,
      twist('Twrite', () => ({ count: 0 })),
    );
    expect(await fid.write(content, 0)).toBeLessThan(content.length);
  });

  test('count what was written up to the first gap, for there whoever writes goes on', async () => {
    await using fid = await file();
    between.saboteur = {
      request: (request) => {
        if (request.name !== 'Twrite' || request.body.offset < 20_000 || request.body.offset > 25_000) return undefined;
        return { answer: { name: 'Rwrite', tag: request.tag, body: { count: 0 } } };
      },
    };
    const count = await fid.write(content, 0);
    expect(count).toBe(3 * 8168);
    between.saboteur = undefined;
    expect(await fid.write(content.subarray(count), count)).toBe(content.length - count);
    const buffer = Buffer.alloc(content.length);
    expect(await fid.read(buffer, 0)).toBe(content.length);
    expect(buffer.equals(content)).toBe(true);
  });

  test('fail as a whole if a part fails', async () => {
    await using fid = await file();
    await fid.write(content, 0);
    between.saboteur = fail('Tread', 'EIO', ({ offset }) => offset > 100_000);
    await expect(fid.read(Buffer.alloc(content.length), 0)).rejects.toMatchObject({ code: 'EIO', syscall: 'Tread', path: '/file' });
    between.saboteur = fail('Twrite', 'ENOSPC', ({ offset }) => offset > 100_000);
    await expect(fid.write(content, 0)).rejects.toMatchObject({ code: 'ENOSPC' });
    between.saboteur = undefined;
    expect(await fid.read(Buffer.alloc(100), 0)).toBe(100);
  });

  test('fail if the connection is lost in the middle', async () => {
    const fid = await file();
    await fid.write(content, 0);
    between.saboteur = hangUp('Tread', ({ offset }) => offset > 50_000);
    await expect(fid.read(Buffer.alloc(content.length), 0)).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await expect(fid.write(content, 0)).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await expect(fid.clunk()).rejects.toMatchObject({ name: 'ConnectionLostError' });
  });

  test('append in order', async () => {
    await using fid = await file(L_O_WRONLY | L_O_APPEND);
    // For a server that does requests in any order, each part must wait for the one before it.
    let most = 0;
    between.saboteur = {
      request: ({ name }) => {
        if (name === 'Twrite') most = Math.max(most, between.client.session.counters.inFlight);
        return undefined;
      },
    };
    await fid.write(content.subarray(0, 100_000), 0);
    await fid.write(content.subarray(100_000), 0);
    expect(most).toBe(1);
    await using reader = await root.walk(['file']);
    await reader.open(L_O_RDONLY);
    const buffer = Buffer.alloc(content.length);
    expect(await reader.read(buffer, 0)).toBe(content.length);
    expect(buffer.equals(content)).toBe(true);
  });

  test('can be given up; the buffer then stays as it is', async () => {
    await using fid = await file();
    await fid.write(content, 0);
    const controller = new AbortController();
    let asked = 0;
    between.saboteur = {
      request(request) {
        if (request.name !== 'Tread') return undefined;
        if (++asked === 5) controller.abort();
        return undefined;
      },
    };
    const buffer = Buffer.alloc(content.length);
    await expect(fid.read(buffer, 0, { signal: controller.signal })).rejects.toMatchObject({ name: 'AbortError' });
    const kept = Buffer.from(buffer);
    between.saboteur = undefined;
    // Whatever was still on its way has arrived before this is answered.
    await fid.getattr();
    await fid.read(Buffer.alloc(100), 0);
    expect(buffer.equals(kept)).toBe(true);
  });
});
