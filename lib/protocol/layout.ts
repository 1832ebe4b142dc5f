import { HEADER_SIZE } from './constants.js';
import { Reader, type Writer } from './cursor.js';
import { ProtocolError } from './error.js';
import type { Field } from './fields.js';
import type { MessageName, MessageSpec } from './messages.js';

/** The fields of a message in the order of the wire. */
export interface Layout {
  readonly name: MessageName;
  readonly keys: readonly string[];
  readonly fields: readonly Field<unknown>[];
}

export function layout(name: MessageName, fields: MessageSpec['fields']): Layout {
  return { name, keys: Object.keys(fields), fields: Object.values(fields) };
}

const reader = new Reader();

/** Reads a body as the table has it. */
export function readFields({ name, keys, fields }: Layout, frame: Uint8Array): unknown {
  reader.reset(frame, HEADER_SIZE, name);
  const body: Record<string, unknown> = {};
  let beyond: ProtocolError | undefined;
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] as string;
    reader.field = key;
    try {
      body[key] = (fields[index] as Field<unknown>).read(reader);
    } catch (error) {
      // A sound field that is too large for us leaves the reader behind itself, so the rest can still be judged.
      if (!(error instanceof ProtocolError) || error.answer === undefined) throw error;
      beyond ??= error;
    }
  }
  if (beyond !== undefined) throw beyond;
  reader.field = '';
  if (reader.left !== 0) reader.fail(`${reader.left} bytes too many`);
  return body;
}

/** Writes a body as the table has it. */
export function writeFields({ keys, fields }: Layout, body: Readonly<Record<string, unknown>>, writer: Writer): void {
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] as string;
    writer.field = key;
    (fields[index] as Field<unknown>).write(writer, body[key]);
  }
}
