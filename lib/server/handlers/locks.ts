import {
  L_O_ACCMODE,
  L_O_RDONLY,
  L_O_WRONLY,
  LOCK_FLAGS_BLOCK,
  LOCK_FLAGS_RECLAIM,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../../protocol/constants.js';
import { failure, isPending } from '../errors.js';
import { checkWho } from '../names.js';
import type { Handler } from './handler.js';

export const Tlock: Handler<'Tlock'> = (connection, request, { fid: number, flags, ...range }) => {
  const fid = request.use(connection.fids, number);
  const access = fid.flags & L_O_ACCMODE;
  const { file } = fid;
  // As fcntl(2): to lock for reading one must be able to read, and so for writing.
  if (file === undefined) throw failure('EBADF');
  if (range.type === LOCK_TYPE_RDLCK && access === L_O_WRONLY) throw failure('EBADF');
  // A whole-file lock of a read-only descriptor is how Linux sends flock(2)'s LOCK_EX, which asks for no write access.
  const whole = range.start === 0 && range.length === 0;
  if (range.type === LOCK_TYPE_WRLCK && access === L_O_RDONLY && !whole) throw failure('EBADF');
  if (range.type > LOCK_TYPE_UNLCK || (flags & ~(LOCK_FLAGS_BLOCK | LOCK_FLAGS_RECLAIM)) !== 0) throw failure('EINVAL');
  if (!Number.isSafeInteger(range.start + range.length)) throw failure('EOVERFLOW');
  checkWho(range.clientId);
  const mayWait = (flags & LOCK_FLAGS_BLOCK) !== 0 && connection.workload.lockWaits < connection.context.limits.maxLockWaits;
  const status = file.lock(range, mayWait ? flags : flags & ~LOCK_FLAGS_BLOCK, request);
  if (!isPending(status)) return { status };
  request.waits = mayWait;
  return status.then((later) => ({ status: later }));
};

export const Tgetlock: Handler<'Tgetlock'> = ({ fids }, request, { fid: number, ...range }) => {
  const { file } = request.use(fids, number);
  if (file === undefined) throw failure('EBADF');
  if (range.type > LOCK_TYPE_UNLCK) throw failure('EINVAL');
  if (!Number.isSafeInteger(range.start + range.length)) throw failure('EOVERFLOW');
  return file.getlock(range, request);
};
