import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { connect } from '../../lib/client/connect.js';
import type { Fid } from '../../lib/client/fid.js';
import {
  AT_REMOVEDIR,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_WRONLY,
  LOCK_SUCCESS,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../lib/protocol/constants.js';
import { ConnectionLostError, ErrnoError, ProtocolError } from '../../lib/protocol/error.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/session.js';
import { listen } from '../../lib/transport/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import type { Receiver, Transport } from '../../lib/transport/transport.js';
import { codeOf, ending } from '../support/outcome.js';
import { type FaultProxy, startProxy } from '../support/proxy.js';
import { Random } from '../support/random.js';
import { TemporaryDirectory } from '../support/temporary.js';

const ALL = process.env['NINEP_REQUIRE'] === 'all';
vi.setConfig({ testTimeout: 600_000 });

/** How long one of the many things that are tried may take, in ms. */
const PATIENCE = 120_000;

const lines = ['first\n', 'same\n', 'same\n'];
const owner = { procId: 7, clientId: 'faults' };

/** One of everything, each answer looked at. Leaves a tree that `expectTree` knows. */
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
    expect(await file.write(Buffer.from('hello, world'), 0)).toBe(12);
    expect(await file.lock({ type: LOCK_TYPE_WRLCK, start: 0, length: 5, ...owner }, 0)).toBe(LOCK_SUCCESS);
    await root.renameat('d', root, 'e');
    await directory.setxattr('user.colour', Buffer.from('blue'));
    expect(Buffer.from(await directory.getxattr('user.colour')).toString()).toBe('blue');
    expect(await directory.listxattr()).toEqual(['user.colour']);
    const back = Buffer.alloc(20);
    expect(await file.read(back, 7)).toBe(5);
    expect(back.toString('utf8', 0, 5)).toBe('world');
    await directory.link('hard', file);
    await directory.symlink('soft', 'file', 0);
    await directory.mknod('fifo', 0o010600, 0, 0, 0);
    const soft = await walked('e', 'soft');
    expect(await soft.readlink()).toBe('file');
    fids.splice(fids.indexOf(soft), 1);
    await soft.clunk();
    const listing = await walked('e');
    await listing.open(L_O_RDONLY | L_O_DIRECTORY);
    const names: string[] = [];
    for await (const { name } of listing.entries()) names.push(name);
    expect(names.sort()).toEqual(['fifo', 'file', 'hard', 'soft']);
    await directory.unlinkat('soft');
    await directory.renameat('hard', directory, 'fifo');
    const log = await walked();
    await log.create('log', L_O_WRONLY | L_O_APPEND | L_O_CREAT, 0o600, 0);
    for (const line of lines) expect(await log.write(Buffer.from(line), 0)).toBe(line.length);
    await file.setattr({ size: 5 });
    await file.fsync();
    expect((await file.getattr()).size).toBe(5);
    expect((await file.getattr()).nlink).toBe(2);
    expect(await file.lock({ type: LOCK_TYPE_UNLCK, start: 0, length: 0, ...owner }, 0)).toBe(LOCK_SUCCESS);
    expect((await root.statfs()).namelen).toBeGreaterThan(0);
    expect(await codeOf(root.walk(['nothing']))).toBe('ENOENT');
    await root.mkdir('gone', 0o700, 0);
    await root.unlinkat('gone', AT_REMOVEDIR);
    const again = await walked('e', 'fifo');
    fids.splice(fids.indexOf(again), 1);
    await again.remove();
  } finally {
    await Promise.allSettled(fids.map((fid) => fid.clunk()));
  }
}

