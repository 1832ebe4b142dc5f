import { setMaxListeners } from 'node:events';
import type { ObjectEncodingOptions } from 'node:fs';
import { isDate } from 'node:util/types';
import type { RequestOptions } from '../client/verbs.js';
import { textToBytes } from '../protocol/text.js';
import type { Timespec } from '../protocol/types.js';
import { invalidArgType, invalidArgValue, outOfRange } from './errors.js';

/** A mode as Node takes it: a number, or octal digits. */
export function toMode(value: unknown, name: string, fallback?: number): number {
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  let mode = value;
  if (typeof mode === 'string') {
    if (!/^[0-7]+$/.test(mode)) {
      throw invalidArgValue(name, value, 'must be a 32-bit unsigned integer or an octal string');
    }
    mode = Number.parseInt(mode, 8);
  }
  return toInteger(mode, name, 0, 0xffffffff);
}

/** A whole number from `low` to `high`. */
export function toInteger(value: unknown, name: string, low = Number.MIN_SAFE_INTEGER, high = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < low || value > high) throw outOfRange(name, `>= ${low} && <= ${high}`, value);
  return value;
}

/** A uid or gid; -1 leaves it as it is. */
export function toId(value: unknown, name: string): number | undefined {
  const id = toInteger(value, name, -1, 0xffffffff);
  return id === -1 || id === 0xffffffff ? undefined : id;
}

/** A time as Node takes it: seconds, a string of them, or a Date. Kept to the microsecond, as libuv does. */
export function toTimespec(value: unknown): Timespec {
  const seconds = toSeconds(value);
  const micros = Math.trunc(seconds * 1e6);
  const sec = Math.floor(micros / 1e6);
  return { sec, nsec: (micros - sec * 1e6) * 1000 };
}

function toSeconds(value: unknown): number {
  if (typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))) return Number(value);
  // Node takes a negative number for "now" too; a Date may be before 1970.
  if (typeof value === 'number' && !Number.isNaN(value)) return !Number.isFinite(value) || value < 0 ? Date.now() / 1000 : value;
  if (isDate(value)) return value.getTime() / 1000;
  throw invalidArgType('time', 'an instance of Date or an Time in seconds', value);
}

/** The encoding that an options argument asks for: undefined where it says nothing. */
export function encodingOf(options: unknown): BufferEncoding | 'buffer' | undefined {
  const encoding: unknown = typeof options === 'string' ? options : (options as ObjectEncodingOptions | null | undefined)?.encoding;
  if (encoding === undefined || encoding === null) return undefined;
  if (encoding === 'buffer') return 'buffer';
  if (typeof encoding !== 'string' || !Buffer.isEncoding(encoding)) throw invalidArgValue('encoding', encoding, 'is invalid encoding');
  return encoding;
}

/** A name or path in the encoding that was asked for. */
export function named(text: string, encoding: BufferEncoding | 'buffer' | undefined): string | Buffer {
  if (encoding === undefined || encoding === 'utf8' || encoding === 'utf-8') return text;
  const bytes = textToBytes(text);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return encoding === 'buffer' ? buffer : buffer.toString(encoding);
}

/** An options argument that may also be an encoding, or nothing. */
export function optionsOf<T extends object>(options: T | string | null | undefined): Partial<T> {
  if (options === undefined || options === null || typeof options === 'function') return {};
  if (typeof options === 'string') return { encoding: options } as unknown as Partial<T>;
  if (typeof options !== 'object') throw invalidArgType('options', 'one of type string or an instance of Object', options);
  return options;
}

/** The `signal` and `timeout` of an options argument over those of the file system. */
export function requestOf(options: unknown, base: RequestOptions | undefined): RequestOptions | undefined {
  if (typeof options !== 'object' || options === null) return base;
  const { signal, timeout } = options as RequestOptions;
  if (signal === undefined && timeout === undefined) return base;
  if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal)) {
    throw invalidArgType('options.signal', 'an instance of AbortSignal', signal);
  }
  return { signal: joinSignals(signal, base?.signal), timeout: timeout ?? base?.timeout };
}

/** One signal for several. It may have a listener for each request in flight, which Node would take for a leak in the caller's own. */
export function joinSignals(...signals: readonly (AbortSignal | null | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined && signal !== null);
  if (given.length === 0) return undefined;
  const joined = AbortSignal.any(given);
  setMaxListeners(0, joined);
  return joined;
}

/** The bytes of anything that Node takes as data: a view, never a copy, unless it is text. */
export function toBytes(data: unknown, name: string, encoding?: BufferEncoding | null): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, encoding ?? 'utf8');
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw invalidArgType(name, 'of type string or an instance of Buffer, TypedArray, or DataView', data);
}
