import debug from 'debug';
import { Codec } from '../protocol/codec.js';
import { HEADER_SIZE } from '../protocol/constants.js';
import { errnoNumber } from '../protocol/errno.js';
import { ErrnoError, errnoOf } from '../protocol/error.js';
import { format } from '../protocol/format.js';
import { type Body, type MessageName, messages, replyName } from '../protocol/messages.js';
import type { BufferPool } from './buffers.js';
import type { Counters } from './counters.js';
import { unlent } from './descriptors.js';
import type { Outbox } from './outbox.js';
import type { Request } from './request.js';

// Its type is written out so that users of the package need no declarations of debug's.
export const trace: { readonly enabled: boolean } & ((format: string, ...values: unknown[]) => void) = debug('ninep:server');
export const codec = new Codec();

/** The head of an Rread: size[4] type[1] tag[2] count[4]. */
const RREAD_HEAD = HEADER_SIZE + 4;
const EINTR = 4;
const EMSGSIZE = 90;

/** A line of the trace. */
export function traceMessage(connection: string, arrow: '→' | '←', name: MessageName, tag: number, body: unknown): void {
  trace('%s %s %s', connection, arrow, format({ name, tag, body } as Parameters<typeof format>[0]));
}

/** Turns what handlers give and throw into frames, and knows whose the payload buffers are until those have left. */
export class Answers {
  readonly #connection: string;
  readonly #outbox: Outbox;
  readonly #pool: BufferPool;
  readonly #counters: readonly [Counters, Counters];
  readonly #mistake: (error: unknown) => void;

  /** `counters`: the connection's and the server's. `mistake` is told of errors that carry no code: nobody meant to answer those. */
  constructor(
    connection: string,
    outbox: Outbox,
    pool: BufferPool,
    counters: readonly [Counters, Counters],
    mistake: (error: unknown) => void,
  ) {
    this.#connection = connection;
    this.#outbox = outbox;
    this.#pool = pool;
    this.#counters = counters;
    this.#mistake = mistake;
  }

  /** Sends the reply of a request, or the error that is its answer; none longer than `msize` can be. */
  answer(request: Request, body: object, msize: number): void {
    if (request.dropped) {
      this.giveBack(request);
      return;
    }
    if (body instanceof ErrnoError) {
      this.fail(request, body);
      return;
    }
    const name = replyName(request.name);
    if (trace.enabled) traceMessage(this.#connection, '←', name, request.tag, body);
    if (name === 'Rread' || name === 'Rreaddir') {
      this.#answerData(name, request, (body as Body<'Rread'>).data);
      return;
    }
    let frame: Uint8Array;
    try {
      frame = codec.encode(name, request.tag, body as Body<typeof name>);
    } catch (error) {
      this.fail(request, error);
      return;
    }
    if (name === 'Rwrite') for (const counters of this.#counters) counters.bytesWritten += (body as Body<'Rwrite'>).count;
    if (frame.length > msize) {
      this.giveBack(request);
      this.refuse(request.tag, EMSGSIZE);
      return;
    }
    const { descriptor } = request;
    request.descriptor = undefined;
    this.giveBack(request);
    this.#outbox.put(frame, descriptor);
  }

  #answerData(name: 'Rread' | 'Rreaddir', request: Request, data: Uint8Array): void {
    const { buffer, tag } = request;
    if (name === 'Rread') for (const counters of this.#counters) counters.bytesRead += data.length;
    if (buffer === undefined) {
      this.#outbox.put(codec.encodeData(name, tag, data.length));
      this.#outbox.put(data);
      return;
    }
    // The payload was read to where a head fits before it.
    const size = RREAD_HEAD + data.length;
    putU32(buffer, 0, size);
    buffer[4] = messages[name].type;
    buffer[5] = tag;
    buffer[6] = tag >>> 8;
    putU32(buffer, HEADER_SIZE, data.length);
    request.buffer = undefined;
    this.#outbox.putLent(buffer.subarray(0, size), buffer);
  }

  /** Sends what a handler threw. */
  fail(request: Request, error: unknown): void {
    this.giveBack(request);
    if (request.dropped) return;
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const interrupted = code === 'EINTR' || code === 'ECANCELED' || code === 'ABORT_ERR';
    // What Tflush cut short needs no answer: the Rflush is one (flush(5)).
    if (request.flushed && interrupted) return;
    if (typeof code !== 'string' || (errnoNumber(code) === undefined && !interrupted)) this.#mistake(error);
    this.refuse(request.tag, interrupted ? EINTR : errnoOf(error));
  }

  /** Sends an Rlerror. */
  refuse(tag: number, ecode: number): void {
    if (trace.enabled) traceMessage(this.#connection, '←', 'Rlerror', tag, { ecode });
    for (const counters of this.#counters) counters.errors++;
    this.#outbox.put(codec.encode('Rlerror', tag, { ecode }));
  }

  /** A buffer to read `count` bytes into, which leaves with the answer. */
  lend(request: Request, count: number): Uint8Array {
    if (count === 0) return new Uint8Array(0);
    const buffer = this.#pool.take(count);
    request.buffer = buffer;
    return buffer.subarray(RREAD_HEAD, RREAD_HEAD + count);
  }

  /** `data` where it stays valid until the request is answered. */
  keep(request: Request, data: Uint8Array): Uint8Array {
    if (request.buffer !== undefined) return data;
    const buffer = this.#pool.take(data.length);
    request.buffer = buffer;
    buffer.set(data);
    return buffer.subarray(0, data.length);
  }

  giveBack(request: Request): void {
    const { buffer, descriptor } = request;
    if (descriptor !== undefined) unlent(request.connection, descriptor);
    request.descriptor = undefined;
    if (buffer === undefined) return;
    request.buffer = undefined;
    this.#pool.give(buffer);
  }
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
