import * as fs from 'node:fs/promises';
import { createFsFromVolume, Volume } from 'memfs';
import { NodeFsBackend, type PromisesLike } from '../../lib/server/nodefs/index.js';
import { backendContract } from '../contracts/backend.js';
import { TemporaryDirectory } from '../support/temporary.js';

const shape = { xattrs: false, devices: false, owners: false, setid: false, nanoseconds: false };

backendContract(
  'memfs',
  () => {
    const volume = Volume.fromJSON({ '/export': null, '/outside/secret': 'not for you' });
    const backend = new NodeFsBackend(createFsFromVolume(volume).promises as unknown as PromisesLike, { root: '/export' });
    return { backend, counts: () => backend.counts() };
  },
  shape,
);

backendContract(
  'node:fs/promises',
  () => {
    const directory = new TemporaryDirectory('nodefs');
    const backend = new NodeFsBackend(fs, { root: directory.path });
    return { backend, counts: () => backend.counts(), dispose: () => directory.remove() };
  },
  shape,
);
