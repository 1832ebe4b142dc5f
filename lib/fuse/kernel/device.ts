import debug from 'debug';
import { errnoName } from '../../protocol/errno.js';
import { errnoOf } from '../../protocol/error.js';
import { close, EAGAIN, EINTR, readTo, writeFrom, writev } from '../../sys/io.js';
import { address, SystemError } from '../../sys/libc.js';
import { POLLIN, poller, type Registration } from '../../sys/poller.js';
import type { Awake } from './awake.js';
import { BufferPool, type PooledBuffer } from './buffers.js';
import { HEADER_ROOM, IN_HEADER_SIZE, KERNEL_VERSION, OLDEST_MINOR } from './constants.js';
import { type InitOptions, type InitReply, negotiate, putInit, takeInit } from './init.js';
import { Notifier } from './notifier.js';
import { BATCH_FORGET, byCode, DESTROY, type Entry, FORGET, INIT, INTERRUPT, NOTIFY_REPLY } from './opcodes.js';
import { Payload } from './payload.js';
import { type Operations, Request } from './request.js';
import { Decoder, Early, Encoder, Lent } from './structs.js';

const trace = debug('ninep:fuse');

const EIO = 5;
const EPROTO = 71;
const ENOENT = -2;
const ENODEV = -19;
const EINVAL = 22;
const ENOSYS = 38;
const ECONNABORTED = -103;

/**
 * A WRITE of no more bytes that is to stay is copied into a buffer of about its size. Hundreds of them may be on their way, each of which would hold one for
 * the largest request there is.
 */
const SMALL = 64 * 1024;

/** Requests taken in one turn of the loop, so that replies from the server are not starved by a flood of requests. */
const BATCH = 32;

/**
 * One FUSE connection: requests are read from the descriptor of /dev/fuse on this thread's poller and handed to `operations`;
 * replies are written at once. Nothing here knows what a request means.
 */
export class Device {
  /** Notifications to the kernel. */
  readonly notify: Notifier;
  /** Resolves with what was agreed when the kernel's first request has been answered. Rejects when the connection ends before. */
  readonly ready: Promise<InitReply>;
  /** Resolves when the connection has ended: unmounted, aborted or closed. Rejects when the device fails otherwise. */
  readonly done: Promise<void>;

  readonly #fd: number;
  readonly #operations: Operations;
  readonly #options: InitOptions;
  readonly #awake: Awake | undefined;
  readonly #buffers: BufferPool;
  readonly #small = new BufferPool(SMALL);
  readonly #decoder = new Decoder((bytes) => this.#keep(bytes));
  readonly #encoder = new Encoder();
  readonly #reply = address(this.#encoder.bytes);
  readonly #pending = new Map<number, Request>();
  readonly #counters = new Float64Array(byCode.length);
  #buffer: PooledBuffer;
  /** What the operation that runs now has kept of it. */
  #kept: PooledBuffer | undefined;
  #watch: Registration | undefined;
  #ended = false;
  #resolveReady!: (reply: InitReply) => void;
  #rejectReady!: (error: Error) => void;
  #resolveDone!: () => void;
  #rejectDone!: (error: Error) => void;

  /** `fd` is a descriptor of /dev/fuse that is mounted, or about to be; the device closes it at the end, and has `awake` let go. */
  constructor(fd: number, operations: Operations, options: InitOptions, awake?: Awake) {
    this.#fd = fd;
    this.#operations = operations;
    this.#options = options;
    this.#awake = awake;
    this.#buffers = new BufferPool(options.maxWrite + HEADER_ROOM);
    this.#buffer = this.#buffers.take();
    this.notify = new Notifier(fd);
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.done = new Promise((resolve, reject) => {
      this.#resolveDone = resolve;
      this.#rejectDone = reject;
    });
    // Whoever waits for one of them hears of it; it is no unhandled rejection for who does not.
    this.ready.catch(() => {});
    this.done.catch(() => {});
  }

  /** Begins to take requests. The connection keeps the process alive until it ends. */
  start(): void {
    this.#watch = poller().add(this.#fd, POLLIN, () => this.#readable());
  }

  /** Requests that wait for an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /** How many requests came in, by name. */
  requests(): Record<string, number> {
    const result: Record<string, number> = {};
    for (const [code, entry] of byCode.entries()) {
      const count = this.#counters[code] ?? 0;
      if (entry !== undefined && count > 0) result[entry.name] = count;
    }
    return result;
  }

