import { GETATTR_BASIC, GETATTR_NLINK } from '../protocol/constants.js';
import type { Attributes } from '../protocol/types.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/** Trenameat, or Trename where the server has no Trenameat; what has moved by it is told to the places. */
export async function renameThrough(
  from: Fid,
  oldName: string,
  to: Fid,
  newName: string,
  options: RequestOptions | undefined,
): Promise<void> {
  // Where a fid has the new name, one of the old name tells whether the two are one file, of which the rename changes nothing (Place.moved).
  const unclear = to.place.fileOf(newName) !== undefined && from.place.fileOf(oldName) === undefined;
  const looked = unclear ? await from.walk([oldName], options).catch(() => undefined) : undefined;
  try {
    const asOne = from.place.isOne(oldName, to.place, newName);
    const two = asOne && (await areTwo(attributesOf(from, oldName, options), attributesOf(to, newName, options)));
    await from.client.verbs.renameat(from, oldName, to, newName, options, () => from.place.moved(oldName, to.place, newName, two));
  } finally {
    await looked?.clunk().catch(() => undefined);
  }
}

/** Trename, as `renameThrough`. */
export async function renameFid(fid: Fid, directory: Fid, newName: string, options: RequestOptions | undefined): Promise<void> {
  const before = fid.place.above();
  const asOne = before?.parent.isOne(before.name, directory.place, newName) ?? false;
  const two = asOne && (await areTwo(fid.getattr(GETATTR_BASIC, options), attributesOf(directory, newName, options)));
  await fid.client.verbs.rename(fid, directory, newName, options, () => {
    const { parent, name } = fid.place.above() ?? {};
    if (name !== undefined) parent?.moved(name, directory.place, newName, two);
  });
}

async function attributesOf(directory: Fid, name: string, options: RequestOptions | undefined): Promise<Attributes> {
  const fid = await directory.walk([name], options);
  try {
    return await fid.getattr(GETATTR_BASIC, options);
  } finally {
    fid.clunk().catch(() => undefined);
  }
}

/**
 * Whether two files of one qid.path are two all the same: some servers call every file so, or two on different disks. What has one name only is not what has another
 * one, and one file has one set of attributes.
 */
async function areTwo(one: Promise<Attributes>, other: Promise<Attributes>): Promise<boolean> {
  const [first, second] = await Promise.allSettled([one, other]);
  if (first.status === 'rejected' || second.status === 'rejected') return false;
  const [a, b] = [first.value, second.value];
  if ((a.valid & b.valid & GETATTR_NLINK) !== 0n && (a.nlink === 1 || b.nlink === 1)) return true;
  const same = a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.size === b.size && a.rdev === b.rdev;
  return !same || a.ctime.sec !== b.ctime.sec || a.ctime.nsec !== b.ctime.nsec;
}
