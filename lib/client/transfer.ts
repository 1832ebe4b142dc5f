import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/** Parts of one transfer in flight at most. */
const PARTS = 16;

/** Fills `buffer` from `offset` on. One Tread if it fits, else several in flight together. */
export function readSplit(fid: Fid, buffer: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
  const { iounit } = fid;
  return buffer.length <= iounit ? readWhole(fid, buffer, offset, options) : readParts(fid, buffer, offset, 0, options);
}

async function readWhole(fid: Fid, buffer: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
  const count = await readPart(fid, buffer, offset, options);
  // After a lost connection msize may be smaller than what was asked for: a short answer is not the end of the file then.
  return count === 0 || buffer.length <= fid.iounit ? count : readParts(fid, buffer, offset, count, options);
}

function readPart(fid: Fid, into: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    fid.client.call(
      'Tread',
      { fid: fid.number, offset, count: into.length },
      (error, reply) => (reply === undefined ? reject(error) : resolve(reply.data.length)),
      options === undefined ? { into } : { ...options, into },
    );
  });
}

/** `total`: bytes that are there already. */
async function readParts(
  fid: Fid,
  buffer: Uint8Array,
  offset: number,
  total: number,
  options: RequestOptions | undefined,
): Promise<number> {
  while (total < buffer.length) {
    const { iounit } = fid;
    const parts: Promise<number>[] = [];
    const sizes: number[] = [];
    for (let at = total; at < buffer.length && parts.length < PARTS; at += iounit) {
      const part = buffer.subarray(at, Math.min(at + iounit, buffer.length));
      sizes.push(part.length);
      parts.push(readPart(fid, part, offset + at, options));
    }
    // All of them have ended before the buffer goes back, whatever happens to one.
    const counts = await allSettled(parts);
    for (let index = 0; index < counts.length; index++) {
      const count = counts[index] as number;
      total += count;
      if (count === (sizes[index] as number)) continue;
      if (count === 0) return total;
      // A short part may be the end of the file or a server's whim: the next round asks again from there.
      break;
    }
  }
  return total;
}

/** Writes `data` at `offset`. Parts of an append go one after another, for each lands where the one before it ended. */
export function writeSplit(
  fid: Fid,
  data: Uint8Array,
  offset: number,
  append: boolean,
  options: RequestOptions | undefined,
): Promise<number> {
  return data.length <= fid.iounit ? writeWhole(fid, data, offset, options) : writeParts(fid, data, offset, append ? 1 : PARTS, options);
}

function writePart(fid: Fid, data: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    fid.client.call(
      'Twrite',
      { fid: fid.number, offset, data },
      (error, reply) => (reply === undefined ? reject(error) : resolve(reply.count)),
      options,
    );
  });
}

async function writeWhole(fid: Fid, data: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
  let written = await writePart(fid, data, offset, options);
  // A server may take less, and so may one behind a new connection; none at all would never end.
  while (written < data.length) {
    const more = await writePart(fid, data.subarray(written, written + fid.iounit), offset + written, options);
    if (more === 0) break;
    written += more;
  }
  return written;
}

async function writeParts(fid: Fid, data: Uint8Array, offset: number, depth: number, options: RequestOptions | undefined): Promise<number> {
  let total = 0;
  while (total < data.length) {
    // After a lost connection it may be smaller than it was.
    const { iounit } = fid;
    const parts: Promise<number>[] = [];
    for (let at = total; at < data.length && parts.length < depth; at += iounit) {
      parts.push(writeWhole(fid, data.subarray(at, Math.min(at + iounit, data.length)), offset + at, options));
    }
    for (const count of await allSettled(parts)) {
      const size = Math.min(iounit, data.length - total);
      total += count;
      // What was taken beyond a gap does not count: whoever goes on from here fills the gap first.
      if (count < size) return total;
    }
  }
  return total;
}

/** Like Promise.all, but waits for every one before it rejects with the first error. */
async function allSettled(parts: Promise<number>[]): Promise<number[]> {
  const results = await Promise.allSettled(parts);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}
