import { ATTRIBUTES, putAttributes, putQid, takeAttributes, takeQid } from './attributes.js';
import { Reader, u16At } from './cursor.js';
import { decodeText, encodeText, textBytes } from './text.js';
import type { Attributes, DirectoryEntry } from './types.js';

/**
 * Set in the count of a Treaddir, it asks for the entries' attributes along with them. Only our own server knows it, and only after it was
 * asked to keep order (ORDERED_XATTR): a directory is then listed, and all in it looked at, in one round trip.
 */
export const READDIR_PLUS = 0x80000000;

/** Set as well, it asks which of the files have no extended attribute at all, so that nobody need ask each of them for its ACL. */
export const READDIR_BARE = 0x40000000;

/** What is asked for in a Treaddir's count: bytes of entries, and what is to come with them. */
export interface Wanted {
  /** Bytes. */
  readonly count: number;
  readonly plus: boolean;
  readonly bare: boolean;
}

/** The parts of a Treaddir's count. */
export function wantedOf(count: number): Wanted {
  if (count < READDIR_PLUS) return { count, plus: false, bare: false };
  const rest = count - READDIR_PLUS;
  return rest < READDIR_BARE ? { count: rest, plus: true, bare: false } : { count: rest - READDIR_BARE, plus: true, bare: true };
}

/** An entry and its attributes; undefined where they could not be had at once. */
export interface EntryPlus {
  readonly entry: DirectoryEntry;
  readonly attributes: Attributes | undefined;
  /** It has no extended attribute, POSIX ACLs included. False where that is not known. */
  readonly bare: boolean;
}

/** An entry of which nothing more is known. */
export function untold(entry: DirectoryEntry): EntryPlus {
  return { entry, attributes: undefined, bare: false };
}

/** Bits of the byte behind an entry. */
const TOLD = 1;
const BARE = 2;

/** Bytes of an entry of Rreaddir beside its name; its attributes follow as the fields of an Rgetattr. */
const ENTRY = 24;

/** How many bytes an entry of that name takes at most. */
export function entryPlusBytes(name: string): number {
  return ENTRY + 1 + ATTRIBUTES + textBytes(name);
}

/** The data of an Rreaddir with attributes: each entry, a byte (TOLD: attributes follow; BARE), the attributes. The caller has seen to it that they fit. */
export function encodeEntriesPlus(entries: readonly EntryPlus[]): Uint8Array {
  let room = 0;
  for (const { entry } of entries) room += entryPlusBytes(entry.name);
  const bytes = new Uint8Array(room);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { entry, attributes, bare } of entries) {
    const { qid, offset, type, name } = entry;
    putQid(view, at, qid);
    view.setBigUint64(at + 13, offset, true);
    bytes[at + 21] = type;
    const length = encodeText(name, bytes, at + ENTRY);
    view.setUint16(at + 22, length, true);
    at += ENTRY + length;
    bytes[at++] = (attributes === undefined ? 0 : TOLD) | (bare ? BARE : 0);
    if (attributes === undefined) continue;
    putAttributes(view, at, attributes);
    at += ATTRIBUTES;
  }
  return bytes.subarray(0, at);
}

const reader = new Reader();

/**
 * The other way round. A ProtocolError where the data is no such thing. Attributes are decoded when somebody asks for them, as mostly some are
 * wanted and the rest is only passed by: `data` must stay as it is until then.
 */
export function decodeEntriesPlus(data: Uint8Array): EntryPlus[] {
  const entries: EntryPlus[] = [];
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  let at = 0;
  const need = (count: number): void => {
    if (at + count <= data.length) return;
    reader.reset(data, at, 'Rreaddir');
    reader.field = 'data';
    reader.fail(`frame ends ${at + count - data.length} bytes too early`);
  };
  while (at < data.length) {
    need(ENTRY);
    const length = u16At(data, at + 22);
    need(ENTRY + length + 1);
    const end = at + ENTRY + length;
    const entry = {
      qid: takeQid(view, at),
      offset: view.getBigUint64(at + 13, true),
      type: data[at + 21] as number,
      name: decodeText(data, at + ENTRY, end),
    };
    at = end + 1;
    const told = data[end] as number;
    const bare = (told & BARE) !== 0;
    if ((told & TOLD) === 0) {
      entries.push({ entry, attributes: undefined, bare });
      continue;
    }
    need(ATTRIBUTES);
    entries.push(new Undecoded(entry, bare, view, at));
    at += ATTRIBUTES;
  }
  return entries;
}

/** An entry whose attributes have not been looked at. */
class Undecoded implements EntryPlus {
  readonly entry: DirectoryEntry;
  readonly bare: boolean;
  readonly #view: DataView;
  readonly #at: number;
  #decoded = false;
  #attributes: Attributes | undefined;

  constructor(entry: DirectoryEntry, bare: boolean, view: DataView, at: number) {
    this.entry = entry;
    this.bare = bare;
    this.#view = view;
    this.#at = at;
  }

  /** Undefined also where a number is too large for us: a request for that file alone says so. */
  get attributes(): Attributes | undefined {
    if (!this.#decoded) {
      this.#decoded = true;
      this.#attributes = takeAttributes(this.#view, this.#at);
    }
    return this.#attributes;
  }
}
