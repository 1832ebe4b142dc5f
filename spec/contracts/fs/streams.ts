import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { Readable, Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { rejection } from './errors.js';

/** The streams of a FileHandle, its lines, and its web stream. */
export function streams(at: () => Place): void {
  let place: Place;
  let file: string;
  beforeEach(async () => {
    place = at();
    file = place.path('file');
    await place.fs.writeFile(file, '0123456789');
  });

  test.each<[number | undefined, number | undefined, string]>([
    [undefined, undefined, '0123456789'],
    [0, undefined, '0123456789'],
    [3, undefined, '3456789'],
    [3, 5, '345'],
    [undefined, 4, '01234'],
    [0, 0, '0'],
    [9, 9, '9'],
    [10, undefined, ''],
    [20, 30, ''],
    [5, 100, '56789'],
  ])('reads from %s to %s', async (start, end, expected) => {
    const handle = await place.fs.open(file, 'r');
    const stream = handle.createReadStream({ start, end, encoding: 'utf8' });
    expect(await text(stream)).toBe(expected);
    expect(stream.bytesRead).toBe(expected.length);
    expect(handle.fd).toBe(-1);
  });

  test('chunks are as large as the water mark says, the last one smaller', async () => {
    const handle = await place.fs.open(file, 'r');
    const chunks: string[] = [];
    for await (const chunk of handle.createReadStream({ highWaterMark: 4 })) chunks.push(String(chunk));
    expect(chunks).toEqual(['0123', '4567', '89']);
  });

  test('ends the handle, or leaves it open', async () => {
    const handle = await place.fs.open(file, 'r');
    expect(await text(handle.createReadStream({ autoClose: false, start: 0, end: 3 }))).toBe('0123');
    expect(handle.fd).not.toBe(-1);
    expect(await text(handle.createReadStream({ autoClose: false, start: 8 }))).toBe('89');
    await handle.close();
  });

  test('large ones come whole and in order', async () => {
    const data = randomFillSync(Buffer.alloc(5_000_011));
    const writing = await place.fs.open(file, 'w');
    const output = writing.createWriteStream();
    await pipeline(Readable.from(pieces(data)), output);
    expect(output.bytesWritten).toBe(data.length);
    expect(writing.fd).toBe(-1);
    const hash = createHash('sha256');
    let length = 0;
    const reading = await place.fs.open(file, 'r');
    for await (const chunk of reading.createReadStream()) {
      hash.update(chunk);
      length += chunk.length;
    }
    expect(length).toBe(data.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(data).digest('hex'));
  });

  test('writes at a place of the file', async () => {
    const handle = await place.fs.open(file, 'r+');
    const stream = handle.createWriteStream({ start: 3 });
    stream.write('AB');
    stream.write(Buffer.from('C'));
    stream.write('44', 'hex');
    await new Promise<void>((resolve) => stream.end('E', resolve));
    await handle.close();
    expect(await place.fs.readFile(file, 'utf8')).toBe('012ABCDE89');
  });

  test('one into the other, through something else', async () => {
    const { fs, path } = place;
    const data = 'line\n'.repeat(100_000);
    await fs.writeFile(file, data);
    const upper = new Transform({
      transform(chunk, _encoding, callback) {
        callback(null, String(chunk).toUpperCase());
      },
    });
    const from = await fs.open(file, 'r');
    const to = await fs.open(path('copy'), 'w');
    await pipeline(from.createReadStream(), upper, to.createWriteStream());
    expect(await fs.readFile(path('copy'), 'utf8')).toBe(data.toUpperCase());
  });

  test('a stream that is destroyed half way closes its handle', async () => {
    await place.fs.writeFile(file, Buffer.alloc(1_000_000));
    const handle = await place.fs.open(file, 'r');
    for await (const chunk of handle.createReadStream()) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await handle.close();
    expect(handle.fd).toBe(-1);
  });

  test('closing a handle ends what reads from it', async () => {
    await place.fs.writeFile(file, 'line\n'.repeat(100_000));
    const lines = await place.fs.open(file, 'r');
    for await (const line of lines.readLines()) {
      expect(line).toBe('line');
      break;
    }
    await lines.close();
    const read = await place.fs.open(file, 'r');
    const stream = read.createReadStream();
    const errors: Error[] = [];
    stream.on('error', (error) => errors.push(error));
    await once(stream, 'readable');
    await read.close();
    expect(stream.destroyed).toBe(true);
    expect(errors).toEqual([]);
    const web = await place.fs.open(file, 'r');
    const reader = web.readableWebStream().getReader();
    await web.close();
    expect((await reader.read()).done).toBe(true);
  });

  test('closing a handle ends what writes to it, after what was written', async () => {
    const handle = await place.fs.open(file, 'w');
    const stream = handle.createWriteStream();
    await new Promise((resolve) => stream.write('one ', resolve));
    stream.write('two ');
    stream.write('three');
    await handle.close();
    expect(stream.writableFinished).toBe(true);
    expect(await place.fs.readFile(file, 'utf8')).toBe('one two three');
  });

  test('without a start, an end counts from where the handle is', async () => {
    const handle = await place.fs.open(file, 'r');
    await handle.read(Buffer.alloc(5), 0, 5, null);
    expect(await text(handle.createReadStream({ end: 2 }))).toBe('567');
  });

  test('a signal ends a stream', async () => {
    await place.fs.writeFile(file, Buffer.alloc(1_000_000));
    const handle = await place.fs.open(file, 'r');
    const controller = new AbortController();
    const error = await rejection(
      (async () => {
        for await (const _ of handle.createReadStream({ signal: controller.signal } as object)) controller.abort();
      })(),
    );
    expect(error.name).toBe('AbortError');
    await handle.close();
  });

  test('errors of writing reach the stream', async () => {
    const handle = await place.fs.open(file, 'r');
    const stream = handle.createWriteStream();
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => stream.once('error', resolve));
    stream.write('x');
    expect((await failed).code).toBe('EBADF');
    await handle.close();
  });

  test('lines', async () => {
    await place.fs.writeFile(file, 'one\ntwo\r\n\nlast');
    const handle = await place.fs.open(file, 'r');
    const lines: string[] = [];
    for await (const line of handle.readLines()) lines.push(line);
    expect(lines).toEqual(['one', 'two', '', 'last']);
  });

  test('a web stream of bytes', async () => {
    await place.fs.writeFile(file, Buffer.alloc(300_000, 'w'));
    await using handle = await place.fs.open(file, 'r');
    let length = 0;
    for await (const chunk of handle.readableWebStream({ type: 'bytes' })) length += (chunk as Uint8Array).byteLength;
    expect(length).toBe(300_000);
    expect(() => handle.readableWebStream()).toThrow(expect.objectContaining({ code: 'ERR_INVALID_STATE' }));
  });
}

function* pieces(data: Buffer): Generator<Buffer> {
  let size = 1;
  for (let at = 0; at < data.length; at += size) {
    size = (size * 7 + 3) % 90_001;
    yield data.subarray(at, at + size);
  }
}
