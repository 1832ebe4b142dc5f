import { connect, createServer, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { Bridge, Link } from '../../lib/bridge/index.js';
import { Client } from '../../lib/client/client.js';
import { Codec } from '../../lib/protocol/codec.js';
import { L_O_CREAT, L_O_RDWR, NOTAG, VERSION_L, VERSION_U } from '../../lib/protocol/constants.js';
import { ConnectionLostError, ErrnoError } from '../../lib/protocol/error.js';
import { messages } from '../../lib/protocol/messages.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import type { Session } from '../../lib/session/session.js';
import { dial, listen } from '../../lib/transport/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import type { Transport } from '../../lib/transport/transport.js';
import { Door, GatedBackend } from '../support/gated.js';
import { RawPeer } from '../support/raw-peer.js';
import { sized } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';

const MIB = 1 << 20;
const codec = new Codec(VERSION_L);
const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Ends {
  server: Server;
  bridge: Bridge;
  peer: RawPeer;
  near: Transport;
}

/** A bridge that serves a tree in memory, and by hand its peer. */
function ends({ backlog = 256 * 1024, backend = new MemoryBackend() as ConstructorParameters<typeof GatedBackend>[0] } = {}): Ends {
  const [near, far] = memoryPair({ backlog });
  const server = new Server({ exports: { '/': backend } });
  const bridge = new Bridge(near, { server });
  cleanups.push(
    () => server.close(),
    () => bridge.destroy(),
  );
  return { server, bridge, peer: new RawPeer(far), near };
}

async function attached(session: Promise<Session>): Promise<Client> {
  const client = new Client(await session);
  await client.attach();
  return client;
}

/** Nothing of the peer is left. */
async function expectIdle(server: Server): Promise<void> {
  await expect.poll(() => server.status(), { interval: 2 }).toMatchObject({ connections: 0, fids: 0, pending: 0 });
  expect(server.buffersLent).toBe(0);
}

/** The peer's own requests are answered. */
async function expectServed(peer: RawPeer): Promise<void> {
  const answer = peer.hears(messages.Rgetattr.type, 9000);
  peer.say('Tgetattr', 9000, { fid: 0, requestMask: 0n });
  await answer;
}

describe('a peer that asks without end', () => {
  it('does not hold up what we ask: no more is sent before it than the stream holds anyway', async () => {
    const { server, bridge, peer } = ends();
    await peer.attach();
    const opened = peer.hears(messages.Rlcreate.type, 1);
    peer.say('Tlcreate', 1, { fid: 0, name: 'file', flags: L_O_RDWR | L_O_CREAT, mode: 0o644, gid: 0 });
    await opened;
    const written = peer.hears(messages.Rwrite.type, 1);
    peer.say('Twrite', 1, { fid: 0, offset: 0, data: new Uint8Array(4096) });
    await written;
    const client = await attached(bridge.openSession());

    const window = 8000;
    let flooding = true;
    let outstanding = 0;
    const ask = (tag: number) => {
      outstanding++;
      if (tag % 2 === 0) peer.say('Tread', tag, { fid: 0, offset: 0, count: 4096 });
      else peer.say('Twalk', tag, { fid: 0, newfid: 1, wnames: Array.from({ length: 16 }, () => 'missing') });
    };
    let asked = 0;
    let between = 0;
    peer.onFrame = (type, tag) => {
      if (type === messages.Tgetattr.type) {
        between = Math.max(between, peer.bytesIn - asked);
      } else if (type % 2 === 1) {
        outstanding--;
        if (flooding) ask(tag);
      }
    };
    for (let tag = 0; tag < window; tag++) ask(tag);
    const answered = peer.replies;
    const calls = sized('NINEP_CALLS', 1000, 30);
    for (let call = 0; call < calls; call++) {
      asked = peer.bytesIn;
      await client.root.getattr();
    }
    expect(peer.replies - answered).toBeGreaterThan(window);
    expect(between).toBeLessThan(MIB);
    expect(server.status().pending).toBeLessThan(window);
    flooding = false;
    await expect.poll(() => outstanding).toBe(0);
    await client.close();
    bridge.destroy();
    await expectIdle(server);
  });

  const small = Array.from({ length: 1000 }, (_, tag) => codec.encode('Tgetattr', tag + 1, { fid: 0, requestMask: 0n }));
  const wnames = Array.from({ length: 16 }, () => 'x'.repeat(200));
  const large = Array.from({ length: 100 }, (_, tag) => codec.encode('Twalk', tag + 2000, { fid: 0, newfid: 1, wnames }));
  const floods: Record<string, Uint8Array[]> = { 'the smallest requests': small, 'large ones among them': [...small, ...large] };

  it.each(Object.keys(floods))('and reads no answer, with %s: it is not read any more, and we end in time', async (which) => {
    const before = process.memoryUsage().arrayBuffers;
    const { server, bridge, peer, near } = ends();
    await peer.attach();
    const client = await attached(bridge.openSession({ timeout: 200 }));
    const paused = new Promise<false>((resolve) => {
      const pause = near.pause.bind(near);
      near.pause = () => {
        pause();
        resolve(false);
      };
    });
    peer.transport.pause();
    let sent = 0;
    const already = server.status().bytesIn;
    const block = Buffer.concat(floods[which] ?? []);
    do {
      while (peer.send(block)) sent += block.length;
      sent += block.length;
    } while (await Promise.race([peer.drained().then(() => true), paused]));
    const held = sent - (server.status().bytesIn - already);
    expect(held).toBeGreaterThan(32 * MIB);
    expect(held).toBeLessThan(34 * MIB);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(80 * MIB);
    expect(server.status().pending).toBeLessThanOrEqual(server.limits.maxRequests + server.limits.maxWaiting);
    await expect(client.root.getattr()).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    await expect.poll(() => client.session.lost).toBeInstanceOf(ConnectionLostError);
    if (which !== 'the smallest requests') {
      // Once it reads again it is served as before.
      peer.transport.resume();
      await expectServed(peer);
    }
    bridge.destroy();
    await expectIdle(server);
  });
});

describe('a peer that neither reads nor answers', () => {
  it('is sent no more than the stream holds; every write ends in time, and the bridge still serves it', async () => {
    const { server, bridge, peer } = ends();
    peer.server.answers.Tversion = () => ({ msize: MIB });
    await peer.attach();
    const client = await attached(bridge.openSession({ timeout: 200 }));
    const fid = await client.root.walk(['f']);
    peer.transport.pause();
    const outcomes = await Promise.all(
      Array.from({ length: 64 }, () =>
        fid.write(new Uint8Array(MIB / 2), 0).then(
          () => undefined,
          (error: unknown) => error,
        ),
      ),
    );
    for (const error of outcomes) expect(error).toMatchObject({ code: 'ETIMEDOUT' });
    // Those that waited for their turn did so no longer than those that had it, whose Tflush is not answered either.
    await expect.poll(() => client.session.lost).toBeInstanceOf(ConnectionLostError);
    expect(client.session.counters.bytesOut).toBeLessThan(5 * MIB);
    expect(client.session.counters).toMatchObject({ inFlight: 0, waiting: 0 });
    peer.transport.resume();
    await expectServed(peer);
    bridge.destroy();
    await expectIdle(server);
  });

  it.each([false, true])('does not hold up the end (polled: %s)', async (polled) => {
    const directory = new TemporaryDirectory('bridge');
    cleanups.push(() => directory.remove());
    const path = directory.join('socket');
    const server = new Server({ exports: { '/': new MemoryBackend() }, limits: { grace: 100 } });
    const link = new Link({ server });
    const listener = await listen(`unix:${path}`, (transport) => link.take(transport), { polled, linger: 100 });
    cleanups.push(() => listener.close());
    const socket = connect(path).pause();
    cleanups.push(() => socket.destroy());
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    const version = codec.encode('Tversion', NOTAG, { msize: 8192, version: VERSION_L });
    const attach = codec.encode('Tattach', 1, { fid: 0, afid: 0xffffffff, uname: '', aname: '', nUname: 0 });
    socket.write(Buffer.concat([version, attach]));
    await expect.poll(() => server.status().fids).toBe(1);
    const getattrs = Array.from({ length: 5000 }, (_, tag) => codec.encode('Tgetattr', tag + 1, { fid: 0, requestMask: 0n }));
    for (let round = 0; round < 20; round++) socket.write(Buffer.concat(getattrs));
    const asking = link.openSession({ signal: AbortSignal.timeout(50_000) });
    asking.catch(() => undefined);
    await expect.poll(() => server.status().requests).toBeGreaterThan(5000);
    await link.close();
    await expect(asking).rejects.toMatchObject({ name: 'AbortError' });
    await server.close();
    await expectIdle(server);
  });

  it('is given up by a link, which dials again and goes on', async () => {
    const directory = new TemporaryDirectory('bridge');
    cleanups.push(() => directory.remove());
    const path = directory.join('socket');
    const sockets: Socket[] = [];
    // The old connection stays open there, and says nothing any more.
    const far = new Link({ server: new Server({ exports: { '/': new MemoryBackend() } }), patience: 100 });
    const listener = await listen(`unix:${path}`, (transport) => far.take(transport));
    // Between both: what the first connection carries stands still from some moment on.
    const middle = createServer((socket) => {
      sockets.push(socket);
      const on = connect(path);
      cleanups.push(() => on.destroy());
      socket.on('error', () => on.destroy()).pipe(on);
      on.on('error', () => socket.destroy()).pipe(socket);
    });
    await new Promise<void>((resolve) => middle.listen(directory.join('middle'), resolve));
    const server = new Server({ exports: { '/': new MemoryBackend() } });
    const near = new Link({ server, dial: (signal) => dial(`unix:${directory.join('middle')}`, { signal }), patience: 200 });
    cleanups.push(
      () => listener.close(),
      () => middle.close(),
      () => far.close(),
      () => near.close(),
    );
    const redial = (signal: AbortSignal) => near.openSession({ signal });
    const client = new Client(await redial(AbortSignal.timeout(30_000)), { redial, retry: 60, silence: 0.2 });
    cleanups.push(() => client.destroy());
    await client.attach();
    await client.root.mkdir('before', 0o755, 0);
    sockets[0]?.unpipe().pause();
    await client.root.walk(['before']).then((fid) => fid.clunk());
    expect(client.recovery).toMatchObject({ losses: 1, recoveries: 1, casualties: 0 });
    expect(sockets).toHaveLength(2);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });
});

describe('requests that are given up', () => {
  it('are flushed although as much is under way as may be, and count no more once that is answered', async () => {
    const { bridge, peer } = ends({ backlog: MIB });
    peer.server.answers = { Tversion: () => ({ msize: MIB + 24 }), Twrite: () => undefined };
    let writes = 0;
    let flushes = 0;
    peer.onFrame = (type) => {
      if (type === messages.Twrite.type) writes++;
      if (type === messages.Tflush.type) flushes++;
    };
    const client = await attached(bridge.openSession());
    const { session } = client;
    for (let round = 1; round <= 4; round++) {
      writes = flushes = 0;
      const giveUp = new AbortController();
      const data = new Uint8Array(MIB);
      const asked = Array.from({ length: 24 }, () => session.request('Twrite', { fid: 1, offset: 0, data }, { signal: giveUp.signal }));
      const ended = Promise.all(asked.map((one) => expect(one).rejects.toMatchObject({ name: 'AbortError' })));
      await expect.poll(() => writes).toBeGreaterThanOrEqual(16);
      giveUp.abort();
      await ended;
      await client.root.getattr();
      await expect.poll(() => session.counters.inFlight).toBe(0);
      expect(flushes).toBe(writes);
    }
    await client.close();
  });
});

describe('an answer that cannot be', () => {
  /** Frames with the tag of the Tgetattr that they answer. */
  const answers: Record<string, (tag: number) => Uint8Array> = {
    'an error with 60 KB behind it': (tag) => frameOf(messages.Rlerror.type, tag, 60_000),
    'to nothing that was asked': (tag) => codec.encode('Rclunk', tag + 7, {}),
    'of another kind': (tag) => codec.encode('Rclunk', tag, {}),
    'that looks like an Rversion': (tag) => codec.encode('Rversion', tag, { msize: 8192, version: VERSION_L }),
    'of an unknown kind': (tag) => frameOf(253, tag, 20),
    'that is longer than msize': (tag) => frameOf(messages.Rgetattr.type, tag, 100_000),
  };

  it.each(Object.keys(answers))('%s, ends the stream: whoever the frame was meant for would wait for ever', async (which) => {
    const { server, bridge, peer } = ends();
    await peer.attach();
    const client = await attached(bridge.openSession());
    peer.server.answers.Tgetattr = (_, __, tag) => answers[which]?.(tag);
    await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
    expect(await bridge.done).toMatchObject({ code: 'EPROTO' });
    await peer.closed;
    await expectIdle(server);
  });

  it.each([MIB + 25, 0x7fffffff, 0xffffffff, 6, 0])(
    'of %i bytes, ends the stream at once: nothing behind that can be told apart',
    async (size) => {
      const { server, bridge, peer } = ends();
      await peer.attach();
      const client = await attached(bridge.openSession());
      const head = frameOf(messages.Rgetattr.type, 0, 7);
      new DataView(head.buffer).setUint32(0, size, true);
      peer.server.answers.Tgetattr = () => head;
      await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
      expect(await bridge.done).toMatchObject({ code: 'EPROTO' });
      await expectIdle(server);
    },
  );

  it('where nothing was asked is let pass', async () => {
    const { peer } = ends();
    await peer.attach();
    peer.send(codec.encode('Rclunk', 3, {}), frameOf(255, 4, 7), codec.encode('Rversion', NOTAG, { msize: 8192, version: VERSION_L }));
    await expectServed(peer);
  });

  it('an error that is a very long sentence is an error like others', async () => {
    const { bridge, peer } = ends();
    const u = new Codec(VERSION_U);
    peer.server.answers = {
      Tversion: () => ({ version: VERSION_U }),
      Tattach: (_, __, tag) => u.encode('Rerror', tag, { ename: 'x'.repeat(60_000), errno: 0 }),
      Tclunk: (_, __, tag) => u.encode('Rerror', tag, { ename: `${'not '.repeat(15_000)}found`, errno: 0xffffffff }),
    };
    const session = await bridge.openSession({ version: VERSION_U });
    const refused = async (work: Promise<unknown>) => {
      const error: unknown = await work.catch((problem: unknown) => problem);
      if (!(error instanceof ErrnoError)) throw new Error(`not refused: ${error}`);
      expect(error.message.length).toBeLessThan(200);
      return error.code;
    };
    expect(await refused(session.request('Tattach', { fid: 1, afid: 2, uname: '', aname: '', nUname: 0 }))).toBe('EIO');
    await refused(session.request('Tclunk', { fid: 1 }));
    expect(session.lost).toBeUndefined();
    peer.server.answers = {};
    await session.request('Tclunk', { fid: 1 });
  });
});

describe('a request that cannot be', () => {
  it('is refused if only its kind is unknown, whichever that is', async () => {
    const { server, bridge, peer } = ends();
    await peer.attach();
    const known = new Set<number>(Object.values(messages).map(({ type }) => type));
    const unknown = Array.from({ length: 128 }, (_, index) => index * 2).filter((type) => !known.has(type));
    const refused: number[] = [];
    peer.onFrame = (type, tag) => {
      if (type === messages.Rlerror.type) refused.push(tag);
    };
    for (const type of unknown) peer.send(frameOf(type, type, 7 + type));
    await expectServed(peer);
    expect(refused).toEqual(unknown);
    bridge.destroy();
    await expectIdle(server);
  });

  const requests: Record<string, Uint8Array[]> = {
    'with a tag in use': [
      codec.encode('Tgetattr', 5, { fid: 0, requestMask: 0n }),
      codec.encode('Tgetattr', 5, { fid: 0, requestMask: 0n }),
    ],
    'that is longer than msize': [frameOf(messages.Tgetattr.type, 5, 100_000)],
    'that is shorter than its fields': [frameOf(messages.Tgetattr.type, 5, 12)],
    'of a size that no server takes': [frameOf(messages.Twrite.type, 5, 0x7fffffff)],
    'that is shorter than a frame': [new Uint8Array(7)],
  };

  it.each(Object.keys(requests))('%s, ends the stream at once with an error at both ends, and leaves nothing', async (which) => {
    const door = new Door();
    const gated = new GatedBackend(new MemoryBackend(), (method) => (method === 'getattr' ? door.opened : undefined));
    const { server, bridge, peer } = ends({ backend: gated });
    await peer.attach();
    const client = await attached(bridge.openSession());
    peer.server.answers.Tgetattr = () => undefined;
    const asked = client.root.getattr();
    peer.send(...(requests[which] ?? []));
    await expect(asked).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
    expect(await bridge.done).toMatchObject({ code: 'EPROTO' });
    await peer.closed;
    door.open();
    await expectIdle(server);
  });
});

it('answers to an earlier conversation are nobody’s even before our Tversion has gone out', async () => {
  const { bridge, peer } = ends({ backlog: 1000 });
  peer.server.answers = { Twrite: () => undefined, Tgetattr: () => undefined };
  const first = await bridge.openSession();
  const heard = peer.hears(messages.Twrite.type, 0);
  const lost = expect(first.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(10) })).rejects.toMatchObject({
    name: 'ConnectionLostError',
  });
  await heard;
  peer.transport.pause();
  const more = expect(first.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(5000) })).rejects.toBeInstanceOf(Error);
  const second = bridge.openSession();
  await Promise.all([lost, more]);
  await turn();
  const served = peer.hears(messages.Rversion.type, NOTAG);
  peer.say('Rwrite', 0, { count: 10 });
  peer.say('Tversion', NOTAG, { msize: 8192, version: VERSION_L });
  await turn();
  peer.transport.resume();
  await served;
  const session = await second;
  expect(session.lost).toBeUndefined();
  await session.request('Tclunk', { fid: 1 });
});

it('what was sent is not held on to', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const { bridge, peer } = ends();
  peer.server.answers = { Tversion: () => ({ msize: MIB + 24 }), Twrite: ({ data }) => ({ count: data.length }) };
  const session = await bridge.openSession();
  const left = () => {
    collect();
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  await session.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(MIB) });
  const before = left();
  for (let round = 0; round < 40; round++) await session.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(MIB) });
  await expect.poll(left).toBeLessThan(before + 4 * MIB);
});

/** A frame that says that it is `size` bytes long, and is so if that is not absurd. */
function frameOf(type: number, tag: number, size: number): Uint8Array {
  const frame = new Uint8Array(Math.max(7, Math.min(size, MIB)));
  const view = new DataView(frame.buffer);
  view.setUint32(0, size, true);
  view.setUint8(4, type);
  view.setUint16(5, tag, true);
  return frame;
}
