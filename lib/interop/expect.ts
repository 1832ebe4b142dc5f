import { isDeepStrictEqual } from 'node:util';
import { ErrnoError } from '../protocol/error.js';
import { Deviation, Unnumbered, Unsupported } from './outcome.js';

/** What refuses a fid that does not exist or cannot be used so. The errno differs from server to server; that there is one does not. */
export const anyError: readonly string[] = [];

/** What every server has, whatever else it lacks: there EOPNOTSUPP is a refusal like any other. */
const core: ReadonlySet<string | undefined> = new Set(['Tversion', 'Tauth', 'Tattach', 'Twalk', 'Tread', 'Topen', 'Tlopen']);

/**
 * The attempt must be refused; with one of these codes, if any are given. Where the server says that it does not do such a thing at all, the check
 * is about nothing, unless that is among the codes, or the thing is one that every server does.
 */
export async function refused(attempt: Promise<unknown>, ...codes: readonly string[]): Promise<void> {
  try {
    await attempt;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    if (codes.includes(error.code) || error instanceof Unnumbered) return;
    if ((error.code === 'EOPNOTSUPP' || error.code === 'ENOSYS') && !core.has(error.syscall)) throw error;
    if (codes.length === 0) return;
    throw new Deviation(`${error.syscall ?? 'it'} answered ${error.code}, not ${codes.join(' or ')}`);
  }
  throw new Deviation('it was done');
}

/** Undefined where the server refuses it, with any error. */
export async function unlessRefused<T>(attempt: Promise<T>): Promise<T | undefined> {
  try {
    return await attempt;
  } catch (error) {
    if (error instanceof ErrnoError) return undefined;
    throw error;
  }
}

/** Where an errno means that this server, or whoever runs the check, cannot have what the check is about. */
export async function unless<T>(code: string | readonly string[], reason: string, attempt: Promise<T>): Promise<T> {
  try {
    return await attempt;
  } catch (error) {
    if (error instanceof ErrnoError && (typeof code === 'string' ? [code] : code).includes(error.code)) {
      throw new Unsupported(`${reason} (${error.syscall} answered ${error.code})`);
    }
    throw error;
  }
}

/** `actual` must be `expected`. */
export function same(actual: unknown, expected: unknown, what: string): void {
  if (!isDeepStrictEqual(plain(actual), plain(expected))) throw new Deviation(`${what} is ${show(actual)}, not ${show(expected)}`);
}

/** It must be so; `saw` tells what was, if not. */
export function that(condition: boolean, saw: string): void {
  if (!condition) throw new Deviation(saw);
}

/** `actual` must be one of these. */
export function among(actual: unknown, expected: readonly unknown[], what: string): void {
  if (!expected.some((one) => isDeepStrictEqual(plain(actual), plain(one)))) {
    throw new Deviation(`${what} is ${show(actual)}, not ${expected.map(show).join(' or ')}`);
  }
}

/** Bytes are the same whatever carries them. */
function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}

/** Short enough for one line. */
export function show(value: unknown): string {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) {
    if (value.length > 40) return `${value.length} bytes (${hash(value)})`;
    return /^[\x20-\x7e]*$/.test(Buffer.from(value).toString('latin1')) ? JSON.stringify(Buffer.from(value).toString()) : hex(value);
  }
  if (Array.isArray(value))
    return value.length > 12 ? `${value.length} of them (${value.map(show).join(',')})` : `[${value.map(show).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, part]) => `${key} ${show(part)}`)
      .join(', ')}}`;
  }
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 50)}… (${value.length})` : value);
  return String(value);
}

/** As ls(1) prints it. */
export function octal(mode: number): string {
  return `0${mode.toString(8)}`;
}

function hex(bytes: Uint8Array): string {
  return `bytes ${Buffer.from(bytes).toString('hex')}`;
}

function hash(bytes: Uint8Array): string {
  let sum = 0x811c9dc5;
  for (const byte of bytes) sum = Math.imul(sum ^ byte, 0x01000193);
  return `#${(sum >>> 0).toString(16)}`;
}
