import type { Fid, RequestOptions } from '../client/index.js';
import { GETATTR_BASIC, S_IFMT, S_ISGID, S_ISUID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Bridge } from './bridge.js';
import { FATTR_GID, FATTR_MODE, FATTR_MTIME, FATTR_MTIME_NOW, FATTR_SIZE, FATTR_UID } from './kernel/constants.js';
import type { Body } from './kernel/opcodes.js';
import type { AttrReply } from './kernel/structs.js';
import type { Node } from './nodes.js';

const S_IXGRP = 0o010;

/** It leads nowhere, or to another file. */
function isGone(error: unknown): boolean {
  return error instanceof ErrnoError && (error.code === 'ESTALE' || error.code === 'ENOENT');
}

/**
 * A file whose last name is gone while somebody has it open, on a server whose fids are no more than paths (diod 1.0, QEMU before 10; interop: getattr.unlinked): reading and writing go on
 * there, but nobody can ask for its attributes any more. Only who has it open can see them, so what was last known of them, and
 * what is changed of them since, is kept here.
 */
export function isNameless(node: Node, error: unknown): boolean {
  return node.links.length === 0 && isGone(error);
}

/**
 * The same of an open file that has been renamed, and must be walked to: another client has taken its name since, which shows only so. Who reads goes on. Who
 * means it by that name looks again as soon as the kernel believes the name no longer.
 */
export function isReplaced(node: Node, error: unknown): boolean {
  return node.strayed && (node.handles?.size ?? 0) > 0 && isGone(error);
}

/**
 * Before a file without a name, or with one less, is changed by a fid that it had before: ESTALE or ENOENT where such a fid is no more than a path, by which another file would be
 * changed. QEMU looks at an open fid by its descriptor and changes it by its path (interop: setattr.truncate-unlinked), so only a clone, which
 * is not open, shows which it is.
 */
export async function assureItself(bridge: Bridge, node: Node, fid: Fid, options: RequestOptions): Promise<void> {
  const unopened = await fid.clone(options);
  try {
    bridge.attr(node, await unopened.getattr(GETATTR_BASIC, options), 0);
  } finally {
    bridge.tree.clunker.give(unopened);
  }
}

/** What is known of it. The kernel asks again next time: whoever writes makes it longer. */
export function namelessAttr(node: Node): AttrReply {
  const { ino, mode, uid, gid, sec, nsec } = node;
  const size = Math.max(node.size, node.written);
  const time = { sec, nsec };
  const nlink = node.isDirectory ? 0 : node.nlink;
  const blocks = Math.ceil(size / 512);
  return {
    attrValid: 0,
    attr: { ino, size, blocks, atime: time, mtime: time, ctime: time, mode, nlink, uid, gid, rdev: 0, blksize: 4096 },
  };
}

/** SETATTR. The size is the one thing that lies with the server: ESTALE. */
export function changeNameless(node: Node, { valid, mode, uid, gid, mtime }: Body<'setattr'>): AttrReply {
  if ((valid & FATTR_SIZE) !== 0) throw new ErrnoError('ESTALE', { syscall: 'Tsetattr' });
  if ((valid & (FATTR_UID | FATTR_GID)) !== 0 && !node.isDirectory) node.mode &= ~(S_ISUID | ((node.mode & S_IXGRP) !== 0 ? S_ISGID : 0));
  if ((valid & FATTR_MODE) !== 0) node.mode = (node.mode & S_IFMT) | (mode & 0o7777);
  if ((valid & FATTR_UID) !== 0) node.uid = uid;
  if ((valid & FATTR_GID) !== 0) node.gid = gid;
  if ((valid & FATTR_MTIME) !== 0) {
    const now = Date.now();
    const given = (valid & FATTR_MTIME_NOW) === 0;
    node.sec = given ? mtime.sec : Math.floor(now / 1000);
    node.nsec = given ? mtime.nsec : (now % 1000) * 1_000_000;
  }
  return namelessAttr(node);
}
