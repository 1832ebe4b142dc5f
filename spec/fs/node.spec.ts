import * as fs from 'node:fs/promises';
import { fsContract } from '../contracts/fs.js';
import { TemporaryDirectory } from '../support/temporary.js';

// The oracle: what fails here is the suite's fault.
fsContract('node:fs/promises', async () => {
  const directory = new TemporaryDirectory('fs');
  return { fs, base: directory.path, [Symbol.asyncDispose]: async () => directory.remove() };
});
