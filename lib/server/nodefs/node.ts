import { constants } from 'node:fs';
import { rename as hostRename } from 'node:fs/promises';
import {
  AT_REMOVEDIR,
  L_O_EXCL,
  L_O_TRUNC,
  L_O_WRONLY,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_SIZE,
  SETATTR_UID,
} from '../../protocol/constants.js';
import { errnoOf } from '../../protocol/error.js';
import type { Attributes, FileSystemStatistics, Qid, SetAttributes } from '../../protocol/types.js';
import type { BackendFile, BackendNode, Caller } from '../backend.js';
import { failure } from '../errors.js';
import { HandleFile, ListedDirectory } from './file.js';
import type { StatLike } from './shape.js';
import { attributesOf, sameFile, timesOf, typeOf } from './stat.js';
import { hostFlags, type Tree } from './tree.js';

/** The method, bound to its file system; EOPNOTSUPP where that has none. */
function has<T>(method: T | undefined): T {
  if (method === undefined) throw failure('EOPNOTSUPP');
  return method;
}

/**
 * A file known by the names that lead to it. Nodes form a tree of their own: one per name that somebody holds, so that a rename
 * through this server moves every fid below it. A node without a place in it was removed.
 */
export class PathNode implements BackendNode {
  readonly tree: Tree;
  /** What it was when it was walked to: it must stay that very file. */
  readonly stat: StatLike;
  readonly qid: Qid;
  #above: PathNode | undefined;
  #name: string;
  #removed = false;
  #holders = 1;
  readonly #children = new Map<string, PathNode>();

  /** Has one holder: the caller. */
  constructor(tree: Tree, stat: StatLike, above?: PathNode, name = '') {
    this.tree = tree;
    this.stat = stat;
    this.qid = tree.qid(stat);
    this.#above = above;
    this.#name = name;
    tree.held++;
    if (above !== undefined) {
      above.retain();
      above.#children.set(name, this);
    }
  }

