import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Writer } from '../../lib/protocol/cursor.js';
import { ProtocolError } from '../../lib/protocol/error.js';
import { readers, writers } from '../../lib/protocol/hot.js';
import { layout, readFields, writeFields } from '../../lib/protocol/layout.js';
import { type MessageName, type MessageSpec, messages, messagesLegacy, messagesU } from '../../lib/protocol/messages.js';
import { inFull } from '../support/sized.js';
import { bodies } from './arbitrary.js';

type Put = (writer: Writer, body: never) => void;
const table: Record<string, MessageSpec> = messages;
const specOf = (name: string): MessageSpec => table[name] as MessageSpec;
const layoutOf = (name: string) => layout(name as MessageName, specOf(name).fields);
const writer = new Writer();

/** What comes of writing a body: the frame in hex, or what the error says. */
function written(name: string, body: unknown, put: Put): string {
  writer.begin(name, specOf(name).type, 5);
  try {
    put(writer, body as never);
    return Buffer.from(writer.end()).toString('hex');
  } catch (error) {
    writer.abandon();
    if (error instanceof RangeError) return error.message;
    throw error;
  }
}

const byTable =
  (name: string): Put =>
  (w, body) =>
    writeFields(layoutOf(name), body, w);

/** The frame that the table makes of a sound body. */
function frameOf(name: string, body: unknown): Uint8Array {
  return Uint8Array.from(Buffer.from(written(name, body, byTable(name)), 'hex'));
}

/** A value with the keys of its objects in their order. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.entries(value).map(([key, one]) => [key, ordered(one)]);
}

/** Reads a frame both ways: the same body comes of it, or none where the table refuses it. Gives whether there was one. */
function readsAlike(name: string, read: (frame: Uint8Array) => unknown, frame: Uint8Array): boolean {
  let expected: unknown;
  try {
    expected = readFields(layoutOf(name), frame);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  expect(ordered(read(frame))).toStrictEqual(ordered(expected));
  return expected !== undefined;
}

/** `frame` with `bytes` in place of what is at `at`, cut or made longer to `length`. */
function changed(frame: Uint8Array, at: number, bytes: readonly number[], length = frame.length): Uint8Array {
  const other = new Uint8Array(length);
  other.set(frame.subarray(0, length));
  for (const [index, byte] of bytes.entries()) if (at + index < length) other[at + index] = byte;
  return other;
}

it('what is written out is the same in every dialect', () => {
  const others = new Set([...Object.keys(messagesU), ...Object.keys(messagesLegacy)]);
  expect([...Object.keys(readers), ...Object.keys(writers)].filter((name) => others.has(name) || !(name in table))).toEqual([]);
});

describe.each(Object.entries(readers))('%s, read as it is written out', (name, read) => {
  const frames = bodies(specOf(name), false).map((body) => frameOf(name, body));

  it('is what the table reads, wherever the frame lies', () => {
    fc.assert(
      fc.property(frames, fc.nat(9), (frame, before) => {
        expect(readsAlike(name, read, frame)).toBe(true);
        const within = Buffer.concat([new Uint8Array(before), frame, new Uint8Array(3)]).subarray(before, before + frame.length);
        expect(readsAlike(name, read, within)).toBe(true);
      }),
      { numRuns: inFull(200, 50) },
    );
  });

  it('is refused at any other length where the table refuses it', () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 40 }), (frame, more) => {
        for (let length = 7; length < frame.length; length++) expect(readsAlike(name, read, changed(frame, 0, [], length))).toBe(false);
        expect(readsAlike(name, read, changed(frame, 0, [], frame.length + more))).toBe(false);
      }),
      { numRuns: inFull(50, 10) },
    );
  });

  it('is refused with any bytes changed where the table refuses it', () => {
    const edge = fc.constantFrom(
      [0xff],
      [0xff, 0xff, 0xff, 0xff],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0],
      [0, 0, 0, 0, 0, 0, 0x20, 0],
    );
    const some = fc.oneof(edge, fc.array(fc.nat(255), { minLength: 1, maxLength: 8 }));
    fc.assert(
      fc.property(frames, some, fc.integer({ min: -20, max: 40 }), (frame, bytes, more) => {
        for (let at = 7; at < frame.length; at++) readsAlike(name, read, changed(frame, at, bytes));
        readsAlike(name, read, changed(frame, 7, bytes, Math.max(7, frame.length + more)));
      }),
      { numRuns: inFull(100, 20) },
    );
  });
});

/** What fields may be given that they should not: each of the kind of the value it stands for. */
const odd = (value: unknown, which: number): unknown => {
  const pick = <T>(...from: T[]): T => from[which % from.length] as T;
  if (typeof value === 'number') return pick<unknown>(-1, 2 ** 53, 2 ** 53 - 1, Number.NaN, 1.5, -(2 ** 33) - 1.5, 2 ** 32 + 7, undefined);
  if (typeof value === 'bigint') return pick(-1n, 1n << 64n, 0xffffffffffffffffn);
  if (typeof value === 'string') return pick('x'.repeat(65_536), 'ä'.repeat(32_768), 'x'.repeat(65_535), '€'.repeat(21_845), '\ud800');
  if (Array.isArray(value) && value.length > 0) return new Array(pick(16, 17, 18)).fill(value[0]);
  if (value instanceof Uint8Array) return new Uint8Array(pick(0, 40_000));
  return value;
};

/** The places of a body that hold no object. */
function places(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, one]) => places(one, [...path, key]));
}

function replaced(value: unknown, [key, ...rest]: readonly string[], which: number): unknown {
  if (key === undefined) return odd(value, which);
  const parts = value as Readonly<Record<string, unknown>>;
  return { ...parts, [key]: replaced(parts[key], rest, which) };
}

describe.each(Object.entries(writers))('%s, written as it is written out', (name, write) => {
  it('has the bytes that the table writes', () => {
    fc.assert(
      fc.property(bodies(specOf(name), false), (body) => {
        expect(written(name, body, write as Put)).toBe(written(name, body, byTable(name)));
      }),
      { numRuns: inFull(300, 100) },
    );
  });

  it('is refused as the table refuses it', () => {
    fc.assert(
      fc.property(bodies(specOf(name), false), fc.nat(7), (body, which) => {
        for (const place of places(body)) {
          const given = replaced(body, place, which);
          expect(written(name, given, write as Put)).toBe(written(name, given, byTable(name)));
        }
      }),
      { numRuns: inFull(50, 20) },
    );
  });
});
