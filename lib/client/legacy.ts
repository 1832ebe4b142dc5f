import {
  AT_REMOVEDIR,
  DMDIR,
  DMLINK,
  DMSYMLINK,
  L_O_ACCMODE,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_WRONLY,
  S_IFLNK,
  S_IFMT,
  VERSION_U,
} from '../protocol/constants.js';
import type { LegacyStat, Qid } from '../protocol/types.js';
import type { Fid } from './fid.js';
import { removeByName } from './linux.js';
import { readListing } from './listing.js';
import { attributesOf, changedMode, modeOf, openMode, permissions, specialFile, untouched } from './stat.js';
import type { AttributeChange, Opened, RequestOptions, Verbs } from './verbs.js';

/**
 * 9P2000.u and 9P2000 in the terms of 9P2000.L. Both open with Topen, create with Tcreate, read directories with Tread and change attributes
 * with Twstat; 9P2000.u has numbers for users and errors, and an extension text for what Unix has besides files and
 * directories. What neither can say rejects with EOPNOTSUPP: statfs, locks, extended attributes; in 9P2000 also links, special files and owners.
 */
export const legacy: Verbs = {
  async open(fid, flags, options) {
    if ((flags & L_O_DIRECTORY) !== 0 && !fid.isDirectory) throw fid.client.error('ENOTDIR', 'Topen', fid.path);
    // QEMU opens a directory for writing (interop: open.directory-write).
    if ((flags & L_O_ACCMODE) !== 0 && fid.isDirectory) throw fid.client.error('EISDIR', 'Topen', fid.path);
    return fid.client.request('Topen', { fid: fid.number, mode: openMode(flags, isExtended(fid)) }, options);
  },

  async create(fid, name, flags, mode, _gid, options) {
    // The mode of Tcreate is one byte: no room for "only if it is new". Somebody else may come between.
    if ((flags & L_O_EXCL) !== 0 && (await exists(fid, name, options))) throw fid.client.error('EEXIST', 'Tcreate', fid.path);
    const perm = permissions(mode, isExtended(fid));
    const body = { fid: fid.number, name, perm, mode: openMode(flags, isExtended(fid)), extension: '' };
    try {
      return await fid.client.request('Tcreate', body, options);
    } catch (error) {
      if ((flags & L_O_EXCL) !== 0 || codeOf(error) !== 'EEXIST') throw error;
    }
    // Plan 9 refuses a name that is there (open(5)), and so it is opened instead.
    return openExisting(fid, name, flags & ~L_O_CREAT, options);
  },

  async getattr(fid, _mask, options) {
    return attributesOf(await statOf(fid, options), isExtended(fid));
  },

  async setattr(fid, change, options) {
    const stat = await changes(fid, change, options);
    if (stat !== undefined) await fid.client.request('Twstat', { fid: fid.number, stat }, options);
  },

  readdir: readListing,

  statfs: (fid) => unsupported(fid, 'Tstatfs'),

  async readlink(fid, options) {
    const stat = await statOf(fid, options);
    if ((modeOf(stat) & S_IFMT) !== S_IFLNK) throw fid.client.error('EINVAL', 'Tstat', fid.path);
    return stat.extension;
  },

  symlink: (fid, name, target, _gid, options) => make(fid, name, DMSYMLINK | 0o777, target, options),

  async mknod(fid, name, mode, major, minor, _gid, options) {
    const special = specialFile(mode, major, minor);
    if (special === undefined) throw fid.client.error('EINVAL', 'Tcreate', fid.path);
    return make(fid, name, special.kind | permissions(mode, isExtended(fid)), special.extension, options);
  },

  mkdir: (fid, name, mode, _gid, options) => make(fid, name, DMDIR | permissions(mode, isExtended(fid)), '', options),

  async link(directory, name, target, options) {
    await make(directory, name, DMLINK, String(target.number), options);
  },

  async rename(fid, directory, name, options, onRenamed) {
    const parent = await fid.walk(['..'], options);
    const stays = isSame(parent, directory);
    await parent.clunk();
    if (!stays) throw fid.client.error('EXDEV', 'Twstat', fid.path);
    await rename(fid, directory, name, options);
    onRenamed();
  },

  async renameat(from, oldName, to, newName, options, onRenamed) {
    // Twstat gives a new name, not a new place (stat(5)); mv(1) then copies.
    if (!isSame(from, to)) throw from.client.error('EXDEV', 'Twstat', from.path);
    const fid = await from.walk([oldName], options);
    try {
      if (oldName !== newName) {
        await rename(fid, to, newName, options);
        onRenamed();
      }
    } finally {
      await fid.clunk();
    }
  },

  unlinkat: removeByName,

  async fsync(fid, datasync, options) {
    if (isQemu(fid)) {
      await fid.client.request('Tfsync', { fid: fid.number, datasync: datasync ? 1 : 0 }, options);
      return;
    }
    // A Twstat that changes nothing asks for stable storage (stat(5)).
    await fid.client.request('Twstat', { fid: fid.number, stat: untouched() }, options);
  },

  lock: (fid) => unsupported(fid, 'Tlock'),
  getlock: (fid) => unsupported(fid, 'Tgetlock'),
  xattrwalk: (fid) => unsupported(fid, 'Txattrwalk'),
  xattrcreate: (fid) => unsupported(fid, 'Txattrcreate'),

  async end(fid, options) {
    // 9P2000 cannot say append; 9P2000.u can, and the server then does not look at the offset.
    return isExtended(fid) ? undefined : (await statOf(fid, options)).length;
  },
};

