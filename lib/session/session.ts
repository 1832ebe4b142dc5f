import { setMaxListeners } from 'node:events';
import debug from 'debug';
import { Codec, tagOf, typeOf } from '../protocol/codec.js';
import { DEFAULT_MSIZE, type Dialect, HEADER_SIZE, IOHDRSZ, MIN_MSIZE, NOTAG, VERSION_L, VERSION_UNKNOWN } from '../protocol/constants.js';
import { ConnectionLostError, ErrnoError, ProtocolError } from '../protocol/error.js';
import { format } from '../protocol/format.js';
import { type FrameHandler, Framer } from '../protocol/framer.js';
import { type Body, messages, type Reply, type TName } from '../protocol/messages.js';
import { abortError } from '../transport/error.js';
import type { Receiver, Transport } from '../transport/transport.js';
import { type Call, type CallOptions, type Done, newCall } from './call.js';
import { Deadlines } from './deadlines.js';
import { bringsDescriptor, Descriptors } from './descriptors.js';
import type { SessionOptions } from './options.js';
import { Overdue } from './overdue.js';
import { whileHeard } from './parting.js';
import { answering, checkCount, errorIn, isReplyTo, replyIn } from './reply.js';
import { partsOf } from './request.js';
import { Tags } from './tags.js';
import { agreed, olderThan } from './version.js';

const trace = debug('ninep:session');

/** Requests that wait for a tag at most; more are refused with ENOBUFS. */
const MAX_WAITING = 65536;
/** How long Rversion may take if there is no other limit, in milliseconds. */
const VERSION_TIMEOUT = 30_000;

/**
 * The asking side of one conversation: it matches replies to requests by tag and does no I/O of its own.
 *
 * ```
 *   call ──► waiting ──(a tag is free)──► in flight ──► reply: done(undefined, body)
 *                                            │
 *                              abort, time-out: done(error) ──► flushing ──► Rflush or the reply itself: late(…)
 * ```
 *
 * A tag is reused only after its reply, or after the Rflush for it. A reply that comes before the Rflush counts: the request was done.
 */
