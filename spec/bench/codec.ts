import { Codec } from '../../lib/protocol/codec.js';
import { Framer } from '../../lib/protocol/framer.js';
import { type Comparison, compare, seconds } from './pairs.js';

const ROUNDS = 300_000;
const codec = new Codec();
const time = { sec: 1_700_000_000, nsec: 123_456_789 };
const attributes = {
  ...{ valid: 0x7ffn, qid: { type: 0, version: 1, path: 0x1234n }, mode: 0o100644, uid: 1000, gid: 1000, nlink: 1, rdev: 0n },
  ...{ size: 4096, blksize: 4096, blocks: 8, atime: time, mtime: time, ctime: time, btime: time, gen: 0n, dataVersion: 0n },
};

/** A Tread written out by hand: what the codec is measured against. */
function plainTread(tag: number, fid: number, offset: number, count: number): Uint8Array {
  const frame = new Uint8Array(23);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 23, true);
  view.setUint8(4, 116);
  view.setUint16(5, tag, true);
  view.setUint32(7, fid, true);
  view.setUint32(11, offset, true);
  view.setUint32(15, Math.floor(offset / 2 ** 32), true);
  view.setUint32(19, count, true);
  return frame;
}

/** Fields of a frame read out by hand, as many as Rgetattr has. */
function plainRgetattr(frame: Uint8Array): unknown {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const u64 = (at: number) => view.getBigUint64(at, true);
  const number = (at: number) => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  const timespec = (at: number) => ({ sec: number(at), nsec: number(at + 8) });
  return {
    ...{
      valid: u64(7),
      qid: { type: view.getUint8(15), version: view.getUint32(16, true), path: u64(20) },
      mode: view.getUint32(28, true),
    },
    ...{
      uid: view.getUint32(32, true),
      gid: view.getUint32(36, true),
      nlink: number(40),
      rdev: u64(48),
      size: number(56),
      blksize: number(64),
    },
    ...{ blocks: number(72), atime: timespec(80), mtime: timespec(96), ctime: timespec(112), btime: timespec(128), gen: u64(144) },
    dataVersion: u64(152),
  };
}

/** The codec against code written out for one message. */
export async function benchCodec({ pairs, only }: { pairs: number; only: RegExp }): Promise<Comparison[]> {
  const rgetattr = codec.encode('Rgetattr', 1, attributes);
  const twalk = codec.encode('Twalk', 1, { fid: 1, newfid: 2, wnames: ['usr', 'share', 'doc'] });
  const rread = codec.encode('Rread', 1, { data: new Uint8Array(65536) });
  const into = new Uint8Array(65536);
  const framer = new Framer({ frame: () => {}, payload: () => into, payloadFrame: () => {} }, 1 << 20);
  const rows: [string, () => void, () => void][] = [
    ['encode Tread', () => codec.encodeTread(1, 2, 4096, 65536), () => plainTread(1, 2, 4096, 65536)],
    [
      'encode Tread by the table',
      () => codec.encode('Tread', 1, { fid: 2, offset: 4096, count: 65536 }),
      () => plainTread(1, 2, 4096, 65536),
    ],
    ['decode Rgetattr', () => codec.decode(rgetattr), () => plainRgetattr(rgetattr)],
    ['decode Twalk of 3 names', () => codec.decode(twalk), () => Buffer.from(twalk).toString('latin1')],
    ['frame an Rread of 64 KiB', () => framer.push(rread), () => into.set(rread.subarray(11))],
  ];
  const timed = (work: () => void) => () =>
    seconds(() => {
      for (let round = 0; round < ROUNDS / 10; round++) work();
    });
  const comparisons: Comparison[] = [];
  for (const [what, a, b] of rows)
    if (only.test(what)) comparisons.push(await compare(what, ['the table', timed(a)], ['by hand', timed(b)], pairs));
  return comparisons;
}
