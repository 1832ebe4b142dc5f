import { expect, test } from 'vitest';
import { controlBackend } from '../../lib/server/ctl.js';
import { formatEvent } from '../../lib/server/events.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { RawClient } from '../support/raw.js';

test('the export ctl tells what the server is and does', async () => {
  await using server = new Server({ exports: { '/srv': new MemoryBackend() } });
  server.export('ctl', controlBackend(server, '1.2.3'));
  expect(() => server.export('ctl', new MemoryBackend())).toThrow(RangeError);
  const other = await RawClient.attached(server, { uid: 1000 });
  await other.write('f', 'text');
  const c = await RawClient.attached(server, { aname: 'ctl' });
  expect(await c.list('')).toEqual(['connections', 'counters', 'exports', 'status.json', 'version']);
  expect((await c.read('version')).toString()).toBe('1.2.3\n');
  expect((await c.read('exports')).toString()).toBe('/srv\nctl\n');
  const connections = (await c.read('connections')).toString().trim().split('\n');
  expect(connections).toHaveLength(2);
  expect(connections[0]).toMatch(/^c1 memory:\S* msize 65536 fids 1 pending 0 "user":1000@""$/);
  expect((await c.read('counters')).toString()).toMatch(/^Twrite 1$/m);
  const status = JSON.parse((await c.read('status.json')).toString()) as Record<string, unknown>;
  expect(status).toMatchObject({ version: '1.2.3', connections: 2, bytesWritten: 4, attaches: 2 });
  expect(await c.outcome('Tlcreate', { fid: await c.walk(''), name: 'x', flags: 1, mode: 0o644, gid: 0 })).toBe('ok');
});

test('the log says who came, attached and left', async () => {
  const log: string[] = [];
  const server = new Server({
    exports: { tree: new MemoryBackend() },
    limits: { maxConnections: 1 },
    log: (event) => log.push(formatEvent(event)),
  });
  const c = await RawClient.attached(server, { uid: 7 });
  await RawClient.connect(server).closed;
  c.bytes(Uint8Array.of(1, 2, 3, 4, 5, 6, 7));
  await c.closed;
  await server.close();
  expect(log.map((line) => line.replace(/memory:[ab]/, 'M'))).toEqual([
    'connect c1 M',
    'attach c1 M: "user" (uid 7) to "" ("tree")',
    'refuse M: too many connections',
    expect.stringMatching(/^error c1 M: EPROTO: a frame of \d+ bytes/),
    expect.stringMatching(/^disconnect c1 M/),
  ]);
});
