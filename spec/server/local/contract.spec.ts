import { localBackend, type SecurityModelName } from '../../../lib/server/local/index.js';
import { backendContract, type Capabilities } from '../../contracts/backend.js';
import { inFull } from '../../support/sized.js';
import { TemporaryDirectory } from '../../support/temporary.js';

/** The same suite for each model, on this thread and on others. */
const root = process.geteuid?.() === 0;
const models: readonly (readonly [SecurityModelName, Partial<Capabilities>])[] = [
  ['mapped-xattr', {}],
  ['mapped-file', {}],
  ...(root ? [['passthrough', {}] as const] : []),
  ['none', root ? {} : { owners: false, devices: false }],
];

for (const background of ['auto', 'always'] as const) {
  // What a model does is the same on every thread, and each test's export starts threads of its own.
  for (const [securityModel, can] of background === 'auto' ? models : inFull(models, models.slice(0, 1))) {
    backendContract(
      `local, ${securityModel}${background === 'always' ? ', on other threads' : ''}`,
      async () => {
        const directory = new TemporaryDirectory('local');
        const backend = await localBackend(directory.path, { securityModel, background });
        return { backend, counts: () => backend.counts(), dispose: () => directory.remove() };
      },
      can,
    );
  }
}
