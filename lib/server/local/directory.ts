import { DT_DIR, DT_LNK, DT_REG, DT_UNKNOWN, QTDIR, QTFILE, QTSYMLINK } from '../../protocol/constants.js';
import { decodeText } from '../../protocol/text.js';
import type { DirectoryEntry, LockRange, Qid, SetAttributes } from '../../protocol/types.js';
import { Dirents } from '../../sys/dirent.js';
import { findsUntold } from '../../sys/iflags.js';
import { watchNames } from '../../sys/inotify.js';
import { type Op, wait } from '../../sys/op.js';
import type { Awaitable } from '../backend.js';
import { failure } from '../errors.js';
import { applyChange } from './change.js';
import { must } from './fail.js';
import { Opened } from './file.js';
import type { Work } from './work.js';

/** Bytes of an entry of Rreaddir without its name: qid[13] offset[8] type[1] and the size of the name. */
const ENTRY_HEAD = 24;
/** Bytes read from the kernel at once, and kept until they are asked for. */
const CHUNK = 32 * 1024;
/** No cookie. */
const NOWHERE = -1n;

/** An open directory. Cookies are the kernel's own, so that they stay true whatever is made or removed meanwhile. */
export class LocalDirectory extends Opened {
  protected readonly writes = false;
  /** What the kernel gave last; it follows the cookie #cookie. */
  #dirents: Dirents | undefined;
  #cookie = 0n;
  #ended = false;
  /** The end of the last listing that was asked for, while it is made on other threads. */
  #last: Promise<void> | undefined;

  watch(queue: number): number | undefined {
    const { device, tree } = this.node;
    if (!tree.lends || !tree.showsAll || !device.tellsNames || !device.here(Date.now())) return undefined;
    const fd = this.opened();
    if (findsUntold(fd)) return undefined;
    const watch = watchNames(queue, fd);
    return watch < 0 ? undefined : watch;
  }

  read(): never {
    throw failure('EISDIR');
  }

  write(): never {
    throw failure('EBADF');
  }

