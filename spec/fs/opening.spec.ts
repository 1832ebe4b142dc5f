import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type FileSystem, fileSystem } from '../../lib/fs/index.js';
import { Between } from '../client/between.js';
import { rejection } from '../contracts/fs/errors.js';
import { settled } from './settled.js';

describe('a stream whose file is still being opened', () => {
  let between: Between;
  let fs: FileSystem;
  let asked: Promise<void>;
  beforeEach(async () => {
    between = await Between.open();
    fs = fileSystem(between.client);
    await fs.writeFile('/f', 'content');
    await settled(fs);
    asked = new Promise((resolve) => {
      // A server that does not come back to it.
      between.saboteur = {
        request: ({ name }) => {
          if (name !== 'Tlopen' && name !== 'Tlcreate') return undefined;
          resolve();
          return 'swallow';
        },
      };
    });
  });
  afterEach(async () => {
    await between[Symbol.asyncDispose]();
  });

  test('ends with its signal', async () => {
    const controller = new AbortController();
    const copied = rejection(
      pipeline(fs.createReadStream('/f', { signal: controller.signal }), fs.createWriteStream('/g', { signal: controller.signal })),
    );
    await asked;
    controller.abort();
    expect((await copied).name).toBe('AbortError');
    await settled(fs);
  });

  test('ends when it is destroyed, and says nothing of that', async () => {
    for (const stream of [fs.createReadStream('/f'), fs.createWriteStream('/g')]) {
      const errors: Error[] = [];
      stream.on('error', (error) => errors.push(error));
      await asked;
      stream.destroy();
      await once(stream, 'close');
      expect(errors).toEqual([]);
    }
    await settled(fs);
  });

  test('is not opened where its signal was aborted before', async () => {
    const stream = fs.createReadStream('/f', { signal: AbortSignal.abort() });
    const [error] = await once(stream, 'error');
    expect(error.name).toBe('AbortError');
    await settled(fs);
  });
});
