import { type Dialect, HEADER_SIZE, VERSION_L, VERSION_LEGACY, VERSION_U } from './constants.js';
import { u16At, u32At, Writer } from './cursor.js';
import { ProtocolError } from './error.js';
import { readers, writers } from './hot.js';
import { type Layout, layout, readFields, writeFields } from './layout.js';
import { type Body, type MessageName, type MessageSpec, messages, messagesLegacy, messagesU } from './messages.js';

/** A message as it is worked with: name, tag, fields. */
export type Message = { [N in MessageName]: { name: N; tag: number; body: Body<N> } }[MessageName];

/** One message of one dialect, ready for use. */
interface Plan extends Layout {
  readonly type: number;
  /** The same as its fields, written out, where it is one of the frequent ones. */
  readonly read: ((frame: Uint8Array) => unknown) | undefined;
  readonly write: ((writer: Writer, body: never) => void) | undefined;
}

const hotReaders = new Map<string, Plan['read']>(Object.entries(readers));
const hotWriters = new Map<string, Plan['write']>(Object.entries(writers));

/**
 * Turns messages of one dialect into frames and back. `encode` gives a view that is never written again; `decode` gives a body
 * whose `data` is a view into the frame.
 */
export class Codec {
  readonly dialect: Dialect;
  readonly #byType: (Plan | undefined)[] = new Array(256).fill(undefined);
  readonly #byName = new Map<string, Plan>();
  readonly #writer = new Writer();

  constructor(dialect: Dialect = VERSION_L) {
    this.dialect = dialect;
    const table: Record<string, MessageSpec> = { ...messages };
    if (dialect === VERSION_U) Object.assign(table, messagesU);
    if (dialect === VERSION_LEGACY) Object.assign(table, messagesLegacy);
    for (const [name, { type, fields }] of Object.entries(table)) {
      const plan: Plan = { ...layout(name as MessageName, fields), type, read: hotReaders.get(name), write: hotWriters.get(name) };
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
    const plan = this.#plan(name);
    const writer = this.#writer;
    writer.begin(name, plan.type, tag);
    try {
      if (plan.write === undefined) writeFields(plan, body as Readonly<Record<string, unknown>>, writer);
      else plan.write(writer, body as never);
      return writer.end();
    } catch (error) {
      writer.abandon();
      throw error;
    }
  }

  #plan(name: MessageName): Plan {
    const plan = this.#byName.get(name);
    if (plan === undefined) throw new RangeError(`${this.dialect} has no ${name}`);
    return plan;
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
    return { name: plan.name, tag: u16At(frame, 5), body: readBody(plan, frame) } as Message;
  }

  /** The fields of a frame whose size, type and tag the caller has seen. */
  decodeBody<N extends MessageName>(name: N, frame: Uint8Array): Body<N> {
    const plan = this.#byType[frame[4] as number];
    return readBody(plan?.name === name ? plan : this.#plan(name), frame) as Body<N>;
  }
}

function readBody(plan: Plan, frame: Uint8Array): unknown {
  return plan.read?.(frame) ?? readFields(plan, frame);
}

/** The tag of a frame of at least 7 bytes: known even where the body makes no sense, so that an error can answer it. */
export function tagOf(frame: Uint8Array): number {
  return u16At(frame, 5);
}

/** The type byte of a frame of at least 5 bytes. */
export function typeOf(frame: Uint8Array): number {
  return frame[4] as number;
}
