import { AT_REMOVEDIR, DT_DIR, GETATTR_BASIC, L_O_APPEND, QTDIR } from '../protocol/constants.js';
import { ProtocolError } from '../protocol/error.js';
import type { Attributes, DirectoryEntry, FileSystemStatistics, LockRange, Qid } from '../protocol/types.js';
import { besideOthers } from './appending.js';
import type { Attachment, Client } from './client.js';
import { Cookies } from './cookies.js';
import { LockBook } from './lockbook.js';
import { lockThrough } from './locking.js';
import type { Place } from './place.js';
import { renameFid, renameThrough } from './renaming.js';
import { readSplit, writeSplit } from './transfer.js';
import type { AttributeChange, Opened, RequestOptions } from './verbs.js';
import { walkEnd } from './wnames.js';
import { putXattr, readXattr } from './xattr.js';

/** How a fid was opened: what recovery needs to open it again. */
export interface OpenState {
  /** L_O_* flags. */
  readonly flags: number;
  /** Bytes that one read or write moves at most. */
  readonly iounit: number;
}

/**
 * A handle on one file of the server: a method for each T message that takes a fid. Whoever got it from `walk`, `clone` or
 * `attach` owns it and ends it with `clunk` (or `remove`, or `await using`), also after an error.
 *
 * Errors: the server's own as an ErrnoError with `syscall` (the T message) and `path`; EBADF after the fid was ended; a
 * ConnectionLostError; AbortError and ETIMEDOUT as RequestOptions ask for.
 */
export class Fid {
  readonly client: Client;
  /** Its number on the wire. */
  readonly number: number;
  /** The attach that it was walked from. */
  readonly attachment: Attachment;
  qid: Qid;
  /** Whether the server has made it: until then nothing has to be made again. */
  known = false;
  /** It reads or writes an extended attribute: after a lost connection whoever began that begins again. */
  transient: 'read' | 'write' | undefined;
  /** Nobody will use it again, and whoever had it will clunk it by and by: it is not made again after a lost connection. */
  unneeded = false;
  /** The mode of its file, where a lost connection has kept it from getting that back (revival.ts). */
  modeAside: number | undefined;
  /** What is locked through it. */
  readonly locks = new LockBook();
  #place: Place;
  #open: OpenState | undefined;
  #ended = false;
  /** Where the file ended after the last append, at least. */
  #end: number | undefined;

  /** For Client: `newFid` gives the number. */
  constructor(client: Client, number: number, qid: Qid, attachment: Attachment, place: Place) {
    this.client = client;
    this.number = number;
    this.qid = qid;
    this.attachment = attachment;
    this.#place = place.hold(this);
  }

  /** Where it is in the tree, as far as this client knows of renames. */
  get place(): Place {
    return this.#place;
  }

  /** The names from the attach to it. */
  get names(): readonly string[] {
    return this.#place.names;
  }

  /** For messages: where it is below its attach. */
  get path(): string {
    return `/${this.names.join('/')}`;
  }

  /** As `path`, of a name in it. */
  pathOf(name: string): string {
    return `${this.names.length === 0 ? '' : this.path}/${name}`;
  }

  get isDirectory(): boolean {
    return (this.qid.type & QTDIR) !== 0;
  }

  /** How it is open, if it is. */
  get opened(): OpenState | undefined {
    return this.#open;
  }

  /** Whether clunk or remove has been called. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that one Tread or Twrite moves at most. */
  get iounit(): number {
    const { maxPayload } = this.client.session;
    const iounit = this.#open?.iounit ?? 0;
    return iounit === 0 ? maxPayload : Math.min(iounit, maxPayload);
  }

  /**
   * A new fid for what `names` lead to; for the same file if they are none. Of any length: as many names go in one Twalk as it may have. ENOENT and its
   * like carry the path of the name that failed.
   */
  async walk(names: readonly string[], options?: RequestOptions): Promise<Fid> {
    let to = walkEnd(names, 0, this.client.session.msize);
    if (to === names.length) return this.#walkOnce(names, options);
    let at = await this.#walkOnce(names.slice(0, to), options);
    while (to < names.length) {
      const from = to;
      to = walkEnd(names, from, this.client.session.msize);
      const passed: Fid = at;
      try {
        at = await passed.#walkOnce(names.slice(from, to), options);
      } finally {
        await passed.clunk();
      }
    }
    return at;
  }

