import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Shares } from '../../lib/server/shares.js';
import { run } from '../support/child.js';
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
