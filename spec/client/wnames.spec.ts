import { afterEach, expect, it } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { walkEnd } from '../../lib/client/wnames.js';
import { fileSystem } from '../../lib/fs/index.js';
import { Session } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { HostileServer } from '../support/hostile.js';
import { withoutPauses } from './pauses.js';

let client: Client | undefined;
afterEach(() => client?.destroy());

/** Directories, of 255 bytes each. */
const names = Array.from({ length: 40 }, (_, index) => `d${index}`.padEnd(255, '_'));

it('so many names as a message has room for go into one', () => {
  expect(walkEnd([], 0, 4096)).toBe(0);
  expect(walkEnd(names, 0, 4129)).toBe(16);
  expect(walkEnd(names, 0, 4128)).toBe(15);
  expect(walkEnd(names, 30, 4096)).toBe(40);
  expect(walkEnd(names, 39, 4096)).toBe(40);
});

it('a file below many long names is found, also after a lost connection, with a small msize', () =>
  withoutPauses(async (onEvent) => {
    const server = new HostileServer();
    const dial = () => {
      const [near, far] = memoryPair();
      server.serve(far);
      return Session.open(near, { msize: 4096 });
    };
    client = new Client(await dial(), { redial: dial, retry: Number.POSITIVE_INFINITY, onEvent });
    await client.attach();
    const fid = await client.root.walk(names);
    const { qid } = await fid.getattr();
    client.session.destroy(new Error('cut'));
    expect((await fid.getattr()).qid).toEqual(qid);
    // As long as a path may be, in sixteen names.
    const path = `/${names.slice(0, 15).join('/')}/${'d'.repeat(254)}`;
    expect((await fileSystem(client).stat(path)).isDirectory()).toBe(true);
  }));
