import { buffer } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FileSystem, fileSystem } from '../../lib/fs/index.js';
import { Between } from '../client/between.js';
import { settled } from './settled.js';

/** No eight bytes of it are like any other eight. */
const content = Array.from({ length: 40_000 }, (_, record) => record.toString(16).padStart(8, '0')).join('');

describe('those who share the position of a handle, at the same time,', () => {
  let between: Between;
  let fs: FileSystem;
  beforeEach(async () => {
    between = await Between.open();
    fs = fileSystem(between.client);
    await fs.writeFile('/f', content);
  });
  afterEach(async () => {
    await fs.close();
    await settled(fs);
    await between[Symbol.asyncDispose]();
  });

  test('have each byte once: read and readFile', async () => {
    const handle = await fs.open('/f');
    const [first, rest, end] = await Promise.all([
      handle.read(Buffer.alloc(800), 0, 800, null),
      handle.readFile('utf8'),
      handle.read(Buffer.alloc(8), 0, 8, null),
    ]);
    expect(first.buffer.toString() + rest).toBe(content);
    expect(end.bytesRead).toBe(0);
  });

  test.each([4096, 65536, 100_000])('have each byte once: read and a stream in chunks of %d', async (highWaterMark) => {
    const handle = await fs.open('/f');
    const first = handle.read(Buffer.alloc(800), 0, 800, null);
    const parts: string[] = [];
    const stream = handle.createReadStream({ highWaterMark, autoClose: false });
    const reads: Promise<unknown>[] = [];
    stream.on('data', (chunk: Buffer) => {
      parts.push(chunk.toString());
      if (reads.length > 30) return;
      reads.push(
        handle.read(Buffer.alloc(1600), 0, 1600, null).then(({ buffer, bytesRead }) => parts.push(buffer.toString('utf8', 0, bytesRead))),
      );
    });
    await finished(stream);
    await Promise.all(reads);
    parts.push((await first).buffer.toString());
    // Each part begins with its place.
    expect(parts.sort().join('')).toBe(content);
  });

  test('count the end of a stream from where it began', async () => {
    const handle = await fs.open('/f');
    const [, rest] = await Promise.all([handle.read(Buffer.alloc(800), 0, 800, null), buffer(handle.createReadStream({ end: 15 }))]);
    expect(rest.toString()).toBe(content.slice(800, 816));
  });

  test('overwrite nothing of each other: write and a stream', async () => {
    const handle = await fs.open('/g', 'w+');
    const stream = handle.createWriteStream({ autoClose: false });
    const writes = [
      handle.write('a'.repeat(10)),
      new Promise((resolve) => stream.write('b'.repeat(20), resolve)),
      handle.write('c'.repeat(30)),
    ];
    await Promise.all(writes);
    stream.end();
    await finished(stream);
    const text = await fs.readFile('/g', 'utf8');
    expect([...text].sort().join('')).toBe('a'.repeat(10) + 'b'.repeat(20) + 'c'.repeat(30));
  });
});
