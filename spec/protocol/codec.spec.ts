import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Codec, type Message, tagOf } from '../../lib/protocol/codec.js';
import { type Dialect, VERSION_L, VERSION_LEGACY, VERSION_U } from '../../lib/protocol/constants.js';
import { ProtocolError } from '../../lib/protocol/error.js';
import { format } from '../../lib/protocol/format.js';
import { type MessageName, type MessageSpec, messages, messagesLegacy, messagesU } from '../../lib/protocol/messages.js';
import { inFull } from '../support/sized.js';
import { bodies } from './arbitrary.js';

const dialects: [Dialect, Record<string, MessageSpec>][] = [
  [VERSION_L, messages],
  [VERSION_U, { ...messages, ...messagesU }],
  [VERSION_LEGACY, { ...messages, ...messagesU, ...messagesLegacy }],
];

describe.each(dialects)('the codec of %s', (dialect, table) => {
  const codec = new Codec(dialect);

  it.each(Object.entries(table))('%s: decoding what was encoded gives it back', (name, spec) => {
    fc.assert(
      fc.property(fc.nat(0xfffe), bodies(spec, dialect === VERSION_U), (tag, body) => {
        const frame = codec.encode(name as MessageName, tag, body as never);
        expect(codec.decode(frame)).toEqual({ name, tag, body });
        expect(new DataView(frame.buffer, frame.byteOffset).getUint32(0, true)).toBe(frame.length);
      }),
      { numRuns: inFull(40, 20) },
    );
  });

  it('takes any bytes for a message or throws a ProtocolError', () => {
    const type = fc.constantFrom(...Object.values(table).map((spec) => spec.type));
    fc.assert(
      fc.property(fc.oneof(type, fc.nat(255)), fc.uint8Array({ maxLength: 300 }), (kind, rest) => {
        const frame = new Uint8Array(5 + rest.length);
        new DataView(frame.buffer).setUint32(0, frame.length, true);
        frame[4] = kind;
        frame.set(rest, 5);
        expectMessageOrProtocolError(codec, frame);
      }),
      { numRuns: inFull(3000, 1000) },
    );
  });

  it('takes a message with one byte changed, or cut anywhere, for a message or throws a ProtocolError', () => {
    const one = fc
      .constantFrom(...Object.entries(table))
      .chain(([name, spec]) => bodies(spec, dialect === VERSION_U).map((body) => ({ name, body })));
    fc.assert(
      fc.property(one, fc.nat(), fc.nat(255), fc.nat(), ({ name, body }, at, byte, cut) => {
        const frame = codec.encode(name as MessageName, 1, body as never).slice();
        frame[4 + (at % (frame.length - 4))] = byte;
        expectMessageOrProtocolError(codec, frame);
        const short = frame.slice(0, 7 + (cut % Math.max(1, frame.length - 6)));
        new DataView(short.buffer).setUint32(0, short.length, true);
        expectMessageOrProtocolError(codec, short);
      }),
      { numRuns: inFull(2000, 500) },
    );
  });
});

function expectMessageOrProtocolError(codec: Codec, frame: Uint8Array): void {
  let message: Message;
  try {
    message = codec.decode(frame);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return;
  }
  expect(format(message)).toContain(message.name);
}

describe('the codec', () => {
  const codec = new Codec();

  it('writes the bodies that are written out as the table has them', () => {
    fc.assert(
      fc.property(fc.nat(0xfffe), fc.nat(0xffffffff), fc.maxSafeNat(), fc.uint8Array({ maxLength: 64 }), (tag, fid, offset, data) => {
        const count = data.length;
        expect(codec.encodeTread(tag, fid, offset, count)).toEqual(codec.encode('Tread', tag, { fid, offset, count }));
        const twrite = [...codec.encodeTwrite(tag, fid, offset, count), ...data];
        expect(new Uint8Array(twrite)).toEqual(codec.encode('Twrite', tag, { fid, offset, data }));
        for (const name of ['Rread', 'Rreaddir'] as const) {
          expect(new Uint8Array([...codec.encodeData(name, tag, count), ...data])).toEqual(codec.encode(name, tag, { data }));
        }
      }),
    );
  });

  it('names the field and the offset of what is wrong', () => {
    const frame = codec.encode('Twalk', 5, { fid: 1, newfid: 2, wnames: ['abc'] }).slice(0, 18);
    new DataView(frame.buffer).setUint32(0, frame.length, true);
    expect(() => codec.decode(frame)).toThrow(expect.objectContaining({ code: 'EPROTO', field: 'Twalk.wnames' }));
    expect(tagOf(frame)).toBe(5);
  });

  it('refuses bytes after the last field', () => {
    const frame = new Uint8Array(codec.encode('Tclunk', 1, { fid: 1 }).length + 1);
    frame.set(codec.encode('Tclunk', 1, { fid: 1 }));
    frame[0] = frame.length;
    expect(() => codec.decode(frame)).toThrow('1 bytes too many');
  });

  it('has an answer for an offset beyond 2^53 in a sound frame', () => {
    const frame = codec.encode('Tread', 1, { fid: 1, offset: 0, count: 1 }).slice();
    frame[7 + 4 + 7] = 0x7f;
    expect(() => codec.decode(frame)).toThrow(expect.objectContaining({ answer: 75, field: 'Tread.offset' }));
    const short = frame.slice(0, frame.length - 1);
    short[0] = short.length;
    expect(() => codec.decode(short)).toThrow(expect.objectContaining({ answer: undefined }));
  });

  it('has an answer for seventeen names', () => {
    const frame = codec.encode('Twalk', 1, { fid: 1, newfid: 2, wnames: new Array(16).fill('') }).slice();
    const longer = new Uint8Array(frame.length + 2);
    longer.set(frame);
    longer[0] = longer.length;
    longer[7 + 8] = 17;
    expect(() => codec.decode(longer)).toThrow(expect.objectContaining({ answer: 22 }));
  });

  it.each([
    ['a negative offset', 'Tread', { fid: 1, offset: -1, count: 1 }],
    ['an offset beyond 2^53', 'Tread', { fid: 1, offset: 2 ** 53, count: 1 }],
    ['a string of 65,536 bytes', 'Tlcreate', { fid: 1, name: 'x'.repeat(65536), flags: 0, mode: 0, gid: 0 }],
    ['seventeen names', 'Twalk', { fid: 1, newfid: 2, wnames: new Array(17).fill('a') }],
  ] as const)('does not write %s, and goes on afterwards', (_what, name, body) => {
    expect(() => codec.encode(name, 1, body as never)).toThrow(RangeError);
    expect(codec.decode(codec.encode('Tclunk', 3, { fid: 9 }))).toEqual({ name: 'Tclunk', tag: 3, body: { fid: 9 } });
  });

  it('gives frames that later ones do not change', () => {
    const first = codec.encode('Tclunk', 1, { fid: 77 });
    const copy = first.slice();
    for (let index = 0; index < 5000; index++)
      codec.encode('Tlcreate', 2, { fid: 1, name: 'n'.repeat(index % 300), flags: 0, mode: 0, gid: 0 });
    expect(first).toEqual(copy);
  });
});