  /** The directory it is in; undefined for the root. ENOENT if it was removed. */
  get above(): PathNode | undefined {
    if (this.#removed) throw failure('ENOENT');
    return this.#above;
  }

  name(): string {
    if (this.#removed) throw failure('ENOENT');
    return this.#name;
  }

  /** Whether nobody holds it any more, or it has lost its place. */
  get isGone(): boolean {
    return this.#removed;
  }

  retain(): void {
    this.#holders++;
    this.tree.held++;
  }

  release(): void {
    this.tree.held--;
    if (--this.#holders > 0) return;
    this.#detach();
  }

  /** Takes it out of the tree of nodes. */
  #detach(): void {
    if (this.#removed) return;
    this.#removed = true;
    const above = this.#above;
    if (above === undefined) return;
    if (above.#children.get(this.#name) === this) above.#children.delete(this.#name);
    above.release();
  }

  /** The file of that name is gone. */
  #forget(name: string): void {
    const child = this.#children.get(name);
    if (child !== undefined) child.#detach();
  }

  #refresh(stat: StatLike): void {
    this.qid.version = this.tree.qid(stat).version;
  }

  /** The node of a name that was just looked at, with one holder more. */
  #child(name: string, stat: StatLike): PathNode {
    const known = this.#children.get(name);
    if (known === undefined) return new PathNode(this.tree, stat, this, name);
    if (sameFile(known.stat, stat)) {
      known.retain();
      known.#refresh(stat);
      return known;
    }
    // Somebody else put another file in its place.
    known.#detach();
    return new PathNode(this.tree, stat, this, name);
  }

  walk(name: string): Promise<PathNode> {
    return this.tree.gate.look(async () => this.#child(name, await this.tree.lstat(await this.tree.place(this, name))));
  }

  parent(): PathNode {
    const node = this.above ?? this;
    node.retain();
    return node;
  }

  getattr(): Promise<Attributes> {
    return this.tree.gate.look(async () => {
      const { stat } = await this.tree.locate(this);
      this.#refresh(stat);
      return attributesOf(stat, this.qid);
    });
  }

  setattr(change: SetAttributes): Promise<void> {
    const { fs, gate } = this.tree;
    const { valid } = change;
    return gate.look(async () => {
      const { path, stat } = await this.tree.locate(this);
      const type = typeOf(stat);
      // A mode of a symlink cannot be set on Linux either.
      if ((valid & SETATTR_MODE) !== 0 && type === S_IFLNK) throw failure('EOPNOTSUPP');
      if ((valid & SETATTR_SIZE) !== 0) {
        const handle = await this.tree.open(path, L_O_WRONLY, stat, false);
        await this.tree.truncate(handle, change.size).finally(() => handle.close());
      }
      if ((valid & (SETATTR_UID | SETATTR_GID)) !== 0) {
        const uid = (valid & SETATTR_UID) !== 0 ? change.uid : Number(stat.uid);
        const gid = (valid & SETATTR_GID) !== 0 ? change.gid : Number(stat.gid);
        await has(fs.lchown).call(fs, path, uid, gid);
      }
      if ((valid & SETATTR_MODE) !== 0) {
        const chmod = has(fs.chmod);
        await this.tree.chmod(change.mode, (mode) => chmod.call(fs, path, mode));
      }
      const times = timesOf(change, stat);
      if (times === undefined) return;
      const utimes = type === S_IFLNK ? has(fs.lutimes) : has(fs.utimes);
      await utimes.call(fs, path, times[0], times[1]);
    });
  }

  statfs(): Promise<FileSystemStatistics> {
    const { fs, gate } = this.tree;
    return gate.look(async () => {
      const statfs = has(fs.statfs);
      // Of the root: statfs follows symlinks, and this node may be one.
      const { type, bsize, ...rest } = await statfs.call(fs, this.tree.root, { bigint: true });
      return { ...rest, type: Number(BigInt.asUintN(32, type)), bsize: Number(bsize), fsid: 0n, namelen: 255 };
    });
  }

  open(flags: number, { connection }: Caller): Promise<BackendFile> {
    return this.tree.gate.look(() => this.#open(flags, connection));
  }

  async #open(flags: number, connection: string): Promise<BackendFile> {
    const { path, stat } = await this.tree.locate(this);
    if (typeOf(stat) === S_IFDIR) return new ListedDirectory(this, connection);
    if (typeOf(stat) === S_IFLNK) throw failure('ELOOP');
    return this.tree.opening(connection, async () => {
      const handle = await this.tree.open(path, flags, stat, (flags & L_O_TRUNC) !== 0);
      return new HandleFile(this, handle, flags, connection);
    });
  }

  create(name: string, flags: number, mode: number, _gid: number, { connection }: Caller): Promise<{ node: PathNode; file: BackendFile }> {
    return this.tree.gate.look(async () => {
      const path = await this.tree.place(this, name);
      try {
        // Its creator may read and write it whatever its mode, and not every file system of this shape knows that.
        if ((await this.tree.find(path)) !== undefined) throw failure('EEXIST');
        return await this.tree.opening(connection, () => this.#create(path, name, flags, mode, connection));
      } catch (error) {
        if ((flags & L_O_EXCL) !== 0 || errnoOf(error) !== 17) throw error;
      }
      const node = this.#child(name, await this.tree.lstat(path));
      try {
        if (typeOf(node.stat) === S_IFDIR) throw failure('EISDIR');
        return { node, file: await node.#open(flags, connection) };
      } catch (error) {
        node.release();
        throw error;
      }
    });
  }

  async #create(
    path: string,
    name: string,
    flags: number,
    mode: number,
    connection: string,
  ): Promise<{ node: PathNode; file: BackendFile }> {
    const handle = await this.tree.fs.open(path, hostFlags(flags) | constants.O_CREAT | constants.O_EXCL, mode | 0o600);
    try {
      // The mode has been through the client's umask; this process's own has no say in it.
      await handle.chmod(mode);
      const node = this.#child(name, await handle.stat({ bigint: true }));
      return { node, file: new HandleFile(node, handle, flags, connection) };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Makes something by name, and gives its qid. */
  #make(name: string, make: (path: string) => Promise<unknown>): Promise<Qid> {
    return this.tree.gate.change(async () => {
      const path = await this.tree.place(this, name);
      // Whatever a file system does about a name that is a dangling symlink.
      const existing = await this.tree.find(path);
      if (existing !== undefined) throw failure('EEXIST');
      await make(path);
      return this.tree.qid(await this.tree.lstat(path));
    });
  }

  mkdir(name: string, mode: number): Promise<Qid> {
    const { fs } = this.tree;
    return this.#make(name, async (path) => {
      await has(fs.mkdir).call(fs, path, mode);
      if (fs.chmod !== undefined) await fs.chmod(path, mode);
    });
  }

  symlink(name: string, target: string): Promise<Qid> {
    const { fs } = this.tree;
    return this.#make(name, (path) => has(fs.symlink).call(fs, target, path));
  }

  mknod(name: string, mode: number): Promise<Qid> {
    const { fs } = this.tree;
    return this.#make(name, async (path) => {
      const type = mode & S_IFMT;
      if (type !== 0 && type !== S_IFREG) throw failure('EOPNOTSUPP');
      const handle = await fs.open(path, hostFlags(L_O_WRONLY) | constants.O_CREAT | constants.O_EXCL, mode & 0o7777);
      await handle.chmod(mode & 0o7777).finally(() => handle.close());
    });
  }

