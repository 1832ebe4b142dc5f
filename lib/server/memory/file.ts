import { L_O_APPEND, S_IFMT } from '../../protocol/constants.js';
import { entryBytes } from '../../protocol/directory.js';
import type { Attributes, DirectoryEntry, LockRange, SetAttributes } from '../../protocol/types.js';
import type { Awaitable, BackendFile, Caller } from '../backend.js';
import { failure } from '../errors.js';
import type { Entry } from './entry.js';
import type { Inode } from './inode.js';

/** What every open file of the tree has in common: it holds its inode, and the locks taken through it. */
class OpenInode implements BackendFile {
  readonly iounit = 0;
  readonly immediate = true;
  protected readonly inode: Inode;
  #closed = false;

  constructor(inode: Inode) {
    this.inode = inode;
    inode.retain();
  }

  read(_buffer: Uint8Array, _offset: number): number {
    throw failure('EISDIR');
  }

  write(_data: Uint8Array, _offset: number): number {
    throw failure('EBADF');
  }

  readdir(_offset: bigint, _bytes: number): DirectoryEntry[] {
    throw failure('ENOTDIR');
  }

  getattr(): Attributes {
    return this.inode.getattr();
  }

  setattr(change: SetAttributes, caller: Caller): void {
    this.inode.setattr(change, caller.uid);
  }

  fsync(): void {}

  lock(range: LockRange, flags: number, caller: Caller): Awaitable<number> {
    return this.inode.locks.lock(this, range, flags, () => caller.signal, caller.connection);
  }

  getlock(range: LockRange): LockRange {
    return this.inode.locks.getlock(this, range);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.inode.unlock(this);
    this.inode.release();
  }
}

export class MemoryFile extends OpenInode {
  readonly #append: boolean;

  constructor(inode: Inode, flags: number) {
    super(inode);
    this.#append = (flags & L_O_APPEND) !== 0;
  }

  override read(buffer: Uint8Array, offset: number): number {
    return this.inode.read(buffer, offset);
  }

  override write(data: Uint8Array, offset: number): number {
    return this.inode.write(data, this.#append ? this.inode.attributes.size : offset);
  }
}

/** An open file whose content was computed when it was opened, so that several reads see one state. */
export class SyntheticFile extends OpenInode {
  readonly #content: Uint8Array;

  constructor(inode: Inode) {
    super(inode);
    this.#content = inode.produced();
  }

  override read(buffer: Uint8Array, offset: number): number {
    const part = this.#content.subarray(offset, offset + buffer.length);
    buffer.set(part);
    return part.length;
  }
}

export class MemoryDirectoryFile extends OpenInode {
  readonly #entry: Entry;

  constructor(entry: Entry) {
    super(entry.inode);
    this.#entry = entry;
  }

  override readdir(offset: bigint, bytes: number): DirectoryEntry[] {
    const entries: DirectoryEntry[] = [];
    let room = bytes;
    const add = (cookie: number, name: string, inode: Inode) => {
      entries.push({ qid: inode.qid, offset: BigInt(cookie), type: (inode.attributes.mode & S_IFMT) >> 12, name });
      room -= entryBytes(name);
    };
    if (offset < 1n) add(1, '.', this.inode);
    if (offset < 2n) add(2, '..', this.#parentInode());
    if (this.inode.directory === undefined || offset > BigInt(Number.MAX_SAFE_INTEGER - 1)) return entries;
    for (const entry of this.inode.directory.after(Math.max(2, Number(offset)))) {
      if (room <= 0) break;
      add(entry.cookie, entry.name(), entry.inode);
    }
    return entries;
  }

  #parentInode(): Inode {
    try {
      const parent = this.#entry.parent();
      const { inode } = parent;
      parent.release();
      return inode;
    } catch {
      // A removed directory has no parent any more; it lists itself in its place.
      return this.inode;
    }
  }
}
