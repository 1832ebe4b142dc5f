import { Codec, type Message, tagOf, typeOf } from '../protocol/codec.js';
import { DEFAULT_MSIZE, type Dialect, HEADER_SIZE, NOTAG, VERSION_L } from '../protocol/constants.js';
import { u32At } from '../protocol/cursor.js';
import { ConnectionLostError, ErrnoError, ProtocolError } from '../protocol/error.js';
import { type Body, messagesU, type Reply, replyName, type TName } from '../protocol/messages.js';
import { legacyErrno, type Receiver, type Transport } from '../session/index.js';
import { Deviation, Unnumbered } from './outcome.js';

/** A reply as it came. */
export type Answer = Message & {
  /** Its bytes. */
  frame: Uint8Array;
  /** How many replies had come before it on this connection. */
  order: number;
};

const RERROR = messagesU.Rerror.type;

/** The number of no fid. */
export const STRANGER = 1013;

interface Waiter {
  /** What was asked, for whoever waits in vain. */
  what: string;
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** A request that was sent, and the reply to come. */
export interface Posted {
  tag: number;
  answer: Promise<Answer>;
}

/**
 * One connection as a tester needs it: it may break every rule itself (tags, sizes, contents), and it notices each broken one of
 * the server's. A session would neither let it nor tell.
 */
export class Wire implements Receiver {
  readonly #transport: Transport;
  readonly #waiters = new Map<number, Waiter[]>();
  #codec: Codec;
  #target = Buffer.allocUnsafe(256 * 1024);
  #pending: Buffer = Buffer.alloc(0);
  #lost: Error | undefined;
  #tag = 0;
  #fid = 1;
  #arrivals = 0;
  readonly #free: number[] = [];
  /** The tags of the check that is made, and of those before it. */
  readonly #tags = new Set<number>();
  readonly #earlier = new Set<number>();
  /** The largest frame that was agreed on. */
  msize = DEFAULT_MSIZE;
  /** Replies that nobody had asked for. */
  readonly strays: string[] = [];
  /** Tversion was sent again, or something that may have changed what holds on this connection. */
  dirty = false;
  readonly #over: Promise<void>;
  #ended: () => void = () => {};

