import { L_O_ACCMODE, L_O_RDONLY, L_O_WRONLY } from '../../protocol/constants.js';
import type { Attributes, LockRange, SetAttributes } from '../../protocol/types.js';
import { closeNow, EAGAIN, EOPNOTSUPP, readCached } from '../../sys/files.js';
import { O_CLOEXEC, O_PATH } from '../../sys/flags.js';
import { duplicate } from '../../sys/io.js';
import type { Op } from '../../sys/op.js';
import type { Awaitable, BackendFile, Caller } from '../backend.js';
import { openFiles } from '../descriptors.js';
import { failure } from '../errors.js';
import { applyChange } from './change.js';
import { fail, must } from './fail.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

const EINTR = -4;
const EMFILE = -24;

/** What open files and open directories have in common. */
export abstract class Opened implements BackendFile {
  readonly iounit = 0;
  readonly node: LocalNode;
  /** Whose share of descriptors it takes. */
  readonly connection: string;
  /** -1 once closed. */
  protected fd: number;
  /** What else is open of the node: opened before it, and after it. */
  #before: Opened | undefined;
  #after: Opened | undefined;
  #users = 0;
  #closing = false;
  #closed: ((outcome: Awaitable<void>) => void) | undefined;

  /** Takes over a descriptor that was taken from the connection's share. */
  constructor(node: LocalNode, fd: number, connection: string) {
    this.node = node;
    this.fd = fd;
    this.connection = connection;
    node.retain();
    this.#before = node.opened;
    if (node.opened !== undefined) node.opened.#after = this;
    node.opened = this;
  }

  abstract read(buffer: Uint8Array, offset: number, caller: Caller): Awaitable<number>;
  abstract write(data: Uint8Array, offset: number, caller: Caller): Awaitable<number>;
  abstract readdir(offset: bigint, bytes: number, caller: Caller): ReturnType<BackendFile['readdir']>;
  abstract setattr(change: SetAttributes, caller: Caller): Awaitable<void>;
  abstract lock(range: LockRange, flags: number, caller: Caller): Awaitable<number>;
  abstract getlock(range: LockRange, caller: Caller): Awaitable<LockRange>;

  getattr(_mask: bigint): Awaitable<Attributes> {
    return this.using(this.node.tree.perform(this.node, (work) => this.node.attributes(work, this.opened())));
  }

