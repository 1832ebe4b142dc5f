import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { connect, descriptorOf } from '../../lib/client/index.js';
import { L_O_RDONLY } from '../../lib/protocol/constants.js';
import { requires } from '../support/requires.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

requires('root')('descriptors of open files', () => {
  test('each is that of the file it was asked for, also where answers without one arrive among the others', async () => {
    await using root = new TemporaryDirectory('descriptor');
    const names = Array.from({ length: 12 }, (_, index) => `f${index}`);
    for (const name of names) writeFileSync(root.join(name), name);
    await using server = await serve(`${root.path},aname=tree`);
    const client = await connect(server.address('tree'), { polled: true, descriptors: true });
    try {
      const fids = await Promise.all(names.map((name) => client.root.walk([name])));
      // As if the others' opens had failed: they are asked for together with those.
      await Promise.all(fids.map((fid, index) => (index % 3 === 0 ? undefined : fid.open(L_O_RDONLY))));
      const outcomes = await Promise.allSettled(fids.map((fid) => descriptorOf(fid)));
      const found = outcomes.map((outcome) => {
        if (outcome.status === 'rejected') return (outcome.reason as NodeJS.ErrnoException).code;
        const content = readFileSync(outcome.value, 'utf8');
        closeSync(outcome.value);
        return content;
      });
      expect(found).toEqual(names.map((name, index) => (index % 3 === 0 ? 'EBADF' : name)));
    } finally {
      await client.close();
    }
  });
});
