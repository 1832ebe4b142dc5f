import { expect, it } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { Codec } from '../../lib/protocol/codec.js';
import { VERSION_L } from '../../lib/protocol/constants.js';
import { encodeEntries } from '../../lib/protocol/directory.js';
import { ProtocolError } from '../../lib/protocol/error.js';
import { Session } from '../../lib/session/session.js';
import { memoryPair } from '../../lib/transport/memory.js';

const qid = { type: 0x80, version: 0, path: 1n };

/** A server whose listing begins anew, whatever it is asked for. */
async function endless(): Promise<Client> {
  const [near, far] = memoryPair();
  const codec = new Codec(VERSION_L);
  const answer = (frame: Uint8Array) => {
    const { tag, name, body } = codec.decode(frame);
    switch (name) {
      case 'Tversion':
        return codec.encode('Rversion', tag, { msize: 8192, version: VERSION_L });
      case 'Tattach':
        return codec.encode('Rattach', tag, { qid });
      case 'Tlopen':
        return codec.encode('Rlopen', tag, { qid, iounit: 0 });
      case 'Treaddir':
        return codec.encode('Rreaddir', tag, { data: encodeEntries([{ qid, offset: 7n, type: 4, name: 'again' }], body.count) });
      default:
        return codec.encode('Rclunk', tag, {});
    }
  };
  far.start({
    target: () => new Uint8Array(0),
    filled: () => undefined,
    // What the client sends here arrives as it was sent: a frame at a time.
    push: (frame) => far.send([answer(frame.slice())]),
    drained: () => undefined,
    closed: () => undefined,
  });
  const client = new Client(await Session.open(near));
  await client.attach();
  return client;
}

it('a listing that never advances ends with an error', async () => {
  const client = await endless();
  const fid = await client.attach();
  await fid.open(0);
  const names: string[] = [];
  await expect(
    (async () => {
      for await (const { name } of fid.entries()) names.push(name);
    })(),
  ).rejects.toBeInstanceOf(ProtocolError);
  expect(names).toEqual(['again']);
  client.destroy();
});
