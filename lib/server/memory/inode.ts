import {
  GETATTR_ALL,
  QTDIR,
  QTFILE,
  QTSYMLINK,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  SETATTR_ATIME,
  SETATTR_ATIME_SET,
  SETATTR_CTIME,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_SET,
  SETATTR_SIZE,
  SETATTR_UID,
  XATTR_CREATE,
  XATTR_REPLACE,
  XATTR_SIZE_MAX,
} from '../../protocol/constants.js';
import { textBytes } from '../../protocol/text.js';
import type { Attributes, Qid, SetAttributes, Timespec } from '../../protocol/types.js';
import { failure } from '../errors.js';
import { LockTable } from '../locks.js';
import { Directory } from './directory.js';
import type { Entry } from './entry.js';
import { Pages } from './pages.js';
import type { Quota } from './quota.js';

/** What a file that computes its content is made of. */
export type Produce = () => Uint8Array | string;

const BLOCK = 512;

export function now(): Timespec {
  const ms = Date.now();
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: (ms - sec * 1000) * 1_000_000 };
}

/** What a whole tree shares. */
export interface Volume {
  readonly quota: Quota;
  /** Whether permission bits are looked at. */
  readonly enforce: boolean;
  /** Holders of nodes: every fid that points into the tree is one. */
  held: number;
  /** The number of the next inode. */
  nextInode: bigint;
}

/** A file, under however many names. Lives while it has a name or a holder. */
export class Inode {
  readonly volume: Volume;
  readonly qid: Qid;
  /** Kept up to date, so that Tgetattr has nothing to make. */
  readonly attributes: Attributes;
  readonly pages: Pages | undefined;
  readonly directory: Directory | undefined;
  readonly target: string;
  readonly produce: Produce | undefined;
  /** Where a directory is: it has one name only. */
  entry: Entry | undefined;
  #xattrs: Map<string, Uint8Array> | undefined;
  #locks: LockTable | undefined;
  #holders = 0;
  #gone = false;

  constructor(volume: Volume, mode: number, uid: number, gid: number, more: { rdev?: bigint; target?: string; produce?: Produce } = {}) {
    const { target = '' } = more;
    const length = textBytes(target);
    if (length > 0 && !volume.quota.admits(length)) throw failure('ENOSPC');
    volume.quota.addFile();
    volume.quota.account(length);
    this.volume = volume;
    const type = mode & S_IFMT;
    this.qid = { type: type === S_IFDIR ? QTDIR : type === S_IFLNK ? QTSYMLINK : QTFILE, version: 1, path: volume.nextInode++ };
    this.pages = type === S_IFREG && more.produce === undefined ? new Pages(volume.quota) : undefined;
    this.directory = type === S_IFDIR ? new Directory() : undefined;
    this.target = target;
    this.produce = more.produce;
    const time = now();
    this.attributes = {
      valid: GETATTR_ALL,
      qid: this.qid,
      mode,
      uid,
      gid,
      nlink: type === S_IFDIR ? 2 : 0,
      rdev: more.rdev ?? 0n,
      size: length,
      blksize: 4096,
      blocks: 0,
      atime: time,
      mtime: time,
      ctime: time,
      btime: time,
      gen: 1n,
      dataVersion: 1n,
    };
  }

  get isDirectory(): boolean {
    return this.directory !== undefined;
  }

  /** Attributes as they are now. The object is the inode's own: read it before anything else happens. */
  getattr(): Attributes {
    if (this.produce !== undefined) this.attributes.size = this.produced().length;
    return this.attributes;
  }

  produced(): Uint8Array {
    const content = this.produce?.() ?? '';
    return typeof content === 'string' ? Buffer.from(content) : content;
  }

  retain(): void {
    this.#holders++;
    this.volume.held++;
  }

  release(): void {
    this.#holders--;
    this.volume.held--;
    this.reap();
  }

  /** Gives its room back once nobody can reach it. */
  reap(): void {
    if (this.#holders > 0 || this.attributes.nlink > 0 || this.#gone) return;
    this.#gone = true;
    this.pages?.truncate(0);
    for (const [name, value] of this.#xattrs ?? []) this.volume.quota.account(-sizeOf(name, value));
    this.volume.quota.account(-textBytes(this.target));
    this.#xattrs = undefined;
    this.volume.quota.removeFile();
  }

  /** The content or the entries changed. */
  touched(): void {
    const time = now();
    this.attributes.mtime = time;
    this.attributes.ctime = time;
    this.#changed();
  }

  /** Something beside the content changed. */
  altered(): void {
    this.attributes.ctime = now();
    this.#changed();
  }

  #changed(): void {
    // 0 means "no version" to Linux's client.
    this.qid.version = this.qid.version === 0xffffffff ? 1 : this.qid.version + 1;
    this.attributes.dataVersion++;
  }

  /** Refuses what the permission bits do not give: 4 read, 2 write, 1 search. Groups beside the owner's are unknown to 9P. */
  demand(bits: number, uid: number): void {
    if (!this.volume.enforce || uid === 0) return;
    const { mode, uid: owner } = this.attributes;
    const granted = uid === owner ? mode >> 6 : mode;
    if ((granted & bits) !== bits) throw failure('EACCES');
  }

  demandOwner(uid: number): void {
    if (this.volume.enforce && uid !== 0 && uid !== this.attributes.uid) throw failure('EPERM');
  }

  read(buffer: Uint8Array, offset: number): number {
    const { attributes, pages } = this;
    if (pages === undefined || offset >= attributes.size) return 0;
    const count = Math.min(buffer.length, attributes.size - offset);
    pages.read(count === buffer.length ? buffer : buffer.subarray(0, count), offset);
    // As relatime does: the first read after a change is noted.
    if (attributes.atime.sec <= attributes.mtime.sec) attributes.atime = now();
    return count;
  }

  write(data: Uint8Array, offset: number): number {
    const { attributes, pages } = this;
    if (pages === undefined) throw failure('EINVAL');
    if (!Number.isSafeInteger(offset + data.length)) throw failure('EFBIG');
    const count = pages.write(data, offset);
    if (count === 0) return 0;
    if (offset + count > attributes.size) attributes.size = offset + count;
    this.#dropPrivilege();
    attributes.blocks = Math.ceil(pages.allocated / BLOCK);
    this.touched();
    return count;
  }

  truncate(size: number): void {
    const { attributes, pages } = this;
    if (pages === undefined) throw failure(this.isDirectory ? 'EISDIR' : 'EINVAL');
    pages.truncate(size);
    attributes.size = size;
    attributes.blocks = Math.ceil(pages.allocated / BLOCK);
    this.#dropPrivilege();
    this.touched();
  }

  /** Whoever writes to a set-id file or changes its owner takes its privilege away (chown(2), CVE-2023-1386). */
  #dropPrivilege(): void {
    const { attributes } = this;
    if ((attributes.mode & (S_ISUID | S_ISGID)) === 0 || (attributes.mode & S_IFMT) !== S_IFREG) return;
    attributes.mode &= ~S_ISUID;
    if ((attributes.mode & 0o010) !== 0) attributes.mode &= ~S_ISGID;
  }

