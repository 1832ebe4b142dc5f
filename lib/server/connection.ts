import { setTimeout as delay } from 'node:timers/promises';
import { HEADER_SIZE, MIN_MSIZE, VERSION_UNKNOWN } from '../protocol/constants.js';
import { u16At, u32At } from '../protocol/cursor.js';
import { ProtocolError } from '../protocol/error.js';
import { type FrameHandler, Framer } from '../protocol/framer.js';
import { type Body, messages, type TName } from '../protocol/messages.js';
import type { Receiver, Transport } from '../transport/transport.js';
import { Answers, codec, trace, traceMessage } from './answers.js';
import type { Awaitable } from './backend.js';
import type { ServerContext } from './context.js';
import { Counters } from './counters.js';
import { failure, isPending } from './errors.js';
import { type Attached, FidTable } from './fids.js';
import { handlerOf } from './handlers/index.js';
import { payloadOf } from './limits.js';
import { Outbox } from './outbox.js';
import { Request } from './request.js';
import { negotiate } from './version.js';
import { Watches } from './watches.js';
import { type Worker, Workload } from './workload.js';

/** Until a version was agreed on, nothing longer than this makes sense. */
const FIRST_FRAME = 8192;
/** Writes from this size on arrive in a buffer of their own. */
const LARGE = 16 * 1024;
/** Attaches that a connection remembers for whoever asks who is there. */
const REMEMBERED = 64;
const EFBIG = 27;
const EPROTO = 71;
const EMSGSIZE = 90;
const EOPNOTSUPP = 95;
const { Tflush, Tread, Tversion, Twrite } = messages;

/**
 * One client. Cuts what arrives into requests, has them answered, and sends the answers in whatever order they become ready:
 *
 * ```
 *                     ┌ answered at once ──────────────┐
 *  framer → workload ─┼ begun, answered later ─────────┼→ answers → outbox → transport
 *                     └ waits for its turn → begun ────┘
 * ```
 *
 * Reads no further while too much is under way, or while the client does not take its answers.
 */
export class Connection implements Receiver, FrameHandler, Worker {
  /** How many there have been in this process. */
  static #made = 0;
  /** Unique among the connections of its server. */
  readonly id: string;
  /** Unique among those of all servers in this process, which share what it may have. */
  readonly #name: string;
  readonly context: ServerContext;
  readonly counters = new Counters();
  readonly #transport: Transport;
  readonly #framer: Framer;
  readonly #outbox: Outbox;
  /** Turns what handlers give into frames. */
  readonly answers: Answers;
  /** What the client is told of as it happens. */
  readonly watches: Watches;
  /** The requests that are not answered yet. */
  readonly workload: Workload;
  /** Sessions that have ended but whose files are not closed yet. */
  #closing = 0;
  #fids: FidTable;
  #attached: Attached[] = [];
  #msize = 0;
  /** The Tversion that waits for the end of what the session before it began. */
  #resetting: Request | undefined;
  /** Where the payload of a large Twrite is landing. */
  #arriving: Uint8Array | undefined;
  #paused = false;
  /** Nothing more is taken from the client. */
  #stopping = false;
  /** The transport is gone. */
  #ended = false;
  #idle: Array<() => void> = [];
  #timer: NodeJS.Timeout | undefined;
  #onGone: (() => void) | undefined;
  #onDone: (() => void) | undefined;
  /** Resolves when the stream has ended. */
  readonly #gone: Promise<void>;
  /** Resolves when the stream has ended and nothing it began is under way any more. */
  readonly done: Promise<void>;

  constructor(id: string, transport: Transport, context: ServerContext) {
    this.id = id;
    this.#name = `${id} ${++Connection.#made}`;
    this.context = context;
    this.#transport = transport;
    this.#framer = new Framer(this, FIRST_FRAME);
    this.#outbox = new Outbox(transport, context.pool, this.#name);
    this.watches = new Watches(this.#name);
    this.answers = new Answers(id, this.#outbox, context.pool, [this.counters, context.counters], this.#mistake);
    this.workload = new Workload(context.limits, this.answers, this);
    this.#fids = this.#newFids();
    this.#gone = new Promise((resolve) => {
      this.#onGone = resolve;
    });
    this.done = new Promise((resolve) => {
      this.#onDone = resolve;
    });
  }

  /** Begins to take requests. */
  start(): void {
    this.#transport.start(this);
  }

  /** What it is connected to. */
  get peer(): string {
    return this.#transport.name;
  }

  /** Whether descriptors can leave with answers. */
  get passes(): boolean {
    return this.#transport.passes === true;
  }

  /** The size of messages agreed on; 0 before Tversion. */
  get msize(): number {
    return this.#msize;
  }