function isExtended(fid: Fid): boolean {
  return fid.client.dialect === VERSION_U;
}

/**
 * QEMU does what such a Twstat asks for and then never answers it (interop: wstat.sync), but it takes the messages of 9P2000.L whatever was
 * agreed on. Its device has no other way in than lib/qemu, so the address tells.
 */
function isQemu(fid: Fid): boolean {
  return fid.client.session.address.startsWith('qemu:');
}

async function unsupported(fid: Fid, message: string): Promise<never> {
  throw fid.client.error('EOPNOTSUPP', message, fid.path);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function isSame(a: Fid, b: Fid): boolean {
  return a.attachment.aname === b.attachment.aname && a.qid.path === b.qid.path && a.qid.type === b.qid.type;
}

async function statOf(fid: Fid, options: RequestOptions | undefined): Promise<LegacyStat> {
  return (await fid.client.request('Tstat', { fid: fid.number }, options)).stat;
}

async function exists(directory: Fid, name: string, options: RequestOptions | undefined): Promise<boolean> {
  try {
    await (await directory.walk([name], options)).clunk();
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Takes `fid` itself to its child `name`, opens it there, and takes it back if that fails. */
async function openExisting(fid: Fid, name: string, flags: number, options: RequestOptions | undefined): Promise<Opened> {
  const { client, number } = fid;
  await client.request('Twalk', { fid: number, newfid: number, wnames: [name] }, options);
  try {
    return await client.request('Topen', { fid: number, mode: openMode(flags, isExtended(fid)) }, options);
  } catch (error) {
    await client.request('Twalk', { fid: number, newfid: number, wnames: ['..'] });
    throw error;
  }
}

/** Makes something with Tcreate, whose fid would then be the new file: so a clone is spent on it. */
async function make(directory: Fid, name: string, perm: number, extension: string, options: RequestOptions | undefined): Promise<Qid> {
  if (!isExtended(directory) && (perm & 0x3ff_ffff & ~0o777) !== 0) return unsupported(directory, 'Tcreate');
  // A server may open what is there already rather than refuse it.
  if (await exists(directory, name, options)) throw directory.client.error('EEXIST', 'Tcreate', directory.path);
  const fid = await directory.clone(options);
  try {
    const mode = (perm & DMDIR) !== 0 ? L_O_RDONLY : L_O_WRONLY;
    return (await directory.client.request('Tcreate', { fid: fid.number, name, perm: perm >>> 0, mode, extension }, options)).qid;
  } finally {
    await fid.clunk();
  }
}

async function rename(fid: Fid, directory: Fid, name: string, options: RequestOptions | undefined): Promise<void> {
  const stat = { ...untouched(), name };
  try {
    await fid.client.request('Twstat', { fid: fid.number, stat }, options);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    // Plan 9 does not replace what has the name (stat(5)); rename(2) does. There is a moment without either.
    await removeByName(directory, name, fid.isDirectory ? AT_REMOVEDIR : 0, options);
    await fid.client.request('Twstat', { fid: fid.number, stat }, options);
  }
}

/** The Twstat for a change; undefined if nothing of it can be seen in these dialects. */
async function changes(fid: Fid, change: AttributeChange, options: RequestOptions | undefined): Promise<LegacyStat | undefined> {
  const { mode, uid, gid, size, atime, mtime } = change;
  const stat = untouched();
  let changed = false;
  if (uid !== undefined || gid !== undefined) {
    if (!isExtended(fid)) return unsupported(fid, 'Twstat');
    stat.nUid = uid ?? stat.nUid;
    stat.nGid = gid ?? stat.nGid;
    changed = true;
  }
  if (mode !== undefined) {
    stat.mode = changedMode((await statOf(fid, options)).mode, mode, isExtended(fid));
    changed = true;
  }
  if (size !== undefined) {
    stat.length = size;
    changed = true;
  }
  if (atime !== undefined) {
    stat.atime = seconds(atime);
    changed = true;
  }
  if (mtime !== undefined) {
    stat.mtime = seconds(mtime);
    changed = true;
  }
  return changed ? stat : undefined;
}

/** Whole seconds since 1970 in 32 bits are all there is; all ones would mean "leave it". */
function seconds(time: NonNullable<AttributeChange['atime']>): number {
  const sec = time === 'now' ? Math.floor(Date.now() / 1000) : time.sec;
  return Math.min(Math.max(sec, 0), 0xfffffffe);
}
