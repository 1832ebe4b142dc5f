import { writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Shares } from '../../lib/server/shares.js';
import { dial } from '../../lib/transport/index.js';
import { run } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { RawClient } from '../support/raw.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

test('nobody has more than is left, so there is something left for whoever comes next', () => {
  const step = fc.record({ connection: fc.constantFrom('a', 'b', 'c'), count: fc.integer({ min: -40, max: 40 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const shares = new Shares(100);
      const held = new Map<string, number>();
      const left = () => 100 - [...held.values()].reduce((sum, count) => sum + count, 0);
      for (const { connection, count } of steps) {
        const has = held.get(connection) ?? 0;
        const wanted = Math.max(count, -has);
        const allowed = wanted <= 0 || has + wanted <= left() - wanted;
        expect(shares.take(connection, wanted)).toBe(allowed);
        if (allowed) held.set(connection, has + wanted);
        expect(shares.of(connection)).toBe(held.get(connection) ?? 0);
        expect(left()).toBeGreaterThan(0);
      }
    }),
  );
});

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

test.each(['local', 'nodefs'])('a client that opens whatever it can leaves files for others to open: %s', async (what) => {
  await using directory = new TemporaryDirectory('shares');
  // A limit of its own, so another process.
  const code = `
    const { Server } = await import(${url('../../lib/server/server.ts')});
    const { RawClient } = await import(${url('../support/raw.ts')});
    const path = ${JSON.stringify(directory.path)};
    const backend = async () => {
      if (${JSON.stringify(what)} === 'local') return (await import(${url('../../lib/server/local/index.ts')})).localBackend(path);
      const { NodeFsBackend } = await import(${url('../../lib/server/nodefs/index.ts')});
      return new NodeFsBackend(await import('node:fs/promises'), { root: path });
    };
    const server = new Server({ exports: { tree: await backend() } });
    // Another server, whose connections are called the same.
    const second = new Server({ exports: { tree: await backend() } });
    const openAll = async (client, most) => {
      const fids = [];
      for (let file = 0; file < most; file++) {
        try {
          fids.push(file % 2 === 0 ? await client.create('f' + Math.random()) : await client.open('f'));
        } catch (error) {
          return { fids, code: error.code };
        }
      }
      return { fids };
    };
    const greedy = await RawClient.attached(server);
    await greedy.create('f');
    const got = await openAll(greedy, 1000);
    const told = [got.code];
    for (const on of [server, second]) {
      const modest = await RawClient.attached(on);
      const { code, fids } = await openAll(modest, 20);
      told.push(code ?? fids.length);
      if (on === second) await modest.call('Tclunk', { fid: fids[0] });
    }
    told.push((await openAll(greedy, 1)).code);
    for (const fid of got.fids.slice(0, 50)) await greedy.call('Tclunk', { fid });
    told.push((await openAll(greedy, 5)).fids.length);
    // What a session had comes back with its end.
    await greedy.version();
    await greedy.attach(0);
    told.push((await openAll(greedy, 100)).fids.length, got.fids.length > 100);
    console.log(JSON.stringify(told));
    await server.close();
    await second.close();`;
  const script = `ulimit -n 400; exec ${process.execPath} --import tsx --input-type=module -e "$0"`;
  const { stdout } = await run('sh', ['-c', script, code]);
  expect(JSON.parse(stdout)).toEqual(['EMFILE', 20, 20, 'EMFILE', 5, 100, true]);
});

requires('root')('descriptors that are on their way', () => {
  test('those that a client asks for and does not read are of its share', async () => {
    await using directory = new TemporaryDirectory('shares');
    writeFileSync(directory.join('f'), Buffer.alloc(1 << 20));
    const code = `
    const { localBackend, Server } = await import(${url('../../lib/server/index.ts')});
    const { PolledTransport } = await import(${url('../../lib/transport/polled.ts')});
    const { socketpair } = await import(${url('../../lib/sys/io.ts')});
    const { DESCRIPTOR_XATTR, NOFID } = await import(${url('../../lib/protocol/constants.ts')});
    const { RawClient } = await import(${url('../support/raw.ts')});
    const server = new Server({ exports: { tree: await localBackend(${JSON.stringify(directory.path)}) } });
    const [ours, theirs] = socketpair();
    const connection = server.serve(new PolledTransport('theirs', theirs, theirs));
    const greedy = new RawClient(new PolledTransport('ours', ours, ours, { descriptors: true }));
    await greedy.version(1 << 20);
    await greedy.attach(0);
    const fid = await greedy.open('f');
    greedy.transport.pause();
    const asked = () => connection.counters.bytesIn;
    let sent = asked();
    const send = async (frame, times) => {
      greedy.bytes(...Array.from({ length: times }, frame));
      sent += frame().length * times;
      while (asked() < sent || connection.pending > 0) await new Promise(setImmediate);
    };
    // No more goes into the socket from here on.
    await send(() => greedy.frame('Tread', { fid, offset: 0, count: 1 << 19 }), 2);
    await send(() => greedy.frame('Txattrwalk', { fid, newfid: NOFID, name: DESCRIPTOR_XATTR }), 1000);
    const modest = await RawClient.attached(server);
    let opened = 0;
    try { for (; opened < 50; opened++) await modest.open('f'); } catch (error) { opened = error.code; }
    greedy.transport.resume();
    let brought = 0;
    const answers = () => greedy.received.filter(({ name }) => name === 'Rxattrwalk' || name === 'Rlerror').length;
    for (let all = false; !all; ) {
      await new Promise(setImmediate);
      all = answers() === 1000;
      for (let fd = greedy.transport.takeDescriptor(); fd !== undefined; fd = greedy.transport.takeDescriptor()) { closeSync(fd); brought++; }
    }
    const promised = greedy.received.filter(({ name }) => name === 'Rxattrwalk').length;
    // What has left is nobody's here any more.
    let again = 0;
    try { for (; again < 100; again++) await greedy.open('f'); } catch (error) { again = error.code; }
    console.log(JSON.stringify([opened, promised > 100 && promised < 1000, brought === promised, again]));
    greedy.transport.destroy();
    await server.close();`;
    const script = `ulimit -n 600; exec ${process.execPath} --import tsx --input-type=module -e "$0"`;
    const { stdout } = await run('sh', ['-c', script, `import { closeSync } from 'node:fs';${code}`]);
    expect(JSON.parse(stdout)).toEqual([50, true, true, 100]);
  });
});

test('connections, however many come, leave descriptors for the files of those that are there', async () => {
  await using directory = new TemporaryDirectory('shares');
  await mkdir(directory.join('tree'));
  writeFileSync(directory.join('tree/f'), 'content');
  const code = `
    const { localBackend, Server } = await import(${url('../../lib/server/index.ts')});
    const { listen } = await import(${url('../../lib/transport/index.ts')});
    const server = new Server({ exports: { tree: await localBackend(${JSON.stringify(directory.join('tree'))}) } });
    await server.listen((accept) => listen(${JSON.stringify(`unix:${directory.join('socket')}`)}, accept, { polled: true }));
    console.log('serving', server.limits.maxConnections, new Server({ limits: { maxConnections: 300 } }).limits.maxConnections);`;
  await using server = await launch({
    command: 'sh',
    args: ['-c', `ulimit -n 400; exec ${process.execPath} --import tsx --input-type=module -e "$0"`, code],
    ready: { line: /serving 50 300/ },
  });
  const first = new RawClient(await dial(`unix:${directory.join('socket')}`));
  await first.version();
  await first.attach();
  const many = await Promise.all(Array.from({ length: 500 }, () => dial(`unix:${directory.join('socket')}`)));
  const ended = many.map((transport) => new RawClient(transport)).map(({ closed }) => closed);
  // All but those that fit have been turned away.
  let over = 0;
  for (const end of ended) void end.then(() => over++);
  await expect.poll(() => over).toBe(451);
  for (let file = 0; file < 50; file++) await first.open('f');
  for (const transport of many) transport.destroy();
  await first.end();
  await server.stop();
});