  async link(name: string, target: BackendNode): Promise<void> {
    const { fs } = this.tree;
    if (!(target instanceof PathNode) || target.tree !== this.tree) throw failure('EXDEV');
    await this.#make(name, async (path) => {
      const { path: existing, stat } = await this.tree.locate(target);
      // link(2) leaves it to the system whether a symlink is followed.
      if (typeOf(stat) === S_IFLNK) throw failure('EOPNOTSUPP');
      await has(fs.link).call(fs, existing, path);
    });
  }

  readlink(): Promise<string> {
    const { fs, gate } = this.tree;
    return gate.look(async () => has(fs.readlink).call(fs, (await this.tree.locate(this)).path));
  }

  rename(oldName: string, newParent: BackendNode, newName: string, _caller: Caller, node?: BackendNode): Promise<void> {
    const { fs, gate } = this.tree;
    if (!(newParent instanceof PathNode) || newParent.tree !== this.tree) throw failure('EXDEV');
    return gate.change(async () => {
      const from = await this.tree.place(this, oldName);
      const to = await this.tree.place(newParent, newName);
      const source = await this.tree.lstat(from);
      this.#demand(oldName, source, node);
      const target = await this.tree.find(to);
      if (target !== undefined && sameFile(source, target)) return;
      if (typeOf(source) === S_IFDIR) {
        for (let at: PathNode | undefined = newParent; at !== undefined; at = at.above) {
          if (sameFile(at.stat, source)) throw failure('EINVAL');
        }
      }
      // Not every file system of this shape knows what rename(2) refuses.
      if (target !== undefined) {
        const [isDirectory, ontoDirectory] = [typeOf(source) === S_IFDIR, typeOf(target) === S_IFDIR];
        if (ontoDirectory && !isDirectory) throw failure('EISDIR');
        if (!ontoDirectory && isDirectory) throw failure('ENOTDIR');
        if (ontoDirectory && (await fs.readdir(to)).length > 0) throw failure('ENOTEMPTY');
        if (ontoDirectory && fs.rmdir !== undefined) await fs.rmdir(to);
      }
      if (typeOf(source) === S_IFLNK && has(fs.rename) !== hostRename) {
        // Some file systems of this shape (memfs 4) move what a symlink points to, which may be outside. So it is made anew.
        const link = await has(fs.readlink).call(fs, from);
        if (target !== undefined) await has(fs.unlink).call(fs, to);
        await has(fs.symlink).call(fs, link, to);
        await has(fs.unlink).call(fs, from);
        newParent.#forget(newName);
        this.#forget(oldName);
        return;
      }
      await has(fs.rename).call(fs, from, to);
      newParent.#forget(newName);
      const moved = this.#children.get(oldName);
      if (moved !== undefined) moved.#move(newParent, newName);
    });
  }

  /** ENOENT where a name, which was looked at, does not lead to `node`. */
  #demand(name: string, stat: StatLike, node: BackendNode | undefined): void {
    if (node === undefined) return;
    const child = this.#children.get(name);
    if (child === undefined || child.qid !== node.qid || !sameFile(child.stat, stat)) throw failure('ENOENT');
  }

  #move(above: PathNode, name: string): void {
    const before = this.#above;
    if (before !== undefined) before.#children.delete(this.#name);
    above.retain();
    above.#children.set(name, this);
    this.#above = above;
    this.#name = name;
    before?.release();
  }

  unlink(name: string, flags: number, _caller: Caller, node?: BackendNode): Promise<void> {
    const { fs, gate } = this.tree;
    return gate.change(async () => {
      const path = await this.tree.place(this, name);
      const stat = await this.tree.lstat(path);
      this.#demand(name, stat, node);
      const directory = typeOf(stat) === S_IFDIR;
      if ((flags & AT_REMOVEDIR) !== 0) {
        if (!directory) throw failure('ENOTDIR');
        if ((await fs.readdir(path)).length > 0) throw failure('ENOTEMPTY');
        await has(fs.rmdir).call(fs, path);
      } else {
        if (directory) throw failure('EISDIR');
        await has(fs.unlink).call(fs, path);
      }
      this.#forget(name);
    });
  }

  getxattr(): never {
    throw failure('EOPNOTSUPP');
  }

  listxattr(): never {
    throw failure('EOPNOTSUPP');
  }

  setxattr(): never {
    throw failure('EOPNOTSUPP');
  }

  removexattr(): never {
    throw failure('EOPNOTSUPP');
  }
}
