import type { Attributes, DirectoryEntry, FileSystemStatistics, LockRange, Qid, SetAttributes } from '../protocol/types.js';

/**
 * The export contract: what the server asks of whatever it serves. The server speaks 9P and keeps fids; a back-end knows
 * files. Every method may answer at once or with a promise; an answer at once costs nothing, so a back-end whose work
 * cannot block should not make promises.
 *
 * Errors are thrown (or rejected) with Node's shape; `errno` (negative, as Node has it) or `code` gives the Linux number that
 * Rlerror carries. Anything else becomes EIO.
 *
 * The server has checked every name before a back-end sees it: not empty, not ".", not "..", no "/", no NUL, at most 255 bytes.
 */
export type Awaitable<T> = T | Promise<T>;

/** Who attaches, as Tattach says. */
export interface Attachment {
  uname: string;
  aname: string;
  /** n_uname, or NONUNAME. */
  uid: number;
}

/** On whose behalf one request is done, and how long anybody wants its answer. */
export interface Caller {
  /** The n_uname of the fid's attach, or NONUNAME. */
  readonly uid: number;
  /** Names this connection: unique among the connections of this process. */
  readonly connection: string;
  /** Aborted by Tflush and by the end of the connection. */
  readonly signal: AbortSignal;
}

/** A tree that can be attached to. */
export interface Backend {
  /** The root of the tree. The node belongs to the caller, who releases it. */
  attach(attachment: Attachment): Awaitable<BackendNode>;
  /** Ends the back-end after the last node was released. Idempotent. */
  close(): Awaitable<void>;
}

/**
 * A file in the tree, as a fid points to it. One node may be shared by several fids: `retain` and `release` count. It goes on
 * pointing to its file when that, or a directory above it, is renamed.
 */
export interface BackendNode {
  /** Type and path never change; version may be refreshed by any method. */
  readonly qid: Qid;
  /** One more holder. */
  retain(): void;
  /** One holder less; the last one frees what the node holds. */
  release(): void;
  /**
   * The child of that name, with one holder: the caller. Undefined where there is none, for which ENOENT may be thrown as well: names that are
   * missing are asked for all the time, and an exception costs more than the look-up. ENOTDIR.
   */
  walk(name: string, caller: Caller): Awaitable<BackendNode | undefined>;
  /** The directory above, with one holder more; the root's parent is the root. Never leaves the export. */
  parent(caller: Caller): Awaitable<BackendNode>;
  /** At least the fields of `mask` that the back-end has. */
  getattr(mask: bigint, caller: Caller): Awaitable<Attributes>;
  setattr(change: SetAttributes, caller: Caller): Awaitable<void>;
  statfs(caller: Caller): Awaitable<FileSystemStatistics>;
  /** Opens the file or directory itself; `flags` are L_O_*. Symlinks and special files are refused. */
  open(flags: number, caller: Caller): Awaitable<BackendFile>;
  /**
   * Creates and opens a regular file. EEXIST with L_O_EXCL; without it an existing file is opened. `attributes`: what the file's getattr would tell of it now, where that is
   * known already.
   */
  create(
    name: string,
    flags: number,
    mode: number,
    gid: number,
    caller: Caller,
  ): Awaitable<{ node: BackendNode; file: BackendFile; attributes?: Attributes | undefined }>;
  mkdir(name: string, mode: number, gid: number, caller: Caller): Awaitable<Qid>;
  symlink(name: string, target: string, gid: number, caller: Caller): Awaitable<Qid>;
  mknod(name: string, mode: number, major: number, minor: number, gid: number, caller: Caller): Awaitable<Qid>;
  /** A new name in this directory for a node of the same back-end. */
  link(name: string, target: BackendNode, caller: Caller): Awaitable<void>;
  readlink(caller: Caller): Awaitable<string>;
  /**
   * Moves `oldName` of this directory to `newName` of `newParent`, replacing what is there as rename(2) does. `node`: ENOENT where the name is
   * not that node's when it comes to it.
   */
  rename(oldName: string, newParent: BackendNode, newName: string, caller: Caller, node?: BackendNode): Awaitable<void>;
  /** The name this node has in its parent now, for Trename and Tremove of a fid. Empty for the root. */
  name(): string;
  /** `flags`: AT_REMOVEDIR or 0. `node` as for `rename`. */
  unlink(name: string, flags: number, caller: Caller, node?: BackendNode): Awaitable<void>;
  /** The value; ENODATA where there is none, EOPNOTSUPP for a name that is not served. The buffer belongs to the caller. */
  getxattr(name: string, caller: Caller): Awaitable<Uint8Array>;
  /** The names, as listxattr(2) gives them but without the NULs. */
  listxattr(caller: Caller): Awaitable<string[]>;
  /** `flags`: XATTR_CREATE, XATTR_REPLACE or 0. */
  setxattr(name: string, value: Uint8Array, flags: number, caller: Caller): Awaitable<void>;
  removexattr(name: string, caller: Caller): Awaitable<void>;
}

/** An open file or directory. It belongs to one fid, which closes it. */
export interface BackendFile {
  /** What one read or write should move at most, in bytes; 0 leaves it to msize. */
  readonly iounit: number;
  /** True where `write` is done with its data when it returns, so that the server need not keep a copy for it. */
  readonly immediate?: boolean;
  /**
   * A second descriptor for an open file of the host's, the caller's own, through which its content can be read and written as through this; undefined where
   * there is none, or where that might take long.
   */
  lend?(): number | undefined;
  /**
   * Has an inotify(7) queue told of each name that appears in this open directory, before whoever made it hears that it is made. What the watch is known by there; undefined
   * where that is not told of all of them, or where names may be found by others than their own bytes.
   */
  watch?(queue: number): number | undefined;
  /** Reads into `buffer` (the server's) at `offset`; 0 at the end of the file. EISDIR on a directory. */
  read(buffer: Uint8Array, offset: number, caller: Caller): Awaitable<number>;
  /** Writes `data`, which stays valid until the answer; at the end of the file if opened with L_O_APPEND. */
  write(data: Uint8Array, offset: number, caller: Caller): Awaitable<number>;
  /**
   * Entries after the cookie `offset` (0n: from the start), in order; at least one unless the directory ends, and
   * about as many as `bytes` of Rreaddir hold (an entry is 24 bytes and its name). Includes "." and "..".
   */
  readdir(offset: bigint, bytes: number, caller: Caller): Awaitable<DirectoryEntry[]>;
  /**
   * As `readdir`, for a back-end that can do without objects: puts as many entries as fit into `buffer`, as Rreaddir has them, and
   * tells how many bytes that took. EINVAL where not even one fits.
   */
  readdirInto?(buffer: Uint8Array, offset: bigint, caller: Caller): Awaitable<number>;
  /** fstat(2) of what is open, which works after it was unlinked. */
  getattr(mask: bigint, caller: Caller): Awaitable<Attributes>;
  setattr(change: SetAttributes, caller: Caller): Awaitable<void>;
  fsync(datasync: boolean, caller: Caller): Awaitable<void>;
  /** LOCK_SUCCESS, LOCK_BLOCKED, LOCK_ERROR or LOCK_GRACE. With LOCK_FLAGS_BLOCK it may wait, until the caller's signal aborts. */
  lock(range: LockRange, flags: number, caller: Caller): Awaitable<number>;
  /** The first lock that stands in the way of `range`, or `range` itself with type LOCK_TYPE_UNLCK. */
  getlock(range: LockRange, caller: Caller): Awaitable<LockRange>;
  close(): Awaitable<void>;
}
