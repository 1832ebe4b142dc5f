import { openFs } from '../../lib/fs/index.js';
import { fsContract } from '../contracts/fs.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { settled } from './settled.js';

requires('diod')('over diod', () => {
  fsContract(
    'ninep over diod',
    async () => {
      const directory = new TemporaryDirectory('fs');
      const server = await diod(directory.path);
      const fs = await openFs(server.address());
      return {
        fs,
        base: '',
        settled: () => settled(fs),
        async [Symbol.asyncDispose]() {
          await fs.close();
          await server.stop();
          directory.remove();
        },
      };
    },
    { unlinkedStat: false },
  );
});
