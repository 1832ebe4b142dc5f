import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it, vi } from 'vitest';
import { Bridge, Link } from '../../lib/bridge/index.js';
import { Client } from '../../lib/client/client.js';
import type { Fid } from '../../lib/client/fid.js';
import {
  AT_REMOVEDIR,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  LOCK_SUCCESS,
  LOCK_TYPE_WRLCK,
  NOTAG,
} from '../../lib/protocol/constants.js';
import { ConnectionLostError, ErrnoError, ProtocolError } from '../../lib/protocol/error.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/session.js';
import { dial, listen } from '../../lib/transport/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { codeOf, ending } from '../support/outcome.js';
import { startProxy } from '../support/proxy.js';
import { Random } from '../support/random.js';
import { RawPeer } from '../support/raw-peer.js';
import { Relay, type RelayFaults } from '../support/relay.js';
import { sized } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 600_000 });

/** How long one of the many things that are tried may take, in ms. */
const PATIENCE = 100_000;

const directions = ['toFar', 'toNear'] as const;
type Direction = (typeof directions)[number];

/** Every kind of thing that a conversation does, each answer looked at. Leaves a tree that `expectTree` knows. */
async function dialogue(client: Client): Promise<void> {
  const { root } = client;
  await root.mkdir('d', 0o755, 0);
  const fids: Fid[] = [];
  const walked = async (...names: string[]) => {
    const fid = await root.walk(names);
    fids.push(fid);
    return fid;
  };
  try {
    const directory = await walked('d');
    const file = await walked('d');
    await file.create('file', L_O_RDWR | L_O_CREAT | L_O_EXCL, 0o644, 0);
    await Promise.all(['hello', ', wor', 'ld'].map((part, index) => file.write(Buffer.from(part), index * 5)));
    const lock = { type: LOCK_TYPE_WRLCK, start: 0, length: 5, procId: 7, clientId: 'faults' };
    expect(await file.lock(lock, 0)).toBe(LOCK_SUCCESS);
    await root.renameat('d', root, 'e');
    await directory.setxattr('user.colour', Buffer.from('blue'));
    expect(Buffer.from(await directory.getxattr('user.colour')).toString()).toBe('blue');
    const back = Buffer.alloc(20);
    expect(await file.read(back, 7)).toBe(5);
    expect(back.toString('utf8', 0, 5)).toBe('world');
    await directory.symlink('soft', 'file', 0);
    expect(await (await walked('e', 'soft')).readlink()).toBe('file');
    const listing = await walked('e');
    await listing.open(L_O_RDONLY | L_O_DIRECTORY);
    const names: string[] = [];
    for await (const { name } of listing.entries()) names.push(name);
    expect(names.sort()).toEqual(['file', 'soft']);
    await directory.unlinkat('soft');
    await file.setattr({ size: 5 });
    expect((await file.getattr()).size).toBe(5);
    expect(await codeOf(root.walk(['nothing']))).toBe('ENOENT');
    await root.mkdir('gone', 0o700, 0);
    await root.unlinkat('gone', AT_REMOVEDIR);
  } finally {
    await Promise.allSettled(fids.map((fid) => fid.clunk()));
  }
}

/** What the dialogue leaves, seen without faults. */
async function expectTree(server: Server): Promise<void> {
  const [near, far] = memoryPair();
  server.serve(far);
  const client = new Client(await Session.open(near));
  await client.attach();
  const entries = async (...at: string[]) => {
    const fid = await client.root.walk(at);
    await fid.open(L_O_RDONLY);
    const found: string[] = [];
    for await (const { name } of fid.entries()) found.push(name);
    await fid.clunk();
    return found;
  };
  expect(await entries()).toEqual(['e']);
  expect(await entries('e')).toEqual(['file']);
  const file = await client.root.walk(['e', 'file']);
  await file.open(L_O_RDONLY);
  const buffer = Buffer.alloc(100);
  expect(buffer.toString('utf8', 0, await file.read(buffer, 0))).toBe('hello');
  await file.clunk();
  await client.close();
}

