import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { connect, descriptorOf } from '../../lib/client/index.js';
import { L_O_RDONLY } from '../../lib/protocol/constants.js';
import { Session } from '../../lib/session/index.js';
import { socketpair } from '../../lib/sys/io.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import { openBelow } from '../support/descriptors.js';
import { startProxy } from '../support/proxy.js';
import { RawPeer } from '../support/raw-peer.js';
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

  test.each(['after', 'while'])('one that comes %s its request is given up is closed', async (when) => {
    await using root = new TemporaryDirectory('descriptor');
    writeFileSync(root.join('f'), '');
    const [near, far] = socketpair();
    const peer = new RawPeer(new PolledTransport('server', far, far));
    const client = new Client(await Session.open(new PolledTransport('client', near, near, { descriptors: true })));
    try {
      await client.attach();
      const fid = await client.root.walk(['f']);
      await fid.open(L_O_RDONLY);
      const before = client.session.counters.answered;
      const given = new AbortController();
      const { answers } = peer.server;
      let tag = 0;
      const pass = () =>
        peer.transport.send([peer.codec.encode('Rxattrwalk', tag, { size: 1 })], undefined, [openSync(root.join('f'), 'r')]);
      if (when === 'after') {
        answers.Txattrwalk = (_body, _file, itsTag) => {
          tag = itsTag;
          given.abort();
          return undefined;
        };
        answers.Tflush = () => {
          pass();
          return {};
        };
      } else {
        // What is given up as other data arrives, which is read to its end at once: nothing else has its turn before what comes behind.
        const data = new Uint8Array(60_000);
        let reads = 0;
        answers.Tread = (_body, _file, itsTag) => {
          reads = itsTag;
          return undefined;
        };
        answers.Txattrwalk = (_body, _file, itsTag) => {
          tag = itsTag;
          peer.say('Rread', reads, { data });
          pass();
          return undefined;
        };
        client.call('Tread', { fid: fid.number, offset: 0, count: data.length }, () => given.abort());
      }
      await expect(descriptorOf(fid, { signal: given.signal })).rejects.toMatchObject({ name: 'AbortError' });
      await expect.poll(() => client.session.counters.inFlight).toBe(0);
      await expect.poll(() => openBelow(root.path)).toBe(0);
      expect(client.session.lost).toBeUndefined();
      // The reply and the Rflush, and the data: else it would be no wonder.
      expect(client.session.counters.answered - before).toBe(when === 'after' ? 2 : 3);
    } finally {
      client.destroy();
      peer.transport.destroy();
    }
  });

  test('are no more asked for where something in between drops them', async () => {
    await using root = new TemporaryDirectory('descriptor');
    writeFileSync(root.join('f'), 'content');
    await using server = await serve(`${root.path},aname=tree`);
    await using proxy = await startProxy({ upstream: { path: server.socketPath } });
    const client = await connect(`${proxy.address}?aname=tree`, { polled: true, descriptors: true });
    try {
      const fid = await client.root.walk(['f']);
      await fid.open(L_O_RDONLY);
      const told: unknown[] = [];
      for (let times = 0; times < 3; times++) {
        told.push(client.session.takesDescriptors);
        await descriptorOf(fid).catch(({ code }: NodeJS.ErrnoException) => told.push(code));
      }
      expect(told).toEqual([true, 'EOPNOTSUPP', true, 'EOPNOTSUPP', true, 'EOPNOTSUPP']);
      expect(client.session.takesDescriptors).toBe(false);
      // A file that has none is another matter.
      const direct = await connect(server.address('tree'), { polled: true, descriptors: true });
      for (let times = 0; times < 5; times++) await expect(descriptorOf(direct.root)).rejects.toMatchObject({ code: 'EBADF' });
      expect(direct.session.takesDescriptors).toBe(true);
      await direct.close();
    } finally {
      await client.close();
    }
  });
});
