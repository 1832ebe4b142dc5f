import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Bridge, Link, ResyncTransport } from '../../lib/bridge/index.js';
import { Client } from '../../lib/client/client.js';
import { Codec } from '../../lib/protocol/codec.js';
import { L_O_CREAT, L_O_RDWR, NOTAG } from '../../lib/protocol/constants.js';
import { Framer } from '../../lib/protocol/framer.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/session.js';
import { listen } from '../../lib/transport/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import type { Receiver } from '../../lib/transport/transport.js';
import { turns } from '../contracts/transport.js';
import { startProxy } from '../support/proxy.js';
import { Random } from '../support/random.js';
import { TemporaryDirectory } from '../support/temporary.js';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function served(): Server {
  const server = new Server({ exports: { '/': new MemoryBackend() } });
  cleanups.push(() => server.close());
  return server;
}

async function attached(session: Promise<Session>): Promise<Client> {
  const client = new Client(await session);
  await client.attach();
  return client;
}

/** A file of `size` bytes written and read back, over and over, until `rounds` are done. */
async function work(client: Client, name: string, rounds: number, size: number): Promise<void> {
  const fid = await client.root.clone();
  await fid.create(name, L_O_RDWR | L_O_CREAT, 0o644, 0);
  const back = Buffer.alloc(size);
  for (let round = 0; round < rounds; round++) {
    const data = Buffer.alloc(size, round + 1);
    await fid.write(data, 0);
    expect(await fid.read(back, 0)).toBe(size);
    expect(back.equals(data)).toBe(true);
  }
  await fid.clunk();
}