  /**
   * Ends the connection at once: everything that waits for it in the kernel fails with ENOTCONN. The mount itself stays in the
   * tree until it is unmounted. Idempotent.
   */
  close(error?: Error): void {
    if (this.#ended) return;
    // Answered first, so that nobody holds a lock that a notification on its way waits for.
    for (const [unique, request] of this.#pending) {
      request.answered = true;
      request.abort();
      this.#fail(unique, EIO);
    }
    this.#pending.clear();
    if (this.#ended) return;
    this.#ended = true;
    this.#watch?.remove();
    this.#awake?.release();
    void this.notify.close().then(() => {
      close(this.#fd);
      this.#rejectReady(error ?? new Error('the mount ended before the kernel began to use it'));
      if (error === undefined) this.#resolveDone();
      else this.#rejectDone(error);
    });
  }

  #readable(): void {
    // Who works alone sends nothing more before it has its answer, so that a second read would find nothing; if it does, the next turn does.
    const alone = this.#pending.size === 0;
    for (let turn = 0; turn < BATCH && !this.#ended; turn++) {
      const { bytes, address: at } = this.#buffer;
      const count = readTo(this.#fd, at, bytes.length);
      if (count > 0) {
        this.#take(count);
        if (alone) return;
      } else if (count === EAGAIN) {
        return;
      } else if (count === ENODEV || count === ECONNABORTED || count === 0) {
        this.close();
        return;
      } else if (count !== EINTR && count !== ENOENT) {
        this.close(new SystemError(count, 'read', '/dev/fuse'));
        return;
      }
    }
  }

  #take(count: number): void {
    const { bytes, view } = this.#buffer;
    const decoder = this.#decoder;
    decoder.reset(bytes, view, count);
    const length = decoder.u32();
    const code = decoder.u32();
    const unique = decoder.u64();
    const nodeid = decoder.u64();
    const request = new Request(unique, nodeid, decoder.u32(), decoder.u32(), decoder.u32());
    // total_extlen and padding: no extension of a request was agreed on.
    decoder.unused(4);
    if (count < IN_HEADER_SIZE || length !== count) {
      this.close(new SystemError(EPROTO, 'read', '/dev/fuse'));
      return;
    }
    const entry = byCode[code];
    if (entry === undefined) {
      this.#special(code, unique, nodeid);
      return;
    }
    this.#counters[code] = (this.#counters[code] ?? 0) + 1;
    this.#awake?.request();
    const operation = this.#operations[entry.name] as ((body: unknown, request: Request) => unknown) | undefined;
    if (operation === undefined) {
      this.#fail(unique, ENOSYS);
      return;
    }
    const body = entry.decode(decoder);
    if (decoder.overrun) {
      this.#fail(unique, EINVAL);
      return;
    }
    if (trace.enabled) trace('→ %s #%d node %d pid %d %s', entry.name, unique, nodeid, request.pid, brief(body));
    const { lent } = decoder;
    let reply: unknown;
    try {
      reply = operation.call(this.#operations, body, request);
    } catch (error) {
      // A buffer that it has kept is let go: nobody knows what still uses it.
      this.#kept = undefined;
      lent?.expire();
      this.#fail(unique, this.#errno(error));
      return;
    }
    lent?.expire();
    const buffer = this.#kept;
    this.#kept = undefined;
    if (!isPromise(reply)) {
      this.#answer(entry, unique, reply);
      this.#release(buffer, reply);
      return;
    }
    this.#pending.set(unique, request);
    reply.then(
      (value) => {
        request.answered = true;
        this.#release(buffer, value);
        if (this.#pending.delete(unique)) this.#answer(entry, unique, value);
      },
      (error: unknown) => {
        request.answered = true;
        // The buffer is let go rather than used again: a write that was given up may still wait for its turn to be sent.
        if (this.#pending.delete(unique)) this.#fail(unique, this.#errno(error));
      },
    );
  }

  /** A payload is to stay: with the buffer it is in, or in a smaller one. */
  #keep(bytes: Uint8Array): Uint8Array {
    if (bytes.length <= SMALL) {
      const small = this.#small.take();
      this.#kept = small;
      small.bytes.set(bytes);
      return small.bytes.subarray(0, bytes.length);
    }
    this.#kept = this.#buffer;
    this.#buffer = this.#buffers.take();
    return bytes;
  }

  #release(buffer: PooledBuffer | undefined, reply: unknown): void {
    if (buffer === undefined) return;
    if (!(reply instanceof Early)) {
      buffer.pool.give(buffer);
      return;
    }
    void reply.done.then((free) => {
      if (free) buffer.pool.give(buffer);
    });
  }

  #special(code: number, unique: number, nodeid: number): void {
    const decoder = this.#decoder;
    switch (code) {
      case INTERRUPT:
        this.#interrupt(this.#pending.get(decoder.u64()));
        return;
      case FORGET:
        this.#operations.forget(nodeid, decoder.u64());
        return;
      case BATCH_FORGET: {
        const count = decoder.u32();
        decoder.unused(4);
        for (let index = 0; index < count && decoder.left >= 16; index++) this.#operations.forget(decoder.u64(), decoder.u64());
        return;
      }
      case INIT:
        this.#init(unique);
        return;
      case DESTROY:
        this.#write(unique, 0);
        return;
      case NOTIFY_REPLY:
        return;
      default:
        this.#fail(unique, ENOSYS);
        return;
    }
  }

  #interrupt(request: Request | undefined): void {
    // Answered already, and the kernel did not know yet.
    if (request === undefined) return;
    if (this.#operations.interrupt === undefined) request.abort();
    else this.#operations.interrupt(request);
  }

  #errno(error: unknown): number {
    // What carries no errno is nobody's answer but a mistake, here or in what is below.
    if ((error as NodeJS.ErrnoException).code === undefined) trace('%O', error);
    return this.#operations.errno?.(error) ?? errnoOf(error);
  }

  #init(unique: number): void {
    const request = takeInit(this.#decoder);
    const encoder = this.#encoder;
    encoder.reset();
    if (request.major > KERNEL_VERSION) {
      // The kernel asks again in the version that it is told.
      encoder.u32(KERNEL_VERSION);
      encoder.zeros(60);
      this.#write(unique, 0);
      return;
    }
    if (request.major < KERNEL_VERSION || request.minor < OLDEST_MINOR) {
      this.#fail(unique, EPROTO);
      this.close(new Error(`this kernel's FUSE is too old: ${request.major}.${request.minor}, at least 7.${OLDEST_MINOR} is needed`));
      return;
    }
    const reply = negotiate(request, this.#options);
    putInit(encoder, reply);
    this.#write(unique, 0);
    this.#resolveReady(reply);
  }

  #answer(entry: Entry, unique: number, reply: unknown): void {
    if (typeof reply === 'number' && reply < 0) {
      this.#fail(unique, -reply);
      return;
    }
    const encoder = this.#encoder;
    encoder.reset();
    try {
      entry.encode(encoder, reply as never);
    } catch {
      // A value that does not fit its field came from the server.
      this.#fail(unique, EIO);
      return;
    }
    this.#write(unique, 0);
    if (reply instanceof Lent) reply.release();
  }

  #fail(unique: number, errno: number): void {
    this.#encoder.reset();
    // The kernel refuses other numbers, and the caller would wait for ever.
    this.#write(unique, errno > 0 && errno < 512 ? errno : EIO);
  }

