import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { GETATTR_MODE, GETATTR_SIZE, S_IFMT, S_IFREG } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { toBytes } from './arguments.js';
import { invalidArgType, throwIfAborted } from './errors.js';
import type { OpenFile } from './open-file.js';

/** What is read together with the attributes: most files end within it. */
const FIRST = 64 * 1024;
/** Memory taken on a server's word for the size of a file, at a time. */
const PIECE = 64 * 1024 * 1024;
/** The largest buffer that Node fills from a file. */
const LIMIT = 2 ** 31 - 1;
/** Parts of a copy in flight, and bytes of one at most. */
const COPY_PARTS = 8;
const COPY_PART = 512 * 1024;

/** All there is in an open file from `start` to its end. EISDIR; ERR_FS_FILE_TOO_LARGE over 2 GiB. */
export async function readToEnd(fid: Fid, start: number, request: RequestOptions | undefined): Promise<Buffer> {
  if (fid.isDirectory) throw new ErrnoError('EISDIR');
  const head = Buffer.allocUnsafeSlow(Math.min(FIRST, fid.iounit));
  const [reading, asking] = await Promise.allSettled([fid.read(head, start, request), fid.getattr(GETATTR_MODE | GETATTR_SIZE, request)]);
  if (reading.status === 'rejected') throw reading.reason;
  if (asking.status === 'rejected') throw asking.reason;
  const { mode, size } = asking.value;
  const count = reading.value;
  const regular = (mode & S_IFMT) === S_IFREG;
  // Files of /proc and the like claim no size, or a wrong one.
  const expected = regular && size > start ? size - start : 0;
  if (expected > LIMIT) throw tooLarge(size);
  if (count === 0 || count === expected) return trimmed(head, count);
  const pieces = [head.subarray(0, count)];
  let total = count;
  for (let ended = false; !ended && total !== expected; ) {
    // What claims no size is read in one go after the other: the kernel makes the text of /proc anew for whoever jumps about in it.
    const wanted = expected > total ? Math.min(expected - total, PIECE) : Math.min(Math.max(total, FIRST), fid.iounit);
    const piece = Buffer.allocUnsafeSlow(wanted);
    let filled = 0;
    // A short answer is not the end: /proc gives a page or two at a time, and a server may give less than it is asked for (read(5)).
    while (filled < piece.length && !ended) {
      const more = await fid.read(piece.subarray(filled), start + total, request);
      filled += more;
      total += more;
      ended = more === 0;
    }
    if (total > LIMIT) throw tooLarge(total);
    if (filled > 0) pieces.push(piece.subarray(0, filled));
  }
  return Buffer.concat(pieces, total);
}

function tooLarge(size: number): Error {
  return Object.assign(new RangeError(`File size (${size}) is greater than 2 GiB`), { code: 'ERR_FS_FILE_TOO_LARGE' });
}

function trimmed(buffer: Buffer, count: number): Buffer {
  return count > FIRST / 2 ? buffer.subarray(0, count) : Buffer.from(buffer.subarray(0, count));
}

function isIterable(data: unknown): data is Iterable<unknown> | AsyncIterable<unknown> {
  return (
    typeof data === 'object' && data !== null && !ArrayBuffer.isView(data) && (Symbol.iterator in data || Symbol.asyncIterator in data)
  );
}

/** Writes data of any kind that `writeFile` takes, at the file's position. */
export async function writeContent(
  file: OpenFile,
  data: unknown,
  encoding: BufferEncoding | null | undefined,
  request: RequestOptions | undefined,
): Promise<void> {
  if (!isIterable(data)) {
    const bytes = toBytes(data, 'data', encoding);
    if (bytes.length > 0) await writeAll(file, bytes, request);
    return;
  }
  for await (const chunk of data) {
    throwIfAborted(request?.signal);
    // Whoever gives the chunk may use its memory again afterwards, so each is written before the next is asked for.
    await writeAll(file, toBytes(chunk, 'data', encoding), request);
  }
}

async function writeAll(file: OpenFile, bytes: Uint8Array, request: RequestOptions | undefined): Promise<void> {
  checkWritten(await file.write(bytes, null, request), bytes.length);
}

/** For whoever is not told how much was written: EIO where a server has stopped taking anything. */
export function checkWritten(count: number, wanted: number): number {
  if (count < wanted) throw new ErrnoError('EIO', { syscall: 'write' });
  return count;
}

/** Refuses what `writeContent` cannot write, before a file is made for it. */
export function checkContent(data: unknown): void {
  if (typeof data === 'string' || ArrayBuffer.isView(data) || isIterable(data)) return;
  throw invalidArgType('data', 'of type string or an instance of Buffer, TypedArray, or DataView', data);
}

/** Copies one open file into another, from the start, with a few parts in flight. Resolves with the bytes copied. */
export async function copyContent(from: Fid, to: Fid, request: RequestOptions | undefined): Promise<number> {
  const size = Math.min(COPY_PART, from.iounit, to.iounit);
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  let copied = 0;
  let failed = false;
  const copyParts = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafeSlow(size);
    while (next < end && !failed) {
      const at = next;
      next += size;
      for (let done = 0; done < size && at + done < end; ) {
        const count = await from.read(buffer.subarray(done), at + done, request);
        if (count === 0) end = Math.min(end, at + done);
        else copied += checkWritten(await to.write(buffer.subarray(done, done + count), at + done, request), count);
        done += count;
      }
    }
  };
  const results = await Promise.allSettled(
    Array.from({ length: COPY_PARTS }, () =>
      copyParts().catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    ),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return copied;
}
