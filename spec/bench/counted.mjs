// Runs in a process of its own, under a tool that counts instructions: does one thing a number of times.
// Usage: node counted.mjs WHAT ROUNDS
import { Client } from '../../dist/lib/client/client.js';
import { Codec } from '../../dist/lib/protocol/codec.js';
import { Framer } from '../../dist/lib/protocol/framer.js';
import { MemoryBackend } from '../../dist/lib/server/memory/index.js';
import { Server } from '../../dist/lib/server/server.js';
import { Session } from '../../dist/lib/session/session.js';
import { memoryPair } from '../../dist/lib/transport/memory.js';

const [what, rounds] = process.argv.slice(2);
const codec = new Codec();
const time = { sec: 1_700_000_000, nsec: 123_456_789 };
const rgetattr = codec.encode('Rgetattr', 1, {
  ...{ valid: 0x7ffn, qid: { type: 0, version: 1, path: 0x1234n }, mode: 0o100644, uid: 1000, gid: 1000, nlink: 1, rdev: 0n },
  ...{ size: 4096, blksize: 4096, blocks: 8, atime: time, mtime: time, ctime: time, btime: time, gen: 0n, dataVersion: 0n },
});
const twalk = codec.encode('Twalk', 1, { fid: 1, newfid: 2, wnames: ['usr', 'share', 'doc'] });
const rread = codec.encode('Rread', 1, { data: new Uint8Array(4096) });
const into = new Uint8Array(4096);
const framer = new Framer({ frame() {}, payload: () => into, payloadFrame() {} }, 1 << 20);

const works = {
  'encode Tread': () => codec.encodeTread(1, 2, 4096, 65536),
  'encode Twalk of 3 names': () => codec.encode('Twalk', 1, { fid: 1, newfid: 2, wnames: ['usr', 'share', 'doc'] }),
  'decode Rgetattr': () => codec.decode(rgetattr),
  'decode Twalk of 3 names': () => codec.decode(twalk),
  'frame an Rread of 4 KiB': () => framer.push(rread),
};

if (what === 'one round trip on a memory pair (Tgetattr)') {
  const [near, far] = memoryPair();
  const server = new Server({ exports: { '/': new MemoryBackend() } });
  server.serve(far);
  const client = new Client(await Session.open(near));
  await client.attach();
  for (let round = 0; round < Number(rounds); round++) await client.root.getattr();
  await client.close();
  await server.close();
} else {
  const work = works[what];
  for (let round = 0; round < Number(rounds); round++) work();
}