  readdir(offset: bigint, bytes: number): Awaitable<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    return this.#inTurn((work) => this.#readdir(work, entries, offset, bytes));
  }

  /** Lists once others have: there is one position and one buffer for all. */
  #inTurn<T>(body: (work: Work) => Op<T>): Awaitable<T> {
    const { node } = this;
    const before = this.#last;
    const answer =
      before === undefined
        ? node.tree.perform(node, body)
        : node.tree.background(node.device, function* (work) {
            yield* wait(before);
            return yield* body(work);
          });
    if (!(answer instanceof Promise)) return answer;
    const end = () => {
      if (this.#last === settled) this.#last = undefined;
    };
    const settled: Promise<void> = answer.then(end, end);
    this.#last = settled;
    return this.using(answer);
  }

  *#readdir(work: Work, entries: DirectoryEntry[], offset: bigint, bytes: number): Op<DirectoryEntry[]> {
    const dirents = yield* this.#seek(work, offset);
    let room = bytes;
    while (yield* this.#next(work, dirents)) {
      room -= ENTRY_HEAD + dirents.nameEnd - dirents.nameStart;
      if (room < 0 && entries.length > 0) {
        dirents.back();
        break;
      }
      const name = decodeText(dirents.bytes, dirents.nameStart, dirents.nameEnd);
      const dots = dirents.isDots ? this.#dots(name.length) : undefined;
      const type = this.#type(dirents);
      const qid = { type: dots?.type ?? qidTypeOf(type), version: 0, path: dots?.path ?? this.#path(dirents.ino) };
      entries.push({ qid, offset: dirents.offset, type, name });
      this.#cookie = dirents.offset;
    }
    return entries;
  }

  /** As `readdir`, straight into the answer: the same entries without an object or a string for each. */
  readdirInto(buffer: Uint8Array, offset: bigint): Awaitable<number> {
    return this.#inTurn((work) => this.#readdirInto(work, buffer, offset));
  }

  *#readdirInto(work: Work, buffer: Uint8Array, offset: bigint): Op<number> {
    const dirents = yield* this.#seek(work, offset);
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    const copies = this.node.tree.devices.pathIsIno(this.node.device);
    let at = 0;
    let last = -1;
    while (yield* this.#next(work, dirents)) {
      const { nameStart, nameEnd } = dirents;
      const length = nameEnd - nameStart;
      if (at + ENTRY_HEAD + length > buffer.length) {
        dirents.back();
        if (at === 0) throw failure('EINVAL');
        break;
      }
      const type = this.#type(dirents);
      if (dirents.isDots) {
        const { type: qidType, path } = this.#dots(length);
        buffer[at] = qidType;
        view.setBigUint64(at + 5, path, true);
      } else {
        buffer[at] = qidTypeOf(type);
        if (copies && dirents.inoIsShort) dirents.copyIno(buffer, at + 5);
        else view.setBigUint64(at + 5, this.#path(dirents.ino), true);
      }
      view.setUint32(at + 1, 0, true);
      dirents.copyOffset(buffer, at + 13);
      buffer[at + 21] = type;
      view.setUint16(at + 22, length, true);
      dirents.copyName(buffer, at + ENTRY_HEAD);
      last = at;
      at += ENTRY_HEAD + length;
    }
    if (last >= 0) this.#cookie = view.getBigUint64(last + 13, true);
    return at;
  }

  /** Stands at a cookie: where the last listing stopped, or anywhere. From the start it is read anew, as rewinddir(3) would. */
  *#seek(work: Work, offset: bigint): Op<Dirents> {
    const fd = this.opened();
    if (this.#dirents !== undefined && offset !== 0n && offset === this.#cookie) return this.#dirents;
    this.#dirents ??= new Dirents(Buffer.allocUnsafeSlow(CHUNK));
    this.#dirents.reset(0);
    this.#cookie = NOWHERE;
    this.#ended = false;
    must(yield* work.lseek(fd, BigInt.asIntN(64, offset)));
    this.#cookie = offset;
    return this.#dirents;
  }

  /** The next entry that clients are to see. */
  *#next(work: Work, dirents: Dirents): Op<boolean> {
    const { model } = this.node.tree;
    for (;;) {
      while (dirents.next()) {
        if (!model.mapped || !model.reserves(decodeText(dirents.bytes, dirents.nameStart, dirents.nameEnd))) return true;
      }
      if (this.#ended) return false;
      const length = must(yield* work.getdents(this.opened(), CHUNK));
      this.#ended = length === 0;
      work.value.copy(dirents.bytes, 0, 0, length);
      dirents.reset(length);
    }
  }

  /** A regular file may be anything to the client of a mapped model: as QEMU does, that is left open. */
  #type(dirents: Dirents): number {
    const { type } = dirents;
    return this.node.tree.model.mapped && type === DT_REG ? DT_UNKNOWN : type;
  }

  #path(ino: bigint): bigint {
    return this.node.tree.devices.path(this.node.device, ino);
  }

  /** "." and "..", which the kernel would take out of the export at its root. */
  #dots(length: number): Qid {
    const { node } = this;
    return length === 1 ? node.qid : (node.above ?? node).qid;
  }

  setattr(change: SetAttributes): Awaitable<void> {
    const { node } = this;
    node.tree.writable();
    return this.using(node.tree.beside(node, node, (work) => applyChange(work, node, this.opened(), false, change)));
  }

  lock(): never {
    throw failure('EISDIR');
  }

  getlock(_range: LockRange): never {
    throw failure('EISDIR');
  }
}

function qidTypeOf(type: number): number {
  if (type === DT_DIR) return QTDIR;
  return type === DT_LNK ? QTSYMLINK : QTFILE;
}
