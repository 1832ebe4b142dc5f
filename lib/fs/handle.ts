import { EventEmitter } from 'node:events';
import type { BigIntStats as NodeBigIntStats, Stats as NodeStats, OpenMode, StatOptions, TimeLike } from 'node:fs';
import { createInterface, type Interface as ReadlineInterface } from 'node:readline';
import type { ReadableStream } from 'node:stream/web';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { GETATTR_BASIC, GETATTR_BTIME } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Qid } from '../protocol/types.js';
import { encodingOf, optionsOf, requestOf, toBytes, toId, toInteger, toMode, toTimespec } from './arguments.js';
import { readToEnd, writeContent } from './content.js';
import { errorWithCode, fileClosed, invalidArgType, invalidArgValue, outOfRange, throwIfAborted } from './errors.js';
import { canRead, canWrite } from './flags.js';
import { type LockHolder, type LockOptions, lock, lockHolder, type RangeOptions, unlock } from './lock.js';
import { setMode } from './mode.js';
import type { OpenFile } from './open-file.js';
import { ReadStream, type ReadStreamOptions } from './read-stream.js';
import { statsOf } from './stats.js';
import type { Source } from './stream-file.js';
import { webStream } from './web-stream.js';
import { WriteStream, type WriteStreamOptions } from './write-stream.js';

type Encoded = BufferEncoding | null | undefined;
type ContentOptions = { encoding?: Encoded; signal?: AbortSignal | undefined } | BufferEncoding | null;
type AutoClose = { autoClose?: boolean | undefined };

export interface ReadResult<T extends NodeJS.ArrayBufferView> {
  bytesRead: number;
  buffer: T;
}

export interface ReadArguments extends RequestOptions {
  offset?: number | null | undefined;
  length?: number | null | undefined;
  position?: number | bigint | null | undefined;
}

/**
 * As `fs.promises.FileHandle`, over a fid. Reads and writes larger than one message are split and in flight together; a buffer that is
 * given belongs to the handle until the promise settles. Beyond Node: `lock`, `unlock`, `lockHolder`, `qid`, extended attributes, and an
 * AbortSignal wherever there are options.
 */
export class FileHandle extends EventEmitter {
  readonly #file: OpenFile;
  readonly #path: string | Buffer;
  readonly #opened: string | number;
  #streaming = false;

  /** Of `open`. `flags` are those of the caller, for streams to tell. */
  constructor(file: OpenFile, path: string | Buffer, flags: OpenMode) {
    super();
    this.#file = file;
    this.#path = path;
    this.#opened = flags;
    file.onClosed = () => this.emit('close');
  }

  /** A number that names it among the open files of this file system; no descriptor of the process. -1 once closed. */
  get fd(): number {
    return this.#file.fd;
  }

  /** The server's name of the file, and its version. */
  get qid(): Qid {
    return this.#file.fid.qid;
  }