  async #walkOnce(wnames: readonly string[], options: RequestOptions | undefined): Promise<Fid> {
    const { client } = this;
    const fid = client.newFid(this.qid, this.attachment, this.#place.descend(wnames));
    const body = { fid: this.number, newfid: fid.number, wnames: wnames as string[] };
    let wqids: Qid[];
    try {
      wqids = (await client.requestNewFid(fid, 'Twalk', body, options)).wqids;
    } catch (error) {
      throw client.located(error, `/${[...this.names, ...wnames].join('/')}`);
    }
    if (wqids.length > wnames.length) {
      await fid.clunk().catch(client.ignoreUnknownFid);
      throw new ProtocolError(`${wqids.length} qids for ${wnames.length} names`, 'Rwalk.wqids');
    }
    if (wqids.length === wnames.length) {
      const qid = wqids[wqids.length - 1];
      if (qid !== undefined) fid.qid = qid;
      // A rename that was under way has put it where another file was: it is not that one that is gone.
      if (fid.#place.gone && !this.#place.gone) fid.#moveTo(this.#place.descend(wnames));
      return fid;
    }
    // Some servers leave newfid at the place that was reached (interop: walk.partial-newfid), others nowhere: the clunk suits both.
    await fid.clunk().catch(client.ignoreUnknownFid);
    return this.#walkRest(wnames, wqids.length, options);
  }

  /** A partial walk does not say why it ended: only a walk whose first name fails does (walk(5)). */
  async #walkRest(names: readonly string[], reached: number, options: RequestOptions | undefined): Promise<Fid> {
    if (reached === 0) throw this.client.error('ENOENT', 'Twalk', `${this.path}/${names[0]}`);
    const there = await this.#walkOnce(names.slice(0, reached), options);
    try {
      return await there.#walkOnce(names.slice(reached), options);
    } finally {
      await there.clunk();
    }
  }

  /** A second fid for the same file, unopened even if this one is open. */
  clone(options?: RequestOptions): Promise<Fid> {
    return this.#walkOnce([], options);
  }

  /** Tlopen: opens this very fid. `flags` are L_O_*. */
  async open(flags: number, options?: RequestOptions): Promise<Opened> {
    const opened = await this.#told(this.client.verbs.open(this, flags, options));
    this.qid = opened.qid;
    this.#open = { flags, iounit: opened.iounit };
    return opened;
  }

  /**
   * Tlcreate: creates `name` in this directory and turns this fid into the open new file. After an error it still is the directory.
   * `mode` is taken as it is: no umask.
   */
  async create(name: string, flags: number, mode: number, gid: number, options?: RequestOptions): Promise<Opened> {
    const opened = await this.#told(this.client.verbs.create(this, name, flags, mode, gid, options), name);
    this.#moveTo(this.#place.descend([name]));
    this.qid = opened.qid;
    this.#open = { flags, iounit: opened.iounit };
    return opened;
  }

