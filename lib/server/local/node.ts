import {
  AT_REMOVEDIR,
  L_O_TRUNC,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from '../../protocol/constants.js';
import type { Attributes, FileSystemStatistics, Qid, SetAttributes } from '../../protocol/types.js';
import { ENOENT, EPERM } from '../../sys/files.js';
import { O_CLOEXEC, O_DIRECTORY, O_NOATIME, O_NOFOLLOW, O_PATH, O_RDONLY } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import { makedev, readStatFs, type Stat } from '../../sys/stat.js';
import type { Awaitable, BackendFile, BackendNode, Caller } from '../backend.js';
import { opening } from '../descriptors.js';
import { failure } from '../errors.js';
import { attributesOf, qidType, qidVersion } from './attributes.js';
import { applyChange } from './change.js';
import type { Device } from './devices.js';
import { LocalDirectory } from './directory.js';
import { fail, must } from './fail.js';
import { LocalFile, type Opened } from './file.js';
import { Kept } from './kept.js';
import { createFile, type Made, type Make, makeFile } from './making.js';
import { renameIn, unlinkIn } from './moving.js';
import { changes, hostFlags } from './open.js';
import type { Recent } from './recent.js';
import type { Tree } from './tree.js';
import { OVERTAKEN, type Work } from './work.js';

const HELD = O_PATH | O_NOFOLLOW | O_CLOEXEC;
const EMFILE = -24;
/** What mknod(2) makes. */
const MADE: readonly number[] = [S_IFREG, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK];
const ESTALE = 'ESTALE';
/** How often a name is looked up while others of its directory change all the time. */
const LOOKS = 8;

/**
 * A file of the export as fids point to it: a name in a directory that is a node too, up to the root. It holds an O_PATH descriptor; where the tree
 * has taken that back, it is found again by its name from its parent's, and only if it still is the same file. Names are resolved one at a
 * time and never followed, and ".." is the node above, so whatever is renamed or put in the way, nothing outside the export is reached.
 */
export class LocalNode implements BackendNode {
  readonly tree: Tree;
  readonly device: Device;
  readonly qid: Qid;
  /** The host's file type, S_IFMT bits. */
  readonly kind: number;
  readonly ino: bigint;
  readonly kept = new Kept();
  /** The directory above; none for the root. */
  above: LocalNode | undefined;
  /** The name in the parent. */
  label: string;
  /** Whether the parent has it under that name, as far as this server knows. */
  attached = true;
  /** Nodes below, by name. */
  children: Map<string, LocalNode> | undefined;
  /** What was opened last of it and is open, by which it is found if not by its name. */
  opened: Opened | undefined;
  /** O_PATH, or -1. */
  fd = -1;
  /** Operations that use the descriptor, and changes that wait for their turn. */
  pins = 0;
  /** Fids, and nodes that are no longer among the children but still have this one above them. */
  holders = 1;
  /** The mode the client last saw. */
  mode: number;
  /** Changes that wait for one another, while calls are made on other threads. */
  queue: Promise<unknown> | undefined;
  /** Raised when a change that takes names of this directory to other files, or to none, begins, and when it has ended: odd in between. */
  turn = 0;
  /** Which of the tree's nodes with descriptors it is among, if it may lose its own, and its neighbours there. */
  recent: Recent | undefined;
  older: LocalNode | undefined;
  newer: LocalNode | undefined;
  readonly #birth: number;

  constructor(tree: Tree, above: LocalNode | undefined, label: string, device: Device, kind: number, stat: Stat) {
    this.tree = tree;
    this.above = above;
    this.label = label;
    this.device = device;
    this.kind = kind;
    this.ino = stat.ino;
    this.mode = stat.mode;
    this.#birth = stat.btimeSec * 1000 + stat.btimeNsec / 1e6;
    this.qid = { type: qidType(stat.mode), version: device.volatile ? 0 : qidVersion(stat), path: tree.devices.path(device, stat.ino) };
  }

  /** Whether new files in this directory get its group. */
  get setgid(): boolean {
    return (this.mode & S_ISGID) !== 0;
  }

  /** Whether what the host told of is this file. */
  is(stat: Stat): boolean {
    return (
      stat.ino === this.ino &&
      stat.dev === this.device.dev &&
      (stat.mode & S_IFMT) === this.kind &&
      stat.btimeSec * 1000 + stat.btimeNsec / 1e6 === this.#birth
    );
  }

  retain(): void {
    this.holders++;
  }

  release(): void {
    this.holders--;
    this.tree.retire(this);
  }

  /** Empty for the root. ENOENT where the name has gone, and may be another file's by now. */
  name(): string {
    if (!this.attached) throw failure('ENOENT');
    return this.label;
  }

  parent(): LocalNode {
    const up = this.above ?? this;
    up.retain();
    return up;
  }

  walk(name: string): Awaitable<LocalNode | undefined> {
    this.tree.check(name);
    const answer = this.tree.perform(this, (work) => this.look(work, name));
    return answer instanceof Promise ? this.#walked(answer, name) : answer;
  }

  /** Where changes of the directory have overtaken a look again and again, it takes its turn among them. */
  async #walked(answer: Promise<LocalNode | undefined>, name: string): Promise<LocalNode | undefined> {
    try {
      return await answer;
    } catch (error) {
      if (error !== OVERTAKEN) throw error;
      return await this.tree.change(this, undefined, (work) => this.look(work, name));
    }
  }

  /**
   * The child of that name, with one holder more; undefined if there is none. Where a rename or a removal came in between, what was found may have another name by now, and be
   * known by it: it is looked for again. OVERTAKEN where they never leave the time for it.
   */
  *look(work: Work, name: string): Op<LocalNode | undefined> {
    const { tree } = this;
    this.demandDirectory();
    tree.enter(this, name);
    for (let looks = 0; looks < LOOKS; looks++) {
      const { turn } = this;
      if (turn % 2 !== 0) {
        yield* tree.turned(work, this);
        continue;
      }
      const dirfd = yield* this.descriptor(work);
      const known = this.children?.get(name);
      if (known !== undefined) {
        const result = yield* work.statAt(dirfd, name);
        if (this.turn !== turn) continue;
        if (result >= 0 && known.is(work.stat) && known.attached && known.above === this && known.label === name) {
          known.retain();
          known.#seen(work.stat);
          return known;
        }
        if (this.children?.get(name) === known) tree.detach(known);
        if (result === ENOENT) return undefined;
        must(result);
      }
      const fd = yield* tree.open(work, dirfd, name, HELD);
      if (fd === ENOENT) return undefined;
      must(fd);
      const node = yield* this.#meet(work, name, fd);
      if (this.turn === turn) return tree.adopt(node, fd);
      yield* work.close(fd);
    }
    throw OVERTAKEN;
  }

  /** A node for what was found under a name: nobody knows of it yet. */
  *#meet(work: Work, name: string, fd: number): Op<LocalNode> {
    const { tree } = this;
    try {
      must(yield* work.statOf(fd));
      const { stat } = work;
      const device = stat.dev === this.device.dev ? this.device : yield* tree.device(work, fd, stat.dev);
      if (device !== this.device && !work.background && !device.here(Date.now())) tree.elsewhere(device);
      const node = new LocalNode(tree, this, name, device, stat.mode & S_IFMT, stat);
      if (tree.model.mapped) {
        // The node stands for itself already: a model that goes by names needs one.
        yield* tree.model.overlay(work, node, fd, stat);
        node.qid.type = qidType(stat.mode);
      }
      return node;
    } catch (error) {
      yield* work.close(fd);
      throw error;
    }
  }

  /** Its O_PATH descriptor, found again if the tree has taken it back: good until the operation's end. */
  *descriptor(work: Work): Op<number> {
    work.pin(this);
    if (this.fd >= 0) {
      this.tree.held.touch(this);
      return this.fd;
    }
    return yield* this.tree.find(work, this);
  }

  /** Opens the file of that name in `dirfd`, if it still is this one. */
  *findIn(work: Work, dirfd: number): Op<number> {
    const fd = must(yield* this.tree.open(work, dirfd, this.label, HELD));
    const result = yield* work.statOf(fd);
    // The kernel numbers the files of /proc anew whenever nobody has them open.
    if (result >= 0 && (this.is(work.stat) || (this.device.volatile && work.stat.dev === this.device.dev))) return fd;
    yield* work.close(fd);
    if (result < 0) fail(result);
    throw failure(ESTALE);
  }

  getattr(_mask: bigint): Awaitable<Attributes> {
    return this.tree.perform(this, (work) => this.#getattr(work));
  }

  *#getattr(work: Work): Op<Attributes> {
    return yield* this.attributes(work, yield* this.descriptor(work));
  }

  /** What a descriptor of this file tells, as the client sees it. */
  *attributes(work: Work, fd: number): Op<Attributes> {
    must(yield* work.statOf(fd));
    this.#seen(work.stat);
    if (this.tree.model.mapped) yield* this.tree.model.overlay(work, this, fd, work.stat);
    else this.mode = work.stat.mode;
    return attributesOf(work.stat, this.qid);
  }

  #seen(stat: Stat): void {
    if (!this.device.volatile) this.qid.version = qidVersion(stat);
  }

  setattr(change: SetAttributes): Awaitable<void> {
    this.tree.writable();
    return this.tree.beside(this, this, (work) => this.#setattr(work, change));
  }

  *#setattr(work: Work, change: SetAttributes): Op<void> {
    yield* applyChange(work, this, yield* this.descriptor(work), false, change);
  }

  statfs(): Awaitable<FileSystemStatistics> {
    return this.tree.perform(this, (work) => this.#statfs(work));
  }

  *#statfs(work: Work): Op<FileSystemStatistics> {
    must(yield* work.fstatfs(yield* this.descriptor(work)));
    return readStatFs(work.small);
  }

  open(flags: number, { connection }: Caller): Awaitable<BackendFile> {
    if (changes(flags)) this.tree.writable();
    const { tree } = this;
    const open = (work: Work) => this.openWith(work, flags, connection);
    const cuts = tree.model.mapped && (flags & L_O_TRUNC) !== 0;
    return opening(connection, () => (cuts ? tree.beside(this, this, open) : tree.perform(this, open)));
  }

  /** Opens the file itself: with L_O_TRUNC in the row of its directory, where it may lose what a mapped model keeps by its name. */
  *openWith(work: Work, flags: number, connection: string): Op<BackendFile> {
    const { model } = this.tree;
    const held = yield* this.descriptor(work);
    if (model.mapped && this.kind === S_IFREG) {
      must(yield* work.statOf(held));
      yield* model.overlay(work, this, held, work.stat);
    }
    const type = this.kind === S_IFREG && model.mapped ? this.mode & S_IFMT : this.kind;
    if (type === S_IFDIR) {
      if (changes(flags)) throw failure('EISDIR');
      return new LocalDirectory(this, must(yield* this.tree.open(work, held, '.', O_RDONLY | O_DIRECTORY | O_CLOEXEC)), connection);
    }
    if (type === S_IFLNK) throw failure('ELOOP');
    if (type !== S_IFREG) throw failure('ENXIO');
    const host = hostFlags(flags);
    if ((host & O_DIRECTORY) !== 0) throw failure('ENOTDIR');
    let fd = yield* work.reopen(held, host);
    if (fd === EMFILE && this.tree.held.relieve()) fd = yield* work.reopen(held, host);
    if (fd === EPERM && (host & O_NOATIME) !== 0) fd = yield* work.reopen(held, host & ~O_NOATIME);
    must(fd);
    try {
      if ((flags & L_O_TRUNC) !== 0) yield* model.disarm(work, this, held, true);
      return new LocalFile(this, fd, flags, connection);
    } catch (error) {
      yield* work.close(fd);
      throw error;
    }
  }

  create(name: string, flags: number, mode: number, gid: number, caller: Caller): Awaitable<Made> {
    this.tree.check(name);
    this.tree.writable();
    return opening(caller.connection, () =>
      this.tree.change(this, undefined, (work) => createFile(work, this, name, flags, mode, gid, caller)),
    );
  }

  mkdir(name: string, mode: number, gid: number, caller: Caller): Awaitable<Qid> {
    return this.#make(name, S_IFDIR | (mode & 0o7777), gid, caller, (work, dirfd, owner) =>
      this.tree.model.mkdir(work, this, dirfd, name, owner),
    );
  }

  symlink(name: string, target: string, gid: number, caller: Caller): Awaitable<Qid> {
    return this.#make(name, S_IFLNK | 0o777, gid, caller, (work, dirfd, owner) =>
      this.tree.model.symlink(work, this, dirfd, name, target, owner),
    );
  }

  mknod(name: string, mode: number, major: number, minor: number, gid: number, caller: Caller): Awaitable<Qid> {
    const type = mode & S_IFMT;
    if (type !== 0 && !MADE.includes(type)) throw failure('EINVAL');
    const full = (type === 0 ? S_IFREG : type) | (mode & 0o7777);
    const device = makedev(major, minor);
    return this.#make(name, full, gid, caller, (work, dirfd, owner) => this.tree.model.mknod(work, this, dirfd, name, owner, device));
  }

  #make(name: string, mode: number, gid: number, caller: Caller, make: Make): Awaitable<Qid> {
    this.tree.check(name);
    this.tree.writable();
    return this.tree.change(this, undefined, (work) => makeFile(work, this, mode, gid, caller.uid, make));
  }

  link(name: string, target: BackendNode): Awaitable<void> {
    this.tree.check(name);
    this.tree.writable();
    const node = this.tree.own(target);
    return this.tree.beside(this, node, (work) => this.#link(work, name, node));
  }

  *#link(work: Work, name: string, node: LocalNode): Op<void> {
    this.demandDirectory();
    if (node.kind === S_IFDIR) throw failure('EPERM');
    const fd = yield* node.descriptor(work);
    must(yield* this.tree.model.link(work, node, fd, yield* this.descriptor(work), name));
  }

  readlink(): Awaitable<string> {
    return this.tree.perform(this, (work) => this.#readlink(work));
  }

  *#readlink(work: Work): Op<string> {
    return yield* this.tree.model.readlink(work, this, yield* this.descriptor(work));
  }

  rename(oldName: string, newParent: BackendNode, newName: string, _caller: Caller, node?: BackendNode): Awaitable<void> {
    this.tree.check(oldName);
    this.tree.check(newName);
    this.tree.writable();
    const to = this.tree.own(newParent);
    return this.tree.change(this, to, (work) => renameIn(work, this, oldName, to, newName, node));
  }

  unlink(name: string, flags: number, _caller: Caller, node?: BackendNode): Awaitable<void> {
    this.tree.check(name);
    this.tree.writable();
    if ((flags & ~AT_REMOVEDIR) !== 0) throw failure('EINVAL');
    return this.tree.change(this, undefined, (work) => unlinkIn(work, this, name, (flags & AT_REMOVEDIR) !== 0, node));
  }

  getxattr(name: string): Awaitable<Uint8Array> {
    return this.tree.perform(this, (work) => this.#getxattr(work, name));
  }

  *#getxattr(work: Work, name: string): Op<Uint8Array> {
    return yield* this.tree.model.getxattr(work, this, yield* this.descriptor(work), name);
  }

  listxattr(): Awaitable<string[]> {
    return this.tree.perform(this, (work) => this.#listxattr(work));
  }

  *#listxattr(work: Work): Op<string[]> {
    return yield* this.tree.model.listxattr(work, this, yield* this.descriptor(work));
  }

  setxattr(name: string, value: Uint8Array, flags: number): Awaitable<void> {
    this.tree.writable();
    return this.tree.beside(this, this, (work) => this.#setxattr(work, name, value, flags));
  }

  *#setxattr(work: Work, name: string, value: Uint8Array, flags: number): Op<void> {
    yield* this.tree.model.setxattr(work, this, yield* this.descriptor(work), name, value, flags);
  }

  removexattr(name: string): Awaitable<void> {
    this.tree.writable();
    return this.tree.beside(this, this, (work) => this.#removexattr(work, name));
  }

  *#removexattr(work: Work, name: string): Op<void> {
    yield* this.tree.model.removexattr(work, this, yield* this.descriptor(work), name);
  }

  demandDirectory(): void {
    if (this.kind !== S_IFDIR) throw failure('ENOTDIR');
  }
}
