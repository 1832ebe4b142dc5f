import { L_O_APPEND, SETATTR_GID, SETATTR_MODE, SETATTR_SIZE, SETATTR_UID } from '../../protocol/constants.js';
import { entryBytes } from '../../protocol/directory.js';
import { errnoOf } from '../../protocol/error.js';
import type { Attributes, DirectoryEntry, LockRange, SetAttributes } from '../../protocol/types.js';
import type { Awaitable, BackendFile, Caller } from '../backend.js';
import { failure } from '../errors.js';
import type { PathNode } from './node.js';
import type { FileHandleLike } from './shape.js';
import { attributesOf, timesOf, typeOf } from './stat.js';

/** What open files and directories have in common: they hold their node, and the locks taken through them. */
abstract class OpenPath {
  readonly iounit = 0;
  protected readonly node: PathNode;
  #closed = false;

  constructor(node: PathNode) {
    this.node = node;
    node.retain();
  }

  lock(range: LockRange, flags: number, caller: Caller): Awaitable<number> {
    return this.node.tree.locks(this.node.qid).lock(this, range, flags, () => caller.signal, caller.connection);
  }

  getlock(range: LockRange): LockRange {
    return this.node.tree.locks(this.node.qid).getlock(this, range);
  }

  protected get closed(): boolean {
    return this.#closed;
  }

  /** True the first time. */
  protected end(): boolean {
    if (this.#closed) return false;
    this.#closed = true;
    this.node.tree.unlock(this.node.qid, this);
    this.node.release();
    return true;
  }
}

/** An open file: a FileHandle. It goes on working after its name is gone. */
export class HandleFile extends OpenPath implements BackendFile {
  readonly #handle: FileHandleLike;
  readonly #append: boolean;
  /** What `disarm` gave last. */
  #unarmed = Number.NaN;
  /** Whose share of descriptors it takes. */
  readonly #connection: string;

  /** Takes over the handle, which was opened by `tree.opening`. */
  constructor(node: PathNode, handle: FileHandleLike, flags: number, connection: string) {
    super(node);
    this.#handle = handle;
    this.#connection = connection;
    this.#append = (flags & L_O_APPEND) !== 0;
  }

  async read(buffer: Uint8Array, offset: number): Promise<number> {
    const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, offset);
    return bytesRead;
  }

  async write(data: Uint8Array, offset: number): Promise<number> {
    const { tree } = this.node;
    let { length } = data;
    if (tree.maxFileSize < Number.POSITIVE_INFINITY && length > 0) {
      const start = this.#append ? Number((await this.#handle.stat({ bigint: true })).size) : offset;
      // What fits is written, as write(2) has it at a limit.
      tree.admit(start + 1);
      length = Math.min(length, tree.maxFileSize - start);
    }
    const { bytesWritten } = await this.#handle.write(data, 0, length, this.#append ? null : offset);
    this.#unarmed = await tree.disarm(this.#handle, this.#unarmed);
    return bytesWritten;
  }

  readdir(): never {
    throw failure('ENOTDIR');
  }

  async getattr(): Promise<Attributes> {
    const stat = await this.#handle.stat({ bigint: true });
    this.node.qid.version = this.node.tree.qid(stat).version;
    return attributesOf(stat, this.node.qid);
  }

  async setattr(change: SetAttributes): Promise<void> {
    const { valid } = change;
    const stat = await this.#handle.stat({ bigint: true });
    if ((valid & SETATTR_SIZE) !== 0) await this.node.tree.truncate(this.#handle, change.size);
    if ((valid & (SETATTR_UID | SETATTR_GID)) !== 0) {
      const uid = (valid & SETATTR_UID) !== 0 ? change.uid : Number(stat.uid);
      await this.#handle.chown(uid, (valid & SETATTR_GID) !== 0 ? change.gid : Number(stat.gid));
    }
    if ((valid & SETATTR_MODE) !== 0) await this.node.tree.chmod(change.mode, (mode) => this.#handle.chmod(mode));
    const times = timesOf(change, stat);
    if (times !== undefined) await this.#handle.utimes(times[0], times[1]);
  }

  fsync(datasync: boolean): Promise<void> {
    return datasync ? this.#handle.datasync() : this.#handle.sync();
  }

  async close(): Promise<void> {
    if (!this.end()) return;
    const { tree } = this.node;
    await this.#handle.close().finally(() => tree.closed(this.#connection));
  }
}

/**
 * An open directory. The shape of `node:fs` has no cookies, so the names are taken once, when a listing begins, and a cookie is a
 * position among them: nothing comes twice, and nothing that stayed is missing.
 */
export class ListedDirectory extends OpenPath implements BackendFile {
  #names: readonly string[] = [];
  /** Whose share of names it takes. */
  readonly #connection: string;

  constructor(node: PathNode, connection: string) {
    super(node);
    this.#connection = connection;
  }

  read(): never {
    throw failure('EISDIR');
  }

  write(): never {
    throw failure('EBADF');
  }

  async readdir(offset: bigint, bytes: number): Promise<DirectoryEntry[]> {
    const { gate } = this.node.tree;
    return gate.look(() => this.#list(offset, bytes));
  }

  async #list(offset: bigint, bytes: number): Promise<DirectoryEntry[]> {
    const { tree } = this.node;
    const { path } = await tree.locate(this.node);
    if (offset === 0n) {
      const names = await tree.fs.readdir(path);
      if (names.length > tree.maxEntries) throw failure('EOVERFLOW');
      if (this.closed) throw failure('EBADF');
      this.#keep(['.', '..', ...names]);
    }
    const entries: DirectoryEntry[] = [];
    let at = offset > BigInt(this.#names.length) ? this.#names.length : Number(offset);
    let room = bytes;
    while (room > 0 && at < this.#names.length) {
      // As many at once as are likely to fit; a name that is gone by now leaves room for another.
      const some = this.#names.slice(at, at + Math.min(64, Math.max(1, Math.floor(room / 32))));
      const found = await Promise.all(some.map((name, index) => this.#entry(path, name, at + index + 1)));
      at += some.length;
      for (const entry of found) {
        if (entry === undefined) continue;
        entries.push(entry);
        room -= entryBytes(entry.name);
      }
    }
    return entries;
  }

  /** Has these names in place of those before. ENOMEM where this and the other directories of its connection have too many. */
  #keep(names: readonly string[]): void {
    if (!this.node.tree.names.take(this.#connection, names.length - this.#names.length)) throw failure('ENOMEM');
    this.#names = names;
  }

  async #entry(path: string, name: string, cookie: number): Promise<DirectoryEntry | undefined> {
    const { tree } = this.node;
    try {
      if (name === '.' || name === '..') {
        const { qid, stat } = name === '.' ? this.node : (this.node.above ?? this.node);
        return { qid, offset: BigInt(cookie), type: typeOf(stat) >> 12, name };
      }
      const stat = await tree.lstat(tree.join(path, name));
      return { qid: tree.qid(stat), offset: BigInt(cookie), type: typeOf(stat) >> 12, name };
    } catch (error) {
      // Gone since, or of a name that no client could give back to us.
      if (['ENOENT', 'EILSEQ'].some((code) => failure(code).errno === -errnoOf(error))) return undefined;
      throw error;
    }
  }

  getattr(): Promise<Attributes> {
    return this.node.getattr();
  }

  setattr(change: SetAttributes): Promise<void> {
    return this.node.setattr(change);
  }

  /** A directory's entries are as durable as the file system makes them: the shape of `node:fs` has no more to offer. */
  fsync(): void {}

  close(): void {
    if (this.end()) this.#keep([]);
  }
}
