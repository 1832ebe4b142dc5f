import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type FileSystem, fileSystem, openFs } from '../../lib/fs/index.js';
import { PARTING } from '../../lib/session/parting.js';
import { listen } from '../../lib/transport/index.js';
import { Between } from '../client/between.js';
import { rejection } from '../contracts/fs/errors.js';
import { HostileServer } from '../support/hostile.js';
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

test('a file system ends although an open file of it waits for an answer that does not come', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const server = new HostileServer();
  const listening = await listen('tcp://127.0.0.1:0', (transport) => server.serve(transport));
  try {
    const fs = await openFs(listening.address);
    const handle = await fs.open('/f');
    server.answers.Tread = () => undefined;
    const refused = expect(handle.read(Buffer.alloc(10))).rejects.toMatchObject({ name: 'ConnectionLostError' });
    const closing = expect(fs.close()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    vi.advanceTimersByTime(PARTING);
    await Promise.all([refused, closing]);
  } finally {
    vi.useRealTimers();
    await listening.close();
  }
});
