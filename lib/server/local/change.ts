import {
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  SETATTR_ATIME,
  SETATTR_ATIME_SET,
  SETATTR_CTIME,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_SET,
  SETATTR_SIZE,
  SETATTR_UID,
} from '../../protocol/constants.js';
import type { SetAttributes } from '../../protocol/types.js';
import { UTIME_NOW, UTIME_OMIT } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import { failure } from '../errors.js';
import { must } from './fail.js';
import { NO_ID } from './model.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

const OTHERS = SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_SIZE | SETATTR_ATIME | SETATTR_MTIME;

/**
 * Does what Tsetattr asks for, in an order in which one change does not undo another: the size (which moves times), the owner (which
 * takes setuid away), the mode, the times. `fd` is the node's O_PATH descriptor, or an open file's that may be `writable`.
 */
export function* applyChange(work: Work, node: LocalNode, fd: number, writable: boolean, change: SetAttributes): Op<void> {
  const { valid } = change;
  const { model } = node.tree;
  if ((valid & SETATTR_SIZE) !== 0) yield* resize(work, node, fd, writable, change.size);
  const mode = (valid & SETATTR_MODE) !== 0;
  if ((valid & (SETATTR_UID | SETATTR_GID)) !== 0) {
    const uid = (valid & SETATTR_UID) !== 0 ? change.uid : NO_ID;
    const gid = (valid & SETATTR_GID) !== 0 ? change.gid : NO_ID;
    yield* model.chown(work, node, fd, uid, gid, mode);
  } else if ((valid & SETATTR_CTIME) !== 0 && (valid & OTHERS) === 0) {
    yield* model.chown(work, node, fd, NO_ID, NO_ID, true);
  }
  if (mode) yield* model.chmod(work, node, fd, change.mode & 0o7777);
  if ((valid & (SETATTR_ATIME | SETATTR_MTIME)) !== 0) {
    const atime = nanoseconds(valid, SETATTR_ATIME, SETATTR_ATIME_SET, change.atime.nsec);
    const mtime = nanoseconds(valid, SETATTR_MTIME, SETATTR_MTIME_SET, change.mtime.nsec);
    must(yield* work.utimens(fd, change.atime.sec, atime, change.mtime.sec, mtime));
  }
}

function nanoseconds(valid: number, bit: number, setBit: number, nsec: number): number {
  if ((valid & bit) === 0) return UTIME_OMIT;
  if ((valid & setBit) === 0) return UTIME_NOW;
  // The two values above mean something else to utimensat(2) than to a client.
  if (nsec > 999_999_999) throw failure('EINVAL');
  return nsec;
}

function* resize(work: Work, node: LocalNode, fd: number, writable: boolean, size: number): Op<void> {
  const { model } = node.tree;
  if (node.kind === S_IFDIR) throw failure('EISDIR');
  if (node.kind !== S_IFREG) throw failure('EINVAL');
  if (model.mapped) {
    must(yield* work.statOf(fd));
    yield* model.overlay(work, node, fd, work.stat);
    if ((node.mode & S_IFMT) !== S_IFREG) throw failure('EINVAL');
  }
  must(writable ? yield* work.ftruncate(fd, size) : yield* work.truncate(fd, size));
  yield* model.disarm(work, node, fd, true);
}