  /** `dialect`: what its messages are in before a version was agreed on. */
  constructor(transport: Transport, dialect: Dialect) {
    this.#transport = transport;
    this.#codec = new Codec(dialect);
    this.#over = new Promise((resolve) => {
      this.#ended = resolve;
    });
    transport.start(this);
  }

  get name(): string {
    return this.#transport.name;
  }

  get dialect(): Dialect {
    return this.#codec.dialect;
  }

  /** Whether frames are cut out of a stream. On a virtqueue each is a buffer of its own. */
  get isStream(): boolean {
    return this.#transport.maxFrame === undefined;
  }

  get maxFrame(): number {
    return this.#transport.maxFrame ?? Number.POSITIVE_INFINITY;
  }

  /** Why it is over, if it is. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** Begins (or begins anew) with Tversion and takes over what Rversion says. */
  async version(msize: number, version: string): Promise<Reply<'Tversion'>> {
    const reply = await this.request('Tversion', { msize: Math.min(msize, this.maxFrame), version }, NOTAG);
    for (const dialect of [VERSION_L, '9P2000.u', '9P2000'] as const) {
      if (reply.version === dialect) this.#codec = new Codec(dialect);
    }
    if (reply.msize >= 256) this.msize = Math.min(reply.msize, msize);
    return reply;
  }

  /** Sends a request and gives its reply, or rejects with the errno of Rlerror. */
  async request<N extends TName>(name: N, body: Body<N>, tag?: number): Promise<Reply<N>> {
    return replyOf(name, await this.post(name, body, tag).answer);
  }

  /** Sends a request. The reply comes as it is, whatever it is. */
  post<N extends TName>(name: N, body: Body<N>, tag = this.newTag()): Posted {
    return { tag, answer: this.postRaw(this.#codec.encode(name, tag, body), tag, name) };
  }

  /** Sends the bytes of what may be a request with that tag. */
  postRaw(bytes: Uint8Array, tag: number, what = 'a message'): Promise<Answer> {
    const answer = new Promise<Answer>((resolve, reject) => {
      if (this.#lost !== undefined) {
        reject(this.#lost);
        return;
      }
      const waiters = this.#waiters.get(tag) ?? [];
      waiters.push({ what, resolve, reject });
      this.#waiters.set(tag, waiters);
      this.#tags.add(tag);
      this.sendRaw(bytes);
    });
    // A check that has failed meanwhile does not wait for it any more.
    answer.catch(() => undefined);
    return answer;
  }

  /** Sends bytes that nobody waits for an answer to. */
  sendRaw(bytes: Uint8Array): void {
    this.#transport.send([bytes]);
  }

  /** The frame of a request, to be spoilt. */
  encode<N extends TName>(name: N, body: Body<N>, tag = this.newTag()): Uint8Array {
    return this.#codec.encode(name, tag, body).slice();
  }

  newTag(): number {
    do this.#tag = (this.#tag + 1) % 0xff00;
    while (this.#waiters.has(this.#tag));
    return this.#tag;
  }

  /** A fid number that nobody uses on this connection. Small ones first: some servers have room for a thousand only. */
  newFid(): number {
    const fid = this.#free.pop();
    if (fid !== undefined) return fid;
    if (this.#fid === STRANGER) this.#fid++;
    return this.#fid++;
  }

  /** The server has forgotten these. */
  giveBack(fids: Iterable<number>): void {
    this.#free.push(...fids);
  }

  /** Another check begins: an answer that comes now to what was asked before is not its doing. */
  begin(): void {
    this.strays.length = 0;
    for (const tag of this.#tags) this.#earlier.add(tag);
    this.#tags.clear();
  }

  /** What has been asked and not answered. */
  get unanswered(): string[] {
    return [...this.#waiters.values()].flat().map(({ what }) => what);
  }

  /** Nobody waits for the reply to `tag` any more. */
  forget(tag: number): void {
    this.#waiters.delete(tag);
  }

  /** Resolves when the connection is over. */
  get over(): Promise<void> {
    return this.#over;
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** Ends it at once: whoever waits is told `error`. */
  destroy(error?: Error): void {
    this.#fail(error);
  }

  // Receiver

  target(): Uint8Array {
    return this.#target;
  }

  filled(count: number): void {
    this.push(this.#target.subarray(0, count));
  }

  push(chunk: Uint8Array): void {
    if (this.#lost !== undefined) return;
    this.#pending = Buffer.concat([this.#pending, chunk]);
    try {
      this.#cut();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #cut(): void {
    while (this.#pending.length >= HEADER_SIZE) {
      const size = u32At(this.#pending, 0);
      if (size < HEADER_SIZE) throw new Deviation(`a frame of size ${size}`);
      if (size > this.msize) throw new Deviation(`a frame of ${size} bytes, and msize is ${this.msize}`);
      if (this.#pending.length < size) return;
      const frame = this.#pending.subarray(0, size);
      this.#pending = this.#pending.subarray(size);
      this.#arrived(frame);
    }
  }

  #arrived(frame: Buffer): void {
    const tag = tagOf(frame);
    const name = this.#codec.nameOf(typeOf(frame));
    const waiters = this.#waiters.get(tag);
    const waiter = waiters?.shift();
    if (waiters?.length === 0) this.#waiters.delete(tag);
    if (waiter === undefined) {
      if (this.#earlier.has(tag) && !this.#tags.has(tag)) return;
      this.strays.push(`${name ?? `type ${typeOf(frame)}`} to tag ${tag}, which was free`);
      return;
    }
    // nfs-ganesha has Rlerror's body under Rerror's number. walk.missing tells so; the other checks are about something else.
    if (typeOf(frame) === RERROR && this.dialect === VERSION_L && frame.length === HEADER_SIZE + 4) {
      const body = { ecode: u32At(frame, HEADER_SIZE) };
      waiter.resolve({ name: 'Rlerror', tag, body, frame, order: this.#arrivals++ });
      return;
    }
    try {
      waiter.resolve({ ...this.#codec.decode(frame), frame, order: this.#arrivals++ });
    } catch (error) {
      waiter.reject(error instanceof ProtocolError ? error : new Deviation(String(error)));
    }
  }

  drained(): void {}

  closed(error?: Error): void {
    this.#fail(error);
  }

  #fail(error: Error | undefined): void {
    if (this.#lost !== undefined) return;
    this.#lost = new ConnectionLostError(this.name, error);
    for (const waiters of this.#waiters.values()) for (const { reject } of waiters) reject(this.#lost);
    this.#waiters.clear();
    this.#ended();
    this.#transport.destroy();
  }
}

/** The body of the reply to a request, or the error that it stands for. */
export function replyOf<N extends TName>(name: N, answer: Answer): Reply<N> {
  if (answer.name === 'Rlerror') {
    const { ecode } = answer.body;
    if (ecode === 0 || ecode > 4095) throw new Deviation(`${name} answered the errno ${ecode}`);
    throw new ErrnoError(ecode, { syscall: name });
  }
  if (answer.name === 'Rerror') {
    const { ename, errno } = answer.body;
    // The codec of 9P2000 finds no number there.
    if (errno === undefined) throw new Unnumbered(legacyErrno(ename), { syscall: name }, { cause: ename });
    throw new ErrnoError(errno || 5, { syscall: name }, { cause: ename });
  }
  if (answer.name !== replyName(name)) throw new Deviation(`${name} answered with ${answer.name}`);
  return answer.body as unknown as Reply<N>;
}
