import { Reader, Writer } from './cursor.js';
import { directoryEntry, type Field } from './fields.js';
import { messages } from './messages.js';
import { textBytes } from './text.js';
import type { Attributes, DirectoryEntry } from './types.js';

/**
 * Set in the count of a Treaddir, it asks for the entries' attributes along with them. Only our own server knows it, and only after it was
 * asked to keep order (ORDERED_XATTR): a directory is then listed, and all in it looked at, in one round trip.
 */
export const READDIR_PLUS = 0x80000000;

/** An entry and its attributes; undefined where they could not be had at once. */
export interface EntryPlus {
  entry: DirectoryEntry;
  attributes: Attributes | undefined;
}

/** The fields of Rgetattr, in their order. */
const fields = Object.entries(messages.Rgetattr.fields) as [keyof Attributes, Field<unknown>][];

/** Bytes of an entry beside its name: that of Rreaddir, a byte that says whether attributes follow, the attributes. */
const HEAD = 24 + 1 + 153;

/** How many bytes an entry of that name takes at most. */
export function entryPlusBytes(name: string): number {
  return HEAD + textBytes(name);
}

/** The data of an Rreaddir with attributes. The caller has seen to it that they fit. */
export function encodeEntriesPlus(entries: readonly EntryPlus[]): Uint8Array {
  let bytes = 0;
  for (const { entry } of entries) bytes += entryPlusBytes(entry.name);
  const writer = new Writer(bytes);
  for (const { entry, attributes } of entries) {
    directoryEntry.write(writer, entry);
    writer.u8(attributes === undefined ? 0 : 1);
    if (attributes !== undefined) for (const [name, field] of fields) field.write(writer, attributes[name]);
  }
  return writer.written();
}

const reader = new Reader();

/** The other way round. A ProtocolError where the data is no such thing. */
export function decodeEntriesPlus(data: Uint8Array): EntryPlus[] {
  const entries: EntryPlus[] = [];
  reader.reset(data, 0, 'Rreaddir');
  reader.field = 'data';
  while (reader.left > 0) {
    const entry = directoryEntry.read(reader);
    if (reader.u8() === 0) {
      entries.push({ entry, attributes: undefined });
      continue;
    }
    const attributes: Partial<Record<keyof Attributes, unknown>> = {};
    for (const [name, field] of fields) attributes[name] = field.read(reader);
    entries.push({ entry, attributes: attributes as unknown as Attributes });
  }
  return entries;
}