/** What the dialogue leaves, seen through a connection without faults. */
async function expectTree(server: Server): Promise<void> {
  const client = await attached(server, []);
  const read = async (...names: string[]) => {
    const fid = await client.root.walk(names);
    await fid.open(L_O_RDONLY);
    const buffer = Buffer.alloc(100);
    const count = await fid.read(buffer, 0);
    await fid.clunk();
    return buffer.toString('utf8', 0, count);
  };
  const names = async (...at: string[]) => {
    const fid = await client.root.walk(at);
    await fid.open(L_O_RDONLY);
    const found: string[] = [];
    for await (const { name } of fid.entries()) found.push(name);
    await fid.clunk();
    return found.sort();
  };
  expect(await names()).toEqual(['e', 'log']);
  expect(await names('e')).toEqual(['file']);
  expect(await read('e', 'file')).toBe('hello');
  expect(await read('log')).toBe(lines.join(''));
  await client.close();
}

/** Bytes that pass before a connection is cut. */
interface Cut {
  toServer?: number;
  toClient?: number;
}

/** A client over connections in memory: the first is cut by the first of `cuts`, and so on; then they hold. */
async function attached(server: Server, cuts: readonly Cut[], retry = 0, totals?: Required<Cut>): Promise<Client> {
  let dialled = 0;
  const dial = () => {
    const [near, far] = memoryPair();
    server.serve(far);
    return Session.open(new CutTransport(near, cuts[dialled++] ?? {}, totals), { msize: 8192 });
  };
  const client = new Client(await dial(), { redial: dial, retry });
  try {
    await client.attach();
  } catch (error) {
    client.destroy();
    throw error;
  }
  return client;
}

/** Lets so many bytes pass in either direction, to the byte, and then neither end hears of the other again. */
class CutTransport implements Transport, Receiver {
  readonly name = 'cut:';
  readonly #inner: Transport;
  readonly #totals: Required<Cut> | undefined;
  #toServer: number;
  #toClient: number;
  #receiver: Receiver | undefined;
  readonly #staging = new Uint8Array(64 * 1024);

