import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FileSystem, fileSystem } from '../../lib/fs/index.js';
import { GETATTR_SIZE } from '../../lib/protocol/index.js';
import { Between } from '../client/between.js';
import { rejection } from '../contracts/fs/errors.js';
import { twist } from '../interop/sabotage.js';

const content = Array.from({ length: 30_000 }, (_, line) => `line ${line}\n`).join('');

describe('a server that moves less than it is asked for', () => {
  let between: Between;
  let fs: FileSystem;
  beforeEach(async () => {
    between = await Between.open();
    fs = fileSystem(between.client);
  });
  afterEach(async () => {
    await fs.close();
    await between[Symbol.asyncDispose]();
  });

  /** As /proc: a page for each read; and no size, if `size` is 0. */
  function pages(size: 'told' | 0): void {
    between.saboteur = {
      request: (request) =>
        request.name === 'Tread'
          ? { pass: { ...request, body: { ...request.body, count: Math.min(request.body.count, 4096) } } }
          : undefined,
      reply: (reply) =>
        reply.name === 'Rgetattr' && size === 0 && (reply.body.valid & GETATTR_SIZE) !== 0n
          ? { pass: { ...reply, body: { ...reply.body, size } } }
          : undefined,
    };
  }

  test.each(['told', 0] as const)('is read to the end (its size: %s)', async (size) => {
    await fs.writeFile('/f', content);
    pages(size);
    expect(await fs.readFile('/f', 'utf8')).toBe(content);
    await using handle = await fs.open('/f');
    await handle.read(Buffer.alloc(10), 0, 10, null);
    expect(await handle.readFile('utf8')).toBe(content.slice(10));
    expect(await text(fs.createReadStream('/f'))).toBe(content);
    await fs.copyFile('/f', '/g');
    between.saboteur = undefined;
    expect(await fs.readFile('/g', 'utf8')).toBe(content);
  });

  test('is no success where it takes nothing any more', async () => {
    await fs.writeFile('/f', content);
    between.saboteur = twist('Twrite', () => ({ count: 0 }));
    expect(await rejection(fs.writeFile('/g', content))).toMatchObject({ code: 'EIO', syscall: 'write' });
    expect(await rejection(fs.writeFile('/g', [content], { flag: 'a' }))).toMatchObject({ code: 'EIO', syscall: 'write' });
    expect(await rejection(fs.copyFile('/f', '/g'))).toMatchObject({ code: 'EIO', syscall: 'copyfile' });
    // Half a copy might be taken for one.
    expect(await fs.readdir('/')).toEqual(['f']);
    for (const flags of ['w', 'a']) {
      const stream = fs.createWriteStream('/g', { flags });
      const failed = new Promise<NodeJS.ErrnoException>((resolve) => stream.on('error', resolve));
      stream.end(content);
      expect(await failed).toMatchObject({ code: 'EIO', syscall: 'write' });
    }
    await using handle = await fs.open('/g', 'w');
    expect((await handle.write('text')).bytesWritten).toBe(0);
  });
});