  setattr(change: SetAttributes, uid: number): void {
    const { valid } = change;
    const { attributes } = this;
    if ((valid & SETATTR_SIZE) !== 0) {
      this.demand(2, uid);
      this.truncate(change.size);
    }
    if ((valid & (SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_ATIME_SET | SETATTR_MTIME_SET)) !== 0) this.demandOwner(uid);
    if ((valid & SETATTR_UID) !== 0) attributes.uid = change.uid;
    if ((valid & SETATTR_GID) !== 0) attributes.gid = change.gid;
    // Mode and owner may come in one message: privilege that the new mode gives stays.
    if ((valid & (SETATTR_UID | SETATTR_GID)) !== 0) this.#dropPrivilege();
    if ((valid & SETATTR_MODE) !== 0) attributes.mode = (attributes.mode & S_IFMT) | (change.mode & 0o7777);
    const time = now();
    if ((valid & SETATTR_ATIME) !== 0) attributes.atime = (valid & SETATTR_ATIME_SET) !== 0 ? change.atime : time;
    if ((valid & SETATTR_MTIME) !== 0) attributes.mtime = (valid & SETATTR_MTIME_SET) !== 0 ? change.mtime : time;
    if ((valid & ~SETATTR_SIZE) !== 0 || (valid & SETATTR_CTIME) !== 0) this.altered();
  }

  getxattr(name: string): Uint8Array {
    demandNamespace(name);
    const value = this.#xattrs?.get(name);
    if (value === undefined) throw failure('ENODATA');
    return value.slice();
  }

  listxattr(): string[] {
    return [...(this.#xattrs?.keys() ?? [])];
  }

  setxattr(name: string, value: Uint8Array, flags: number): void {
    demandNamespace(name);
    const old = this.#xattrs?.get(name);
    if ((flags & XATTR_CREATE) !== 0 && old !== undefined) throw failure('EEXIST');
    if ((flags & XATTR_REPLACE) !== 0 && old === undefined) throw failure('ENODATA');
    if (value.length > XATTR_SIZE_MAX) throw failure('E2BIG');
    const growth = sizeOf(name, value) - (old === undefined ? 0 : sizeOf(name, old));
    if (growth > 0 && !this.volume.quota.admits(growth)) throw failure('ENOSPC');
    this.#xattrs ??= new Map();
    // listxattr(2) of Linux cannot give more than this, so nothing that could not be listed is taken.
    if (old === undefined && this.listxattr().reduce((sum, other) => sum + textBytes(other) + 1, textBytes(name)) >= XATTR_SIZE_MAX) {
      throw failure('ENOSPC');
    }
    this.volume.quota.account(growth);
    this.#xattrs.set(name, value.slice());
    this.altered();
  }

  removexattr(name: string): void {
    demandNamespace(name);
    const old = this.#xattrs?.get(name);
    if (old === undefined) throw failure('ENODATA');
    this.#xattrs?.delete(name);
    this.volume.quota.account(-sizeOf(name, old));
    this.altered();
  }

  /** The locks on this file; made when the first is asked for. */
  get locks(): LockTable {
    this.#locks ??= new LockTable();
    return this.#locks;
  }

  /** Locks held and waited for. */
  get lockCount(): number {
    return this.#locks?.size ?? 0;
  }

  /** Gives up what an open file holds. */
  unlock(owner: object): void {
    if (this.#locks === undefined) return;
    this.#locks.release(owner);
    if (this.#locks.empty) this.#locks = undefined;
  }
}

/** What an attribute takes of the quota: its name, too, for one without a value must not be had for nothing. */
function sizeOf(name: string, value: Uint8Array): number {
  return textBytes(name) + value.length;
}

/** xattr(7): a name is in a namespace. An ACL (`system.`) would have to mean something, and nothing here looks at ACLs. */
function demandNamespace(name: string): void {
  if (!/^(user|trusted|security)\../s.test(name)) throw failure('EOPNOTSUPP');
}
