import {
  AT_REMOVEDIR,
  GETATTR_MODE,
  L_O_ACCMODE,
  L_O_DIRECT,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  QTSYMLINK,
  S_IFDIR,
  S_IFMT,
  SETATTR_ATIME,
  SETATTR_ATIME_SET,
  SETATTR_CTIME,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_SET,
  SETATTR_SIZE,
  SETATTR_UID,
} from '../protocol/constants.js';
import { decodeEntries } from '../protocol/directory.js';
import type { SetAttributes } from '../protocol/types.js';
import { withLate } from '../session/call.js';
import type { Fid } from './fid.js';
import type { AttributeChange, RequestOptions, Verbs } from './verbs.js';

/** The requests of 9P2000.L as they are, and a way round for what an old server of that dialect lacks. */
export const linux: Verbs = {
  async open(fid, flags, options) {
    // QEMU opens a directory for writing (interop: open.directory-write), and what its mapped models keep as a link (open.symlink).
    if (fid.isDirectory && (flags & L_O_ACCMODE) !== 0) throw fid.client.error('EISDIR', 'Tlopen', fid.path);
    if ((fid.qid.type & QTSYMLINK) !== 0) throw fid.client.error('ELOOP', 'Tlopen', fid.path);
    // How the server caches is its own business, and diod refuses O_DIRECT (interop: open.direct).
    return fid.client.request('Tlopen', { fid: fid.number, flags: flags & ~L_O_DIRECT }, options);
  },

  create: (fid, name, flags, mode, gid, options) =>
    fid.client.request('Tlcreate', { fid: fid.number, name, flags: flags & ~L_O_DIRECT, mode, gid }, options),

  getattr: (fid, requestMask, options) => fid.client.request('Tgetattr', { fid: fid.number, requestMask }, options),

  // What needs no more than one message has left before this returns: who keeps order sends what depends on it right behind (fuse/ordered.ts).
  setattr(fid, change, options) {
    const { mode } = change;
    if (mode === undefined || (mode & S_IFMT) !== 0) return setWhole(fid, change, options);
    if (fid.isDirectory) return setWhole(fid, { ...change, mode: S_IFDIR | mode }, options);
    return linux
      .getattr(fid, GETATTR_MODE, options)
      .then((found) => setWhole(fid, { ...change, mode: (found.mode & S_IFMT) | mode }, options));
  },

  async readdir(fid, offset, count, options) {
    const { data } = await fid.client.request('Treaddir', { fid: fid.number, offset, count }, options);
    return decodeEntries(data);
  },

  statfs: (fid, options) => fid.client.request('Tstatfs', { fid: fid.number }, options),

  async readlink(fid, options) {
    return (await fid.client.request('Treadlink', { fid: fid.number }, options)).target;
  },

  async symlink(fid, name, symtgt, gid, options) {
    // QEMU's mapped models make a link to nothing (interop: symlink.empty); symlink(2) does not.
    if (symtgt === '') throw fid.client.error('ENOENT', 'Tsymlink', `${fid.path}/${name}`);
    return (await fid.client.request('Tsymlink', { dfid: fid.number, name, symtgt, gid }, options)).qid;
  },

  async mknod(fid, name, mode, major, minor, gid, options) {
    return (await fid.client.request('Tmknod', { dfid: fid.number, name, mode, major, minor, gid }, options)).qid;
  },

  async mkdir(fid, name, mode, gid, options) {
    return (await fid.client.request('Tmkdir', { dfid: fid.number, name, mode, gid }, options)).qid;
  },

  async link(directory, name, target, options) {
    await directory.client.request('Tlink', { dfid: directory.number, fid: target.number, name }, options);
  },

  async rename(fid, directory, name, options, onRenamed) {
    await fid.client.request('Trename', { fid: fid.number, dfid: directory.number, name }, withLate(options, ifDone(onRenamed)));
  },

  async renameat(from, oldname, to, newname, options, onRenamed) {
    const { lacking } = from.client;
    if (!lacking.has('Trenameat')) {
      try {
        const body = { olddirfid: from.number, oldname, newdirfid: to.number, newname };
        await from.client.request('Trenameat', body, withLate(options, ifDone(onRenamed)));
        return;
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        lacking.add('Trenameat');
      }
    }
    // diod 1.0.24 has no Trenameat (interop: renameat.file) and renames through a walked fid only, not through the one that Tlcreate made.
    const fid = await from.walk([oldname], options);
    try {
      await linux.rename(fid, to, newname, options, onRenamed);
    } finally {
      await fid.clunk();
    }
  },

  async unlinkat(directory, name, flags, options) {
    const { lacking } = directory.client;
    if (!lacking.has('Tunlinkat')) {
      try {
        await directory.client.request('Tunlinkat', { dirfd: directory.number, name, flags }, options);
        return;
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        lacking.add('Tunlinkat');
      }
    }
    // diod 1.0.24 has no Tunlinkat (interop: unlinkat.file).
    await removeByName(directory, name, flags, options);
  },

  async fsync(fid, datasync, options) {
    await fid.client.request('Tfsync', { fid: fid.number, datasync: datasync ? 1 : 0 }, options);
  },

  lock: (fid, range, flags, options, onGivenUp) =>
    new Promise((resolve, reject) => {
      let decide: ((granted: boolean) => void) | undefined;
      fid.client.call(
        'Tlock',
        { fid: fid.number, flags, ...range },
        (error, reply) => {
          if (reply !== undefined) {
            resolve(reply.status);
            return;
          }
          const granted = new Promise<boolean>((settle) => {
            decide = settle;
          });
          onGivenUp?.(granted);
          reject(error);
        },
        {
          ...options,
          late: (_error, reply) => decide?.(reply?.status === LOCK_SUCCESS),
          endless: (flags & LOCK_FLAGS_BLOCK) !== 0,
        },
      );
    }),

  getlock: (fid, range, options) => fid.client.request('Tgetlock', { fid: fid.number, ...range }, options),

  async xattrwalk(fid, name, options) {
    const value = fid.client.newFid(fid.qid, fid.attachment, fid.place);
    value.transient = 'read';
    const { size } = await fid.client.requestNewFid(value, 'Txattrwalk', { fid: fid.number, newfid: value.number, name }, options);
    return { fid: value, size };
  },

  async xattrcreate(fid, name, attrSize, flags, options) {
    await fid.client.request('Txattrcreate', { fid: fid.number, name, attrSize, flags }, options);
  },
};

