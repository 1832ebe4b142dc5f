import * as fs from 'node:fs/promises';
import { localBackend, type SecurityModelName } from '../../lib/server/local/index.js';
import { run } from '../support/child.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { fuzzServer } from './server.js';

/** A directory of this host under one security model; a test file for each, so that they take their minute beside one another. */
export function fuzzLocal(securityModel: SecurityModelName): void {
  fuzzServer(`local, ${securityModel}`, async () => {
    const directory = new TemporaryDirectory('fuzz');
    await fs.mkdir(directory.join('export'));
    await fs.mkdir(directory.join('outside'));
    await fs.writeFile(directory.join('outside', 'secret'), 'not for you');
    const backend = await localBackend(directory.join('export'), { securityModel });
    const outside = async () => {
      const { stdout } = await run('find', [
        directory.path,
        '-path',
        `${directory.path}/export`,
        '-prune',
        '-o',
        '-printf',
        '%P %y %m %U %G %s %T@ %l\n',
      ]);
      return stdout + (await fs.readFile(directory.join('outside', 'secret'), 'utf8'));
    };
    return { backend, outside, counts: () => backend.counts(), dispose: () => directory.remove() };
  });
}