describe('two bridges', () => {
  function pair(chunk?: number): [Bridge, Bridge] {
    const [near, far] = memoryPair({ backlog: 256 * 1024, ...(chunk === undefined ? {} : { chunk }) });
    const bridges: [Bridge, Bridge] = [new Bridge(near, { server: served() }), new Bridge(far, { server: served() })];
    cleanups.push(() => bridges[0].destroy());
    return bridges;
  }

  it.each([1, 13, undefined])('work in the tree of each other (pieces of %s bytes)', async (chunk) => {
    const [here, there] = pair(chunk);
    const [a, b] = await Promise.all([attached(here.openSession()), attached(there.openSession())]);
    await Promise.all([work(a, 'a', 2, 3000), work(b, 'b', 2, 3000)]);
    const names = async (client: Client) => {
      await using root = await client.root.clone();
      await root.open(0);
      const found: string[] = [];
      for await (const { name } of root.entries()) found.push(name);
      return found;
    };
    expect(await names(a)).toEqual(['a']);
    expect(await names(b)).toEqual(['b']);
  });

  it('do not lock up when both write and read far more than fits on the way', async () => {
    const [here, there] = pair();
    const [a, b] = await Promise.all([attached(here.openSession()), attached(there.openSession())]);
    const size = 12 << 20;
    await Promise.all([...['1', '2', '3'].flatMap((name) => [work(a, name, 2, size), work(b, name, 2, size)])]);
  });

  it('let a small request through a flood of large ones', async () => {
    const [here, there] = pair();
    const [a, b] = await Promise.all([attached(here.openSession()), attached(there.openSession())]);
    let flooding = true;
    const flood = (async () => {
      while (flooding) await Promise.all(['x', 'y', 'z'].map((name, index) => work(a, `${name}${index}${performance.now()}`, 1, 8 << 20)));
    })();
    for (let index = 0; index < 50; index++) await b.root.getattr();
    flooding = false;
    await flood;
  });

  it('begin a conversation anew on the same stream', async () => {
    const [here] = pair();
    const first = await attached(here.openSession());
    const waiting = first.root.getattr();
    await waiting;
    const second = await attached(here.openSession());
    await expect(first.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await second.root.getattr();
  });
});

describe('a peer that begins anew', () => {
  /** A bridge, and by hand what its peer says and hears. */
  function byHand() {
    const codec = new Codec();
    const [near, far] = memoryPair();
    let restarts = 0;
    const bridge = new Bridge(near, { server: served(), onPeerRestart: () => restarts++ });
    cleanups.push(() => bridge.destroy());
    const heard: number[] = [];
    const framer = new Framer({ frame: (frame) => heard.push(frame[4] as number) }, 1 << 20);
    far.start({
      target: () => new Uint8Array(1),
      filled: () => {},
      push: (bytes) => framer.push(bytes),
      drained: () => {},
      closed: () => {},
    });
    const version = { msize: 8192, version: '9P2000.L' };
    return {
      bridge,
      restarts: () => restarts,
      hears: (type: number) => expect.poll(() => heard.filter((one) => one === type).length),
      say: {
        Tversion: () => far.send([codec.encode('Tversion', NOTAG, version)]),
        Rversion: () => far.send([codec.encode('Rversion', NOTAG, version)]),
        Rclunk: (tag: number) => far.send([codec.encode('Rclunk', tag, {})]),
      },
    };
  }

  it('ends our conversation, unless that is only just beginning', async () => {
    const { bridge, say, hears, restarts } = byHand();
    const opening = bridge.openSession();
    say.Tversion();
    await hears(101).toBe(1);
    say.Tversion();
    await hears(101).toBe(2);
    say.Rversion();
    const session = await opening;
    expect([session.lost, restarts()]).toEqual([undefined, 0]);
    const lost = new Promise((resolve) => session.onClosed(resolve));
    say.Tversion();
    expect(await lost).toMatchObject({ name: 'ConnectionLostError' });
    expect(restarts()).toBe(1);
  });

  it('answers what an earlier conversation had asked: nobody is told, and the new one goes on', async () => {
    const { bridge, say, hears } = byHand();
    const first = bridge.openSession();
    say.Rversion();
    const asked = (await first).request('Tclunk', { fid: 1 });
    await hears(120).toBe(1);
    const second = bridge.openSession();
    const third = bridge.openSession();
    await expect(asked).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await expect(second).rejects.toMatchObject({ name: 'ConnectionLostError' });
    say.Rclunk(0);
    say.Rclunk(1);
    // One answer for each Tversion.
    say.Rversion();
    say.Rversion();
    const session = await third;
    const last = session.request('Tclunk', { fid: 2 });
    await hears(120).toBe(2);
    say.Rclunk(0);
    await last;
    expect(session.lost).toBeUndefined();
  });
});

it('several clients share the conversation of a link, and go on together in the next one', async () => {
  const directory = new TemporaryDirectory('bridge');
  cleanups.push(() => directory.remove());
  const exports = { one: new MemoryBackend(), two: new MemoryBackend() };
  const far = new Link({ server: new Server({ exports }) });
  const listener = await listen(`unix:${directory.join('socket')}`, (transport) => far.take(transport));
  const proxy = await startProxy({ upstream: { path: directory.join('socket') } });
  const { dial } = await import('../../lib/transport/index.js');
  const near = new Link({ dial: (signal) => dial(proxy.address, { signal }) });
  cleanups.push(
    () => listener.close(),
    () => proxy.close(),
    () => near.close(),
    () => far.close(),
  );
  const redial = (signal: AbortSignal) => near.openSession({ signal });
  const clients: Client[] = [];
  for (const aname of ['one', 'two']) {
    const client = new Client(await redial(AbortSignal.timeout(30_000)), { redial, retry: 60, beside: clients[0] });
    await client.attach({ aname });
    clients.push(client);
  }
  const [one, two] = clients as [Client, Client];
  expect(two.session).toBe(one.session);
  for (let round = 1; round <= 3; round++) {
    await Promise.all([work(one, `one${round}`, 2, 100_000), work(two, `two${round}`, 2, 100_000)]);
    const names = (client: Client) =>
      client.root.clone().then(async (root) => {
        await root.open(0);
        const found: string[] = [];
        for await (const { name } of root.entries()) found.push(name);
        await root.clunk();
        return found;
      });
    expect(await names(one)).toHaveLength(round);
    expect((await names(two)).every((name) => name.startsWith('two'))).toBe(true);
    proxy.cut();
    await Promise.all([one.root.getattr(), two.root.getattr()]);
  }
  expect(one.recovery).toMatchObject({ losses: 3, recoveries: 3, casualties: 0 });
  expect(two.recovery).toMatchObject({ losses: 3, recoveries: 3, casualties: 0 });
  expect(one.fidCount).toEqual({ alive: 1, numbers: 2 });
});

it('a plain client and a plain server at the other end notice nothing', async () => {
  const [near, far] = memoryPair();
  const bridge = new Bridge(near, { server: served() });
  await using client = await attached(Session.open(far));
  await work(client, 'plain', 1, 100_000);

  const [left, right] = memoryPair();
  served().serve(right);
  const asking = new Bridge(left);
  await using other = await attached(asking.openSession());
  await work(other, 'plain', 1, 100_000);
  bridge.destroy();
});

it('a peer that asks where nothing is served, or breaks the framing, ends the stream', async () => {
  for (const bytes of [new Codec().encode('Tversion', NOTAG, { msize: 8192, version: '9P2000.L' }), new Uint8Array(7)]) {
    const [near, far] = memoryPair();
    const bridge = new Bridge(near);
    far.start({ target: () => new Uint8Array(1), filled: () => {}, push: () => {}, drained: () => {}, closed: () => {} });
    far.send([bytes]);
    expect(await bridge.done).toMatchObject({ code: 'EPROTO' });
  }
});

it('a link dials again, and clients on both of its sides go on', async () => {
  const directory = new TemporaryDirectory('bridge');
  cleanups.push(() => directory.remove());
  const socket = directory.join('socket');
  const far = new Link({ server: served() });
  const listener = await listen(`unix:${socket}`, (transport) => far.take(transport));
  cleanups.push(() => listener.close());
  const proxy = await startProxy({ upstream: { path: socket } });
  cleanups.push(() => proxy.close());
  const { dial } = await import('../../lib/transport/index.js');
  const near = new Link({ server: served(), dial: (signal) => dial(proxy.address, { signal }) });
  cleanups.push(() => near.close());
  cleanups.push(() => far.close());
  const clients = await Promise.all(
    [near, far].map(async (link) => {
      const redial = (signal: AbortSignal) => link.openSession({ signal });
      const client = new Client(await redial(AbortSignal.timeout(30_000)), { redial, retry: 60 });
      await client.attach();
      return client;
    }),
  );
  let cutting = true;
  const cuts = (async () => {
    for (let index = 0; index < 6 && cutting; index++) {
      await expect.poll(() => proxy.open, { timeout: 30_000 }).toBeGreaterThan(0);
      for (const client of clients) await client.root.getattr();
      proxy.cut();
    }
  })();
  await Promise.all(clients.map((client, index) => work(client, `file-${index}`, 12, 2 << 20)));
  cutting = false;
  await cuts;
  for (const client of clients) {
    expect(client.recovery?.recoveries).toBeGreaterThan(0);
    expect(client.recovery?.casualties).toBe(0);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  }
});

describe('closing', () => {
  /** A bridge that serves, and a client at its other end that whose requests have been taken, but whose answers do not all go on the way at once. */
  async function asked(server: Server) {
    const [near, far] = memoryPair({ backlog: 256 * 1024 });
    const bridge = new Bridge(near, { server });
    cleanups.push(() => bridge.destroy());
    const client = await attached(Session.open(far));
    const fid = await client.root.clone();
    await fid.create('file', L_O_RDWR | L_O_CREAT, 0o644, 0);
    const data = Buffer.alloc(512 * 1024, 7);
    await fid.write(data, 0);
    far.pause();
    const reads = Promise.allSettled([1, 2, 3].map(() => fid.read(Buffer.alloc(data.length), 0)));
    await turns();
    return { bridge, client, fid, reads, resume: () => far.resume(), size: data.length };
  }

  it('lets the peer have the answers to what it had asked', async () => {
    const { bridge, client, reads, resume, size } = await asked(served());
    const closing = bridge.close();
    expect(bridge.close()).toBe(closing);
    // Too late, and no reason to break off the rest.
    const late = Promise.allSettled([client.root.getattr()]);
    await turns();
    resume();
    for (const outcome of await reads) expect(outcome).toEqual({ status: 'fulfilled', value: size });
    await closing;
    expect(await bridge.done).toBeUndefined();
    expect(await late).toMatchObject([{ status: 'rejected', reason: { name: 'ConnectionLostError' } }]);
  });

  it('waits no longer for a peer that takes nothing than the server does', async () => {
    const server = new Server({ exports: { '/': new MemoryBackend() }, limits: { grace: 1 } });
    cleanups.push(() => server.close());
    const { bridge, reads } = await asked(server);
    const closing = bridge.close();
    await expect.poll(() => server.connections.length).toBe(0);
    bridge.destroy();
    await closing;
    for (const outcome of await reads) expect(outcome).toMatchObject({ status: 'rejected' });
    expect(server.buffersLent).toBe(0);
  });

  it('ends at once where nothing is served, or the peer has been turned away', async () => {
    const full = new Server({ limits: { maxConnections: 1 } });
    cleanups.push(() => full.close());
    full.serve(memoryPair()[0]);
    for (const server of [undefined, full]) {
      const [near, far] = memoryPair();
      far.start({ target: () => new Uint8Array(1), filled: () => {}, push: () => {}, drained: () => {}, closed: () => {} });
      const bridge = new Bridge(near, { server });
      await bridge.close();
      expect(await bridge.done).toBeUndefined();
    }
  });
});

describe('a channel without connections', () => {
  const codec = new Codec();
  const version = codec.encode('Tversion', NOTAG, { msize: 8192, version: '9P2000.L' });
  const walk = codec.encode('Twalk', 1, { fid: 1, newfid: 2, wnames: ['name'] });

  /** Collects what a resynchronised channel hands on. */
  function collect(onLoss?: () => void): { send: (bytes: Uint8Array) => void; taken: number[]; channel: ResyncTransport } {
    let receiver: Receiver | undefined;
    const [inner] = memoryPair({ name: 'dev:' });
    inner.start = (to) => {
      receiver = to;
    };
    const channel = new ResyncTransport(inner, onLoss);
    const taken: number[] = [];
    channel.start({
      target: () => new Uint8Array(1),
      filled: () => {},
      push: (bytes) => taken.push(...bytes),
      drained: () => {},
      closed: () => {},
    });
    return { send: (bytes) => receiver?.push(bytes), taken, channel };
  }

  it('begins with the first version message, whatever half frame lies before it and wherever it is cut', () => {
    const random = new Random();
    console.log(`seed ${random.seed}`);
    for (let round = 0; round < 300; round++) {
      const rest = Uint8Array.from({ length: random.integer(0, 60) }, () => random.integer(0, 255));
      const stream = [...rest, ...version, ...walk];
      const { send, taken, channel } = collect();
      for (let at = 0; at < stream.length; ) {
        const count = random.integer(1, 20);
        send(Uint8Array.from(stream.slice(at, at + count)));
        at += count;
      }
      expect(taken).toEqual([...version, ...walk]);
      expect(channel.discarded).toBe(rest.length);
    }
  });

  describe('whose peer is started again at once', () => {
    const SECOND = 1000;
    const write = codec.encode('Twrite', 2, { fid: 1, offset: 0, data: new Uint8Array(100).fill(7) });
    let now = 5000;
    /** Time in which nothing comes. */
    const passes = async (milliseconds: number) => {
      now += milliseconds;
      vi.advanceTimersByTime(milliseconds);
      await turns(2);
    };

    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      vi.spyOn(performance, 'now').mockImplementation(() => now);
    });
    afterEach(() => {
      vi.useRealTimers();
      vi.restoreAllMocks();
    });

    it.each([0, 300])('takes its Tversion for no part of the frame that it left behind, after %s ms', async (pause) => {
      for (let cut = 1; cut < write.length; cut++) {
        for (const together of pause === 0 ? [true, false] : [false]) {
          // To the byte what was missing, and no pause: that is how a write looks whose data is such a message.
          if (write.length - cut === version.length && pause === 0) continue;
          let losses = 0;
          const { send, taken } = collect(() => losses++);
          send(version);
          if (together) send(Uint8Array.from([...write.slice(0, cut), ...version]));
          else {
            send(write.slice(0, cut));
            await passes(pause);
            send(version);
          }
          await passes(SECOND);
          expect({ cut, losses, taken }).toEqual({ cut, losses: 1, taken: [...version, ...write.slice(0, cut), ...version] });
          send(walk);
          expect(taken.slice(-walk.length)).toEqual([...walk]);
        }
      }
    });

    it('notices it too when its Tversion comes in pieces, or with its answer to ours', async () => {
      const half = write.slice(0, 40);
      for (const pieces of [
        [half, version.slice(0, 3), version.slice(3, 9), version.slice(9)],
        [Uint8Array.from([...half, ...version.slice(0, 10)]), version.slice(10)],
        [half, version, codec.encode('Rversion', NOTAG, { msize: 8192, version: '9P2000.L' })],
      ]) {
        let losses = 0;
        const { send, taken } = collect(() => losses++);
        send(version);
        for (const piece of pieces) send(piece);
        await passes(SECOND);
        expect(losses).toBe(1);
        expect(taken).toEqual([...version, ...pieces.flatMap((piece) => [...piece])]);
      }
    });

    it('counts no time in which nobody reads as silence', async () => {
      const data = new Uint8Array([...version, ...version, 1]);
      const frame = codec.encode('Twrite', 2, { fid: 1, offset: 0, data });
      let losses = 0;
      const { send, taken, channel } = collect(() => losses++);
      send(version);
      for (const [from, to] of [
        [0, 23],
        [23, 44],
        [44, 65],
        [65, 66],
      ]) {
        send(frame.slice(from, to));
        channel.pause();
        await passes(SECOND);
        channel.resume();
      }
      expect({ losses, taken }).toEqual({ losses: 0, taken: [...version, ...frame] });
    });

    it('holds back nothing of a frame that is whole, and gives up none of which more comes', async () => {
      const random = new Random();
      console.log(`seed ${random.seed}`);
      const data = new Uint8Array([...version, 1, ...version, ...version.slice(0, 7), ...version]);
      const frame = codec.encode('Twrite', 2, { fid: 1, offset: 0, data });
      for (let round = 0; round < 500; round++) {
        let losses = 0;
        const { send, taken, channel } = collect(() => losses++);
        send(version);
        for (let at = 0; at < frame.length; ) {
          const count = round < frame.length && at === 0 ? round + 1 : random.integer(1, 40);
          send(frame.slice(at, at + count));
          at += count;
          if (at < frame.length) await passes(99);
        }
        // A pause ends what it waits for, if it does; what others of this process wait for stays as it is meanwhile.
        const timers = vi.getTimerCount();
        channel.pause();
        expect({ losses, taken, timers: vi.getTimerCount() }).toEqual({ losses: 0, taken: [...version, ...frame], timers });
      }
    });
  });

  it('keeps to its frames while it is in step, even if a payload looks like a version message', () => {
    const { send, taken } = collect();
    const write = codec.encode('Twrite', 2, { fid: 1, offset: 0, data: new Uint8Array([...version, ...version]) });
    send(version);
    send(write.slice(0, 23));
    send(write.slice(23));
    send(walk);
    expect(taken).toEqual([...version, ...write, ...walk]);
  });
});
