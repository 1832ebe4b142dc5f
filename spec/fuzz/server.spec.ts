import * as fs from 'node:fs/promises';
import { createFsFromVolume, Volume } from 'memfs';
import { test } from 'vitest';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { NodeFsBackend, type PromisesLike } from '../../lib/server/nodefs/index.js';
import { run } from '../support/child.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { fuzzServer } from './server.js';

// The security models have a minute each (local.ts); these share one.
const { concurrent } = test;

fuzzServer(
  'memory',
  () => {
    const backend = new MemoryBackend({ maxBytes: 64 * 1024 * 1024, maxFiles: 10_000 });
    return { backend, counts: () => backend.counts() };
  },
  concurrent,
);

fuzzServer(
  'memfs',
  () => {
    const volume = Volume.fromJSON({ '/export': null, '/outside/secret': 'not for you' });
    const fs = createFsFromVolume(volume).promises as unknown as PromisesLike;
    const backend = new NodeFsBackend(fs, { root: '/export', maxFileSize: 64 * 1024 * 1024 });
    const outside = () => JSON.stringify(Object.entries(volume.toJSON()).filter(([path]) => !path.startsWith('/export')));
    return { backend, outside, counts: () => backend.counts() };
  },
  concurrent,
);

fuzzServer(
  'node:fs/promises',
  async () => {
    const directory = new TemporaryDirectory('fuzz');
    await fs.mkdir(directory.join('export'));
    await fs.mkdir(directory.join('outside'));
    await fs.writeFile(directory.join('outside', 'secret'), 'not for you');
    await fs.writeFile(directory.join('secret'), 'not for you');
    const backend = new NodeFsBackend(fs, { root: directory.join('export') });
    const outside = async () => {
      const { stdout } = await run('find', [
        directory.path,
        '-path',
        `${directory.path}/export/*`,
        '-prune',
        '-o',
        '-printf',
        '%P %y %m %U %G %l\n',
      ]);
      return (
        stdout.replace(/^export .*$/m, '') +
        (await fs.readFile(directory.join('outside', 'secret'), 'utf8')) +
        (await fs.readFile(directory.join('secret'), 'utf8'))
      );
    };
    return { backend, outside, counts: () => backend.counts(), dispose: () => directory.remove() };
  },
  concurrent,
);
