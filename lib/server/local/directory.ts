import { DT_DIR, DT_LNK, DT_REG, DT_UNKNOWN, QTDIR, QTFILE, QTSYMLINK } from '../../protocol/constants.js';
import type { DirectoryEntry, LockRange, SetAttributes } from '../../protocol/types.js';
import { Dirents } from '../../sys/dirent.js';
import type { Op } from '../../sys/op.js';
import type { Awaitable } from '../backend.js';
import { failure } from '../errors.js';
import { applyChange } from './change.js';
import { must } from './fail.js';
import { Opened } from './file.js';
import type { Work } from './work.js';

/** Bytes of an entry of Rreaddir without its name, and of getdents64(2) without. */
const WIRE_ENTRY = 24;
const CHUNK = 32 * 1024;

/** An open directory. Cookies are the kernel's own, so that they stay true whatever is made or removed meanwhile. */
export class LocalDirectory extends Opened {
  /** Entries read from the kernel that nobody has asked for yet, from #at on; they follow the cookie #cookie. */
  #ahead: DirectoryEntry[] = [];
  #at = 0;
  #cookie = 0n;
  #ended = false;

  read(): never {
    throw failure('EISDIR');
  }

  write(): never {
    throw failure('EBADF');
  }

  readdir(offset: bigint, bytes: number): Awaitable<DirectoryEntry[]> {
    const taken = offset === this.#cookie ? this.#take(bytes) : undefined;
    if (taken !== undefined) return taken;
    return this.using(this.node.tree.perform(this.node, (work) => this.#readdir(work, offset, bytes)));
  }

  *#readdir(work: Work, offset: bigint, bytes: number): Op<DirectoryEntry[]> {
    const fd = this.opened();
    // From the start it is read anew, as rewinddir(3) would: what was made since is seen.
    if (offset !== this.#cookie || offset === 0n) {
      this.#ahead = [];
      this.#at = 0;
      this.#ended = false;
      this.#cookie = offset;
      must(yield* work.lseek(fd, offset));
    }
    while (!this.#ended && this.#size() < bytes) {
      const length = must(yield* work.getdents(fd, CHUNK));
      if (length === 0) this.#ended = true;
      else this.#collect(work, length);
    }
    return this.#take(bytes) ?? [];
  }

  /** Bytes of Rreaddir that the entries ahead hold, roughly. */
  #size(): number {
    return (this.#ahead.length - this.#at) * (WIRE_ENTRY + 8);
  }

  /** The next entries if there are any, about as many as fit. */
  #take(bytes: number): DirectoryEntry[] | undefined {
    const start = this.#at;
    let room = bytes;
    let end = start;
    for (; end < this.#ahead.length; end++) {
      const entry = this.#ahead[end];
      if (entry === undefined) break;
      // A name is never longer on the wire than three bytes for each character; the server cuts what does not fit.
      room -= WIRE_ENTRY + entry.name.length;
      if (room < 0 && end > start) break;
    }
    if (end === start) return undefined;
    const last = this.#ahead[end - 1];
    if (last !== undefined) this.#cookie = last.offset;
    if (start === 0 && end === this.#ahead.length) {
      const all = this.#ahead;
      this.#ahead = [];
      return all;
    }
    const taken = this.#ahead.slice(start, end);
    this.#at = end;
    return taken;
  }

  #collect(work: Work, length: number): void {
    const { node } = this;
    const { tree, device } = node;
    const { model } = tree;
    if (this.#at > 0) {
      this.#ahead = this.#ahead.slice(this.#at);
      this.#at = 0;
    }
    const dirents = direntsOf(work);
    dirents.reset(length);
    while (dirents.next()) {
      const { name, offset } = dirents;
      if (model.reserves(name)) continue;
      if (name === '.' || name === '..') {
        const { qid } = name === '.' ? node : (node.above ?? node);
        this.#ahead.push({ qid: { type: qid.type, version: 0, path: qid.path }, offset, type: DT_DIR, name });
        continue;
      }
      // A regular file may be anything to the client of a mapped model: QEMU leaves it open as well.
      const type = model.mapped && dirents.type === DT_REG ? DT_UNKNOWN : dirents.type;
      const qidType = type === DT_DIR ? QTDIR : type === DT_LNK ? QTSYMLINK : QTFILE;
      this.#ahead.push({ qid: { type: qidType, version: 0, path: tree.devices.path(device, dirents.ino) }, offset, type, name });
    }
  }

  setattr(change: SetAttributes): Awaitable<void> {
    const { node } = this;
    node.tree.writable();
    return this.using(node.tree.change(node, node.above, (work) => applyChange(work, node, this.opened(), false, change)));
  }

  lock(): never {
    throw failure('EISDIR');
  }

  getlock(_range: LockRange): never {
    throw failure('EISDIR');
  }
}

const readers = new WeakMap<Work, Dirents>();

function direntsOf(work: Work): Dirents {
  let reader = readers.get(work);
  if (reader === undefined) {
    reader = new Dirents(work.value);
    readers.set(work, reader);
  }
  return reader;
}
