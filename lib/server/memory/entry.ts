import {
  AT_REMOVEDIR,
  L_O_ACCMODE,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_TRUNC,
  L_O_WRONLY,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from '../../protocol/constants.js';
import type { Attributes, FileSystemStatistics, Qid, SetAttributes } from '../../protocol/types.js';
import type { BackendFile, BackendNode, Caller } from '../backend.js';
import { failure } from '../errors.js';
import { MemoryDirectoryFile, MemoryFile, SyntheticFile } from './file.js';
import { Inode, type Produce, type Volume } from './inode.js';

/** An id of a client that gave none. */
function idOf(uid: number): number {
  return uid === 0xffffffff ? 0 : uid;
}

/** Linux's 64-bit device number (makedev(3)). */
function makedev(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn);
}

/**
 * A name in a directory and the file it stands for; also the node that fids point to, so a walk makes nothing. A rename moves the
 * entry itself, which is why every fid below goes on working. An entry without a parent was removed; its inode may be open still.
 */
export class Entry implements BackendNode {
  readonly inode: Inode;
  #name: string;
  #parent: Entry | undefined;
  /** Its place in the directory's order; the directory sets it. */
  cookie = 0;

  private constructor(inode: Inode, name: string, parent: Entry | undefined) {
    this.inode = inode;
    this.#name = name;
    this.#parent = parent;
  }

  /** The root of a new tree: the only entry that is its own parent. */
  static root(volume: Volume, mode: number, uid: number, gid: number): Entry {
    const inode = new Inode(volume, S_IFDIR | (mode & 0o7777), uid, gid);
    const root = new Entry(inode, '', undefined);
    root.#parent = root;
    inode.entry = root;
    return root;
  }

  get qid(): Qid {
    return this.inode.qid;
  }

  retain(): void {
    this.inode.retain();
  }

  release(): void {
    this.inode.release();
  }

