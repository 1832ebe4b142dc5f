import type { Attributes, DirectoryEntry, FileSystemStatistics, LockRange, Qid, SetAttributes } from '../protocol/types.js';
import type { Fid } from './fid.js';

/** What every request takes besides its own arguments. */
export interface RequestOptions {
  /** Gives the request up: AbortError at once, Tflush to the server. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds before the request is given up with ETIMEDOUT; 0: never. Default: the client's. The time that it waits for its turn while answers to others
   * keep coming does not count.
   */
  timeout?: number | undefined;
}

/** What Rlopen and Rlcreate tell. */
export interface Opened {
  qid: Qid;
  /** Bytes that one read or write moves at most without being split by the server; 0: as many as msize allows. */
  iounit: number;
}

/** What is to be changed by Tsetattr; what is missing stays as it is. `'now'` is the server's own clock. */
export interface AttributeChange {
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  /** Bytes. */
  size?: number | undefined;
  atime?: SetAttributes['atime'] | 'now' | undefined;
  mtime?: SetAttributes['mtime'] | 'now' | undefined;
  /** Only bring ctime up to date. */
  ctime?: boolean | undefined;
}

/**
 * The requests that differ between the dialects, in the terms of 9P2000.L. What a dialect cannot do rejects with EOPNOTSUPP.
 * Each function does one request, or the few that stand for it.
 */
export interface Verbs {
  open(fid: Fid, flags: number, options?: RequestOptions): Promise<Opened>;
  create(fid: Fid, name: string, flags: number, mode: number, gid: number, options?: RequestOptions): Promise<Opened>;
  getattr(fid: Fid, mask: bigint, options?: RequestOptions): Promise<Attributes>;
  setattr(fid: Fid, change: AttributeChange, options?: RequestOptions): Promise<void>;
  readdir(fid: Fid, offset: bigint, count: number, options?: RequestOptions): Promise<DirectoryEntry[]>;
  statfs(fid: Fid, options?: RequestOptions): Promise<FileSystemStatistics>;
  readlink(fid: Fid, options?: RequestOptions): Promise<string>;
  symlink(fid: Fid, name: string, target: string, gid: number, options?: RequestOptions): Promise<Qid>;
  mknod(fid: Fid, name: string, mode: number, major: number, minor: number, gid: number, options?: RequestOptions): Promise<Qid>;
  mkdir(fid: Fid, name: string, mode: number, gid: number, options?: RequestOptions): Promise<Qid>;
  link(directory: Fid, name: string, target: Fid, options?: RequestOptions): Promise<void>;
  /**
   * `onRenamed` is called at the reply and not later, whatever else there is to do, and where the request was given up meanwhile: if the connection is lost, what has
   * moved is looked for by the names it has now.
   */
  rename(fid: Fid, directory: Fid, name: string, options: RequestOptions | undefined, onRenamed: () => void): Promise<void>;
  /** As `rename`. */
  renameat(from: Fid, oldName: string, to: Fid, newName: string, options: RequestOptions | undefined, onRenamed: () => void): Promise<void>;
  unlinkat(directory: Fid, name: string, flags: number, options?: RequestOptions): Promise<void>;
  fsync(fid: Fid, datasync: boolean, options?: RequestOptions): Promise<void>;
  /** `onGivenUp` is told at once where it ends without an answer, and later whether the server has granted it all the same. */
  lock(
    fid: Fid,
    range: LockRange,
    flags: number,
    options?: RequestOptions,
    onGivenUp?: (granted: Promise<boolean>) => void,
  ): Promise<number>;
  getlock(fid: Fid, range: LockRange, options?: RequestOptions): Promise<LockRange>;
  /** A new fid that reads the value (or, for the name "", the list of names), and its size in bytes. */
  xattrwalk(fid: Fid, name: string, options?: RequestOptions): Promise<{ fid: Fid; size: number }>;
  /** Turns `fid` into one that takes a value of `size` bytes; the value is set when it is clunked. */
  xattrcreate(fid: Fid, name: string, size: number, flags: number, options?: RequestOptions): Promise<void>;
  /** Where the file ends, for the write of a fid opened to append in a dialect that cannot say so; else undefined. */
  end?(fid: Fid, options?: RequestOptions): Promise<number | undefined>;
}
