import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Client } from '../../../lib/client/client.js';
import { localBackend, Server } from '../../../lib/server/index.js';
import { Session } from '../../../lib/session/session.js';
import { memoryPair } from '../../../lib/transport/memory.js';
import { TemporaryDirectory } from '../../support/temporary.js';

it('does not enter the directories it is told not to, by whatever name their parents go', async () => {
  await using directory = new TemporaryDirectory('except');
  mkdirSync(directory.join('a/mnt/below'), { recursive: true });
  mkdirSync(directory.join('b/mnt'), { recursive: true });
  writeFileSync(directory.join('b/mnt/file'), '');
  await using server = new Server({ exports: { '/': await localBackend(directory.path, { except: [directory.join('a/mnt')] }) } });
  const [near, far] = memoryPair();
  server.serve(far);
  await using client = new Client(await Session.open(near));
  await client.attach();
  await expect(client.root.walk(['a', 'mnt'])).rejects.toMatchObject({ code: 'EACCES' });
  await expect(client.root.walk(['a', 'mnt', 'below'])).rejects.toMatchObject({ code: 'EACCES' });
  await (await client.root.walk(['b', 'mnt', 'file'])).clunk();
  await (await client.root.walk(['a'])).clunk();
});
