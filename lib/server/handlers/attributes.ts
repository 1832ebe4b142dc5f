import { L_O_ACCMODE, L_O_RDONLY, SETATTR_SIZE } from '../../protocol/constants.js';
import { failure, isPending } from '../errors.js';
import { demandWritable, empty, type Handler, nothing } from './handler.js';

/** Every bit Tsetattr has. */
const KNOWN = 0x1ff;

export const Tgetattr: Handler<'Tgetattr'> = ({ fids }, request, body) => {
  // Sent behind a Twalk without waiting, it finds no fid wherever that found no name.
  const fid = request.find(fids, body.fid);
  if (fid === undefined) return failure('EBADF');
  return (fid.file ?? fid.node).getattr(body.requestMask, request);
};

export const Tsetattr: Handler<'Tsetattr'> = ({ fids }, request, change) => {
  const fid = request.use(fids, change.fid);
  demandWritable(fid);
  if ((change.valid & ~KNOWN) !== 0 || change.atime.nsec > 999_999_999 || change.mtime.nsec > 999_999_999) throw failure('EINVAL');
  if ((change.valid & SETATTR_SIZE) !== 0 && fid.isDirectory) throw failure('EISDIR');
  // A file opened for reading cannot be truncated through its descriptor, but by its name it can.
  const byName = fid.file === undefined || ((change.valid & SETATTR_SIZE) !== 0 && (fid.flags & L_O_ACCMODE) === L_O_RDONLY);
  const done = byName ? fid.node.setattr(change, request) : fid.file?.setattr(change, request);
  return isPending(done) ? done.then(nothing) : empty;
};

export const Tstatfs: Handler<'Tstatfs'> = ({ fids }, request, body) => request.use(fids, body.fid).node.statfs(request);

export const Treadlink: Handler<'Treadlink'> = ({ fids }, request, body) => {
  const { node } = request.use(fids, body.fid);
  if ((node.qid.type & 0x02) === 0) throw failure('EINVAL');
  const target = node.readlink(request);
  return isPending(target) ? target.then((text) => ({ target: text })) : { target };
};