/** As expect.poll, which holds on to what it has polled until its test ends; here that would be thousands of servers. */
async function becomes(actual: () => unknown, expected: object): Promise<void> {
  for (const end = performance.now() + 60_000; ; await delay(2)) {
    try {
      expect(await actual()).toMatchObject(expected);
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

/** Nothing of what was lost is left. */
async function expectIdle(server: Server): Promise<void> {
  await becomes(() => server.status(), { connections: 0, fids: 0, pending: 0 });
  expect(server.buffersLent).toBe(0);
}

function served(): Server {
  return new Server({ exports: { '/': new MemoryBackend() } });
}

/** Two links whose streams a relay carries, each with a tree of its own and a client in the other's. */
class Ends {
  readonly servers: [Server, Server] = [served(), served()];
  readonly near: Link;
  readonly far: Link;
  readonly relays: Relay[] = [];
  clients: Client[] = [];

  /** `relay` makes the connection that is dialled as the nth. */
  constructor(relay: (nth: number) => Relay = () => new Relay()) {
    const patience = 100;
    this.far = new Link({ server: this.servers[1], patience });
    this.near = new Link({
      server: this.servers[0],
      patience,
      dial: async () => {
        const one = relay(this.relays.length);
        this.relays.push(one);
        this.far.take(one.far);
        return one.near;
      },
    });
  }

  /** A client of `link`'s peer. */
  async attached(link: Link, options: { retry: number; silence?: number }): Promise<Client> {
    const redial = (signal: AbortSignal) => link.openSession({ signal, msize: 8192 });
    const client = new Client(await redial(AbortSignal.timeout(60_000)), { redial, ...options });
    this.clients.push(client);
    await client.attach();
    return client;
  }

  async attach(options: { retry: number; silence?: number }): Promise<void> {
    await Promise.all([this.near, this.far].map((link) => this.attached(link, options)));
  }

  /** Both sides at work, as if there were no faults. */
  async work(): Promise<void> {
    await Promise.all(this.clients.map(dialogue));
    for (const client of this.clients) {
      await becomes(() => client.fidCount, { alive: 1, numbers: 1 });
      // Who waits long asks whether the server is still there, and has its answer by and by.
      await becomes(() => client.session.counters, { inFlight: 0, waiting: 0 });
      expect(client.recovery?.casualties).toBe(0);
    }
    for (const server of this.servers) await expectTree(server);
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.destroy();
    await Promise.all([this.near.close(), this.far.close()]);
    for (const server of this.servers) await expectIdle(server);
    await Promise.all(this.servers.map((server) => server.close()));
  }
}

async function attached(link: Link): Promise<Client> {
  const client = new Client(await link.openSession({ signal: AbortSignal.timeout(60_000) }));
  await client.attach();
  return client;
}

/** How many bytes both dialogues take when nothing happens to them. */
async function sizes(): Promise<Record<Direction, number>> {
  const ends = new Ends();
  await ends.attach({ retry: 60 });
  await ends.work();
  const { passed } = ends.relays[0] as Relay;
  const total = { ...passed };
  await ends.close();
  return total;
}

/** A seeded choice of 0…total−1: `count`, or where nothing may be skipped `most`, which is all of them if nobody says otherwise. */
function offsets(total: number, random: Random, count: number, most = total): number[] {
  const many = Math.min(total, sized('NINEP_CUTS', most, count));
  return Array.from({ length: many }, (_, index) => {
    const low = Math.floor((total * index) / many);
    return random.integer(low, Math.floor((total * (index + 1)) / many) - 1);
  });
}

/** A few at a time: each waits more than it works. What fails says with which item, and the seed. */
async function many<T>(items: readonly T[], random: Random, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      try {
        await ending(work(item), PATIENCE);
      } catch (error) {
        throw new Error(`${JSON.stringify(item)}, seed ${random.seed}: ${error instanceof Error ? error.stack : error}`);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

/** A first connection with faults; those that follow have none. */
function first(faults: Partial<Record<Direction, RelayFaults>>): (nth: number) => Relay {
  return (nth) => (nth === 0 ? new Relay(faults.toFar, faults.toNear) : new Relay());
}

describe('both sides at work over a stream', () => {
  it.each(directions)('that is cut at any byte %s: both go on as if nothing had been', async (direction) => {
    const random = new Random();
    const total = (await sizes())[direction];
    const cuts = offsets(total, random, 40).map((at) => ({ at, second: random.oneIn(3) ? random.integer(0, 800) : undefined }));
    await many(cuts, random, async ({ at, second }) => {
      const ends = new Ends((nth) => {
        const cutAfter = [at, second][nth];
        const faults: RelayFaults = cutAfter === undefined ? {} : { cutAfter };
        return direction === 'toFar' ? new Relay(faults) : new Relay({}, faults);
      });
      await ends.attach({ retry: 60 });
      await ends.work();
      await ends.close();
    });
  });

  it.each(directions)('that is cut at any byte %s: without recovery both end with a clear error', async (direction) => {
    const random = new Random();
    const total = (await sizes())[direction];
    await many(offsets(total, random, 24), random, async (cutAfter) => {
      const relay = first({ [direction]: { cutAfter } })(0);
      const servers = [served(), served()] as const;
      const bridges = [new Bridge(relay.near, { server: servers[0] }), new Bridge(relay.far, { server: servers[1] })];
      const outcomes = await Promise.allSettled(
        bridges.map(async (bridge) => {
          const client = new Client(await bridge.openSession({ msize: 8192 }));
          await client.attach();
          await dialogue(client);
          await bridge.done;
          await client.root.getattr();
        }),
      );
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected' });
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ConnectionLostError);
      }
      for (const server of servers) await expectIdle(server);
      for (const bridge of bridges) await bridge.close();
    });
  });

  it.each([
    ['in single bytes', () => new Relay({}, {}, { chunk: 1 })],
    ['in pieces of any size', (random: Random) => new Relay({}, {}, { randomChunk: 20, random })],
    ['slowly', (random: Random) => new Relay({ delay: 2 }, { delay: 5 }, { randomChunk: 400, random })],
  ] as const)('that carries it %s', async (_, relay) => {
    const random = new Random();
    await many([random.seed], random, async () => {
      const ends = new Ends(() => relay(random));
      await ends.attach({ retry: 60 });
      await ends.work();
      expect(ends.relays).toHaveLength(1);
      await ends.close();
    });
  });

  it.each([['toFar'], ['toNear'], ['toFar', 'toNear']] as const)(
    'that falls silent at any byte, %s %s: another connection is made, and both go on',
    async (...silent) => {
      const random = new Random();
      const total = (await sizes())[silent[0]];
      await many(offsets(total, random, 12, 200), random, async (at) => {
        const faults: Partial<Record<Direction, RelayFaults>> = {};
        for (const direction of silent) faults[direction] = { swallowAfter: at };
        const ends = new Ends(first(faults));
        await ends.attach({ retry: 60, silence: 0.2 });
        await ends.work();
        await ends.close();
      });
    },
  );

  it('to whose listening side others connect: they are turned away, and who is at work stays', async () => {
    const ends = new Ends();
    await ends.attach({ retry: 60 });
    const intruders: RawPeer[] = [];
    let working = true;
    const coming = (async () => {
      while (working && intruders.length < 5) {
        await Promise.all(ends.clients.map((client) => client.root.getattr()));
        const [theirs, ours] = memoryPair();
        const intruder = new RawPeer(theirs);
        intruders.push(intruder);
        ends.far.take(ours);
        if (intruders.length % 3 === 0) intruder.send(new Uint8Array(100).fill(intruders.length));
        if (intruders.length % 3 === 1) await Promise.race([intruder.attach(), intruder.closed]);
      }
    })();
    await ends.work();
    working = false;
    await coming;
    await Promise.all(ends.clients.map((client) => client.root.getattr()));
    expect(ends.relays.length).toBe(1);
    await ends.close();
    await Promise.all(intruders.map(({ closed }) => closed));
  });

  it.each(directions)('in which a bit flips %s: whatever comes of it ends, and the link is whole again', async (direction) => {
    const random = new Random();
    const total = (await sizes())[direction];
    const flips = offsets(total, random, 40, 400).map((at) => at * 8 + random.integer(0, 7));
    await many(flips, random, async (flip) => {
      const ends = new Ends(first({ [direction]: { flip } }));
      const outcomes = await Promise.allSettled(
        [ends.near, ends.far].map(async (link) => dialogue(await ends.attached(link, { retry: 2, silence: 0.2 }))),
      );
      for (const outcome of outcomes) if (outcome.status === 'rejected') expectClear(outcome.reason);
      const relay = ends.relays[0] as Relay;
      relay.toFar.flip = relay.toNear.flip = undefined;
      for (const client of ends.clients) {
        // What a client believes of a tree may be wrong from now on; but there is a conversation, and it is answered.
        const alive = () => client.session.request('Tflush', { oldtag: NOTAG }).then(() => client.session.counters);
        await becomes(alive, { inFlight: 0, waiting: 0 });
        expect(client.fidCount.alive).toBeLessThanOrEqual(1);
      }
      await ends.close();
    });
  });

  /** What a bit that flipped may lead to: errors of the protocol, of the server, of the connection; or an answer that is not the one expected. */
  function expectClear(error: unknown): void {
    const known = [ErrnoError, ProtocolError, ConnectionLostError].some((kind) => error instanceof kind);
    const other = error instanceof Error && (error.name === 'AssertionError' || error.name === 'AbortError');
    expect(known || other, String(error instanceof Error ? error.stack : error)).toBe(true);
  }
});

it('descriptors and buffers are back to the start after any number of connections', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const left = () => {
    collect();
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  const directory = new TemporaryDirectory('bridge');
  const path = directory.join('socket');
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const servers = [served(), served()] as const;
  const far = new Link({ server: servers[1] });
  const listener = await listen(`unix:${path}`, (transport) => far.take(transport));
  const proxy = await startProxy({ upstream: { path } });
  const near = new Link({ server: servers[0], dial: (signal) => dial(proxy.address, { signal }) });
  try {
    const round = async () => {
      const clients = await Promise.all([attached(near), attached(far)]);
      await Promise.all(clients.map((client) => client.root.walk(['nothing']).catch(() => undefined)));
      const lost = clients.map(({ session }) => new Promise((resolve) => session.onClosed(resolve)));
      proxy.cut();
      await Promise.all(lost);
    };
    for (let index = 0; index < 5; index++) await round();
    const before = { descriptors: descriptors(), buffers: left() };
    const rounds = sized('NINEP_CONNECTIONS', 500, 50);
    for (let index = 0; index < rounds; index++) await round();
    await expect.poll(descriptors).toBeLessThanOrEqual(before.descriptors);
    await expect.poll(left).toBeLessThan(before.buffers + (1 << 20));
  } finally {
    await near.close();
    await far.close();
    await proxy.close();
    await listener.close();
    directory.remove();
  }
  for (const server of servers) await expectIdle(server);
});