  /** For `createAt`: it was made and opened as `name` of a directory by one request. */
  openedAs(directory: Fid, name: string, qid: Qid, flags: number, iounit: number): void {
    // What had the name before was taken away meanwhile: it is not that one that is gone.
    if (this.#place.gone && !directory.#place.gone) this.#moveTo(directory.#place.descend([name]));
    this.qid = qid;
    this.#open = { flags, iounit };
  }

  /**
   * Reads up to `buffer.length` bytes from `offset` into `buffer`, in as many Treads as that takes, in flight together. Resolves with the
   * bytes read: none at the end of the file, and as read(2) fewer where the server gives no more at a time, as it does for /proc. If any part fails, it
   * fails as a whole. The buffer is the client's until then.
   */
  read(buffer: Uint8Array, offset: number, options?: RequestOptions): Promise<number> {
    return this.#told(readSplit(this, buffer, offset, options));
  }

  /**
   * Writes all of `data` at `offset` (at the end, if opened with L_O_APPEND), in as many Twrites as that takes. Resolves with the bytes
   * written. `data` is sent as it lies and must not change until then.
   */
  write(data: Uint8Array, offset: number, options?: RequestOptions): Promise<number> {
    const append = ((this.#open?.flags ?? 0) & L_O_APPEND) !== 0;
    const needsEnd = append && (this.client.verbs.end !== undefined || this.client.recovery !== undefined);
    return this.#told(needsEnd ? this.#append(data, offset, options) : writeSplit(this, data, offset, append, options));
  }

  /** Appends. A server that knows O_APPEND does not look at the offset; recovery does, to see whether a lost answer was a yes. */
  async #append(data: Uint8Array, offset: number, options: RequestOptions | undefined): Promise<number> {
    const { end } = this.client.verbs;
    if (end !== undefined) return writeSplit(this, data, (await end(this, options)) ?? offset, true, options);
    if (this.#end === undefined && offset === 0) this.#end = (await this.client.verbs.getattr(this, GETATTR_BASIC, options)).size;
    const from = Math.max(offset, this.#end ?? 0);
    try {
      const count = await besideOthers(this, data, () => writeSplit(this, data, from, true, options));
      // Of several at a time each one moves it, unless the caller knew better.
      this.#end = offset === 0 ? (this.#end ?? from) + count : Math.max(this.#end ?? 0, from + count);
      return count;
    } catch (error) {
      this.#end = undefined;
      throw error;
    }
  }

  getattr(mask: bigint = GETATTR_BASIC, options?: RequestOptions): Promise<Attributes> {
    return this.#told(this.client.verbs.getattr(this, mask, options));
  }

  setattr(change: AttributeChange, options?: RequestOptions): Promise<void> {
    if (change.size !== undefined) this.#end = undefined;
    return this.#told(this.client.verbs.setattr(this, change, options));
  }

  /**
   * Entries of this open directory after the cookie `offset` (0n: from the start), as many as `count` bytes hold; none at the end.
   * `count` is raised to 279, since a server says "end" too where an entry does not fit.
   */
  readdir(offset = 0n, count = this.client.session.maxPayload, options?: RequestOptions): Promise<DirectoryEntry[]> {
    const { maxPayload } = this.client.session;
    return this.#told(this.#readdir(offset, Math.max(Math.min(count, maxPayload), 279), options));
  }

  async #readdir(offset: bigint, count: number, options: RequestOptions | undefined): Promise<DirectoryEntry[]> {
    const entries = await this.client.verbs.readdir(this, offset, count, options);
    // Whoever lists to the end would never get there.
    if (entries[entries.length - 1]?.offset === offset) throw new ProtocolError('a listing that does not advance', 'Rreaddir.offset');
    return entries;
  }

  /** All entries of this open directory but "." and "..". */
  async *entries(options?: RequestOptions): AsyncGenerator<DirectoryEntry, void, undefined> {
    const cookies = new Cookies();
    for (let offset = 0n; ; ) {
      const entries = await this.readdir(offset, undefined, options);
      if (entries.length === 0) return;
      cookies.pass(entries);
      for (const entry of entries) {
        offset = entry.offset;
        if (entry.name !== '.' && entry.name !== '..') yield entry;
      }
    }
  }

  statfs(options?: RequestOptions): Promise<FileSystemStatistics> {
    return this.#told(this.client.verbs.statfs(this, options));
  }

  readlink(options?: RequestOptions): Promise<string> {
    return this.#told(this.client.verbs.readlink(this, options));
  }

  symlink(name: string, target: string, gid: number, options?: RequestOptions): Promise<Qid> {
    return this.#told(this.client.verbs.symlink(this, name, target, gid, options), name);
  }

  mknod(name: string, mode: number, major: number, minor: number, gid: number, options?: RequestOptions): Promise<Qid> {
    return this.#told(this.client.verbs.mknod(this, name, mode, major, minor, gid, options), name);
  }

  mkdir(name: string, mode: number, gid: number, options?: RequestOptions): Promise<Qid> {
    return this.#told(this.client.verbs.mkdir(this, name, mode, gid, options), name);
  }

  /** A new name in this directory for the file of `target`. */
  link(name: string, target: Fid, options?: RequestOptions): Promise<void> {
    return this.#told(this.client.verbs.link(this, name, target, options), name);
  }

  /** Trename: gives this file the name `name` in `directory`. */
  rename(directory: Fid, name: string, options?: RequestOptions): Promise<void> {
    return this.#told(renameFid(this, directory, name, options));
  }

  /** Trenameat, or Trename where the server has no Trenameat. */
  renameat(oldName: string, to: Fid, newName: string, options?: RequestOptions): Promise<void> {
    return this.#told(renameThrough(this, oldName, to, newName, options), oldName);
  }

  /** Tunlinkat, or Tremove where the server has no Tunlinkat. `flags`: AT_REMOVEDIR for a directory. */
  async unlinkat(name: string, flags = 0, options?: RequestOptions): Promise<void> {
    await this.#told(this.client.verbs.unlinkat(this, name, flags & AT_REMOVEDIR, options), name);
    this.#place.removed(name);
  }

  fsync(datasync = false, options?: RequestOptions): Promise<void> {
    return this.#told(this.client.verbs.fsync(this, datasync, options));
  }

  /** Tlock: LOCK_SUCCESS, LOCK_BLOCKED, LOCK_ERROR or LOCK_GRACE. One that is given up is given back where it was granted all the same. */
  lock(range: LockRange, flags: number, options?: RequestOptions): Promise<number> {
    return this.#told(lockThrough(this, range, flags, options));
  }

  /** Tgetlock: the lock that stands in the way of `range`, or `range` with type LOCK_TYPE_UNLCK. */
  getlock(range: LockRange, options?: RequestOptions): Promise<LockRange> {
    return this.#told(this.client.verbs.getlock(this, range, options));
  }

  /** Txattrwalk: a new fid to read the value (the names, if `name` is "") from, and its size in bytes. */
  xattrwalk(name: string, options?: RequestOptions): Promise<{ fid: Fid; size: number }> {
    return this.#told(this.client.verbs.xattrwalk(this, name, options));
  }

  /** Txattrcreate: turns this fid into one that takes the value, which is set when it is clunked. Size 0 removes. */
  xattrcreate(name: string, size: number, flags: number, options?: RequestOptions): Promise<void> {
    this.transient = 'write';
    return this.#told(this.client.verbs.xattrcreate(this, name, size, flags, options));
  }

  /** The value of an extended attribute. ENODATA where there is none. */
  getxattr(name: string, options?: RequestOptions): Promise<Uint8Array> {
    return readXattr(this, name, options);
  }

  /** The names of the extended attributes. */
  async listxattr(options?: RequestOptions): Promise<string[]> {
    const list = await this.getxattr('', options);
    const names: string[] = [];
    for (let at = 0; at < list.length; ) {
      const end = list.indexOf(0, at);
      const stop = end < 0 ? list.length : end;
      if (stop > at) names.push(this.client.text(list.subarray(at, stop)));
      at = stop + 1;
    }
    return names;
  }

  /** Sets an extended attribute; `flags`: XATTR_CREATE, XATTR_REPLACE or 0. On the wire an empty value would remove it: EINVAL. */
  async setxattr(name: string, value: Uint8Array, flags = 0, options?: RequestOptions): Promise<void> {
    if (value.length === 0) throw this.client.error('EINVAL', 'Txattrcreate', this.path);
    await putXattr(this, name, value, flags, options);
  }

  /** Removes an extended attribute. ENODATA where there is none. */
  removexattr(name: string, options?: RequestOptions): Promise<void> {
    return putXattr(this, name, new Uint8Array(0), 0, options);
  }

  /** Tremove: removes the file and ends this fid, even if removing fails. */
  async remove(options?: RequestOptions): Promise<void> {
    if (this.#ended) throw this.client.error('EBADF', 'Tremove', this.path);
    this.#ended = true;
    const place = this.#place.hold();
    try {
      await this.#told(this.client.requestEnd(this, 'Tremove', options));
      place.takenAway();
    } finally {
      place.release();
    }
  }

  /** Tclunk: ends this fid. Idempotent. Rejects where the server's clunk does something and fails: setting an xattr. */
  async clunk(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#told(this.client.requestEnd(this, 'Tclunk', undefined));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.clunk();
  }

  #moveTo(place: Place): void {
    place.hold(this);
    this.#place.release();
    this.#place = place;
  }

  /** For Client: the server has it no more, or never had. */
  forgotten(): void {
    this.#ended = true;
    this.#place.release();
  }

  /** Adds the path to what goes wrong, and the stack of the caller, which a reply does not have. */
  async #told<T>(promise: Promise<T>, name?: string): Promise<T> {
    try {
      return await promise;
    } catch (error) {
      throw this.client.located(error, name === undefined ? this.path : this.pathOf(name));
    }
  }
}

/**
 * Whether a directory entry is a directory, if its type or qid says so. QEMU's mapped models say neither (DT_UNKNOWN and a qid of type 0; interop:
 * readdir.qid): there only its attributes tell.
 */
export function entryIsDirectory({ type, qid }: DirectoryEntry): boolean {
  return type === DT_DIR || (qid.type & QTDIR) !== 0;
}