  async read<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<ReadResult<T>>;
  async read<T extends NodeJS.ArrayBufferView>(buffer: T, options?: ReadArguments): Promise<ReadResult<T>>;
  async read<T extends NodeJS.ArrayBufferView = Buffer<ArrayBuffer>>(
    options?: ReadArguments & { buffer?: T | undefined },
  ): Promise<ReadResult<T>>;
  async read(
    first?: NodeJS.ArrayBufferView | (ReadArguments & { buffer?: NodeJS.ArrayBufferView | undefined }) | null,
    second?: number | ReadArguments | null,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<ReadResult<NodeJS.ArrayBufferView>> {
    const { buffer, view, at, request } = readArguments(first, second, length, position, this.#file.context.request);
    if (view.length === 0) return { bytesRead: 0, buffer };
    return { bytesRead: await this.#file.read(view, at, request), buffer };
  }

  async write<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null | ReadArguments,
    length?: number | null,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffer: T }>;
  async write(data: string, position?: number | null, encoding?: Encoded): Promise<{ bytesWritten: number; buffer: string }>;
  async write(
    data: NodeJS.ArrayBufferView | string,
    second?: number | ReadArguments | null,
    third?: number | string | null,
    position?: number | bigint | null,
  ): Promise<{ bytesWritten: number; buffer: NodeJS.ArrayBufferView | string }> {
    const { request } = this.#file.context;
    if (typeof data === 'string') {
      const bytes = toBytes(data, 'buffer', encodingOf(third) as Encoded);
      return { bytesWritten: await this.#file.write(bytes, toPosition(second as number | null | undefined), request), buffer: data };
    }
    const bytes = toBytes(data, 'buffer');
    if (typeof second === 'object' && second !== null) {
      const part = partOf(bytes, second.offset, second.length);
      const at = toPosition(second.position);
      return { bytesWritten: await this.#file.write(part, at, requestOf(second, request)), buffer: data };
    }
    const part = partOf(bytes, second, third as number | null | undefined);
    return { bytesWritten: await this.#file.write(part, toPosition(position), request), buffer: data };
  }

  async readv<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
    options?: RequestOptions,
  ): Promise<{ bytesRead: number; buffers: T }> {
    const request = requestOf(options, this.#file.context.request);
    if (this.fd === -1) throw fileClosed('readv');
    return { bytesRead: await this.#file.readAll(viewsOf(buffers), toPosition(position), request), buffers };
  }

  async writev<T extends readonly NodeJS.ArrayBufferView[]>(
    buffers: T,
    position?: number | null,
    options?: RequestOptions,
  ): Promise<{ bytesWritten: number; buffers: T }> {
    const request = requestOf(options, this.#file.context.request);
    if (this.fd === -1) throw fileClosed('writev');
    return { bytesWritten: await this.#file.writeAll(viewsOf(buffers), toPosition(position), request), buffers };
  }

  async readFile(options?: { encoding?: null | undefined; signal?: AbortSignal | undefined } | null): Promise<Buffer<ArrayBuffer>>;
  async readFile(options: { encoding: BufferEncoding; signal?: AbortSignal | undefined } | BufferEncoding): Promise<string>;
  async readFile(options?: ContentOptions): Promise<string | Buffer<ArrayBuffer>>;
  async readFile(options?: ContentOptions): Promise<string | Buffer> {
    const encoding = encodingOf(options);
    const request = requestOf(options, this.#file.context.request);
    throwIfAborted(request?.signal);
    if (this.fd === -1) throw fileClosed('readFile');
    const data = await this.#file.use('read', async (fid) => {
      if (!canRead(this.#file.flags)) throw new ErrnoError('EBADF');
      return this.#file.inTurn(async () => {
        const start = await this.#file.here(request);
        const content = await readToEnd(fid, start, request);
        this.#file.position = start + content.length;
        return content;
      });
    });
    return encoding === undefined || encoding === 'buffer' ? data : data.toString(encoding);
  }

  async writeFile(data: unknown, options?: ContentOptions): Promise<void> {
    const encoding = encodingOf(options) as Encoded;
    const request = requestOf(options, this.#file.context.request);
    throwIfAborted(request?.signal);
    if (this.fd === -1) throw fileClosed('writeFile');
    await writeContent(this.#file, data, encoding, request);
  }

  async appendFile(data: unknown, options?: ContentOptions): Promise<void> {
    await this.writeFile(data, options);
  }

  async stat(options?: StatOptions & { bigint?: false | undefined }): Promise<NodeStats>;
  async stat(options: StatOptions & { bigint: true }): Promise<NodeBigIntStats>;
  async stat(options?: StatOptions): Promise<NodeStats | NodeBigIntStats>;
  async stat(options?: StatOptions & RequestOptions): Promise<NodeStats | NodeBigIntStats> {
    const request = requestOf(options, this.#file.context.request);
    return statsOf(await this.#file.use('fstat', (fid) => fid.getattr(GETATTR_BASIC | GETATTR_BTIME, request)), options?.bigint);
  }

  /** Cuts off or fills up to `length` bytes. EINVAL unless it is open for writing, as ftruncate(2) says. */
  async truncate(length = 0): Promise<void> {
    const size = Math.max(0, toInteger(length, 'len'));
    await this.#change('ftruncate', (fid, request) => {
      if (!canWrite(this.#file.flags)) throw new ErrnoError('EINVAL');
      return fid.setattr({ size }, request);
    });
  }

  async sync(): Promise<void> {
    await this.#change('fsync', (fid, request) => fid.fsync(false, request));
  }

  async datasync(): Promise<void> {
    await this.#change('fdatasync', (fid, request) => fid.fsync(true, request));
  }

  async chmod(mode: string | number): Promise<void> {
    const bits = toMode(mode, 'mode');
    await this.#change('fchmod', (fid, request) => setMode(fid, bits, request));
  }

  async chown(uid: number, gid: number): Promise<void> {
    const change = { uid: toId(uid, 'uid'), gid: toId(gid, 'gid') };
    await this.#change('fchown', (fid, request) => fid.setattr(change, request));
  }

  async utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    const change = { atime: toTimespec(atime), mtime: toTimespec(mtime) };
    await this.#change('futimes', (fid, request) => fid.setattr(change, request));
  }

  #change(syscall: string, work: (fid: Fid, request: RequestOptions | undefined) => Promise<void>): Promise<void> {
    // Node names the open file's calls so, but tells of futimes as futime.
    const name = syscall === 'futimes' && this.fd !== -1 ? 'futime' : syscall;
    return this.#file.use(name, async (fid) => work(fid, this.#file.context.request));
  }

  /** Locks bytes of the file for this handle: advisory, and given up when it is closed. EAGAIN, ENOLCK, AbortError; EBADF if it waits while the handle is closed. */
  async lock(options: LockOptions = {}): Promise<void> {
    await lock(this.#file, options, requestOf(options, this.#file.context.request));
  }

  async unlock(options: RangeOptions = {}): Promise<void> {
    await unlock(this.#file, options, requestOf(options, this.#file.context.request));
  }

  /** Who stands in the way of such a lock; undefined if nobody does. */
  async lockHolder(options: RangeOptions & { shared?: boolean | undefined } = {}): Promise<LockHolder | undefined> {
    return lockHolder(this.#file, options, requestOf(options, this.#file.context.request));
  }

  /** The value of an extended attribute. ENODATA where there is none. */
  async getxattr(name: string): Promise<Buffer> {
    const value = await this.#file.use('fgetxattr', (fid) => fid.getxattr(name, this.#file.context.request));
    return Buffer.from(value.buffer, value.byteOffset, value.length);
  }

  async setxattr(name: string, value: string | Uint8Array, flags = 0): Promise<void> {
    const bytes = toBytes(value, 'value');
    await this.#change('fsetxattr', (fid, request) => fid.setxattr(name, bytes, flags, request));
  }

  async listxattr(): Promise<string[]> {
    return this.#file.use('flistxattr', (fid) => fid.listxattr(this.#file.context.request));
  }

  async removexattr(name: string): Promise<void> {
    await this.#change('fremovexattr', (fid, request) => fid.removexattr(name, request));
  }

  createReadStream(options: (ReadStreamOptions & AutoClose) | BufferEncoding | null = {}): ReadStream {
    const settings = optionsOf<ReadStreamOptions & AutoClose>(options);
    return new ReadStream(this.#source(settings), settings, this.#file.context.request);
  }

  createWriteStream(options: (WriteStreamOptions & AutoClose) | BufferEncoding | null = {}): WriteStream {
    const settings = optionsOf<WriteStreamOptions & AutoClose>(options);
    return new WriteStream(this.#source(settings), settings, this.#file.context.request);
  }

  #source({ autoClose = true }: AutoClose): Source {
    const file = this.#file;
    const open = async (): Promise<OpenFile> => {
      await file.use('open', async () => undefined);
      return file;
    };
    return { path: this.#path, autoClose, flags: this.#opened, open };
  }

  /** The lines of the file, as an async iterable. */
  readLines(options?: ReadStreamOptions & AutoClose): ReadlineInterface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Number.POSITIVE_INFINITY });
  }

  /** The rest of the file as a byte stream. It does not close the handle. ERR_INVALID_STATE the second time. */
  readableWebStream(_options?: { type?: 'bytes' | undefined }): ReadableStream {
    if (this.fd === -1) throw errorWithCode('ERR_INVALID_STATE', 'Invalid state: The FileHandle is closed');
    if (this.#streaming) throw errorWithCode('ERR_INVALID_STATE', 'Invalid state: The FileHandle is locked');
    this.#streaming = true;
    return webStream(this.#file);
  }

  /** Ends it once what goes on has ended. Idempotent. */
  close(): Promise<void> {
    return this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function readArguments(
  first: NodeJS.ArrayBufferView | (ReadArguments & { buffer?: NodeJS.ArrayBufferView | undefined }) | null | undefined,
  second: number | ReadArguments | null | undefined,
  length: number | null | undefined,
  position: number | bigint | null | undefined,
  base: RequestOptions | undefined,
): { buffer: NodeJS.ArrayBufferView; view: Uint8Array; at: number | null; request: RequestOptions | undefined } {
  let buffer: NodeJS.ArrayBufferView;
  let named: ReadArguments = {};
  if (ArrayBuffer.isView(first)) {
    buffer = first;
    if (typeof second === 'object' && second !== null) named = second;
    else named = { offset: second, length, position };
  } else {
    if (first !== undefined && typeof first !== 'object') throw invalidArgType('options', 'of type object', first);
    named = first ?? {};
    buffer = first?.buffer ?? Buffer.alloc(16384);
    if (!ArrayBuffer.isView(buffer)) throw invalidArgType('buffer', 'an instance of Buffer, TypedArray, or DataView', buffer);
  }
  const whole = toBytes(buffer, 'buffer');
  if (named.length !== 0 && whole.length === 0 && named.length !== undefined && named.length !== null) {
    throw invalidArgValue('buffer', buffer, 'is empty and cannot be written');
  }
  const view = partOf(whole, named.offset, named.length);
  return { buffer, view, at: toPosition(named.position), request: requestOf(named, base) };
}

function partOf(bytes: Uint8Array, offset: number | null | undefined, length: number | null | undefined): Uint8Array {
  const from = offset === undefined || offset === null ? 0 : toInteger(offset, 'offset', 0);
  const count = length ?? bytes.length - from;
  if (typeof count !== 'number') throw invalidArgType('length', 'of type number', count);
  if (count < 0) throw outOfRange('length', '>= 0', count);
  if (from + count > bytes.length) throw outOfRange('length', `<= ${bytes.length - from}`, count);
  return from === 0 && count === bytes.length ? bytes : bytes.subarray(from, from + count);
}

/** A position in the file; null for the file's own, which is what Node takes -1 and anything but a number for. */
function toPosition(position: number | bigint | null | undefined): number | null {
  if (typeof position === 'bigint') return position < 0n ? null : toInteger(Number(position), 'position', 0);
  return typeof position === 'number' && position >= 0 ? toInteger(position, 'position', 0) : null;
}

function viewsOf(buffers: readonly NodeJS.ArrayBufferView[]): Uint8Array[] {
  if (!Array.isArray(buffers) || !buffers.every((one) => ArrayBuffer.isView(one))) {
    throw invalidArgType('buffers', 'an ArrayBufferView[]', buffers);
  }
  return buffers.map((one) => toBytes(one, 'buffers'));
}
