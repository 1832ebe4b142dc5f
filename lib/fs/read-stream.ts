import { addAbortSignal, Readable } from 'node:stream';
import type { RequestOptions } from '../client/verbs.js';
import { toInteger } from './arguments.js';
import { outOfRange } from './errors.js';
import type { OpenFile } from './open-file.js';
import { type Source, StreamFile } from './stream-file.js';

export interface ReadStreamOptions {
  encoding?: BufferEncoding | null | undefined;
  emitClose?: boolean | undefined;
  /** The first byte; the file's own position if missing. */
  start?: number | undefined;
  /** The last byte, itself included; counted from the file's own position if `start` is missing. */
  end?: number | undefined;
  /** Bytes of one chunk at most. Default: 64 KiB. */
  highWaterMark?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Bytes asked for ahead of the consumer at most. Default: 4 MiB. */
  readAhead?: number | undefined;
}

interface Part {
  readonly offset: number;
  readonly buffer: Buffer;
  readonly count: Promise<number>;
}

const READ_AHEAD = 4 * 1024 * 1024;
/** Bytes of one request: enough that its cost does not show, and little enough that several are in flight. */
const REQUEST = 256 * 1024;

/**
 * As `fs.ReadStream`, with requests in flight ahead of the consumer. One at first, twice as many after each that came back full, so
 * that somebody who wants the first line does not pay for a megabyte; never more than `readAhead` bytes.
 */
export class ReadStream extends Readable {
  readonly path: string | Buffer;
  readonly flags: string | number;
  bytesRead = 0;
  readonly #held: StreamFile;
  readonly #start: number | undefined;
  /** First byte that is not wanted any more. */
  #limit: number;
  readonly #chunk: number;
  readonly #readAhead: number;
  readonly #parts: Part[] = [];
  /** What has been read and not yet been asked for. */
  #rest: Buffer | undefined;
  #depth = 1;
  /** Where the next request begins, and where the next byte for the consumer is. */
  #next = 0;
  #at = 0;

  constructor(source: Source, options: ReadStreamOptions, request: RequestOptions | undefined) {
    const { start, end, highWaterMark = 64 * 1024, encoding, emitClose = true, signal, readAhead = READ_AHEAD } = options;
    // Before the stream begins: one that is half made would tell of it by an event that nobody can listen for.
    if (start !== undefined) toInteger(start, 'start', 0);
    if (end !== undefined && end !== Number.POSITIVE_INFINITY) {
      toInteger(end, 'end', 0);
      if (start !== undefined && start > end) throw outOfRange('start', `<= "end" (here: ${end})`, start);
    }
    super({
      highWaterMark,
      emitClose,
      ...(encoding ? { encoding } : {}),
    });
    this.path = source.path;
    this.flags = source.flags;
    this.#held = new StreamFile(source, request, () => this.destroy());
    this.#start = start;
    this.#limit = (end ?? Number.POSITIVE_INFINITY) + 1;
    this.#chunk = Math.max(1, highWaterMark);
    this.#readAhead = readAhead;
    // Not by the base class: one that was aborted before would end the stream before there is anything of it.
    if (signal) addAbortSignal(signal, this);
  }

  /** The number of the open file; null before it is open and after it is closed. */
  get fd(): number | null {
    return this.#held.fd;
  }

  get pending(): boolean {
    return this.#held.file === undefined;
  }

  /** An opening that is under way is given up: Node waits for it, but a server may be long in coming back. */
  override destroy(error?: Error): this {
    if (this.pending) this.#held.abandon();
    return super.destroy(error);
  }

  override _construct(callback: (error?: Error | null) => void): void {
    const begin = (file: OpenFile): void => {
      this.#at = this.#start ?? file.position ?? 0;
      this.#next = this.#at;
      if (this.#start === undefined) this.#limit += this.#at;
    };
    this.#held.open(this, begin, callback);
  }

  override _read(): void {
    const { file } = this.#held;
    if (file === undefined) return;
    // One chunk for each call, and not within it: what is pushed at once reaches a consumer as one.
    if (this.#start === undefined) file.inTurn(() => this.#onward(file)).catch((error: Error) => this.destroy(error));
    else if (this.#rest !== undefined) process.nextTick(() => this.#giveRest());
    else this.#readOn(file).catch((error: Error) => this.destroy(error));
  }

  /** The next chunk from where the file is: as with Node, whoever else reads from there takes what this does not get. */
  async #onward(file: OpenFile): Promise<void> {
    if (this.destroyed) return;
    const at = await file.here(this.#held.request);
    if (at !== this.#at) {
      this.#forget();
      this.#rest = undefined;
      this.#limit += at - this.#at;
      this.#at = at;
      this.#next = at;
      this.#depth = 1;
    }
    if (this.#rest !== undefined) this.#giveRest();
    else await this.#readOn(file);
  }

  #giveRest(): void {
    if (this.#rest !== undefined && !this.destroyed) this.#give(this.#rest);
  }

  #give(data: Buffer): void {
    const { file } = this.#held;
    const chunk = data.length <= this.#chunk ? data : data.subarray(0, this.#chunk);
    this.#rest = chunk === data ? undefined : data.subarray(this.#chunk);
    this.#at += chunk.length;
    this.bytesRead += chunk.length;
    if (this.#start === undefined && file !== undefined) file.position = this.#at;
    this.push(chunk);
  }

  async #readOn(file: OpenFile): Promise<void> {
    this.#ask(file);
    const part = this.#parts.shift();
    if (part === undefined) {
      this.push(null);
      return;
    }
    const count = await part.count;
    if (this.destroyed) return;
    if (count < part.buffer.length) {
      // The end, or a short answer: what was asked for behind it does not follow on.
      this.#forget();
      this.#next = part.offset + count;
      this.#depth = 1;
    } else this.#depth *= 2;
    if (count === 0) this.push(null);
    else this.#give(part.buffer.subarray(0, count));
  }

  /** Keeps requests in flight. */
  #ask(file: OpenFile): void {
    const chunk = Math.min(this.#chunk, file.fid.iounit);
    const size = Math.floor(Math.min(Math.max(REQUEST, chunk), file.fid.iounit) / chunk) * chunk;
    const depth = Math.max(1, Math.min(this.#depth, Math.floor(this.#readAhead / size)));
    while (this.#parts.length < depth && this.#next < this.#limit) {
      // The first request is no larger than a chunk: most files end there.
      const wanted = this.#depth === 1 ? Math.min(size, Math.max(chunk, Math.floor((64 * 1024) / chunk) * chunk)) : size;
      const buffer = Buffer.allocUnsafeSlow(Math.min(wanted, this.#limit - this.#next));
      const count = file.read(buffer, this.#next, this.#held.request, this.#held);
      // Whoever is not waited for any more must not fail unheard.
      count.catch(() => undefined);
      this.#parts.push({ offset: this.#next, buffer, count });
      this.#next += buffer.length;
    }
  }

  #forget(): void {
    this.#parts.length = 0;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // Reads that are on their way are given up: a pipe may never answer them.
    this.#held.abandon();
    this.#forget();
    this.#held.end(error, callback);
  }

  /** Ends the stream, and calls back once its file is closed. */
  close(callback?: (error?: NodeJS.ErrnoException | null) => void): void {
    if (callback) {
      if (this.closed) process.nextTick(callback);
      else this.once('close', callback);
    }
    this.destroy();
  }
}