/**
 * Sets what is to change, of which the mode has the kind of file in it, as Linux's own client sends it: QEMU's mapped models keep the mode as
 * it comes, and the file would be of no kind any more (interop: setattr.mode).
 */
async function setWhole(fid: Fid, change: AttributeChange, options: RequestOptions | undefined): Promise<void> {
  const set = (part: AttributeChange): Promise<unknown> =>
    fid.client.request('Tsetattr', { fid: fid.number, ...setattrBody(part) }, options);
  const { size, atime, mtime, ...rest } = change;
  if (size === undefined || (atime === undefined && mtime === undefined)) {
    await set(change);
    return;
  }
  // QEMU sets the times before it cuts the file, which brings them up to date again (interop: setattr.several).
  await set({ ...rest, size });
  await set({ atime, mtime });
}

/** Tremove does not say whether it removes a file or a directory: unlink(2) and rmdir(2) do. */
export async function removeByName(directory: Fid, name: string, flags: number, options: RequestOptions | undefined): Promise<void> {
  const fid = await directory.walk([name], options);
  const isDirectory = fid.isDirectory;
  const wanted = (flags & AT_REMOVEDIR) !== 0;
  if (isDirectory !== wanted) {
    await fid.clunk();
    throw fid.client.error(wanted ? 'ENOTDIR' : 'EISDIR', wanted ? 'rmdir' : 'unlink', fid.path);
  }
  await fid.remove(options);
}

/** Calls back when the server has done it, also where it was given up meanwhile. */
function ifDone(done: () => void): (error: Error | undefined, reply: object | undefined) => void {
  return (_error, reply) => {
    if (reply !== undefined) done();
  };
}

function isUnsupported(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EOPNOTSUPP';
}

const epoch = { sec: 0, nsec: 0 };

/** The body of a Tsetattr but for its fid. */
export function setattrBody({ mode, uid, gid, size, atime, mtime, ctime }: AttributeChange): SetAttributes {
  let valid = 0;
  if (mode !== undefined) valid |= SETATTR_MODE;
  if (uid !== undefined) valid |= SETATTR_UID;
  if (gid !== undefined) valid |= SETATTR_GID;
  if (size !== undefined) valid |= SETATTR_SIZE;
  if (atime !== undefined) valid |= atime === 'now' ? SETATTR_ATIME : SETATTR_ATIME | SETATTR_ATIME_SET;
  if (mtime !== undefined) valid |= mtime === 'now' ? SETATTR_MTIME : SETATTR_MTIME | SETATTR_MTIME_SET;
  if (ctime) valid |= SETATTR_CTIME;
  return {
    valid,
    mode: mode ?? 0,
    uid: uid ?? 0,
    gid: gid ?? 0,
    size: size ?? 0,
    atime: atime === undefined || atime === 'now' ? epoch : atime,
    mtime: mtime === undefined || mtime === 'now' ? epoch : mtime,
  };
}
