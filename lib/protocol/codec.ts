import { type Dialect, HEADER_SIZE, VERSION_L, VERSION_LEGACY, VERSION_U } from './constants.js';
import { Reader, u16At, u32At, Writer } from './cursor.js';
import { ProtocolError } from './error.js';
import type { Field } from './fields.js';
import { type Body, type MessageName, type MessageSpec, messages, messagesLegacy, messagesU } from './messages.js';

/** A message as it is worked with: name, tag, fields. */
export type Message = { [N in MessageName]: { name: N; tag: number; body: Body<N> } }[MessageName];

/** One message of one dialect, ready for use. */
interface Plan {
  readonly name: MessageName;
  readonly type: number;
  readonly keys: readonly string[];
  readonly fields: readonly Field<unknown>[];
}

/**
 * Turns messages of one dialect into frames and back. `encode` gives a view that is never written again; `decode` gives a body
 * whose `data` is a view into the frame.
 */
export class Codec {
  readonly dialect: Dialect;
  readonly #byType: (Plan | undefined)[] = new Array(256).fill(undefined);
  readonly #byName = new Map<string, Plan>();
  readonly #reader = new Reader();
  readonly #writer = new Writer();

  constructor(dialect: Dialect = VERSION_L) {
    this.dialect = dialect;
    const table: Record<string, MessageSpec> = { ...messages };
    if (dialect === VERSION_U) Object.assign(table, messagesU);
    if (dialect === VERSION_LEGACY) Object.assign(table, messagesLegacy);
    for (const [name, { type, fields }] of Object.entries(table)) {
      const plan: Plan = { name: name as MessageName, type, keys: Object.keys(fields), fields: Object.values(fields) };
      this.#byType[type] = plan;
      this.#byName.set(name, plan);
    }
  }

  /** The message with that type byte, if the dialect has it. */
  nameOf(type: number): MessageName | undefined {
    return this.#byType[type]?.name;
  }

  /** A whole frame, its payload copied in. A RangeError where a field cannot be written. */
  encode<N extends MessageName>(name: N, tag: number, body: Body<N>): Uint8Array {
    const writer = this.#begin(name, tag);
    try {
      this.#fields(name, body as Readonly<Record<string, unknown>>, writer);
      return writer.end();
    } catch (error) {
      writer.abandon();
      throw error;
    }
  }

  #begin(name: MessageName, tag: number): Writer {
    const writer = this.#writer;
    writer.begin(name, this.#plan(name).type, tag);
    return writer;
  }

  #plan(name: MessageName): Plan {
    const plan = this.#byName.get(name);
    if (plan === undefined) throw new RangeError(`${this.dialect} has no ${name}`);
    return plan;
  }

  #fields(name: MessageName, body: Readonly<Record<string, unknown>>, writer: Writer): void {
    const { keys, fields } = this.#plan(name);
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index] as string;
      writer.field = key;
      (fields[index] as Field<unknown>).write(writer, body[key]);
    }
  }

  /** The first 23 bytes of a Twrite whose `count` bytes follow elsewhere. */
  encodeTwrite(tag: number, fid: number, offset: number, count: number): Uint8Array {
    const writer = this.#writer;
    writer.begin('Twrite', messages.Twrite.type, tag);
    writer.u32(fid);
    writer.field = 'offset';
    writer.size64(offset);
    writer.u32(count);
    return writer.end(count);
  }

  /** A Tread, written out: it is the most frequent message there is. */
  encodeTread(tag: number, fid: number, offset: number, count: number): Uint8Array {
    const writer = this.#writer;
    writer.begin('Tread', messages.Tread.type, tag);
    writer.u32(fid);
    writer.field = 'offset';
    writer.size64(offset);
    writer.u32(count);
    return writer.end();
  }

  /** The first 11 bytes of an Rread or Rreaddir whose `count` bytes follow elsewhere. */
  encodeData(name: 'Rread' | 'Rreaddir', tag: number, count: number): Uint8Array {
    const writer = this.#writer;
    writer.begin(name, messages[name].type, tag);
    writer.u32(count);
    return writer.end(count);
  }

  /**
   * The message in a whole frame. A ProtocolError where the bytes are not exactly one message of this dialect; its `answer` is
   * set if the frame was sound and only asks too much.
   */
  decode(frame: Uint8Array): Message {
    if (frame.length < HEADER_SIZE) throw new ProtocolError(`a frame of ${frame.length} bytes`, 'size', 0);
    if (u32At(frame, 0) !== frame.length) throw new ProtocolError(`size ${u32At(frame, 0)} in a frame of ${frame.length} bytes`, 'size', 0);
    const plan = this.#byType[frame[4] as number];
    if (plan === undefined) throw new ProtocolError(`no message of ${this.dialect} has type ${frame[4]}`, 'type', 4);
    return { name: plan.name, tag: u16At(frame, 5), body: this.#body(plan, frame) } as Message;
  }

  /** The fields of a frame whose size, type and tag the caller has seen. */
  decodeBody<N extends MessageName>(name: N, frame: Uint8Array): Body<N> {
    return this.#body(this.#plan(name), frame) as Body<N>;
  }

  #body({ name, keys, fields }: Plan, frame: Uint8Array): unknown {
    const reader = this.#reader;
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
}

/** The tag of a frame of at least 7 bytes: known even where the body makes no sense, so that an error can answer it. */
export function tagOf(frame: Uint8Array): number {
  return u16At(frame, 5);
}

/** The type byte of a frame of at least 5 bytes. */
export function typeOf(frame: Uint8Array): number {
  return frame[4] as number;
}
