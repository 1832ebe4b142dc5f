import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FileSystem, fileSystem } from '../../lib/fs/index.js';
import { errnoNumber, type Message } from '../../lib/protocol/index.js';
import { Between } from '../client/between.js';
import { settled } from './settled.js';

let between: Between;
let fs: FileSystem;
beforeEach(async () => {
  between = await Between.open();
  fs = fileSystem(between.client);
  await fs.mkdir('/tree/sub', { recursive: true });
  await fs.writeFile('/tree/sub/file', 'content');
});
afterEach(async () => {
  await between[Symbol.asyncDispose]();
});

/** Every request of that name is told that there is no such file. */
function missing(name: 'Treaddir' | 'Tlopen' | 'Tunlinkat'): void {
  between.saboteur = {
    request: (request) =>
      request.name === name
        ? { answer: { name: 'Rlerror', tag: request.tag, body: { ecode: errnoNumber('ENOENT') ?? 0 } } satisfies Message }
        : undefined,
  };
}

test.each(['Treaddir', 'Tlopen'] as const)('a tree whose %s finds nothing is not taken for gone while it is there', async (name) => {
  missing(name);
  await expect(fs.rm('/tree', { recursive: true })).rejects.toMatchObject({ code: 'ENOTEMPTY', syscall: 'rmdir' });
  between.saboteur = undefined;
  expect(await fs.readdir('/tree/sub')).toEqual(['file']);
  await settled(fs);
});

test('a tree that somebody else removes at the same time is gone', async () => {
  await Promise.all(Array.from({ length: 4 }, () => fs.rm('/tree', { recursive: true, force: true, maxRetries: 3, retryDelay: 0 })));
  expect(await fs.readdir('/')).toEqual([]);
  missing('Tunlinkat');
  await fs.mkdir('/tree');
  await fs.rm('/tree', { recursive: true });
  await settled(fs);
});
