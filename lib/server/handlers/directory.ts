import { AT_REMOVEDIR, GETATTR_ALL, L_O_WRONLY, S_IFDIR, S_IFLNK, S_IFMT } from '../../protocol/constants.js';
import { encodeEntries } from '../../protocol/directory.js';
import { errnoOf } from '../../protocol/error.js';
import { type EntryPlus, encodeEntriesPlus, entryPlusBytes, untold, type Wanted, wantedOf } from '../../protocol/plus.js';
import type { DirectoryEntry } from '../../protocol/types.js';
import type { Awaitable, BackendFile, BackendNode } from '../backend.js';
import { failure, isPending } from '../errors.js';
import type { Fid } from '../fids.js';
import { checkMovedName, checkNewName, checkRemovedName, checkTarget } from '../names.js';
import type { Request } from '../request.js';
import { demandSameExport, demandWritable, empty, type Handler, nothing } from './handler.js';

const ENOENT = 2;

/** A directory in which something is to be made, moved or removed. */
function directory(fid: Fid): Fid {
  demandWritable(fid);
  if (fid.xattr !== undefined) throw failure('EINVAL');
  if (!fid.isDirectory) throw failure('ENOTDIR');
  return fid;
}

export const Treaddir: Handler<'Treaddir'> = (connection, request, { fid: number, offset, count }) => {
  const fid = request.use(connection.fids, number);
  const { file } = fid;
  if (file === undefined || (fid.flags & L_O_WRONLY) !== 0) throw failure('EBADF');
  if (!fid.isDirectory) throw failure('ENOTDIR');
  const wanted = connection.workload.keepsOrder ? wantedOf(count) : undefined;
  if (wanted?.plus) return readdirPlus(fid, file, offset, wanted, connection.maxPayload, request);
  const room = Math.min(count, connection.maxPayload);
  if (file.readdirInto !== undefined) {
    const target = connection.answers.lend(request, room);
    const length = file.readdirInto(target, offset, request);
    return isPending(length) ? length.then((later) => ({ data: target.subarray(0, later) })) : { data: target.subarray(0, length) };
  }
  const entries = file.readdir(offset, room, request);
  return isPending(entries) ? entries.then((later) => packed(later, room)) : packed(entries, room);
};

/** Entries and their attributes, as many as fit; those that can only be had later are left to the client. */
function readdirPlus(
  fid: Fid,
  file: BackendFile,
  offset: bigint,
  { count, bare }: Wanted,
  maxPayload: number,
  request: Request,
): Awaitable<{ data: Uint8Array }> {
  const room = Math.min(count, maxPayload);
  const entries = file.readdir(offset, Math.floor(room / PLUS_RATIO), request);
  const done = (list: readonly DirectoryEntry[]) => {
    const plus: EntryPlus[] = [];
    let left = room;
    let late = 0;
    for (const entry of list) {
      left -= entryPlusBytes(entry.name);
      if (left < 0) break;
      const told = late < MOST_LATE ? plusOf(fid.node, entry, bare, request) : untold(entry);
      if (told === undefined) late++;
      plus.push(told ?? untold(entry));
    }
    if (plus.length === 0 && list.length > 0) throw failure('EINVAL');
    return { data: encodeEntriesPlus(plus) };
  };
  return isPending(entries) ? entries.then(done) : done(entries);
}

/** Entries of that many bytes less are read than there is room for: their attributes take the rest. */
const PLUS_RATIO = 5;

/**
 * Attributes of one listing that are asked for and turn out to be had later only: a mount point or two. Nobody waits for their answers, so of
 * a directory in which they are the rule no more are asked for.
 */
const MOST_LATE = 4;

/** Undefined where that can only be had later. */
function plusOf(directory: BackendNode, entry: DirectoryEntry, bare: boolean, request: Request): EntryPlus | undefined {
  const unknown = untold(entry);
  const { name } = entry;
  if (name === '.' || name === '..') return unknown;
  try {
    const node = directory.walk(name, request);
    if (isPending(node)) {
      node.then((late) => late?.release()).catch(() => {});
      return undefined;
    }
    if (node === undefined) return unknown;
    try {
      const attributes = node.getattr(GETATTR_ALL, request);
      if (!isPending(attributes)) return { entry, attributes, bare: bare && isBare(node, request) };
      attributes.catch(() => {});
      return undefined;
    } finally {
      node.release();
    }
  } catch {
    return unknown;
  }
}

/** Whether a file has no extended attribute. Where that cannot be told at once it may have some. */
function isBare(node: BackendNode, request: Request): boolean {
  try {
    const names = node.listxattr(request);
    if (!isPending(names)) return names.length === 0;
    names.catch(() => {});
  } catch {
    // It has none to tell of, which whoever asks for one hears by another error.
  }
  return false;
}

function packed(entries: readonly DirectoryEntry[], room: number): { data: Uint8Array } {
  const data = encodeEntries(entries, room);
  // Nothing at all would mean the end of the directory; getdents(2) answers EINVAL to a buffer that no entry fits into.
  if (data.length === 0 && entries.length > 0) throw failure('EINVAL');
  return { data };
}