  name(): string {
    if (this.#parent === undefined) throw failure('ENOENT');
    return this.#name;
  }

  walk(name: string, caller: Caller): Entry | undefined {
    const { inode } = this;
    if (inode.directory === undefined) throw failure('ENOTDIR');
    inode.demand(1, caller.uid);
    const entry = inode.directory.get(name);
    entry?.inode.retain();
    return entry;
  }

  parent(): Entry {
    if (this.#parent === undefined) throw failure('ENOENT');
    this.#parent.retain();
    return this.#parent;
  }

  getattr(): Attributes {
    return this.inode.getattr();
  }

  setattr(change: SetAttributes, caller: Caller): void {
    this.inode.setattr(change, caller.uid);
  }

  statfs(): FileSystemStatistics {
    const { quota } = this.inode.volume;
    const block = 4096;
    const free = BigInt(Math.max(0, Math.floor((quota.maxBytes - quota.bytes) / block)));
    const blocks = BigInt(Math.floor(quota.maxBytes / block));
    return {
      // V9FS_MAGIC (linux/magic.h): there is no better number for a file system that exists nowhere else.
      type: 0x01021997,
      bsize: block,
      blocks,
      bfree: free,
      bavail: free,
      files: BigInt(quota.maxFiles),
      ffree: BigInt(quota.maxFiles - quota.files),
      fsid: 0n,
      namelen: 255,
    };
  }

  open(flags: number, caller: Caller): BackendFile {
    const { inode } = this;
    const access = flags & L_O_ACCMODE;
    const type = inode.attributes.mode & S_IFMT;
    inode.demand((access === L_O_WRONLY ? 0 : 4) | (access === L_O_RDONLY ? 0 : 2), caller.uid);
    if (type === S_IFDIR) return new MemoryDirectoryFile(this);
    if (type === S_IFLNK) throw failure('ELOOP');
    if (type !== S_IFREG) throw failure('ENXIO');
    if (inode.produce !== undefined) {
      if (access !== L_O_RDONLY) throw failure('EACCES');
      return new SyntheticFile(inode);
    }
    if ((flags & L_O_TRUNC) !== 0) {
      inode.demand(2, caller.uid);
      inode.truncate(0);
    }
    return new MemoryFile(inode, flags);
  }

  create(name: string, flags: number, mode: number, gid: number, caller: Caller): { node: BackendNode; file: BackendFile } {
    const existing = this.inode.directory?.get(name);
    if (existing !== undefined) {
      if ((flags & L_O_EXCL) !== 0) throw failure('EEXIST');
      if (existing.inode.isDirectory) throw failure('EISDIR');
      const file = existing.open(flags, caller);
      existing.retain();
      return { node: existing, file };
    }
    const node = this.#make(name, S_IFREG | (mode & 0o7777), gid, caller);
    node.retain();
    // The creator may write whatever the mode says (open(2)), so this does not go through open().
    return { node, file: new MemoryFile(node.inode, flags) };
  }

  mkdir(name: string, mode: number, gid: number, caller: Caller): Qid {
    const inherited = this.inode.attributes.mode & S_ISGID;
    return this.#make(name, S_IFDIR | (mode & 0o7777) | inherited, gid, caller).qid;
  }

  symlink(name: string, target: string, gid: number, caller: Caller): Qid {
    return this.#make(name, S_IFLNK | 0o777, gid, caller, { target }).qid;
  }

  mknod(name: string, mode: number, major: number, minor: number, gid: number, caller: Caller): Qid {
    const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
    if (type === S_IFDIR || type === S_IFLNK) throw failure('EINVAL');
    const device = type !== S_IFREG && type !== S_IFIFO && type !== S_IFSOCK;
    return this.#make(name, type | (mode & 0o7777), gid, caller, { rdev: device ? makedev(major, minor) : 0n }).qid;
  }

  /** A file whose content is computed whenever it is opened. */
  synthetic(name: string, produce: Produce, mode = 0o444): Entry {
    const caller = { uid: 0 };
    return this.#make(name, S_IFREG | mode, 0, caller, { produce });
  }

  #make(
    name: string,
    mode: number,
    gid: number,
    caller: Pick<Caller, 'uid'>,
    more: { rdev?: bigint; target?: string; produce?: Produce } = {},
  ): Entry {
    this.#demandRoomFor(name, caller);
    const { attributes, volume } = this.inode;
    const group = (attributes.mode & S_ISGID) !== 0 ? attributes.gid : idOf(gid);
    const entry = new Entry(new Inode(volume, mode, idOf(caller.uid), group, more), name, this);
    this.#adopt(entry);
    return entry;
  }

  #demandRoomFor(name: string, caller: Pick<Caller, 'uid'>): void {
    const { directory } = this.inode;
    if (directory === undefined) throw failure('ENOTDIR');
    if (this.#parent === undefined) throw failure('ENOENT');
    if (directory.get(name) !== undefined) throw failure('EEXIST');
    this.inode.demand(3, caller.uid);
  }

  #adopt(entry: Entry): void {
    const { directory } = this.inode;
    directory?.add(entry.#name, entry);
    if (entry.inode.isDirectory) {
      entry.inode.entry = entry;
      this.#countSubdirectories(1);
    } else {
      entry.inode.attributes.nlink++;
    }
    this.inode.touched();
  }

  #countSubdirectories(change: number): void {
    this.inode.attributes.nlink += change;
  }

  link(name: string, target: BackendNode, caller: Caller): void {
    if (!(target instanceof Entry) || target.inode.volume !== this.inode.volume) throw failure('EXDEV');
    if (target.inode.isDirectory) throw failure('EPERM');
    if (target.inode.attributes.nlink === 0) throw failure('ENOENT');
    this.#demandRoomFor(name, caller);
    // As in tmpfs(5): every name takes memory, so the second of a file counts as one more.
    this.inode.volume.quota.addFile();
    this.#adopt(new Entry(target.inode, name, this));
    target.inode.altered();
  }

