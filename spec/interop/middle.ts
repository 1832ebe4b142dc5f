import { memoryPair, type Transport } from '../../lib/index.js';
import { Codec, type Dialect, type Message, tagOf, VERSION_L } from '../../lib/protocol/index.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';

/** A message that the codec does not know: what a tester sends to see what happens. */
export interface Raw {
  name: 'raw';
  tag: number;
}

/** What a saboteur does with a message: passes it on (changed or not), or does something else. */
export type Deed =
  | { pass: Message }
  | { answer: Message }
  | 'swallow'
  | 'close'
  | { send: readonly Message[] }
  | { spoil: (frame: Uint8Array) => void }
  | undefined;

/** Breaks some answer of a server that is right. */
export interface Saboteur {
  /** A request on its way to the server. `answer` is sent back in the server's stead. */
  request?(request: Message | Raw): Deed;
  /** A reply on its way back, and the request as the tester sent it. */
  reply?(reply: Message, request: Message | Raw): Deed;
  /** The tester is not told that the server has ended the connection. */
  readonly holds?: boolean;
}

/**
 * Stands between the tester and a server and lets the saboteur of the moment have its way with each message. Bytes that are no
 * message go through as they are.
 */
export function middle(server: Transport, dialect: Dialect, armed: () => Saboteur | undefined): Transport {
  const [near, inner] = memoryPair();
  const codec = new Codec(dialect);
  const asked = new Map<number, (Message | Raw)[]>();
  const send = (to: Transport, message: Message): void => {
    to.send([codec.encode(message.name, message.tag, message.body as never).slice()]);
  };

  receive(
    inner,
    (frame) => {
      const request = decode(codec, frame);
      asked.set(request.tag, [...(asked.get(request.tag) ?? []), request]);
      const deed = armed()?.request?.(request);
      if (deed === undefined) server.send([frame]);
      else if (deed === 'close') inner.destroy();
      else if (deed === 'swallow') return;
      else if ('pass' in deed) send(server, deed.pass);
      else if ('answer' in deed) {
        asked.get(request.tag)?.shift();
        send(inner, deed.answer);
      }
    },
    () => server.destroy(),
  );

  receive(
    server,
    (frame) => {
      const reply = decode(codec, frame);
      const request = asked.get(reply.tag)?.shift() ?? { name: 'raw', tag: reply.tag };
      const deed = reply.name === 'raw' ? undefined : armed()?.reply?.(reply, request);
      if (deed === undefined) inner.send([frame]);
      else if (deed === 'close') inner.destroy();
      else if (deed === 'swallow') return;
      else if ('send' in deed) for (const message of deed.send) send(inner, message);
      else if ('pass' in deed) send(inner, deed.pass);
      else if ('spoil' in deed) {
        deed.spoil(frame);
        inner.send([frame]);
      }
    },
    () => {
      if (armed()?.holds !== true) void inner.close();
    },
  );
  return near;
}

function decode(codec: Codec, frame: Uint8Array): Message | Raw {
  try {
    const message = codec.decode(frame);
    return message.name === 'Twrite' || message.name === 'Rread' || message.name === 'Rreaddir' ? copied(message) : message;
  } catch {
    return { name: 'raw', tag: frame.length >= 7 ? tagOf(frame) : 0 };
  }
}

/** The payload is a view of a buffer that will be used again. */
function copied<M extends Message & { body: { data: Uint8Array } }>(message: M): M {
  return { ...message, body: { ...message.body, data: Buffer.from(message.body.data) } };
}

/** Cuts frames out of the stream; once something cannot be a frame, what comes is passed as it comes. */
function receive(from: Transport, frame: (bytes: Buffer) => void, closed: () => void): void {
  let pending = Buffer.alloc(0);
  const target = Buffer.alloc(65536);
  const take = (chunk: Uint8Array): void => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 4) {
      const announced = pending.readUInt32LE(0);
      const size = announced < 7 || announced > 1 << 20 ? pending.length : announced;
      if (pending.length < size) return;
      const one = Buffer.from(pending.subarray(0, size));
      pending = pending.subarray(size);
      frame(one);
    }
  };
  from.start({
    target: () => target,
    filled: (count) => take(target.subarray(0, count)),
    push: take,
    drained: () => {},
    closed,
  });
}

/** A server of our own with a tree in memory, and the saboteur that stands before it. */
export class Sabotaged {
  armed: Saboteur | undefined;
  readonly server = new Server({ exports: { '/': new MemoryBackend() } });

  readonly dial = async (): Promise<Transport> => {
    const [near, far] = memoryPair();
    this.server.serve(far);
    return middle(near, VERSION_L, () => this.armed);
  };
}