export const Tmkdir: Handler<'Tmkdir'> = ({ fids }, request, { dfid, name, mode, gid }) => {
  checkNewName(name);
  const { node } = directory(request.use(fids, dfid));
  const qid = node.mkdir(name, mode & 0o7777, gid, request);
  return isPending(qid) ? qid.then((later) => ({ qid: later })) : { qid };
};

export const Tsymlink: Handler<'Tsymlink'> = ({ fids }, request, { dfid, name, symtgt, gid }) => {
  checkNewName(name);
  checkTarget(symtgt);
  const { node } = directory(request.use(fids, dfid));
  const qid = node.symlink(name, symtgt, gid, request);
  return isPending(qid) ? qid.then((later) => ({ qid: later })) : { qid };
};

export const Tmknod: Handler<'Tmknod'> = ({ fids }, request, { dfid, name, mode, major, minor, gid }) => {
  checkNewName(name);
  const { node } = directory(request.use(fids, dfid));
  const type = mode & S_IFMT;
  // mknod(2): EPERM for a directory; a symlink has no target here.
  if (type === S_IFDIR) throw failure('EPERM');
  if (type === S_IFLNK) throw failure('EINVAL');
  const qid = node.mknod(name, mode, major, minor, gid, request);
  return isPending(qid) ? qid.then((later) => ({ qid: later })) : { qid };
};

export const Tlink: Handler<'Tlink'> = ({ fids }, request, { dfid, fid: number, name }) => {
  checkNewName(name);
  const fid = request.use(fids, number);
  const into = directory(request.use(fids, dfid));
  demandSameExport(fid, into);
  if (fid.isDirectory) throw failure('EPERM');
  const done = into.node.link(name, fid.node, request);
  return isPending(done) ? done.then(nothing) : empty;
};

export const Trenameat: Handler<'Trenameat'> = ({ fids }, request, { olddirfid, oldname, newdirfid, newname }) => {
  checkMovedName(oldname);
  checkMovedName(newname);
  const from = directory(request.use(fids, olddirfid));
  const to = directory(request.use(fids, newdirfid));
  demandSameExport(from, to);
  const done = from.node.rename(oldname, to.node, newname, request);
  return isPending(done) ? done.then(nothing) : empty;
};

export const Trename: Handler<'Trename'> = ({ fids }, request, { fid: number, dfid, name }) => {
  checkMovedName(name);
  const fid = request.use(fids, number);
  const to = directory(request.use(fids, dfid));
  demandSameExport(fid, to);
  const done = inParent(fid.node, request, (parent, oldName) => parent.rename(oldName, to.node, name, request, fid.node));
  return isPending(done) ? done.then(nothing) : empty;
};

export const Tunlinkat: Handler<'Tunlinkat'> = ({ fids }, request, { dirfd, name, flags }) => {
  if ((flags & ~AT_REMOVEDIR) !== 0) throw failure('EINVAL');
  checkRemovedName(name, flags !== 0);
  const { node } = directory(request.use(fids, dirfd));
  const done = node.unlink(name, flags, request);
  return isPending(done) ? done.then(nothing) : empty;
};

/** Removes the file and, whether or not that works, the fid (remove(5)). */
export const Tremove: Handler<'Tremove'> = (connection, request, { fid: number }) => {
  const fid = connection.fids.take(number);
  request.uid = fid.attached.uid;
  if (fid.busy) connection.workload.abortWaits(fid);
  const end = () => {
    const ending = fid.retire();
    return isPending(ending) ? ending : undefined;
  };
  try {
    demandWritable(fid);
    if (fid.xattr !== undefined) throw failure('EINVAL');
    const flags = fid.isDirectory ? AT_REMOVEDIR : 0;
    const done = inParent(fid.node, request, (parent, name) => parent.unlink(name, flags, request, fid.node));
    if (isPending(done)) return done.finally(end).then(nothing);
  } catch (error) {
    const ending = end();
    if (ending === undefined) throw error;
    return ending.then(() => {
      throw error;
    });
  }
  const ending = end();
  return ending === undefined ? empty : ending.then(nothing);
};

/**
 * Does something to a node by the name it has in its directory now, and again where it has got another before its turn came. The root has none:
 * EBUSY, as rename(2) and rmdir(2) answer.
 */
function inParent(node: BackendNode, request: Request, act: (parent: BackendNode, name: string) => Awaitable<void>): Awaitable<void> {
  if (node.name() === '') throw failure('EBUSY');
  const parent = node.parent(request);
  if (isPending(parent)) return parent.then((later) => actIn(later));
  return actIn(parent);

  function actIn(above: BackendNode): Awaitable<void> {
    let done: Awaitable<void>;
    const name = node.name();
    try {
      done = act(above, name);
    } catch (error) {
      above.release();
      throw error;
    }
    if (isPending(done)) return done.catch((error: unknown) => again(error, above, name)).finally(() => above.release());
    above.release();
    return undefined;
  }

  async function again(error: unknown, above: BackendNode, name: string): Promise<void> {
    if (errnoOf(error) !== ENOENT) throw error;
    const now = await node.parent(request);
    try {
      if (now.qid === above.qid && node.name() === name) throw error;
    } finally {
      now.release();
    }
    return inParent(node, request, act);
  }
}
