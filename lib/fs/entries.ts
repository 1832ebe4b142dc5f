import { Cookies } from '../client/cookies.js';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { DT_UNKNOWN, GETATTR_MODE, L_O_RDONLY } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { DirectoryEntry } from '../protocol/types.js';
import type { Context } from './context.js';
import { entryType, modeType } from './dirent.js';

/** Bytes that a whole listing may take here: that of some millions of files. A server can make up names for ever. */
const LISTING = 512 * 1024 * 1024;
const ENTRY = 100;
/** Entries of one directory that are asked about at the same time. */
const ASKING = 32;

/** Opens a directory's fid, which is the caller's then; after an error it is ended. The root is cloned. */
export async function openDirectory(context: Context, found: Fid, request: RequestOptions | undefined): Promise<Fid> {
  const fid = found === context.root ? await found.clone(request) : found;
  try {
    if (!fid.isDirectory) throw new ErrnoError('ENOTDIR');
    await fid.open(L_O_RDONLY, request);
    return fid;
  } catch (error) {
    context.release(fid);
    throw error;
  }
}

/** The DT_* number of an entry: what it says, else what Tgetattr says; DT_UNKNOWN for one that is gone since. */
export async function describeEntry(directory: Fid, entry: DirectoryEntry, request: RequestOptions | undefined): Promise<number> {
  const type = entryType(entry);
  if (type !== DT_UNKNOWN) return type;
  try {
    const fid = await directory.walk([entry.name], request);
    try {
      return modeType((await fid.getattr(GETATTR_MODE, request)).mode);
    } finally {
      fid.clunk().catch(() => undefined);
    }
  } catch (error) {
    if (error instanceof ErrnoError && error.code === 'ENOENT') return DT_UNKNOWN;
    throw error;
  }
}

/** All entries of an open directory but "." and "..", with what each is. */
export async function listEntries(
  directory: Fid,
  types: boolean,
  request: RequestOptions | undefined,
): Promise<{ name: string; type: number }[]> {
  const listed: { name: string; type: number }[] = [];
  const unknown: { entry: DirectoryEntry; at: { type: number } }[] = [];
  const cookies = new Cookies();
  let taken = 0;
  for (let offset = 0n; ; ) {
    const entries = await directory.readdir(offset, undefined, request);
    if (entries.length === 0) break;
    cookies.pass(entries);
    for (const entry of entries) {
      offset = entry.offset;
      taken += ENTRY + entry.name.length;
      if (taken > LISTING) throw new ErrnoError('EOVERFLOW');
      if (entry.name === '.' || entry.name === '..') continue;
      const at = { name: entry.name, type: entryType(entry) };
      listed.push(at);
      if (types && at.type === DT_UNKNOWN) unknown.push({ entry, at });
    }
  }
  await inParallel(unknown, ASKING, async ({ entry, at }) => {
    at.type = await describeEntry(directory, entry, request);
  });
  return listed;
}

/** Does `work` for each of `items`, those it adds meanwhile too; `limit` at a time. Rejects with the first error once all have ended. */
export async function inParallel<T>(items: T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failed: { error: unknown } | undefined;
  let running = 0;
  await new Promise<void>((resolve) => {
    const start = (): void => {
      while (running < limit && next < items.length && failed === undefined) {
        const item = items[next++] as T;
        running++;
        work(item)
          .catch((error: unknown) => {
            failed ??= { error };
          })
          .finally(() => {
            running--;
            start();
          });
      }
      if (running === 0) resolve();
    };
    start();
  });
  if (failed !== undefined) throw (failed as { error: unknown }).error;
}
