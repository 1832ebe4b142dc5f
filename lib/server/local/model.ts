import type { Op } from '../../sys/op.js';
import type { Stat } from '../../sys/stat.js';
import type { LocalNode } from './node.js';
import type { SecurityModelName } from './options.js';
import type { Work } from './work.js';

/** "Leave it": an id that chown(2) does not change. */
export const NO_ID = 0xffffffff;

/** Whom and what a new file is to be for the client. The mode has its file type; a mapped model makes it what the default ACL leaves of it. */
export interface Owner {
  uid: number;
  gid: number;
  mode: number;
}

/**
 * A security model: how the client's view of owners, modes, special files, symlinks and ACLs is kept on the host. One object
 * serves an export. Every method is an operation on descriptors held already: `fd` of a node is O_PATH or open, `dirfd` is O_PATH. Names are single
 * components that are allowed; results are error numbers negated where a number is returned, and errors are thrown elsewhere.
 */
export interface SecurityModel {
  readonly name: SecurityModelName;
  /** Whether a file may look to the client like another kind of file than it is on the host. */
  readonly mapped: boolean;
  /** Whether a name is the model's own: hidden from directories and refused in every operation. */
  reserves(name: string): boolean;
  /** Lays the client's view over what the host told of `node`. */
  overlay(work: Work, node: LocalNode, fd: number, stat: Stat): Op<void>;
  /** Makes a regular file that must not exist and opens it. */
  create(work: Work, dir: LocalNode, dirfd: number, name: string, flags: number, owner: Owner): Op<number>;
  /**
   * As `create`, for what is in most directories as it is to be when the kernel has made it; undefined where it would not be. Whose it has to be in this one is asked, by
   * `inDirectory`, only if it is not. Leaves what the host tells of the file in `work.stat`.
   */
  createPlain?(
    work: Work,
    dir: LocalNode,
    dirfd: number,
    name: string,
    flags: number,
    wanted: Owner,
    inDirectory: () => Op<Owner>,
  ): Op<number> | undefined;
  mkdir(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner): Op<number>;
  symlink(work: Work, dir: LocalNode, dirfd: number, name: string, target: string, owner: Owner): Op<number>;
  mknod(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner, device: bigint): Op<number>;
  readlink(work: Work, node: LocalNode, fd: number): Op<string>;
  link(work: Work, node: LocalNode, fd: number, dirfd: number, name: string): Op<number>;
  /** `replaced`: the node of the name that may give way, if fids point to it; its attributes stay readable. */
  rename(work: Work, fromDirfd: number, from: string, toDirfd: number, to: string, replaced: LocalNode | undefined): Op<number>;
  /** `node`: the node of that name, if fids point to it; its attributes stay readable. */
  unlink(work: Work, dirfd: number, name: string, directory: boolean, node: LocalNode | undefined): Op<number>;
  /** NO_ID leaves an id; `keepMode`: a new mode is set after it, so setuid bits need no care. */
  chown(work: Work, node: LocalNode, fd: number, uid: number, gid: number, keepMode: boolean): Op<void>;
  /** `mode` is permission bits, setuid, setgid and sticky. */
  chmod(work: Work, node: LocalNode, fd: number, mode: number): Op<void>;
  /**
   * Takes setuid and setgid from a file that was written to, as from one that a user other than root wrote. `fd` is open for writing, or O_PATH.
   * False, with nothing done, where there is something to take and it goes with the file's name: then it is to be asked for again in the row of changes
   * of the directory (`Tree.beside`), with `inRow`.
   */
  disarm(work: Work, node: LocalNode, fd: number, inRow: boolean): Op<boolean>;
  getxattr(work: Work, node: LocalNode, fd: number, name: string): Op<Uint8Array>;
  listxattr(work: Work, node: LocalNode, fd: number): Op<string[]>;
  setxattr(work: Work, node: LocalNode, fd: number, name: string, value: Uint8Array, flags: number): Op<void>;
  removexattr(work: Work, node: LocalNode, fd: number, name: string): Op<void>;
}

/** The mode of a regular file after a write by somebody who is not root, or the same mode if nothing is to be taken from it. */
export function disarmed(mode: number): number {
  const kept = mode & ~0o4000;
  return (kept & 0o2010) === 0o2010 ? kept & ~0o2000 : kept;
}