  readlink(): string {
    if ((this.inode.attributes.mode & S_IFMT) !== S_IFLNK) throw failure('EINVAL');
    return this.inode.target;
  }

  rename(oldName: string, newParent: BackendNode, newName: string, caller: Caller, node?: BackendNode): void {
    if (!(newParent instanceof Entry) || newParent.inode.volume !== this.inode.volume) throw failure('EXDEV');
    const [from, to] = [this.inode.directory, newParent.inode.directory];
    if (from === undefined || to === undefined) throw failure('ENOTDIR');
    const entry = from.get(oldName);
    if (entry === undefined || newParent.#parent === undefined || (node !== undefined && node.qid !== entry.qid)) throw failure('ENOENT');
    this.inode.demand(3, caller.uid);
    newParent.inode.demand(3, caller.uid);
    if (entry.inode.isDirectory && newParent.#isWithin(entry)) throw failure('EINVAL');
    const replaced = to.get(newName);
    // Two names of one file: rename(2) does nothing, and says so in these words.
    if (replaced !== undefined && replaced.inode === entry.inode) return;
    if (replaced !== undefined) {
      if (replaced.inode.isDirectory && !entry.inode.isDirectory) throw failure('EISDIR');
      if (!replaced.inode.isDirectory && entry.inode.isDirectory) throw failure('ENOTDIR');
      if ((replaced.inode.directory?.size ?? 0) > 0) throw failure('ENOTEMPTY');
    }
    from.remove(oldName, entry);
    if (replaced === undefined) to.add(newName, entry);
    else to.replace(newName, replaced, entry);
    if (entry.inode.isDirectory) {
      this.#countSubdirectories(-1);
      newParent.#countSubdirectories(1);
    }
    entry.#name = newName;
    entry.#parent = newParent;
    if (replaced !== undefined) newParent.#lost(replaced);
    this.inode.touched();
    if (newParent !== this) newParent.inode.touched();
    entry.inode.altered();
  }

  #isWithin(ancestor: Entry): boolean {
    for (let at: Entry | undefined = this; at !== undefined; at = at.#parent) {
      if (at === ancestor) return true;
      if (at.#parent === at) return false;
    }
    return false;
  }

  unlink(name: string, flags: number, caller: Caller, node?: BackendNode): void {
    const { directory } = this.inode;
    if (directory === undefined) throw failure('ENOTDIR');
    const entry = directory.get(name);
    if (entry === undefined || (node !== undefined && node.qid !== entry.qid)) throw failure('ENOENT');
    this.inode.demand(3, caller.uid);
    const asDirectory = (flags & AT_REMOVEDIR) !== 0;
    if (asDirectory && !entry.inode.isDirectory) throw failure('ENOTDIR');
    if (!asDirectory && entry.inode.isDirectory) throw failure('EISDIR');
    if ((entry.inode.directory?.size ?? 0) > 0) throw failure('ENOTEMPTY');
    directory.remove(name, entry);
    this.#lost(entry);
    this.inode.touched();
  }

  /** `entry` is no longer one of this directory's. */
  #lost(entry: Entry): void {
    const { inode } = entry;
    entry.#parent = undefined;
    if (inode.isDirectory) {
      inode.attributes.nlink = 0;
      this.#countSubdirectories(-1);
    } else {
      inode.attributes.nlink--;
      if (inode.attributes.nlink > 0) inode.volume.quota.removeFile();
    }
    inode.altered();
    inode.reap();
  }

  getxattr(name: string): Uint8Array {
    return this.inode.getxattr(name);
  }

  listxattr(): string[] {
    return this.inode.listxattr();
  }

  setxattr(name: string, value: Uint8Array, flags: number, caller: Caller): void {
    this.inode.demandOwner(caller.uid);
    this.inode.setxattr(name, value, flags);
  }

  removexattr(name: string, caller: Caller): void {
    this.inode.demandOwner(caller.uid);
    this.inode.removexattr(name);
  }
}
