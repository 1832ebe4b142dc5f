import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Codec, type Dialect, type MessageName, messages, messagesLegacy, messagesU } from '../../lib/protocol/index.js';

/** One message as somebody else put it: `fields` has u64 as `{ u64: decimal }` and payloads as `{ hex }`. */
interface Vector {
  message: MessageName;
  tag: number;
  hex: string;
  fields: Record<string, unknown>;
  source: string;
  /** Why its peer's bytes are not the ones that we would write. */
  decodeOnly?: string;
}

const folder = new URL('../../fixtures/vectors/', import.meta.url);
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name): { name: string; dialect: Dialect; vectors: Vector[] } => ({
    name,
    ...JSON.parse(readFileSync(new URL(name, folder), 'utf8')),
  }));

/** A decoded body as JSON has it. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return { u64: String(value) };
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

/** A body from its JSON. */
function body(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(body);
  if (typeof value !== 'object' || value === null) return value;
  if ('u64' in value) return BigInt(String(value.u64));
  if ('hex' in value) return Uint8Array.from(Buffer.from(String(value.hex), 'hex'));
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, body(one)]));
}

describe.each(files)('$name', ({ dialect, vectors }) => {
  const codec = new Codec(dialect);

  test.each(vectors.map((vector) => [`${vector.message} ${vector.hex.slice(0, 64)}`, vector] as const))('%s', (_, vector) => {
    const { message, tag, hex, fields, source, decodeOnly } = vector;
    expect(source).not.toBe('');
    const decoded = codec.decode(Buffer.from(hex, 'hex'));
    expect({ name: decoded.name, tag: decoded.tag, body: plain(decoded.body) }).toEqual({ name: message, tag, body: fields });
    if (decodeOnly === undefined) expect(Buffer.from(codec.encode(message, tag, body(fields) as never)).toString('hex')).toBe(hex);
  });
});

test.each([
  ['9P2000.L', messages],
  ['9P2000.u', messagesU],
  ['9P2000', messagesLegacy],
] as const)('every message of %s has a vector', (dialect, table) => {
  const covered = new Set(
    files.filter((file) => file.dialect === dialect).flatMap(({ vectors }) => vectors.map(({ message }) => String(message))),
  );
  expect(Object.keys(table).filter((name) => !covered.has(name))).toEqual([]);
});
