import {
  DESCRIPTOR_XATTR,
  NOFID,
  ORDERED_CREATES,
  ORDERED_XATTR,
  WATCH_XATTR,
  XATTR_CREATE,
  XATTR_REPLACE,
  XATTR_SIZE_MAX,
} from '../../protocol/constants.js';
import { encodeText, textBytes } from '../../protocol/text.js';
import type { Connection } from '../connection.js';
import { lending } from '../descriptors.js';
import { failure, isPending } from '../errors.js';
import { Fid, type Xattr } from '../fids.js';
import { checkTarget } from '../names.js';
import type { Request } from '../request.js';
import { demandWritable, empty, type Handler } from './handler.js';

/** xattr(7): the longest name, in bytes. */
const XATTR_NAME_MAX = 255;

export const Txattrwalk: Handler<'Txattrwalk'> = (connection, request, { fid: number, newfid, name }) => {
  const { fids, workload } = connection;
  const fid = request.use(fids, number);
  if (name === DESCRIPTOR_XATTR && newfid === NOFID) return lend(connection, request, fid);
  if (name === WATCH_XATTR && newfid === NOFID) return watch(connection, request, fid);
  if (fid.xattr !== undefined || newfid === number) throw failure('EINVAL');
  if (name !== '') checkXattrName(name);
  fids.demandXattrRoom(0);
  fids.reserve(newfid);
  // Whatever goes wrong from here on, the number must become free again.
  const undo = (error: unknown): never => {
    fids.unreserve(newfid);
    throw error;
  };
  const done = (value: Uint8Array) => {
    fids.demandXattrRoom(value.length);
    fid.node.retain();
    const next = new Fid(newfid, fid.node, fid.attached);
    fids.setXattr(next, { writing: false, value });
    fids.put(next);
    return { size: value.length };
  };
  try {
    if (name === ORDERED_XATTR) {
      workload.keepOrder();
      return done(new Uint8Array(ORDERED_CREATES));
    }
    if (name !== '') {
      const value = fid.node.getxattr(name, request);
      return isPending(value) ? value.then(done).catch(undo) : done(value);
    }
    const names = fid.node.listxattr(request);
    return isPending(names) ? names.then((list) => done(joined(list))).catch(undo) : done(joined(names));
  } catch (error) {
    return undo(error);
  }
};

/** Has the reply take along the descriptor of an open fid. Whoever has one may do to the file what his own rights allow, so it is nothing for a read-only export. */
function lend({ passes }: Connection, request: Request, { file, attached }: Fid): { size: number } {
  if (!passes || attached.exported.readonly) throw failure('EOPNOTSUPP');
  if (file === undefined) return { size: 0 };
  const fd = lending(request.connection, () => file.lend?.());
  if (fd === undefined) throw failure('EOPNOTSUPP');
  request.descriptor = fd;
  return { size: 1 };
}

/** Has the reply take along the descriptor of a queue that tells what names appear in an open directory. */
function watch({ passes, watches }: Connection, request: Request, { file, attached }: Fid): { size: number } {
  if (!passes || file === undefined || attached.exported.readonly) throw failure('EOPNOTSUPP');
  const { number, descriptor } = watches.add(file);
  request.descriptor = descriptor;
  return { size: number };
}

/** As listxattr(2) gives them: each name with a NUL behind it. */
function joined(names: readonly string[]): Uint8Array {
  const list = new Uint8Array(names.reduce((sum, name) => sum + textBytes(name) + 1, 0));
  let at = 0;
  for (const name of names) at += encodeText(name, list, at) + 1;
  return list;
}

export const Txattrcreate: Handler<'Txattrcreate'> = ({ fids }, request, { fid: number, name, attrSize, flags }) => {
  const fid = request.use(fids, number);
  demandWritable(fid);
  if (fid.file !== undefined || fid.xattr !== undefined || fid.opening) throw failure('EINVAL');
  if (name === '') throw failure('EINVAL');
  checkXattrName(name);
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) throw failure('EINVAL');
  if (attrSize > XATTR_SIZE_MAX) throw failure('E2BIG');
  fids.demandXattrRoom(attrSize);
  fids.setXattr(fid, { writing: true, name, flags, value: new Uint8Array(attrSize), written: 0 });
  return empty;
};

function checkXattrName(name: string): void {
  checkTarget(name);
  if (textBytes(name) > XATTR_NAME_MAX) throw failure('ERANGE');
}

/** A Tread of an extended attribute. */
export function readXattr(xattr: Xattr, offset: number, count: number): { data: Uint8Array } {
  if (xattr.writing) throw failure('EBADF');
  return { data: xattr.value.subarray(offset, offset + count) };
}

/** A Twrite to an extended attribute: in order, and no more than Txattrcreate announced. */
export function writeXattr(xattr: Xattr, offset: number, data: Uint8Array): { count: number } {
  if (!xattr.writing) throw failure('EBADF');
  if (offset > xattr.written) throw failure('EINVAL');
  if (offset + data.length > xattr.value.length) throw failure('ENOSPC');
  xattr.value.set(data, offset);
  xattr.written = Math.max(xattr.written, offset + data.length);
  return { count: data.length };
}
