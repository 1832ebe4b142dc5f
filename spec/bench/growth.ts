import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Client, connect, memoryPair, Session } from '../../lib/index.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import type { Comparison } from './pairs.js';
import { plot, type Series } from './plot.js';

/** How cost grows with size: entries listed, requests in flight, connections. Writes `growth.svg` beside this file. */
export async function benchGrowth(): Promise<Comparison[]> {
  const series: Series[] = [
    { name: 'listing: µs for each entry', points: await entries() },
    { name: 'requests in flight: µs for each getattr', points: await inFlight() },
    { name: 'connections: µs for each getattr, one at a time on each', points: await connections() },
    { name: 'connections: KiB of the server for each', points: memory },
  ];
  const file = fileURLToPath(new URL('growth.svg', import.meta.url));
  writeFileSync(file, plot('cost of each item as their number grows', series));
  for (const { name, points } of series) console.log(`${name}: ${points.map(([x, y]) => `${x}: ${y.toFixed(1)}`).join(', ')}`);
  return [];
}

/** Times that something is done before it is measured, so that it is compiled. */
const WARM = 2000;

const memory: [number, number][] = [];

async function local(): Promise<{ client: Client; server: Server }> {
  const server = new Server({ exports: { '/': new MemoryBackend() } });
  const [near, far] = memoryPair();
  server.serve(far);
  const client = new Client(await Session.open(near, { window: 5000 }));
  await client.attach();
  return { client, server };
}

async function entries(): Promise<[number, number][]> {
  const points: [number, number][] = [];
  const { client, server } = await local();
  let made = 0;
  const list = async () => {
    const fid = await client.root.clone();
    await fid.open(0);
    let listed = 0;
    for await (const _entry of fid.entries()) listed++;
    await fid.clunk();
    return listed;
  };
  for (let round = 0; round < WARM; round++) await list();
  for (const count of [1, 10, 100, 1000, 10_000, 100_000, 1_000_000]) {
    while (made < count) {
      await Promise.all(
        Array.from({ length: Math.min(1000, count - made) }, () => client.root.mknod(`entry-${made++}`, 0o100644, 0, 0, 0)),
      );
    }
    const rounds = Math.max(1, Math.ceil(WARM / count));
    let listed = 0;
    const begin = performance.now();
    for (let round = 0; round < rounds; round++) listed += await list();
    points.push([count, ((performance.now() - begin) * 1000) / listed]);
  }
  await client.close();
  await server.close();
  return points;
}

async function inFlight(): Promise<[number, number][]> {
  const points: [number, number][] = [];
  const { client, server } = await local();
  for (let round = 0; round < WARM; round++) await client.root.getattr();
  for (let count = 1; count <= 4096; count *= 4) {
    const rounds = Math.max(1, Math.ceil(20_000 / count));
    const begin = performance.now();
    for (let round = 0; round < rounds; round++) await Promise.all(Array.from({ length: count }, () => client.root.getattr()));
    points.push([count, ((performance.now() - begin) * 1000) / (rounds * count)]);
  }
  await client.close();
  await server.close();
  return points;
}

async function connections(): Promise<[number, number][]> {
  await using directory = new TemporaryDirectory('bench');
  await using server = await serve(`${directory.path},aname=x,security_model=none`);
  const rss = async () => {
    const { readFile } = await import('node:fs/promises');
    return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${server.process.pid}/status`, 'utf8'))?.[1]);
  };
  const points: [number, number][] = [];
  const clients: Client[] = [];
  // What the first connection brings with it (code loaded and compiled) is not the price of one more.
  {
    await using first = await connect(server.address('x'));
    for (let round = 0; round < WARM; round++) await first.root.getattr();
  }
  const empty = await rss();
  for (const count of [1, 10, 100, 1000]) {
    while (clients.length < count) clients.push(await connect(server.address('x')));
    const rounds = Math.max(1, Math.ceil(10_000 / count));
    const begin = performance.now();
    for (let round = 0; round < rounds; round++) await Promise.all(clients.map((client) => client.root.getattr()));
    points.push([count, ((performance.now() - begin) * 1000) / (rounds * count)]);
    memory.push([count, ((await rss()) - empty) / count]);
  }
  for (const client of clients) await client.close();
  return points;
}
