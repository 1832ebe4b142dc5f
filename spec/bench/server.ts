import { mkdirSync, writeFileSync } from 'node:fs';
import { type Client, connect, type Fid } from '../../lib/index.js';
import { diod } from '../support/servers/diod.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { type Comparison, compare, seconds } from './pairs.js';

const MIB = 1024 * 1024;
const SIZE = 256 * MIB;

interface Peer {
  name: string;
  connect: (msize: number) => Promise<Client>;
  stop: () => Promise<void>;
}

/** `ninep serve` against diod, under the same client. */
export async function benchServer({ pairs, only }: { pairs: number; only: RegExp }): Promise<Comparison[]> {
  const directory = new TemporaryDirectory('bench');
  writeFileSync(directory.join('large'), Buffer.alloc(SIZE));
  const many = directory.join('many');
  mkdirSync(many);
  for (let index = 0; index < 10_000; index++) writeFileSync(`${many}/entry-${index}`, '');
  const ours = await serve(`${directory.path},aname=x,security_model=passthrough`);
  const theirs = await diod(directory.path);
  const options = { polled: true };
  const peers: Peer[] = [
    { name: 'ninep serve', connect: (msize) => connect(ours.address('x'), { ...options, msize }), stop: () => ours.stop() },
    { name: 'diod', connect: (msize) => connect(theirs.address(), { ...options, msize }), stop: () => theirs.stop() },
  ];
  const comparisons: Comparison[] = [];
  const row = async (what: string, msize: number, work: (clients: Client[]) => Promise<number>, connections = 1) => {
    if (!only.test(what)) return;
    const clients = await Promise.all(
      peers.map(({ connect: open }) => Promise.all(Array.from({ length: connections }, () => open(msize)))),
    );
    const [a, b] = peers.map(({ name }, index) => [name, () => work(clients[index] as Client[])] as [string, () => Promise<number>]);
    const comparison = await compare(what, a as [string, () => Promise<number>], b as [string, () => Promise<number>], pairs);
    comparisons.push(comparison);
    console.error(`${what}: ${comparison.ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`);
    for (const client of clients.flat()) await client.close();
  };
  const each = (clients: Client[], work: (client: Client) => Promise<unknown>) => seconds(() => Promise.all(clients.map(work)));
  try {
    for (const [name, msize] of [
      ['64 KiB', 65536],
      ['the largest msize', MIB + 24],
    ] as const) {
      for (const connections of [1, 4]) {
        const among = connections === 1 ? '' : `, ${connections} connections`;
        await row(
          `read 256 MiB, ${name}${among}`,
          msize,
          (clients) => each(clients, (client) => stream(client, 'read', SIZE / connections)),
          connections,
        );
        await row(
          `write 256 MiB, ${name}${among}`,
          msize,
          (clients) => each(clients, (client) => stream(client, 'write', SIZE / connections)),
          connections,
        );
      }
    }
    for (const inFlight of [1, 8, 32]) {
      await row(`10,000 getattr, ${inFlight} in flight`, 65536, (clients) =>
        each(clients, async (client) => {
          await using fid = await client.root.walk(['large']);
          await repeat(10_000, inFlight, () => fid.getattr());
        }),
      );
      await row(`10,000 walk and clunk, ${inFlight} in flight`, 65536, (clients) =>
        each(clients, (client) => repeat(10_000, inFlight, async () => (await client.root.walk(['large'])).clunk())),
      );
    }
    await row('readdir of 10,000 entries', 65536, (clients) =>
      each(clients, async (client) => {
        await using fid = await client.root.walk(['many']);
        await fid.open(0);
        let count = 0;
        for await (const _entry of fid.entries()) count++;
        if (count !== 10_000) throw new Error(`${count} entries`);
      }),
    );
  } finally {
    for (const { stop } of peers) await stop();
    directory.remove();
  }
  return comparisons;
}

async function stream(client: Client, way: 'read' | 'write', bytes: number): Promise<void> {
  await using fid: Fid = await client.root.walk(['large']);
  await fid.open(way === 'read' ? 0 : 1);
  const buffer = new Uint8Array(8 * MIB);
  for (let at = 0; at < bytes; at += buffer.length) {
    if (way === 'read') await fid.read(buffer, at);
    else await fid.write(buffer, at);
  }
}

/** Does `work` so many times, with so many under way at once. */
async function repeat(count: number, inFlight: number, work: () => Promise<unknown>): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}
