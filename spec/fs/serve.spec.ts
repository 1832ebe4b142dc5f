import { openFs } from '../../lib/fs/index.js';
import { fsContract } from '../contracts/fs.js';
import { requires } from '../support/requires.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { settled } from './settled.js';

requires('linux', 'root')('over ninep serve', () => {
  fsContract('ninep serve', async () => {
    const directory = new TemporaryDirectory('fs');
    const server = await serve(`${directory.path},security_model=passthrough`);
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
  });
});
