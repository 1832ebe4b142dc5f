import { createFsFromVolume, Volume } from 'memfs';
import { localBackend } from '../../lib/server/local/index.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { NodeFsBackend, type PromisesLike } from '../../lib/server/nodefs/index.js';
import { vanishingContract } from '../contracts/vanishing.js';
import { TemporaryDirectory } from '../support/temporary.js';

vanishingContract(
  'memory',
  () => {
    const backend = new MemoryBackend();
    return { backend, counts: () => backend.counts() };
  },
  2000,
);

vanishingContract(
  'memfs',
  () => {
    const volume = Volume.fromJSON({ '/export': null });
    const backend = new NodeFsBackend(createFsFromVolume(volume).promises as unknown as PromisesLike, { root: '/export' });
    return { backend, counts: () => backend.counts() };
  },
  400,
);

vanishingContract(
  'local, mapped-xattr',
  async () => {
    const directory = new TemporaryDirectory('vanish-local');
    const backend = await localBackend(directory.path, { securityModel: 'mapped-xattr' });
    return { backend, counts: () => backend.counts(), dispose: () => directory.remove() };
  },
  2000,
);
