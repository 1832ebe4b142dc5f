import { describe } from 'vitest';
import { fileSystem } from '../../lib/fs/index.js';
import { type Backend, localBackend, MemoryBackend, type SecurityModelName } from '../../lib/server/index.js';
import { fsContract, type Limits } from '../contracts/fs.js';
import { requires } from '../support/requires.js';
import { inFull } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { connectMemory } from './memory.js';
import { settled } from './settled.js';

function over(name: string, backend: (path: string) => Backend | Promise<Backend>, limits: Limits = {}, msize?: number): void {
  fsContract(
    name,
    async () => {
      const directory = new TemporaryDirectory('fs');
      const { client, server } = await connectMemory(await backend(directory.path), { msize });
      const fs = fileSystem(client);
      return {
        fs,
        base: '',
        settled: () => settled(fs),
        async [Symbol.asyncDispose]() {
          await fs.close();
          await client.close();
          await server.close();
          directory.remove();
        },
      };
    },
    limits,
  );
}

describe('over a server of this process', () => {
  over('memory', () => new MemoryBackend());
});

requires('linux', 'root')('over a directory', () => {
  // `ninep serve` is held to the same with passthrough, and each model to the contract of back-ends.
  const models = inFull<SecurityModelName[]>(['none', 'passthrough', 'mapped-xattr', 'mapped-file'], ['mapped-xattr']);
  for (const securityModel of models) over(`local, ${securityModel}`, (path) => localBackend(path, { securityModel }), {}, 65_536);
});
