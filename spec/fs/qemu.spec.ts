import { openFs } from '../../lib/index.js';
import { fsContract } from '../contracts/fs.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { settled } from './settled.js';

requires('qemu', 'linux')("over QEMU's own server", () => {
  fsContract('QEMU', async () => {
    const directory = new TemporaryDirectory('fs');
    const fs = await openFs(`qemu:path=${directory.path},security_model=mapped-xattr`);
    return {
      fs,
      base: '',
      settled: () => settled(fs),
      async [Symbol.asyncDispose]() {
        await fs.close();
        directory.remove();
      },
    };
  });
});