  /** Bytes of payload in one message at most. */
  get maxPayload(): number {
    return payloadOf(this.#msize);
  }

  /** The fids of this session. */
  get fids(): FidTable {
    return this.#fids;
  }

  /** Requests that are not answered yet. */
  get pending(): number {
    return this.workload.size;
  }

  /** Who attached to what in this session. */
  get attachments(): readonly Attached[] {
    return this.#attached;
  }

  readonly #mistake = (error: unknown): void => {
    this.context.log({ type: 'error', connection: this, error });
  };

  #newFids(): FidTable {
    const { maxFids, maxXattrFids, maxXattrBytes } = this.context.limits;
    return new FidTable(maxFids, maxXattrFids, maxXattrBytes, this.#mistake);
  }

  // What arrives.

  target(): Uint8Array {
    return this.#framer.target();
  }

  filled(count: number): void {
    this.#receive(count, undefined);
  }

  push(chunk: Uint8Array): void {
    this.#receive(chunk.length, chunk);
  }

  #receive(count: number, chunk: Uint8Array | undefined): void {
    this.counters.bytesIn += count;
    this.context.counters.bytesIn += count;
    this.#outbox.hold();
    try {
      if (chunk === undefined) this.#framer.filled(count);
      else this.#framer.push(chunk);
    } catch (error) {
      this.#breakOff(error);
    }
    this.#outbox.release();
    this.#regulate();
  }

  frame(frame: Uint8Array): void {
    if (this.#stopping) return;
    const type = frame[4] ?? 0;
    const tag = u16At(frame, 5);
    // Answers are odd. Taking one for a request has crashed servers.
    if ((type & 1) !== 0) throw new ProtocolError(`type ${type} is no request`, 'type', 4);
    const name = codec.nameOf(type);
    if (name === undefined) {
      this.answers.refuse(tag, EOPNOTSUPP);
      return;
    }
    let body: unknown;
    try {
      body = codec.decodeBody(name, frame);
    } catch (error) {
      if (error instanceof ProtocolError && error.answer !== undefined) this.answers.refuse(tag, error.answer);
      else this.#breakOff(error, tag);
      return;
    }
    const request = new Request(tag, type, name as TName, body, this.#name);
    request.bytes = frame.length;
    if (type === Twrite.type) request.cost = (body as Body<'Twrite'>).data.length;
    this.#arrived(request);
  }

  payload(head: Uint8Array, count: number): Uint8Array | undefined {
    if (head[4] !== Twrite.type || this.#stopping) return undefined;
    // A back-end that takes the data at once can have it where it lies.
    const immediate = this.#fids.find(u32At(head, HEADER_SIZE))?.file?.immediate === true;
    if (count < LARGE || (immediate && count <= 2 * LARGE)) return undefined;
    this.#arriving = this.context.pool.take(count);
    return this.#arriving;
  }

  payloadFrame(head: Uint8Array, payload: Uint8Array): void {
    const buffer = this.#arriving;
    this.#arriving = undefined;
    const tag = u16At(head, 5);
    const high = u32At(head, HEADER_SIZE + 8);
    const offset = high * 0x100000000 + u32At(head, HEADER_SIZE + 4);
    const request = new Request(tag, Twrite.type, 'Twrite', { fid: u32At(head, HEADER_SIZE), offset, data: payload }, this.#name);
    request.bytes = request.cost = payload.length;
    request.buffer = buffer;
    if (this.#stopping) {
      this.answers.giveBack(request);
    } else if (!Number.isSafeInteger(offset)) {
      this.answers.giveBack(request);
      this.answers.refuse(tag, EFBIG);
    } else {
      this.#arrived(request);
    }
  }

  drained(): void {
    this.#outbox.full = false;
    this.#outbox.hold();
    try {
      this.workload.proceed();
    } catch (error) {
      this.broken(error);
    }
    this.#outbox.release();
    this.finished();
  }

  closed(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.watches.end();
    this.#stopping = true;
    clearTimeout(this.#timer);
    this.#framer.stop();
    this.#outbox.end();
    if (this.#arriving !== undefined) this.context.pool.give(this.#arriving);
    this.#arriving = undefined;
    this.context.log({ type: 'disconnect', connection: this, ...(error === undefined ? {} : { error }) });
    this.#endSession();
    this.#onGone?.();
    this.#settle();
  }

  // Requests.

  #arrived(request: Request): void {
    const { tag, type } = request;
    if (trace.enabled) traceMessage(this.id, '→', request.name, tag, request.body);
    this.counters.count(type);
    this.context.counters.count(type);
    if (this.workload.has(tag)) {
      this.answers.giveBack(request);
      throw new ProtocolError(`tag ${tag} is in use`, `${request.name}.tag`, 5);
    }
    if (type === Tversion.type) {
      this.#version(request);
    } else if (this.#msize === 0) {
      this.answers.giveBack(request);
      this.answers.refuse(tag, EPROTO);
    } else if (type === Tflush.type) {
      this.workload.flush(request);
    } else {
      if (type === Tread.type) request.cost = Math.min((request.body as Body<'Tread'>).count, this.maxPayload);
      this.workload.add(request);
    }
  }

  get held(): boolean {
    return this.#outbox.full || this.#resetting !== undefined;
  }

  work(request: Request): Awaitable<object> {
    const handler = handlerOf(request.type);
    if (handler === undefined) throw failure('EOPNOTSUPP');
    return handler(this, request, request.body);
  }

  finished(): void {
    try {
      this.#settle();
    } catch (error) {
      this.broken(error);
    }
    this.#regulate();
  }

  /** Costs this client its connection; thrown on from where nobody called us, it would cost all of them the process. */
  broken(error: unknown): void {
    if (this.#stopping) this.#mistake(error);
    else this.#breakOff(error);
  }

  // Sessions.

  /** Tversion begins anew: everything under way is ended, every fid is gone, and then it is answered (version(5)). */
  #version(request: Request): void {
    if (this.#resetting !== undefined) throw new ProtocolError('two Tversion at once', 'Tversion', 4);
    this.#endSession();
    if (this.workload.begun === 0 && this.#closing === 0) this.#agree(request);
    else this.#resetting = request;
  }

  #agree(request: Request): void {
    const { msize, version } = request.body as Body<'Tversion'>;
    this.#msize = 0;
    if (msize < MIN_MSIZE) {
      this.answers.refuse(request.tag, EMSGSIZE);
      return;
    }
    const agreed = negotiate(version);
    const capped = Math.min(msize, this.context.limits.msize, this.#transport.maxFrame ?? Number.POSITIVE_INFINITY);
    this.#framer.maxFrame = capped;
    if (agreed !== VERSION_UNKNOWN) this.#msize = capped;
    this.answers.answer(request, { msize: capped, version: agreed }, capped);
  }

  #endSession(): void {
    this.workload.drop();
    this.#attached = [];
    const ending = this.#fids.end();
    this.#fids = this.#newFids();
    if (!isPending(ending)) return;
    this.#closing++;
    void ending.then(() => {
      this.#closing--;
      this.finished();
    });
  }

  /** Notes an attach. */
  attached(attached: Attached): void {
    this.#attached.push(attached);
    if (this.#attached.length > REMEMBERED) this.#attached.shift();
    this.context.counters.attaches++;
    this.context.log({ type: 'attach', connection: this, attached });
  }

  // The end, and what holds back the client.

  /** Stops and starts reading. */
  #regulate(): void {
    const busy = this.workload.full || this.#outbox.full;
    if (busy === this.#paused || this.#stopping) return;
    this.#paused = busy;
    if (busy) this.#transport.pause();
    else this.#transport.resume();
  }

  /** Looks whether somebody waits for nothing being under way. */
  #settle(): void {
    if (this.workload.begun > 0) return;
    for (const idle of this.#idle.splice(0)) idle();
    if (this.#closing > 0) return;
    const resetting = this.#resetting;
    if (resetting !== undefined && !this.#ended) {
      this.#resetting = undefined;
      this.#agree(resetting);
      if (this.#msize === 0) this.workload.forgetWaiting();
      this.workload.proceed();
    }
    if (this.#ended) this.#onDone?.();
  }

  /** The client broke the protocol: it is told, if it can be told in which request, and left. */
  #breakOff(error: unknown, tag = -1): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#framer.stop();
    this.context.log({ type: 'error', connection: this, error });
    if (tag >= 0 && !this.workload.has(tag)) this.answers.refuse(tag, EPROTO);
    this.#outbox.flush();
    this.#close(error instanceof Error ? error : undefined);
  }

  /** Lets what was sent go out, for as long as the limits say. */
  #close(error?: Error): void {
    this.#timer = setTimeout(() => this.#transport.destroy(error), this.context.limits.grace);
    this.#timer.unref();
    void this.#transport.close();
  }

  /** Answers what was begun, then ends the stream; what takes longer than the limits' grace is cut off. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#transport.pause();
      this.workload.abortWaits();
      this.#timer = setTimeout(() => this.#transport.destroy(), this.context.limits.grace);
      while (this.workload.begun + this.workload.waiting > 0 && !this.#ended) {
        await Promise.race([this.#gone, new Promise<void>((resolve) => this.#idle.push(resolve))]);
      }
      clearTimeout(this.#timer);
      this.#outbox.flush();
      if (!this.#ended) this.#close();
    }
    await this.#gone;
    // A call that hangs for ever in a dead disk must not keep the server from ending.
    const patience = new AbortController();
    await Promise.race([this.done, delay(this.context.limits.grace, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
  }

  /** Ends the stream at once. */
  destroy(error?: Error): void {
    this.#transport.destroy(error);
  }
}
