import { afterEach, describe, expect, it } from 'vitest';
import { Bridge } from '../../lib/bridge/index.js';
import { Client } from '../../lib/client/client.js';
import { HEADER_SIZE } from '../../lib/protocol/constants.js';
import { ConnectionLostError } from '../../lib/protocol/error.js';
import { messages } from '../../lib/protocol/messages.js';
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