  constructor(inner: Transport, { toServer = Number.POSITIVE_INFINITY, toClient = Number.POSITIVE_INFINITY }: Cut, totals?: Required<Cut>) {
    this.#inner = inner;
    this.#toServer = toServer;
    this.#toClient = toClient;
    this.#totals = totals;
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#inner.start(this);
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#receiver === undefined) return false;
    const bytes = Buffer.concat(parts);
    if (this.#totals !== undefined) this.#totals.toServer += bytes.length;
    const passing = bytes.subarray(0, this.#toServer);
    this.#toServer -= passing.length;
    if (passing.length === bytes.length) return this.#inner.send([passing], sent);
    if (passing.length > 0) this.#inner.send([passing]);
    this.#cut();
    return false;
  }

  #cut(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    this.#receiver = undefined;
    void this.#inner.close();
    setImmediate(() => receiver.closed(new Error('cut')));
  }

  target(): Uint8Array {
    return this.#staging;
  }

  filled(count: number): void {
    this.push(this.#staging.subarray(0, count));
  }

  push(chunk: Uint8Array): void {
    if (this.#totals !== undefined) this.#totals.toClient += chunk.length;
    const passing = chunk.subarray(0, this.#toClient);
    this.#toClient -= passing.length;
    if (passing.length > 0) this.#receiver?.push(passing);
    if (passing.length < chunk.length) this.#cut();
  }

  drained(): void {
    this.#receiver?.drained();
  }

  closed(error?: Error): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.closed(error);
  }

  pause(): void {
    this.#inner.pause();
  }

  resume(): void {
    this.#inner.resume();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  destroy(error?: Error): void {
    this.#inner.destroy(error);
  }
}

function served(): Server {
  return new Server({ exports: { '/': new MemoryBackend() } });
}

/** Nothing of what was lost is left on the server. */
async function expectIdle(server: Server): Promise<void> {
  await expect.poll(() => server.status(), { timeout: 60_000, interval: 2 }).toMatchObject({ connections: 0, fids: 0, pending: 0 });
  expect(server.buffersLent).toBe(0);
}

/** How many bytes the dialogue takes when nothing is cut. */
async function sizes(): Promise<Required<Cut>> {
  await using server = served();
  const totals = { toServer: 0, toClient: 0 };
  const client = await attached(server, [], 0, totals);
  await dialogue(client);
  expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  await client.close();
  await expectTree(server);
  return totals;
}

/** All of 0…total−1, or a seeded choice. */
function offsets(total: number, random: Random, count: number): number[] {
  if (ALL) return Array.from({ length: total }, (_, index) => index);
  return Array.from({ length: count }, (_, index) =>
    random.integer(Math.floor((total * index) / count), Math.floor((total * (index + 1)) / count) - 1),
  );
}

/** A few at a time: each waits more than it works. */
async function many<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await work(item);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

describe('a dialogue that is cut at any byte', () => {
  const directions = ['toServer', 'toClient'] as const;

  it.each(directions)('%s: goes on as if nothing had been, and leaves nothing behind', async (direction) => {
    const random = new Random();
    const totals = await sizes();
    console.log(`seed ${random.seed}, ${totals[direction]} bytes ${direction}`);
    await many(offsets(totals[direction], random, 120), async (offset) => {
      // The second connection may be cut while fids are made again.
      const second = random.oneIn(3) ? { [random.pick(directions)]: random.integer(0, 600) } : {};
      const cuts: Cut[] = [{ [direction]: offset }, second];
      await using server = served();
      let client: Client | undefined;
      try {
        client = await attached(server, cuts, 60);
      } catch (error) {
        // Before there was a session nothing is to be recovered.
        expect(error, String(error)).toBeInstanceOf(ConnectionLostError);
        await expectIdle(server);
        return;
      }
      try {
        await ending(dialogue(client), PATIENCE);
        expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
        expect(client.session.counters).toMatchObject({ inFlight: 0, waiting: 0 });
        expect(client.recovery?.casualties).toBe(0);
        await expectTree(server);
      } catch (error) {
        throw new Error(`cut ${JSON.stringify(cuts)}, seed ${random.seed}: ${error instanceof Error ? error.stack : error}`);
      } finally {
        client.destroy();
      }
      await expectIdle(server);
    });
  });

  it.each(directions)('%s: without recovery it ends with a clear error, and leaves nothing behind', async (direction) => {
    const random = new Random();
    const totals = await sizes();
    await many(offsets(totals[direction], random, 60), async (offset) => {
      await using server = served();
      const error: unknown = await (async () => {
        const client = await attached(server, [{ [direction]: offset }]);
        try {
          await dialogue(client);
        } finally {
          await expect(client.root.getattr()).rejects.toBeInstanceOf(ConnectionLostError);
          client.destroy();
        }
      })().then(
        () => undefined,
        (problem: unknown) => problem,
      );
      // A cut inside the last clunks is nobody's error.
      if (error !== undefined)
        expect(error, `cut at ${offset} ${direction}, seed ${random.seed}: ${error}`).toBeInstanceOf(ConnectionLostError);
      await expectIdle(server);
    });
  });
});

describe('a bad network', () => {
  let directory: TemporaryDirectory;
  let server: Server;
  let proxy: FaultProxy;
  let random: Random;

  beforeEach(async () => {
    directory = new TemporaryDirectory('faults');
    server = served();
    random = new Random();
    await server.listen((accept) => listen(`unix:${directory.join('socket')}`, accept));
    proxy = await startProxy({ upstream: { path: directory.join('socket') }, seed: random.seed });
  });
  afterEach(async () => {
    await proxy.close();
    await server.close();
    directory.remove();
  });

  const seed = () => `seed ${random.seed}`;
  const descriptors = () => readdirSync('/proc/self/fd').length;

  async function goesRight(): Promise<void> {
    const client = await connect(proxy.address, { retry: 60 });
    try {
      await dialogue(client);
      expect(client.fidCount, seed()).toEqual({ alive: 1, numbers: 1 });
      expect(client.recovery?.losses, seed()).toBe(0);
      await expectTree(server);
    } finally {
      await client.close();
    }
    await expectIdle(server);
  }

  it('in single bytes, and in pieces of any size', async () => {
    Object.assign(proxy.toServer, { chunk: 1 });
    Object.assign(proxy.toClient, { randomChunk: 3 });
    await goesRight();
  });

  it('slowly', async () => {
    Object.assign(proxy.toServer, { delay: 3 });
    Object.assign(proxy.toClient, { delay: 7, randomChunk: 200 });
    await goesRight();
  });

  it('while others come and go, and come and say nothing', async () => {
    const before = descriptors();
    const silent = await Promise.all(Array.from({ length: 20 }, () => connect(proxy.address)));
    const coming = (async () => {
      for (let round = 0; round < 50; round++) {
        const client = await connect(proxy.address);
        if (round % 2 === 0) client.destroy();
        else await client.close();
      }
    })();
    const client = await connect(proxy.address, { retry: 60 });
    await dialogue(client);
    await coming;
    for (const one of silent) one.destroy();
    await client.close();
    await expectTree(server);
    await expectIdle(server);
    // The proxy lives in this process too, and is told of ends later.
    await expect.poll(descriptors, { timeout: 60_000 }).toBeLessThanOrEqual(before + 2);
  });

  it.each(['toServer', 'toClient'] as const)('that swallows all %s without a word: silence counts as loss', async (direction) => {
    const client = await connect(proxy.address, { retry: 60, silence: 1 });
    await client.root.mkdir('before', 0o755, 0);
    proxy[direction].swallow = true;
    const asked = client.root.getattr();
    // What is lost on this connection stays lost; the next ones are well.
    await expect.poll(() => client.recovery?.losses, { timeout: 60_000 }).toBeGreaterThan(0);
    delete proxy[direction].swallow;
    expect((await asked).nlink).toBeGreaterThan(0);
    await client.root.unlinkat('before', AT_REMOVEDIR);
    await client.close();
  });

  it('that stands still for longer than is patient, and then goes on', async () => {
    const client = await connect(proxy.address, { retry: 60, silence: 0.5 });
    proxy.toServer.stall = true;
    const asked = dialogue(client);
    await expect.poll(() => client.recovery?.losses, { timeout: 60_000 }).toBeGreaterThan(0);
    delete proxy.toServer.stall;
    await asked;
    // What stood still may reach the server by the old connection after it was asked again by the new one, and renamed: a second Tmkdir of d.
    const late = await connect(proxy.address);
    await late.root.unlinkat('d', AT_REMOVEDIR).catch((error: NodeJS.ErrnoException) => expect(error.code).toBe('ENOENT'));
    await late.close();
    await expectTree(server);
    await client.close();
  });

  it('that flips bits: whatever comes of it, it ends, with nothing left and no error but a known one', async () => {
    console.log(seed());
    for (let round = 0; round < (ALL ? 200 : 30); round++) {
      const toServer = random.oneIn(2);
      const faults = toServer ? proxy.toServer : proxy.toClient;
      faults.flipOneIn = random.integer(100, 4000);
      let client: Client | undefined;
      try {
        client = await connect(proxy.address, { retry: 5, timeout: 1000, silence: 1 });
        await dialogue(client);
      } catch (error) {
        const known =
          error instanceof ErrnoError ||
          error instanceof ConnectionLostError ||
          error instanceof ProtocolError ||
          (error as NodeJS.ErrnoException).code === 'ETIMEDOUT' ||
          // What the dialogue expected is not what it got.
          (error as Error).name === 'AssertionError';
        expect(known, `${seed()}, round ${round}: ${(error as Error).stack}`).toBe(true);
      } finally {
        delete faults.flipOneIn;
        client?.destroy();
      }
      await expectIdle(server);
    }
    // The server is as well as before.
    const client = await connect(proxy.address);
    await client.root.getattr();
    await client.close();
  });
});
