import { randomFillSync } from 'node:crypto';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses, rejection } from './errors.js';

/** FileHandle: positions, vectors, attributes of what is open, and its end. */
export function handles(at: () => Place): void {
  let place: Place;
  let file: string;
  beforeEach(async () => {
    place = at();
    file = place.path('file');
    await place.fs.writeFile(file, '0123456789');
  });

  test('read at the position it has, and at another', async () => {
    await using handle = await place.fs.open(file, 'r');
    expect(typeof handle.fd).toBe('number');
    const buffer = Buffer.alloc(4);
    const first = await handle.read(buffer, 0, 4, null);
    expect(first.bytesRead).toBe(4);
    expect(first.buffer).toBe(buffer);
    expect(buffer.toString()).toBe('0123');
    expect((await handle.read(buffer, 0, 2, 8)).bytesRead).toBe(2);
    expect(buffer.toString()).toBe('8923');
    expect((await handle.read(buffer, 1, 3)).bytesRead).toBe(3);
    expect(buffer.toString()).toBe('8456');
    expect((await handle.read({ buffer, offset: 0, length: 4 })).bytesRead).toBe(3);
    expect(buffer.toString()).toBe('7896');
    expect((await handle.read(buffer)).bytesRead).toBe(0);
    expect((await handle.read(buffer, { position: 2 })).buffer.toString()).toBe('2345');
    expect((await handle.read(buffer, 0, 4, 100)).bytesRead).toBe(0);
    expect((await handle.read({ position: 5 })).buffer.subarray(0, 5).toString()).toBe('56789');
  });

  test('read into other views', async () => {
    await using handle = await place.fs.open(file, 'r');
    const words = new Uint16Array(2);
    expect((await handle.read(words, 0, 4, 0)).bytesRead).toBe(4);
    expect(Buffer.from(words.buffer).toString()).toBe('0123');
    const view = new DataView(new ArrayBuffer(6), 2, 3);
    expect((await handle.read(view, 0, 3, 7)).bytesRead).toBe(3);
    expect(Buffer.from(view.buffer).toString()).toBe('\0\x00789\0');
  });

  test('what cannot be read into', async () => {
    await using handle = await place.fs.open(file, 'r');
    expect((await handle.read(Buffer.alloc(0))).bytesRead).toBe(0);
    expect((await handle.read(Buffer.alloc(4), 0, 0)).bytesRead).toBe(0);
    await refuses(
      () => handle.read(Buffer.alloc(2), 0, 5),
      'ERR_OUT_OF_RANGE',
      RangeError,
      'The value of "length" is out of range. It must be <= 2. Received 5',
    );
    await refuses(() => handle.read(Buffer.alloc(2), -1), 'ERR_OUT_OF_RANGE', RangeError);
    await refuses(() => handle.read(Buffer.alloc(2), 5), 'ERR_OUT_OF_RANGE', RangeError);
    await refuses(() => handle.read(Buffer.alloc(2), 0, -1), 'ERR_OUT_OF_RANGE', RangeError);
    await refuses(() => handle.read('x' as unknown as Buffer), 'ERR_INVALID_ARG_TYPE');
  });

  test('reads that share the position do not overlap', async () => {
    const data = randomFillSync(Buffer.alloc(64 * 1024));
    await place.fs.writeFile(file, data);
    await using handle = await place.fs.open(file, 'r');
    const parts: Buffer[] = [];
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(1000));
      if (bytesRead === 0) break;
      parts.push(buffer.subarray(0, bytesRead));
    }
    expect(Buffer.concat(parts).equals(data)).toBe(true);
  });

  test('write at the position it has, and at another', async () => {
    await using handle = await place.fs.open(file, 'r+');
    expect(await handle.write('AB')).toMatchObject({ bytesWritten: 2, buffer: 'AB' });
    expect((await handle.write(Buffer.from('CDEF'), 1, 2)).bytesWritten).toBe(2);
    expect((await handle.write('Z', 9)).bytesWritten).toBe(1);
    expect((await handle.write('é', null, 'latin1')).bytesWritten).toBe(1);
    expect((await handle.write(Buffer.from('!'), 0, 1, 12)).bytesWritten).toBe(1);
    expect((await handle.write(new Uint16Array([0x4948]), 0, 2, 6)).bytesWritten).toBe(2);
    expect(await place.fs.readFile(file, 'latin1')).toBe('ABDEé5HI8Z\0\0!');
    await refuses(() => handle.write({} as unknown as string), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => handle.write(Buffer.alloc(2), 3), 'ERR_OUT_OF_RANGE', RangeError);
    await refuses(() => handle.write(Buffer.alloc(2), 0, 3), 'ERR_OUT_OF_RANGE', RangeError);
  });

  test('what is opened to append is written at its end, whatever the position', async () => {
    if (!place.limits.append) return;
    await using handle = await place.fs.open(file, 'a+');
    await handle.write('A', 0);
    await place.fs.appendFile(file, 'B');
    await handle.write('C');
    expect(await place.fs.readFile(file, 'utf8')).toBe('0123456789ABC');
    expect((await handle.read(Buffer.alloc(3), 0, 3, 0)).buffer.toString()).toBe('012');
  });

  test('vectors', async () => {
    await using handle = await place.fs.open(file, 'r+');
    const one = Buffer.alloc(3);
    const two = new Uint8Array(4);
    const result = await handle.readv([one, two]);
    expect(result.bytesRead).toBe(7);
    expect(result.buffers).toEqual([one, two]);
    expect(one.toString() + Buffer.from(two).toString()).toBe('0123456');
    expect((await handle.readv([one, two], 8)).bytesRead).toBe(2);
    expect((await handle.writev([Buffer.from('ab'), Buffer.from('cde')], 1)).bytesWritten).toBe(5);
    expect((await handle.writev([Buffer.from('XY')])).bytesWritten).toBe(2);
    expect(await place.fs.readFile(file, 'utf8')).toBe('0abcde6XY9');
    await refuses(() => handle.readv('x' as unknown as Buffer[]), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => handle.writev([1] as unknown as Buffer[]), 'ERR_INVALID_ARG_TYPE');
  });

  test('vectors of several calls at once do not get mixed up', async () => {
    const twice = (n: number): Buffer[] => [Buffer.from(`<${n}`), Buffer.from(`${n}>\n`)];
    for (const flags of ['w', 'a']) {
      const handle = await place.fs.open(file, flags);
      await handle.truncate();
      await Promise.all(Array.from({ length: 20 }, (_, n) => handle.writev(twice(n))));
      await handle.close();
      expect(await place.fs.readFile(file, 'utf8')).toMatch(/^(<(\d+)\2>\n){20}$/);
    }
    await place.fs.writeFile(file, Array.from({ length: 20 }, (_, n) => `${n + 10}${n + 10}`).join(''));
    await using handle = await place.fs.open(file);
    const read = await Promise.all(Array.from({ length: 20 }, () => handle.readv([Buffer.alloc(2), Buffer.alloc(2)])));
    for (const { buffers } of read) expect(buffers[0]).toEqual(buffers[1]);
  });

  test('readFile and writeFile of a handle go on where it is', async () => {
    await using handle = await place.fs.open(file, 'r+');
    await handle.read(Buffer.alloc(4));
    expect(await handle.readFile('utf8')).toBe('456789');
    expect(await handle.readFile('utf8')).toBe('');
    await handle.writeFile('tail');
    expect(await place.fs.readFile(file, 'utf8')).toBe('0123456789tail');
    await handle.appendFile('+');
    expect(await place.fs.readFile(file, 'utf8')).toBe('0123456789tail+');
    await using again = await place.fs.open(file, 'w+');
    await place.fs.writeFile(again, 'by handle');
    expect(await place.fs.readFile(file, 'utf8')).toBe('by handle');
    expect((await place.fs.readFile(again)).length).toBe(0);
  });

  test('attributes of what is open', async () => {
    const { fs } = place;
    await using handle = await fs.open(file, 'r+');
    expect((await handle.stat()).size).toBe(10);
    expect((await handle.stat({ bigint: true })).size).toBe(10n);
    await handle.truncate(4);
    expect((await handle.stat()).size).toBe(4);
    await handle.truncate();
    expect((await handle.stat()).size).toBe(0);
    await handle.chmod(0o600);
    expect((await handle.stat()).mode & 0o777).toBe(0o600);
    await handle.utimes(1000, 2000.5);
    expect((await handle.stat()).atimeMs).toBe(1_000_000);
    expect((await handle.stat()).mtimeMs).toBe(2_000_500);
    if (place.limits.chown && process.geteuid?.() === 0) {
      await handle.chown(12, 34);
      expect((await handle.stat()).uid).toBe(12);
      expect((await handle.stat()).gid).toBe(34);
    }
    await handle.sync();
    await handle.datasync();
    await using reading = await fs.open(file, 'r');
    await fails(reading.truncate(1), 'EINVAL', 'ftruncate');
    await fails(reading.write('x'), 'EBADF', 'write');
    await fails(reading.writev([Buffer.from('x')]), 'EBADF', 'write');
  });

  test('what was unlinked goes on while it is open', async () => {
    await using handle = await place.fs.open(file, 'r+');
    await place.fs.unlink(file);
    expect((await handle.read(Buffer.alloc(4), 0, 4, 0)).buffer.toString()).toBe('0123');
    await handle.write('X', 0);
    expect((await handle.read(Buffer.alloc(2), 0, 2, 0)).buffer.toString()).toBe('X1');
    if (place.limits.unlinkedStat) expect((await handle.stat()).size).toBe(10);
  });

  test('a closed handle', async () => {
    const handle = await place.fs.open(file, 'r+');
    const closed = new Promise((resolve) => (handle as unknown as NodeJS.EventEmitter).once('close', resolve));
    await handle.close();
    await closed;
    expect(handle.fd).toBe(-1);
    await handle.close();
    const calls: [string, () => Promise<unknown>][] = [
      ['read', () => handle.read(Buffer.alloc(1))],
      ['write', () => handle.write('x')],
      ['readv', () => handle.readv([Buffer.alloc(1)])],
      ['writev', () => handle.writev([Buffer.alloc(1)])],
      ['fstat', () => handle.stat()],
      ['readFile', () => handle.readFile()],
      ['writeFile', () => handle.writeFile('x')],
      ['fsync', () => handle.sync()],
      ['fdatasync', () => handle.datasync()],
      ['ftruncate', () => handle.truncate(1)],
      ['fchmod', () => handle.chmod(0o600)],
      ['fchown', () => handle.chown(0, 0)],
      ['futimes', () => handle.utimes(1, 1)],
    ];
    for (const [syscall, call] of calls) {
      const error = await rejection(call());
      expect([syscall, error.message, error.code]).toEqual([syscall, 'file closed', 'EBADF']);
      expect(error.syscall).toBe(syscall);
    }
  });

  test('close waits for what goes on', async () => {
    const data = randomFillSync(Buffer.alloc(2_000_000));
    await place.fs.writeFile(file, data);
    const handle = await place.fs.open(file, 'r');
    const reading = handle.read(Buffer.alloc(data.length), 0, data.length, 0);
    await handle.close();
    const { bytesRead, buffer } = await reading;
    expect(buffer.subarray(0, bytesRead).equals(data.subarray(0, bytesRead))).toBe(true);
  });
}
