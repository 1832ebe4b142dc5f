import { XATTR_SIZE_MAX } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/** The value of an extended attribute of the file of `file`, or with the name "" the list of names. */
export function readXattr(file: Fid, name: string, options: RequestOptions | undefined): Promise<Uint8Array> {
  return again(() => readOnce(file, name, options));
}

async function readOnce(file: Fid, name: string, options: RequestOptions | undefined): Promise<Uint8Array> {
  const { fid, size } = await file.xattrwalk(name, options);
  try {
    if (size > XATTR_SIZE_MAX) throw file.client.error('E2BIG', 'Txattrwalk', file.path);
    const value = new Uint8Array(size);
    const count = await fid.read(value, 0, options);
    return value.subarray(0, count);
  } finally {
    await fid.clunk();
  }
}

/** Sets an extended attribute; an empty value removes it. Begun again, it finds what it did itself if no more than its last answer was lost. */
export async function putXattr(
  file: Fid,
  name: string,
  value: Uint8Array,
  flags: number,
  options: RequestOptions | undefined,
): Promise<void> {
  let perhapsDone = false;
  await again(async () => {
    try {
      const fid = await prepare(file, name, value, flags, options);
      await fid.clunk().catch((error: unknown) => {
        perhapsDone ||= has(error, 'ERESTART');
        throw error;
      });
    } catch (error) {
      if (!perhapsDone || !(await isDone(file, name, value, error, options))) throw error;
    }
  });
}

/** A fid whose clunk puts it. */
async function prepare(file: Fid, name: string, value: Uint8Array, flags: number, options: RequestOptions | undefined): Promise<Fid> {
  const fid = await file.clone(options);
  try {
    await fid.xattrcreate(name, value.length, flags, options);
    if (value.length > 0) await fid.write(value, 0, options);
    return fid;
  } catch (error) {
    // Short data, so the server sets nothing; its complaint about that is not news.
    await fid.clunk().catch(() => undefined);
    throw error;
  }
}

/** Whether what an error says is in the way is what was to be done. */
async function isDone(file: Fid, name: string, value: Uint8Array, error: unknown, options: RequestOptions | undefined): Promise<boolean> {
  if (value.length === 0) return has(error, 'ENODATA');
  if (!has(error, 'EEXIST')) return false;
  try {
    return Buffer.compare(await readXattr(file, name, options), value) === 0;
  } catch (failure) {
    if (failure instanceof ErrnoError) return false;
    throw failure;
  }
}

/** A connection that was lost between the requests of an extended attribute (ERESTART) makes them begin again. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!has(error, 'ERESTART')) throw error;
    }
  }
}

function has(error: unknown, code: string): boolean {
  return error instanceof ErrnoError && error.code === code;
}
