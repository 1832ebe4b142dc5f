import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Codec } from '../../lib/protocol/codec.js';
import { ProtocolError } from '../../lib/protocol/error.js';
import { Framer } from '../../lib/protocol/framer.js';

const codec = new Codec();
const dialogue = [
  codec.encode('Rversion', 0xffff, { msize: 8192, version: '9P2000.L' }),
  codec.encode('Rread', 1, { data: Uint8Array.from({ length: 300 }, (_, index) => index) }),
  codec.encode('Rclunk', 2, {}),
  codec.encode('Twrite', 3, { fid: 1, offset: 5, data: Uint8Array.from({ length: 100 }, (_, index) => 255 - index) }),
  codec.encode('Rread', 4, { data: new Uint8Array(0) }),
  codec.encode('Rreaddir', 5, { data: new Uint8Array(40).fill(3) }),
  codec.encode('Rwalk', 6, { wqids: [{ type: 0, version: 1, path: 2n }] }),
];
const stream = join(dialogue);

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** All frames of the dialogue as they are. Compared as bytes: thousands of times, that is much faster than piece by piece. */
function expectDialogue(frames: readonly Uint8Array[]): void {
  expect(frames.map(({ length }) => length)).toEqual(dialogue.map(({ length }) => length));
  expect(Buffer.compare(join(frames), stream)).toBe(0);
}

/** Collects frames; those with a payload too, put together again. */
function collector(divert: boolean, maxFrame = 8192): { framer: Framer; frames: Uint8Array[]; diverted: () => number } {
  const frames: Uint8Array[] = [];
  let diverted = 0;
  const framer = new Framer(
    {
      frame: (frame) => frames.push(frame.slice()),
      ...(divert
        ? {
            payload: (_head: Uint8Array, count: number) => new Uint8Array(count + 3),
            payloadFrame: (head: Uint8Array, payload: Uint8Array) => {
              diverted++;
              frames.push(join([head, payload]));
            },
          }
        : {}),
    },
    maxFrame,
  );
  return { framer, frames, diverted: () => diverted };
}

/** Feeds pieces as a transport does that reads into the framer's own target. */
function fill(framer: Framer, piece: Uint8Array): void {
  for (let at = 0; at < piece.length; ) {
    const target = framer.target();
    expect(target.length).toBeGreaterThan(0);
    const count = Math.min(target.length, piece.length - at);
    target.set(piece.subarray(at, at + count));
    framer.filled(count);
    at += count;
  }
}

describe.each([
  ['push', (framer: Framer, piece: Uint8Array) => framer.push(piece)],
  ['target and filled', fill],
])('the framer by %s', (_way, feed) => {
  it.each([true, false])('gives the same frames wherever the stream is cut once (payloads diverted: %s)', (divert) => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const { framer, frames, diverted } = collector(divert);
      feed(framer, stream.slice(0, cut));
      feed(framer, stream.slice(cut));
      expectDialogue(frames);
      expect(framer.inside).toBe(false);
      expect(diverted()).toBe(divert ? 3 : 0);
    }
  });

  it.each([true, false])('gives the same frames byte by byte and in pieces of any sizes (payloads diverted: %s)', (divert) => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }), (sizes) => {
        const { framer, frames } = collector(divert);
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = sizes[turn % sizes.length] as number;
          feed(framer, stream.slice(at, at + size));
          at += size;
        }
        expectDialogue(frames);
      }),
      { numRuns: 200, examples: [[[1]]] },
    );
  });

  it('knows whether it is inside a frame', () => {
    for (let cut = 1; cut < (dialogue[0] as Uint8Array).length; cut++) {
      const { framer } = collector(true);
      feed(framer, stream.slice(0, cut));
      expect(framer.inside).toBe(true);
    }
  });

  it.each([0, 6, 8193, 0xffffffff])('refuses a frame of %d bytes', (size) => {
    const { framer, frames } = collector(true);
    const header = new Uint8Array(7);
    new DataView(header.buffer).setUint32(0, size, true);
    expect(() => feed(framer, join([dialogue[2] as Uint8Array, header]))).toThrow(ProtocolError);
    expect(frames).toEqual([dialogue[2]]);
  });

  it('takes frames larger than its first buffer', () => {
    const large = codec.encode('Rread', 1, { data: new Uint8Array(700_000).fill(9) });
    const { framer, frames } = collector(false, 1 << 20);
    for (let at = 0; at < large.length; at += 50_000) feed(framer, large.slice(at, at + 50_000));
    feed(framer, dialogue[2] as Uint8Array);
    expect(frames.map((frame) => frame.length)).toEqual([large.length, 7]);
    expect(Buffer.compare(frames[0] as Uint8Array, large)).toBe(0);
  });

  it('leaves a payload whose count disagrees with the size to the decoder', () => {
    const odd = codec.encode('Rread', 1, { data: new Uint8Array(20) }).slice();
    odd[7] = 10;
    const { framer, frames, diverted } = collector(true);
    feed(framer, odd);
    expect(diverted()).toBe(0);
    expect(frames).toEqual([odd]);
    expect(() => codec.decode(odd)).toThrow(ProtocolError);
  });
});

it('a payload that nobody wants any more does not reach its buffer', () => {
  const buffer = new Uint8Array(300);
  const framer = new Framer({ frame: () => undefined, payload: () => buffer, payloadFrame: () => undefined }, 8192);
  const frame = dialogue[1] as Uint8Array;
  framer.push(frame.slice(0, 50));
  expect(framer.diverted).toEqual(frame.slice(0, 11));
  framer.abandonPayload();
  framer.push(frame.slice(50));
  expect(buffer.subarray(39)).toEqual(new Uint8Array(261));
  expect(framer.inside).toBe(false);
});