  fsync(datasync: boolean): Awaitable<void> {
    return this.using(this.node.tree.background(this.node.device, (work) => this.#fsync(work, datasync)));
  }

  *#fsync(work: Work, datasync: boolean): Op<void> {
    must(yield* work.fsync(this.opened(), datasync));
  }

  close(): Awaitable<void> {
    if (this.fd < 0 || this.#closing) return;
    this.#closing = true;
    if (this.#before !== undefined) this.#before.#after = this.#after;
    if (this.#after !== undefined) this.#after.#before = this.#before;
    else this.node.opened = this.#before;
    this.released();
    if (this.#users === 0) return this.#end();
    return new Promise((resolve) => {
      this.#closed = resolve;
    });
  }

  /** Whether `close` was called. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Gives up what goes with being open. */
  protected released(): void {}

  /** Whether its closing may fail to write what was taken before. */
  protected abstract readonly writes: boolean;

  /** The descriptor, unless it is closed. */
  protected opened(): number {
    if (this.fd < 0 || this.#closing) throw failure('EBADF');
    return this.fd;
  }

  /** Keeps the descriptor open until an answer that is still to come has come: its number must not become another file's meanwhile. */
  protected using<T>(answer: Awaitable<T>): Awaitable<T> {
    if (!(answer instanceof Promise)) return answer;
    this.#users++;
    return answer.finally(() => this.#left());
  }

  #left(): void {
    this.#users--;
    if (this.#closing && this.#users === 0) this.#closed?.(this.#end());
  }

  /** A new O_PATH descriptor of what is open, whatever has become of its name; an error number negated where there is none. */
  *held(work: Work): Op<number> {
    const { tree } = this.node;
    this.#users++;
    try {
      const fd = yield* work.reopen(this.fd, O_PATH | O_CLOEXEC);
      return fd === EMFILE && tree.held.relieve() ? yield* work.reopen(this.fd, O_PATH | O_CLOEXEC) : fd;
    } finally {
      this.#left();
    }
  }

  #end(): Awaitable<void> {
    const { fd, node } = this;
    if (fd < 0) return undefined;
    this.fd = -1;
    // To close may mean to write back: where that takes a file server, not on this thread.
    if (node.device.here(Date.now())) {
      closeNow(fd);
      openFiles().give(this.connection, 1);
      node.release();
      return undefined;
    }
    const closed = node.tree.background(node.device, (work) => work.close(fd)).finally(() => openFiles().give(this.connection, 1));
    node.release();
    if (this.writes) return closed.then(written);
    closed.catch(() => {});
    return undefined;
  }
}

/** That a file system was full, or its server gone, may show when a file is closed and not before (close(2)). */
function written(result: number): void {
  // The descriptor is gone, and what was written is not lost.
  if (result !== EINTR) must(result);
}

/** An open regular file. */
export class LocalFile extends Opened {
  /** O_RDONLY, O_WRONLY or O_RDWR. */
  readonly access: number;

  constructor(node: LocalNode, fd: number, flags: number, connection: string) {
    super(node, fd, connection);
    this.access = flags & L_O_ACCMODE;
  }

  protected get writes(): boolean {
    return this.access !== L_O_RDONLY;
  }

  /** Into the page cache a write is no more than the copy that would have to be kept for another thread. */
  get immediate(): boolean {
    return this.#here();
  }

  /** Whether content may be moved on this thread. That of /proc and its like is made when it is asked for, which may take any time. */
  #here(): boolean {
    const { device } = this.node;
    return !device.volatile && device.here(Date.now());
  }

  /** None of what may hang: whoever has it might wait where it must not. */
  lend(): number | undefined {
    if (!this.node.tree.lends || !this.#here()) return undefined;
    const fd = duplicate(this.opened());
    return fd < 0 ? undefined : fd;
  }

  read(buffer: Uint8Array, offset: number): Awaitable<number> {
    const fd = this.opened();
    const { device } = this.node;
    if (!this.#here()) return this.#readElsewhere(buffer, 0, offset);
    if (device.uncached) return this.node.tree.perform(this.node, (work) => this.#fill(work, buffer, 0, offset));
    // What is in memory already is had at once; a second call tells the end of the file from the end of what is.
    let done = 0;
    for (;;) {
      const result = readCached(fd, buffer, done, buffer.length - done, offset + done);
      if (result === EAGAIN) return this.#readElsewhere(buffer, done, offset);
      if (result === EOPNOTSUPP && done === 0) {
        device.uncached = true;
        return this.read(buffer, offset);
      }
      if (result < 0) return done > 0 ? done : fail(result);
      done += result;
      if (result === 0 || done === buffer.length) return done;
    }
  }

  #readElsewhere(buffer: Uint8Array, done: number, offset: number): Promise<number> | number {
    return this.using(this.node.tree.background(this.node.device, (work) => this.#fill(work, buffer, done, offset)));
  }

  *#fill(work: Work, buffer: Uint8Array, done: number, offset: number): Op<number> {
    const result = yield* work.pread(this.opened(), buffer, done, buffer.length - done, offset + done);
    if (result < 0 && done === 0) fail(result);
    return done + Math.max(result, 0);
  }

  write(data: Uint8Array, offset: number): Awaitable<number> {
    this.opened();
    const { tree, device } = this.node;
    let armed = false;
    const arm = () => {
      armed = true;
    };
    const body = (work: Work) => this.#write(work, data, offset, arm);
    const written = device.volatile ? tree.background(device, body) : tree.perform(this.node, body);
    if (!(written instanceof Promise)) return armed ? this.using(this.#disarm(written)) : written;
    return this.using(written.then((count) => (armed ? this.#disarm(count) : count)));
  }

  #disarm(count: number): Awaitable<number> {
    const { node, fd } = this;
    const { tree } = node;
    return tree.beside(node, node, function* (work) {
      yield* tree.model.disarm(work, node, fd, true);
      return count;
    });
  }

  /** `armed` is called where it has left setuid or setgid, which is to be taken in the row of changes. */
  *#write(work: Work, data: Uint8Array, offset: number, armed: () => void): Op<number> {
    let done = 0;
    do {
      const result = yield* work.pwrite(this.opened(), data, done, data.length - done, offset + done);
      if (result < 0 && done === 0) fail(result);
      if (result <= 0) break;
      done += result;
    } while (done < data.length);
    if (!(yield* this.node.tree.model.disarm(work, this.node, this.fd, false))) armed();
    return done;
  }

  readdir(): never {
    throw failure('ENOTDIR');
  }

  setattr(change: SetAttributes): Awaitable<void> {
    const { node } = this;
    node.tree.writable();
    return this.using(node.tree.beside(node, node, (work) => applyChange(work, node, this.opened(), this.access !== L_O_RDONLY, change)));
  }

  lock(range: LockRange, flags: number, caller: Caller): Awaitable<number> {
    return this.using(this.node.tree.locks.lock(this, range, flags, caller));
  }

  getlock(range: LockRange): Awaitable<LockRange> {
    return this.using(this.node.tree.locks.getlock(this, range));
  }

  /** Whether it may take locks of that kind: fcntl(2) wants reading for shared ones, writing for exclusive ones. */
  allows(exclusive: boolean): boolean {
    return this.access !== (exclusive ? L_O_RDONLY : L_O_WRONLY);
  }

  /** The open descriptor, for locks. */
  get descriptor(): number {
    return this.opened();
  }

  protected override released(): void {
    this.node.tree.locks.release(this);
  }
}
