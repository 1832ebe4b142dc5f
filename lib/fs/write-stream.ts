import { addAbortSignal, Writable } from 'node:stream';
import type { RequestOptions } from '../client/verbs.js';
import { toInteger } from './arguments.js';
import { checkWritten } from './content.js';
import type { OpenFile } from './open-file.js';
import { type Source, StreamFile } from './stream-file.js';

export interface WriteStreamOptions {
  /** Of strings that are written. Default: utf8. */
  encoding?: BufferEncoding | null | undefined;
  emitClose?: boolean | undefined;
  /** Where the first byte goes; the file's own position if missing. */
  start?: number | undefined;
  /** Bytes that wait before `write` returns false. Default: 1 MiB. */
  highWaterMark?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Tfsync before the file is closed. */
  flush?: boolean | undefined;
}

/** Smaller chunks than this are copied together; a larger one is sent as it lies. */
const SMALL = 32 * 1024;
/** What small chunks are copied together to. */
const JOINED = 256 * 1024;

/**
 * As `fs.WriteStream`. What is written while one batch is on its way waits and goes out as the next, all its parts in flight
 * together: many requests at once, in no more memory than twice `highWaterMark`, and a chunk belongs to the stream only until its callback.
 */
export class WriteStream extends Writable {
  readonly path: string | Buffer;
  readonly flags: string | number;
  bytesWritten = 0;
  readonly #held: StreamFile;
  readonly #flush: boolean;
  readonly #start: number | undefined;
  /** Where the next byte goes, if `start` says where the first one does; undefined: at the end, which the file knows. */
  #at: number | undefined;

  constructor(source: Source, options: WriteStreamOptions, request: RequestOptions | undefined) {
    const { start, highWaterMark = 1024 * 1024, encoding, emitClose = true, signal, flush = false } = options;
    // Before the stream begins, as in ReadStream.
    if (start !== undefined) toInteger(start, 'start', 0);
    super({
      highWaterMark,
      emitClose,
      decodeStrings: true,
      ...(encoding ? { defaultEncoding: encoding } : {}),
    });
    this.path = source.path;
    this.flags = source.flags;
    this.#held = new StreamFile(source, request, () => this.close());
    this.#flush = flush;
    this.#start = start;
    // Not by the base class: one that was aborted before would end the stream before there is anything of it.
    if (signal) addAbortSignal(signal, this);
  }

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
    this.#held.open(
      this,
      (file) => {
        this.#at = file.append ? undefined : (this.#start ?? file.position);
      },
      callback,
    );
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#put([chunk]).then(() => callback(), callback);
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#put(chunks.map(({ chunk }) => chunk)).then(() => callback(), callback);
  }

  async #put(chunks: readonly Buffer[]): Promise<void> {
    const { file } = this.#held;
    if (file === undefined) return;
    const parts = joined(chunks);
    if (this.#at === undefined) {
      for (const part of parts) this.#count(await file.write(part, null, this.#held.request, this.#held), part);
      return;
    }
    if (this.#start === undefined) {
      await file.inTurn(async () => {
        file.position = await this.#putAt(file, parts, await file.here(this.#held.request));
      });
    } else this.#at = await this.#putAt(file, parts, this.#at);
  }

  /** Resolves with where the next byte goes. */
  async #putAt(file: OpenFile, parts: readonly Uint8Array[], from: number): Promise<number> {
    const writes: Promise<number>[] = [];
    let at = from;
    for (const part of parts) {
      writes.push(file.write(part, at, this.#held.request, this.#held));
      at += part.length;
    }
    for (const [index, result] of (await Promise.allSettled(writes)).entries()) {
      if (result.status === 'rejected') throw result.reason;
      this.#count(result.value, parts[index]);
    }
    return at;
  }

  #count(written: number, part: Uint8Array | undefined): void {
    this.bytesWritten += written;
    checkWritten(written, part?.length ?? 0);
  }

  override _final(callback: (error?: Error | null) => void): void {
    const { file } = this.#held;
    if (file === undefined || !this.#flush) callback();
    else file.use('fsync', (fid) => fid.fsync(false, this.#held.request), this.#held).then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error !== null) this.#held.abandon();
    this.#held.end(error, callback);
  }

  /** Ends the stream after what was written, and calls back once its file is closed. */
  close(callback?: (error?: NodeJS.ErrnoException | null) => void): void {
    if (callback) {
      if (this.closed) process.nextTick(callback);
      else this.once('close', callback);
    }
    if (!this.#held.autoClose) this.on('finish', () => this.destroy());
    this.end();
  }
}

/** The same bytes in parts that are worth a request each. */
function joined(chunks: readonly Buffer[]): readonly Uint8Array[] {
  if (chunks.length <= 1) return chunks.filter((chunk) => chunk.length > 0);
  const parts: Uint8Array[] = [];
  let small: Buffer[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (bytes > 0) parts.push(small.length === 1 && small[0] !== undefined ? small[0] : Buffer.concat(small, bytes));
    small = [];
    bytes = 0;
  };
  for (const chunk of chunks) {
    if (chunk.length >= SMALL) {
      flush();
      parts.push(chunk);
      continue;
    }
    if (bytes + chunk.length > JOINED) flush();
    small.push(chunk);
    bytes += chunk.length;
  }
  flush();
  return parts;
}
