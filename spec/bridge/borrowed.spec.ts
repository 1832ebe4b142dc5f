import { afterEach, describe, expect, it } from 'vitest';
import { Bridge } from '../../lib/bridge/index.js';
import { Client } from '../../lib/client/client.js';
import { HEADER_SIZE, L_O_CREAT, L_O_RDWR } from '../../lib/protocol/constants.js';
import { ConnectionLostError } from '../../lib/protocol/error.js';
import { messages } from '../../lib/protocol/messages.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/session.js';
import { dial, listen, memoryPair, type Transport } from '../../lib/transport/index.js';
import { turns } from '../contracts/transport.js';
import { RawPeer } from '../support/raw-peer.js';
import { TemporaryDirectory } from '../support/temporary.js';

const MIB = 1 << 20;
const PAYLOAD = HEADER_SIZE + 16;
const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function sockets(polled: boolean): Promise<[Transport, Transport]> {
  const directory = new TemporaryDirectory('bridge');
  let accept: (transport: Transport) => void = () => undefined;
  const accepted = new Promise<Transport>((resolve) => {
    accept = resolve;
  });
  const listener = await listen(`unix:${directory.join('socket')}`, accept);
  cleanups.push(
    () => directory.remove(),
    () => listener.close(),
  );
  return [await dial(listener.address, { polled }), await accepted];
}

const streams: Record<string, () => Promise<[Transport, Transport]>> = {
  memory: async () => memoryPair({ backlog: 4 * MIB }),
  "Node's sockets": () => sockets(false),
  ...(process.platform === 'linux' && { 'polled sockets': () => sockets(true) }),
};

describe('the data of a write', () => {
  it.each(Object.keys(streams))(
    'whose conversation has ended is its owner’s again: nothing else goes out in its place (%s)',
    async (kind) => {
      const [near, far] = (await streams[kind]?.()) ?? [];
      if (near === undefined || far === undefined) throw new Error('no stream');
      const bridge = new Bridge(near);
      const peer = new RawPeer(far);
      peer.server.answers.Tversion = () => ({ msize: MIB });
      cleanups.push(
        () => far.destroy(),
        () => bridge.destroy(),
      );
      const seen = new Set<number>();
      peer.onFrame = (type, _tag, frame) => {
        if (type === messages.Twrite.type) for (const byte of frame.subarray(PAYLOAD)) seen.add(byte);
      };
      const client = new Client(await bridge.openSession());
      await client.attach();
      const fid = await client.root.walk(['f']);
      far.pause();
      const data = Array.from({ length: 16 }, () => new Uint8Array(MIB / 2).fill(1));
      const writes = Promise.allSettled(data.map((bytes, index) => fid.write(bytes, (index * MIB) / 2)));
      await turns();
      client.session.destroy(new Error('nothing was heard'));
      for (const outcome of await writes) expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(ConnectionLostError) });
      for (const bytes of data) bytes.fill(2);
      far.resume();
      // Whether the stream goes on or not, what it had taken has arrived by then.
      const next = bridge.openSession().then((session) => new Client(session).attach());
      await Promise.race([next.catch(() => peer.closed), peer.closed]);
      expect(seen).not.toContain(2);
    },
  );
});

describe('the buffers of a server', () => {
  /** Noted: all bytes that come by a transport. */
  function noting(inner: Transport, note: (bytes: Uint8Array) => void): Transport {
    return {
      name: inner.name,
      start: (receiver) =>
        inner.start({
          target: () => new Uint8Array(64 * 1024),
          filled: () => {},
          push: (bytes) => {
            note(bytes);
            receiver.push(bytes);
          },
          drained: () => receiver.drained(),
          closed: (error) => receiver.closed(error),
        }),
      send: (parts, sent) => inner.send(parts, sent),
      pause: () => inner.pause(),
      resume: () => inner.resume(),
      close: () => inner.close(),
      destroy: (error) => inner.destroy(error),
    };
  }

  /** A bridge that serves a large file of one byte each, and a client of it whose reads are under way: it takes nothing of their answers. */
  async function reading(kind: string, count: number) {
    const [near, far] = (await streams[kind]?.()) ?? [];
    if (near === undefined || far === undefined) throw new Error('no stream');
    const server = new Server({ exports: { '/': new MemoryBackend() } });
    const bridge = new Bridge(near, { server });
    cleanups.push(
      () => server.close(),
      () => far.destroy(),
      () => bridge.destroy(),
    );
    const seen = new Set<number>();
    let noted = false;
    const session = await Session.open(
      noting(far, (bytes) => {
        if (noted) for (const byte of bytes) seen.add(byte);
      }),
      { msize: MIB },
    );
    const client = new Client(session);
    await client.attach();
    const fid = await client.root.clone();
    await fid.create('ones', L_O_RDWR | L_O_CREAT, 0o644, 0);
    await fid.write(new Uint8Array(MIB / 2).fill(201), 0);
    noted = true;
    far.pause();
    const reads = Promise.allSettled(Array.from({ length: count }, () => fid.read(new Uint8Array(MIB / 2), 0)));
    await turns();
    return { server, bridge, far, session, reads, seen };
  }

  it.each(Object.keys(streams))(
    'are not filled with something else before they are written, though the peer begins anew (%s)',
    async (kind) => {
      const { server, bridge, far, session, reads, seen } = await reading(kind, 8);
      bridge.reset(new Error('the channel was reset'));
      await turns();
      const [own, other] = memoryPair({ backlog: 16 * MIB });
      server.serve(other);
      const client = new Client(await Session.open(own));
      await client.attach();
      const fid = await client.root.clone();
      await fid.create('twos', L_O_RDWR | L_O_CREAT, 0o644, 0);
      const data = new Uint8Array(8 * MIB).fill(202);
      await fid.write(data, 0);
      // All at once, so that no buffer is left out.
      own.pause();
      const others = Promise.all(Array.from({ length: 16 }, (_, index) => fid.read(new Uint8Array(MIB / 2), (index * MIB) / 2)));
      await turns();
      own.resume();
      await others;
      far.resume();
      // Whether the stream goes on or not, what it had taken has arrived by then.
      await Promise.race([
        new Promise((resolve) => session.onClosed(resolve)),
        session.request('Tclunk', { fid: 7 }).catch(() => undefined),
      ]);
      session.destroy();
      await reads;
      expect(seen).not.toContain(202);
      client.destroy();
    },
  );

  it.each(Object.keys(streams))('are written before a bridge that closes has ended (%s)', async (kind) => {
    const { server, bridge, far, reads } = await reading(kind, 3);
    const closing = bridge.close();
    await turns();
    far.resume();
    for (const outcome of await reads) expect(outcome).toEqual({ status: 'fulfilled', value: MIB / 2 });
    await closing;
    expect(server.buffersLent).toBe(0);
  });
});
