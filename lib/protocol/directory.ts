import { Reader, Writer } from './cursor.js';
import { directoryEntry, legacyStatBody } from './fields.js';
import { textBytes } from './text.js';
import type { DirectoryEntry, LegacyStat } from './types.js';

/** Bytes of an entry of Rreaddir beside its name: qid[13] offset[8] type[1] and the size of the name. */
const ENTRY_HEAD = 24;

const reader = new Reader();

/** How many bytes of an Rreaddir an entry of that name takes. */
export function entryBytes(name: string): number {
  return ENTRY_HEAD + textBytes(name);
}

/** The entries in the data of an Rreaddir. A ProtocolError where the data is cut in the middle of one. */
export function decodeEntries(data: Uint8Array): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  reader.reset(data, 0, 'Rreaddir');
  reader.field = 'data';
  while (reader.left > 0) entries.push(directoryEntry.read(reader));
  return entries;
}

/** The data of an Rreaddir that holds as many of `entries`, from the first on, as fit into `count` bytes. */
export function encodeEntries(entries: readonly DirectoryEntry[], count: number): Uint8Array {
  let bytes = 0;
  let fit = 0;
  for (; fit < entries.length; fit++) {
    const size = entryBytes((entries[fit] as DirectoryEntry).name);
    if (bytes + size > count) break;
    bytes += size;
  }
  const writer = new Writer(bytes);
  for (let index = 0; index < fit; index++) directoryEntry.write(writer, entries[index] as DirectoryEntry);
  return writer.written();
}

/**
 * The stats that a Tread of a directory gives in 9P2000.u (`extended`) and 9P2000 (read(5): a whole number of them). A ProtocolError where
 * one is cut.
 */
export function decodeStats(data: Uint8Array, extended: boolean): LegacyStat[] {
  const stat = legacyStatBody(extended);
  const stats: LegacyStat[] = [];
  reader.reset(data, 0, 'Rread');
  reader.field = 'stat';
  while (reader.left > 0) stats.push(stat.read(reader));
  return stats;
}