  #write(unique: number, errno: number): void {
    if (this.#ended) return;
    const encoder = this.#encoder;
    encoder.header(-errno, unique);
    if (trace.enabled) trace('← #%d %s', unique, errno === 0 ? `${encoder.size + encoder.extra} bytes` : errnoName(errno));
    let result: number;
    if (encoder.extra === 0) {
      result = writeFrom(this.#fd, this.#reply, encoder.size);
    } else {
      encoder.parts.unshift(encoder.bytes.subarray(0, encoder.size));
      result = writev(this.#fd, encoder.parts);
      encoder.parts.length = 0;
    }
    // ENOENT: nobody waits for it any more. ENODEV: neither will anybody; the next read says so too.
    if (result >= 0 || result === ENOENT || result === ENODEV) return;
    if (errno === 0 && result === -EINVAL) {
      this.#fail(unique, EIO);
      return;
    }
    this.close(new SystemError(result, 'write', '/dev/fuse'));
  }
}

/** A request's fields in one line; of data, the length. */
function brief(body: unknown): string {
  const fields = Object.entries(body ?? {}) as [string, unknown][];
  return fields
    .map(([name, value]) => {
      const bytes = value instanceof Payload ? value.bytes : value;
      return `${name} ${bytes instanceof Uint8Array ? `${bytes.length} bytes` : String(bytes)}`;
    })
    .join(' ');
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