export class Session implements Receiver, FrameHandler {
  readonly #transport: Transport;
  readonly #framer: Framer;
  readonly #tags: Tags;
  readonly #descriptors: Descriptors;
  readonly #timeout: number;
  #codec = new Codec(VERSION_L);
  #msize = HEADER_SIZE;
  #lost: Error | undefined;
  #ending: Promise<void> | undefined;
  #backlogged = false;
  readonly #overdue: Overdue;
  readonly #deadlines = new Deadlines((now) => this.#endOverdue(now));
  readonly #closedCallbacks: ((error: Error | undefined) => void)[] = [];
  #answered = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  private constructor(transport: Transport, { window = 256, timeout = 0 }: SessionOptions) {
    this.#transport = transport;
    this.#descriptors = new Descriptors(transport);
    this.#timeout = timeout;
    this.#tags = new Tags(Math.max(1, Math.min(window, 32000)));
    this.#overdue = new Overdue(this.#tags, (call) => this.#patience(call));
    // Until Rversion has said otherwise, nothing longer than it can come.
    this.#framer = new Framer(this, MIN_MSIZE);
    transport.start(this);
  }

  /**
   * Begins a conversation over `transport`, which then belongs to the session.
   *
   * Fails with EPROTONOSUPPORT where the server speaks no dialect of ours, with what the server answered, or with a
   * ConnectionLostError; the transport is destroyed then.
   */
  static async open(transport: Transport, options: SessionOptions = {}): Promise<Session> {
    const { signal, timeout } = options;
    const limit = transport.maxFrame ?? Number.POSITIVE_INFINITY;
    const msize = Math.min(options.msize ?? DEFAULT_MSIZE, limit);
    if (!Number.isInteger(msize) || msize < MIN_MSIZE || msize > 0x7fffffff) {
      const error = new RangeError(`msize must be ${MIN_MSIZE} to 2147483647, not ${msize}`);
      transport.destroy(error);
      throw error;
    }
    const session = new Session(transport, options);
    try {
      let version = options.version ?? VERSION_L;
      let reply = await session.#version(msize, version, signal, timeout);
      for (const older of options.version === undefined ? olderThan(version) : []) {
        if (reply.version !== VERSION_UNKNOWN) break;
        version = older;
        reply = await session.#version(msize, version, signal, timeout);
      }
      session.#settle(reply, msize, version);
    } catch (error) {
      transport.destroy(error instanceof Error ? error : undefined);
      throw error;
    }
    return session;
  }

  #version(msize: number, version: Dialect, signal: AbortSignal | undefined, timeout: number | undefined): Promise<Reply<'Tversion'>> {
    return new Promise((resolve, reject) => {
      const aborted = () => this.#transport.destroy(signal && abortError(signal));
      if (signal?.aborted) aborted();
      signal?.addEventListener('abort', aborted, { once: true });
      const timer = setTimeout(() => this.#transport.destroy(timedOut('Tversion')), timeout || VERSION_TIMEOUT);
      const done: Done<'Tversion'> = (error, reply) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        if (reply !== undefined) resolve(reply);
        else reject(signal?.aborted ? abortError(signal) : error);
      };
      if (this.#lost !== undefined) {
        done(this.#lost, undefined);
        return;
      }
      this.#tags.special = newCall('Tversion', done) as unknown as Call;
      this.#send([this.#codec.encode('Tversion', NOTAG, { msize, version })]);
    });
  }

  #settle(reply: Reply<'Tversion'>, asked: number, version: Dialect): void {
    const dialect = agreed(reply, asked, version);
    if (dialect !== VERSION_L) this.#codec = new Codec(dialect);
    this.#msize = reply.msize;
    this.#framer.maxFrame = reply.msize;
  }

  /** What both sides speak. */
  get dialect(): Dialect {
    return this.#codec.dialect;
  }

  /** The largest frame, in bytes, as Rversion gave it. */
  get msize(): number {
    return this.#msize;
  }

  /** The most a Tread, Twrite or Treaddir may ask for, in bytes. */
  get maxPayload(): number {
    return this.#msize - IOHDRSZ;
  }

  /** Whether descriptors can come with replies. */
  get takesDescriptors(): boolean {
    return this.#descriptors.taken;
  }

  /** What it is connected to. */
  get address(): string {
    return this.#transport.name;
  }

  /** Why it is over, if it is. */
  get lost(): Error | undefined {
    return this.#lost;
  }

  /** For `info` and tests: what happens now and what has. */
  get counters(): { inFlight: number; waiting: number; answered: number; bytesIn: number; bytesOut: number } {
    return {
      inFlight: this.#tags.inFlight,
      waiting: this.#tags.waiting,
      answered: this.#answered,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    };
  }

  /** Calls back once, when the conversation is over: without an error if that was asked for. */
  onClosed(callback: (error: Error | undefined) => void): void {
    if (this.#lost !== undefined) callback(this.#lost);
    else this.#closedCallbacks.push(callback);
  }

  /** Sends a request and resolves with its reply. Rejects as `call` does. */
  request<N extends TName>(name: N, body: Body<N>, options?: CallOptions<N>): Promise<Reply<N>> {
    return new Promise((resolve, reject) => {
      this.call(name, body, (error, reply) => (reply === undefined ? reject(error) : resolve(reply)), options);
    });
  }

  /**
   * Sends a request and calls back once with its reply, or with an error: the server's errno as an ErrnoError, a ConnectionLostError, an
   * AbortError, ETIMEDOUT. Never calls back before it returns.
   *
   * A Twrite's `data` is sent as it lies: it must not change before the call back, nor, after an abort, before `late`.
   */
  call<N extends TName>(name: N, body: Body<N>, done: Done<N>, options?: CallOptions<N>): void {
    const signal = options?.signal;
    if (this.#lost !== undefined || signal?.aborted) {
      const error = signal?.aborted ? abortError(signal) : (this.#lost as Error);
      queueMicrotask(() => {
        done(error, undefined);
        options?.late?.(error, undefined);
      });
      return;
    }
    const call = newCall(name, done, options);
    if (signal !== undefined) this.#watch(call, signal);
    if (this.#backlogged || !this.#tags.take(call as unknown as Call)) {
      if (this.#tags.waiting >= MAX_WAITING) {
        queueMicrotask(() => this.#finish(call, new ErrnoError('ENOBUFS', { syscall: name }), undefined));
        return;
      }
      const patience = this.#patience(call);
      if (patience > 0) call.deadline = this.#deadlines.within(patience);
      this.#tags.wait(call as unknown as Call, body);
      return;
    }
    this.#start(call, body);
  }

  /** Milliseconds, 0 for any number. */
  #patience({ options }: Pick<Call, 'options'>): number {
    return options?.timeout ?? this.#timeout;
  }

  #start<N extends TName>(call: Call<N>, body: Body<N>): void {
    const { tag } = call;
    const patience = this.#patience(call);
    if (patience > 0) call.deadline = this.#deadlines.within(patience);
    try {
      this.#send(partsOf(call, this.#codec, this.#msize, body));
    } catch (error) {
      // Nothing of it was sent, so the tag is free again, and there is nothing to flush.
      this.#tags.release(tag);
      call.tag = NOTAG;
      queueMicrotask(() => this.#finish(call, error as Error, undefined));
    }
  }

  #send(parts: Uint8Array[]): void {
    for (const part of parts) this.#bytesOut += part.length;
    if (!this.#transport.send(parts)) this.#backlogged = true;
  }

  drained(): void {
    this.#backlogged = false;
    this.#startWaiting();
  }

  #startWaiting(): void {
    while (!this.#backlogged) {
      const next = this.#tags.next();
      if (next === undefined) return;
      this.#overdue.moved();
      this.#start(next.call, next.body);
    }
  }

  // Receiving

  target(): Uint8Array {
    return this.#framer.target();
  }

  filled(count: number): void {
    this.#bytesIn += count;
    try {
      this.#framer.filled(count);
    } catch (error) {
      this.#broken(error);
    }
  }

  push(chunk: Uint8Array): void {
    this.#bytesIn += chunk.length;
    try {
      this.#framer.push(chunk);
    } catch (error) {
      this.#broken(error);
    }
  }

  #broken(error: unknown): void {
    this.#framer.stop();
    this.#transport.destroy(error instanceof Error ? error : new Error(String(error)));
  }

  payload(head: Uint8Array, count: number): Uint8Array | undefined {
    const call = this.#tags.get(tagOf(head));
    // A call that was given up has given its buffer back.
    if (call === undefined || call.flushing) return undefined;
    // A reply of the wrong kind is for `frame` to complain about.
    const expected = call.name === 'Tread' ? messages.Rread.type : call.name === 'Treaddir' ? messages.Rreaddir.type : undefined;
    if (typeOf(head) !== expected) return undefined;
    checkCount(call, count);
    // Memory for what is announced, which is never more than was asked for.
    return call.into ?? new Uint8Array(count);
  }

  payloadFrame(head: Uint8Array, payload: Uint8Array): void {
    const call = this.#tags.get(tagOf(head));
    if (call === undefined || call.finished) throw new ProtocolError(`a reply to tag ${tagOf(head)}, which is free`, 'tag', 5);
    if (trace.enabled) trace('← %s tag %d data %d bytes', call.name === 'Tread' ? 'Rread' : 'Rreaddir', call.tag, payload.length);
    if (!call.flushing) this.#tags.release(call.tag);
    this.#overdue.moved();
    this.#finish(call, undefined, { data: payload } as Reply<TName>);
    this.#startWaiting();
  }

  frame(frame: Uint8Array): void {
    const tag = tagOf(frame);
    const call = tag === NOTAG ? this.#tags.special : this.#tags.get(tag);
    const name = this.#codec.nameOf(typeOf(frame));
    if (call === undefined || call.finished) throw new ProtocolError(`a ${name ?? 'message'} to tag ${tag}, which is free`, 'tag', 5);
    if (trace.enabled && name !== undefined) trace('← %s', format(this.#codec.decode(frame)));
    let error: Error | undefined;
    let reply: Reply<TName> | undefined;
    if (!isReplyTo(call.name, name)) error = errorIn(call, this.#codec, frame, name);
    else {
      try {
        const granted = replyIn(call, this.#codec, frame, name);
        const { options } = call;
        if (options?.descriptor !== undefined && bringsDescriptor(granted)) {
          const fd = this.#descriptors.of(call);
          if (fd !== undefined) options.descriptor(fd);
        }
        reply = granted;
      } catch (problem) {
        error = answering(call, problem);
      }
    }
    if (tag === NOTAG) this.#tags.special = undefined;
    else if (!call.flushing) this.#tags.release(tag);
    // A server answers Tflush however long all others wait.
    if (call.name !== 'Tflush') this.#overdue.moved();
    this.#finish(call, error, reply);
    this.#startWaiting();
  }

  closed(error?: Error): void {
    if (this.#lost !== undefined) return;
    this.#deadlines.stop();
    this.#framer.stop();
    const asked = this.#ending !== undefined && error === undefined;
    const cut = error === undefined && this.#framer.inside ? new Error('the stream ended in the middle of a frame') : error;
    const lost = new ConnectionLostError(this.address, cut);
    this.#lost = lost;
    for (const call of this.#tags.drain()) this.#finish(call, lost, undefined);
    for (const callback of this.#closedCallbacks.splice(0)) callback(asked ? undefined : lost);
  }

  // Ending a call

  #finish<N extends TName>(call: Call<N>, error: Error | undefined, reply: Reply<N> | undefined): void {
    if (call.finished) return;
    call.finished = true;
    call.unwatch?.();
    if (reply !== undefined) this.#answered++;
    if (!call.flushing) call.done(error, reply);
    call.options?.late?.(error, reply);
  }

  #watch<N extends TName>(call: Call<N>, signal: AbortSignal): void {
    const aborted = () => this.#giveUp(call as unknown as Call, abortError(signal));
    // One signal may stand for any number of requests: a large read alone is many.
    // (A mount gives each request something lighter that does as much.)
    if (signal instanceof AbortSignal) setMaxListeners(0, signal);
    signal.addEventListener('abort', aborted, { once: true });
    call.unwatch = () => signal.removeEventListener('abort', aborted);
  }

  #giveUp(call: Call, error: Error): void {
    if (call.flushing || call.finished) return;
    if (call.tag === NOTAG) {
      this.#tags.forget(call);
      this.#finish(call, error, undefined);
      return;
    }
    call.flushing = true;
    const { diverted } = this.#framer;
    if (diverted !== undefined && tagOf(diverted) === call.tag) this.#framer.abandonPayload();
    call.done(error, undefined);
    this.#flush(call, error);
  }

  #flush(call: Call, error: Error): void {
    const done = () => {
      if (this.#lost !== undefined) return;
      // A reply that has not come before the Rflush will not come any more. One that has did not free the tag: the server might have taken the Tflush for
      // another request's with that tag.
      this.#tags.release(call.tag);
      this.#finish(call, error, undefined);
      this.#startWaiting();
    };
    this.#sendFlush(call.tag, this.#patience(call), done);
  }

  /** A Tflush may use a tag beyond the window: it is what makes room there. `patience`: milliseconds, 0 for any number. */
  #sendFlush(oldtag: number, patience: number, done: () => void): void {
    const flush = newCall('Tflush', done);
    this.#tags.takeBeyond(flush as unknown as Call);
    if (patience > 0) flush.deadline = this.#deadlines.within(patience);
    if (trace.enabled) trace('→ Tflush tag %d oldtag %d', flush.tag, oldtag);
    this.#send([this.#codec.encode('Tflush', flush.tag, { oldtag })]);
  }

  /**
   * Asks the server for something that it can answer whatever its disks do, even while as many requests as may be are waiting for it: that anything is heard of
   * it shows that it is there.
   */
  probe(): void {
    if (this.#lost === undefined) this.#sendFlush(NOTAG, 0, () => undefined);
  }

  /** Gives up what has taken too long; tells whether anything else has a deadline. */
  #endOverdue(now: number): boolean {
    const { calls, pending } = this.#overdue.inFlight(now);
    for (const call of calls) {
      // A server that does not even answer Tflush is gone.
      if (call.name === 'Tflush') this.#transport.destroy(timedOut(call.name));
      else this.#giveUp(call, timedOut(call.name));
    }
    for (const call of this.#overdue.waiting(now)) this.#finish(call, timedOut(call.name), undefined);
    return pending || this.#tags.waiting > 0;
  }

  /**
   * Ends the conversation after what is in flight has been answered or has failed. What may never be (`endless`) is given up at once; anything else after ten
   * seconds in which nothing was heard of the server: it rejects with a ConnectionLostError. Idempotent.
   */
  close(): Promise<void> {
    this.#ending ??= this.#close();
    return this.#ending;
  }

  async #close(): Promise<void> {
    if (this.#lost !== undefined) return;
    for (const call of this.#tags.all()) if (call.options?.endless) this.#giveUp(call, new ConnectionLostError(this.address));
    const ended = this.#tags.idle().then(() => this.#transport.close());
    await whileHeard(
      ended,
      () => this.#bytesIn,
      () => this.destroy(timedOut('close')),
    );
  }

  /** Ends it at once: everything pending is rejected with a ConnectionLostError. */
  destroy(error?: Error): void {
    this.#transport.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function timedOut(name: string): Error {
  return new ErrnoError('ETIMEDOUT', { syscall: name });
}
