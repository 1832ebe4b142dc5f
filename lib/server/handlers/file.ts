import {
  L_O_ACCMODE,
  L_O_CREAT,
  L_O_DIRECT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_FASYNC,
  L_O_NOCTTY,
  L_O_RDONLY,
  L_O_TRUNC,
  L_O_WRONLY,
} from '../../protocol/constants.js';
import type { Qid } from '../../protocol/types.js';
import type { BackendFile } from '../backend.js';
import type { Connection } from '../connection.js';
import { failure, isPending } from '../errors.js';
import { Fid } from '../fids.js';
import { checkNewName } from '../names.js';
import { demandWritable, empty, type Handler, nothing } from './handler.js';
import { readXattr, writeXattr } from './xattr.js';

/** What the back-end need not see: how the client caches, and how it meant to create. */
export const STRIPPED = L_O_CREAT | L_O_EXCL | L_O_NOCTTY | L_O_DIRECT | L_O_FASYNC;

export const Tlopen: Handler<'Tlopen'> = (connection, request, body) => {
  const fid = request.use(connection.fids, body.fid);
  const flags = body.flags & ~STRIPPED;
  const access = flags & L_O_ACCMODE;
  if (access === L_O_ACCMODE) throw failure('EINVAL');
  // Opening an open fid again would leave its first descriptor with nobody (CVE-2017-7377).
  demandUnopened(fid);
  const changes = access !== L_O_RDONLY || (flags & L_O_TRUNC) !== 0;
  if (changes && fid.isDirectory) throw failure('EISDIR');
  if (changes) demandWritable(fid);
  if ((flags & L_O_DIRECTORY) !== 0 && !fid.isDirectory) throw failure('ENOTDIR');
  if ((fid.node.qid.type & 0x02) !== 0) throw failure('ELOOP');
  const file = fid.node.open(flags, request);
  if (!isPending(file)) return opened(connection, fid, file, flags);
  fid.opening = true;
  return file
    .finally(() => {
      fid.opening = false;
    })
    .then((later) => opened(connection, fid, later, flags));
};

function demandUnopened(fid: Fid): void {
  if (fid.file !== undefined || fid.xattr !== undefined || fid.opening) throw failure('EINVAL');
}

export function opened(connection: Connection, fid: Fid, file: BackendFile, flags: number): { qid: Qid; iounit: number } {
  fid.file = file;
  fid.flags = flags;
  return { qid: fid.node.qid, iounit: iounitOf(connection, file) };
}

function iounitOf({ maxPayload }: Connection, { iounit }: BackendFile): number {
  return iounit === 0 ? maxPayload : Math.min(iounit, maxPayload);
}

/** Refuses what can be no new open file of that name in a directory. */
export function demandCreatable(directory: Fid, name: string, flags: number): void {
  demandWritable(directory);
  checkNewName(name);
  if (!directory.isDirectory) throw failure('ENOTDIR');
  if ((flags & L_O_ACCMODE) === L_O_ACCMODE || (flags & L_O_DIRECTORY) !== 0) throw failure('EINVAL');
}

export const Tlcreate: Handler<'Tlcreate'> = (connection, request, { fid: number, name, flags, mode, gid }) => {
  const { fids } = connection;
  const fid = request.use(fids, number);
  demandUnopened(fid);
  demandCreatable(fid, name, flags);
  const wanted = (flags & ~STRIPPED) | (flags & L_O_EXCL);
  const created = fid.node.create(name, wanted, mode & 0o7777, gid, request);
  // The fid is the new file's from here on. It is a fid of its own, so that what others began on the directory ends there.
  const done = ({ node, file }: Awaited<typeof created>) => {
    const next = new Fid(number, node, fid.attached);
    const answer = opened(connection, next, file, wanted);
    fids.put(next);
    return answer;
  };
  if (!isPending(created)) return done(created);
  fid.opening = true;
  return created
    .finally(() => {
      fid.opening = false;
    })
    .then((later) => {
      // Clunked while it was made: nobody has the number any more.
      if (fids.find(number) === fid) return done(later);
      const orphan = new Fid(number, later.node, fid.attached);
      orphan.file = later.file;
      return Promise.resolve(orphan.retire()).then(() => {
        throw failure('EBADF');
      });
    });
};

/** The file of a fid that is open for reading (or, with the other flag, for writing). */
function openFile(fid: Fid, refused: number): BackendFile {
  const { file } = fid;
  if (file === undefined || (fid.flags & L_O_ACCMODE) === refused) throw failure('EBADF');
  return file;
}

export const Tread: Handler<'Tread'> = (connection, request, { fid: number, offset, count }) => {
  const fid = request.use(connection.fids, number);
  if (fid.xattr !== undefined) return readXattr(fid.xattr, offset, Math.min(count, connection.maxPayload));
  const file = openFile(fid, L_O_WRONLY);
  if (fid.isDirectory) throw failure('EISDIR');
  const target = connection.answers.lend(request, Math.min(count, connection.maxPayload));
  if (target.length === 0) return { data: target };
  const read = file.read(target, offset, request);
  if (isPending(read)) return read.then((length) => ({ data: part(target, length) }));
  return { data: part(target, read) };
};

function part(buffer: Uint8Array, length: number): Uint8Array {
  // More than was asked for would send what an earlier request left in the buffer.
  if (!(length >= 0 && length <= buffer.length)) throw failure('EIO');
  return length === buffer.length ? buffer : buffer.subarray(0, length);
}

export const Twrite: Handler<'Twrite'> = (connection, request, { fid: number, offset, data }) => {
  const fid = request.use(connection.fids, number);
  if (fid.xattr !== undefined) return writeXattr(fid.xattr, offset, data);
  const file = openFile(fid, L_O_RDONLY);
  if (data.length === 0) return { count: 0 };
  if (!Number.isSafeInteger(offset + data.length)) throw failure('EFBIG');
  const written = file.write(file.immediate === true ? data : connection.answers.keep(request, data), offset, request);
  if (isPending(written)) return written.then((count) => ({ count }));
  return { count: written };
};

export const Tfsync: Handler<'Tfsync'> = ({ fids }, request, body) => {
  const { file } = request.use(fids, body.fid);
  if (file === undefined) throw failure('EBADF');
  const done = file.fsync(body.datasync !== 0, request);
  return isPending(done) ? done.then(nothing) : empty;
};
