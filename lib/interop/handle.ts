import { setattrBody } from '../client/linux.js';
import { openMode, specialFile } from '../client/stat.js';
import type { AttributeChange } from '../client/verbs.js';
import {
  DMDIR,
  DMSYMLINK,
  GETATTR_ALL,
  L_O_CREAT,
  L_O_RDONLY,
  L_O_RDWR,
  LOCK_TYPE_WRLCK,
  QTDIR,
  VERSION_L,
  VERSION_U,
} from '../protocol/constants.js';
import { decodeEntries, decodeStats } from '../protocol/directory.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { decodeText } from '../protocol/text.js';
import type { Attributes, DirectoryEntry, LegacyStat, LockRange, Qid } from '../protocol/types.js';
import { Deviation } from './outcome.js';
import type { Trial } from './trial.js';

/** What a portable check may ask of a file, whatever the dialect. */
export interface Info {
  size: number;
  /** Permission bits. */
  permissions: number;
  isDirectory: boolean;
  /** Seconds. */
  mtime: number;
}

/**
 * A fid of the tester's: one message for each method and nothing in between, unlike lib/client's Fid, which works around what
 * is to be found out here. Methods for which the older dialects have another message use that.
 */
export class Handle {
  readonly trial: Trial;
  readonly number: number;
  qid: Qid;

  constructor(trial: Trial, number: number, qid: Qid) {
    this.trial = trial;
    this.number = number;
    this.qid = qid;
    trial.made(number);
  }

  get isL(): boolean {
    return this.trial.wire.dialect === VERSION_L;
  }

  get #extended(): boolean {
    return this.trial.wire.dialect === VERSION_U;
  }

  /** Any request about this fid. */
  request<N extends TName>(name: N, body: Omit<Body<N>, 'fid'>): Promise<Reply<N>> {
    return this.trial.request(name, { ...body, fid: this.number } as unknown as Body<N>);
  }

  /** A new fid at the end of the names, which all have to exist. */
  async walk(...wnames: string[]): Promise<Handle> {
    const newfid = this.trial.newFid();
    const { wqids } = await this.trial.request('Twalk', { fid: this.number, newfid, wnames });
    if (wqids.length !== wnames.length) throw new Deviation(`Twalk of ${wnames.length} names answered ${wqids.length} qids`);
    return new Handle(this.trial, newfid, wqids[wqids.length - 1] ?? this.qid);
  }

  clone(): Promise<Handle> {
    return this.walk();
  }

  /** Opens this fid. `flags` are L_O_*. */
  async open(flags = L_O_RDONLY): Promise<this> {
    await this.opened(flags);
    return this;
  }

  /** As open, with what the server tells. */
  async opened(flags = L_O_RDONLY): Promise<{ qid: Qid; iounit: number }> {
    return this.isL ? this.request('Tlopen', { flags }) : this.request('Topen', { mode: openMode(flags, this.#extended) });
  }

  /** Creates a file; this fid becomes the new file, open. */
  async create(name: string, flags = L_O_RDWR, mode = 0o644): Promise<this> {
    const { gid } = this.trial;
    const { qid } = this.isL
      ? await this.request('Tlcreate', { name, flags: flags | L_O_CREAT, mode, gid })
      : await this.request('Tcreate', { name, perm: mode & 0o777, mode: openMode(flags, this.#extended), extension: '' });
    this.qid = qid;
    return this;
  }

  /** A new file in this directory, made and closed by fids of its own. */
  async make(name: string, content: string | Uint8Array = ''): Promise<void> {
    const fid = await (await this.clone()).create(name);
    if (content.length > 0) await fid.writeAll(content);
    await fid.clunk();
  }

  async mkdir(name: string, mode = 0o755): Promise<Qid> {
    if (this.isL) return (await this.trial.request('Tmkdir', { dfid: this.number, name, mode, gid: this.trial.gid })).qid;
    return this.#special(name, DMDIR | mode, '');
  }

  async symlink(name: string, symtgt: string): Promise<Qid> {
    if (this.isL) return (await this.trial.request('Tsymlink', { dfid: this.number, name, symtgt, gid: this.trial.gid })).qid;
    return this.#special(name, DMSYMLINK | 0o777, symtgt);
  }

  async mknod(name: string, mode: number, major = 0, minor = 0): Promise<Qid> {
    if (this.isL) return (await this.trial.request('Tmknod', { dfid: this.number, name, mode, major, minor, gid: this.trial.gid })).qid;
    const { kind, extension } = specialFile(mode, major, minor) ?? { kind: 0, extension: '' };
    return this.#special(name, kind | (mode & 0o777), extension);
  }

  /** Tcreate of something that is not to stay open. */
  async #special(name: string, perm: number, extension: string): Promise<Qid> {
    const fid = await this.clone();
    try {
      return (await fid.request('Tcreate', { name, perm: perm >>> 0, mode: 0, extension })).qid;
    } finally {
      await fid.clunk();
    }
  }

  async link(name: string, target: Handle): Promise<void> {
    await this.trial.request('Tlink', { dfid: this.number, fid: target.number, name });
  }

  async rename(directory: Handle, name: string): Promise<void> {
    await this.request('Trename', { dfid: directory.number, name });
  }

  async renameat(oldname: string, to: Handle, newname: string): Promise<void> {
    await this.trial.request('Trenameat', { olddirfid: this.number, oldname, newdirfid: to.number, newname });
  }

  async unlinkat(name: string, flags = 0): Promise<void> {
    await this.trial.request('Tunlinkat', { dirfd: this.number, name, flags });
  }

  /** No more than a message holds is ever asked for: what then happens is a matter of `read.over`. */
  async read(offset = 0, wanted = 8192): Promise<Buffer> {
    const count = Math.min(wanted, this.trial.payload);
    const { data } = await this.request('Tread', { offset, count });
    if (data.length > count) throw new Deviation(`Tread of ${count} bytes answered ${data.length}`);
    return Buffer.from(data);
  }

  /** One Twrite. */
  async write(offset: number, data: string | Uint8Array): Promise<number> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const { count } = await this.request('Twrite', { offset, data: bytes });
    if (count > bytes.length) throw new Deviation(`Twrite of ${bytes.length} bytes answered ${count}`);
    return count;
  }

  /** Writes all of it, in as many Twrites as the server takes. */
  async writeAll(data: string | Uint8Array, offset = 0): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) {
      const count = await this.write(offset + at, bytes.subarray(at, at + this.trial.payload));
      if (count === 0) throw new Deviation('Twrite answered 0');
      at += count;
    }
  }

  /** From `offset` to the end. The fid is open. */
  async readAll(offset = 0): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let at = offset; ; ) {
      const piece = await this.read(at, this.trial.payload);
      if (piece.length === 0) return Buffer.concat(pieces);
      pieces.push(piece);
      at += piece.length;
    }
  }

  /** What a file holds, read through a fid of its own. */
  async content(name?: string): Promise<Buffer> {
    const fid = name === undefined ? await this.clone() : await this.walk(name);
    await fid.open();
    const content = await fid.readAll();
    await fid.clunk();
    return content;
  }

  /** One Treaddir of .L. The fid is open. */
  async readdir(offset: bigint, wanted: number): Promise<DirectoryEntry[]> {
    const count = Math.min(wanted, this.trial.payload);
    const { data } = await this.request('Treaddir', { offset, count });
    if (data.length > count) throw new Deviation(`Treaddir of ${count} bytes answered ${data.length}`);
    return decodeEntries(data);
  }

  /** One Tread of a directory of the older dialects. */
  async readStats(offset: number, count: number): Promise<{ stats: LegacyStat[]; bytes: number }> {
    const data = await this.read(offset, count);
    return { stats: decodeStats(data, this.#extended), bytes: data.length };
  }

  /** Every entry, with "." and ".." if the server gives them. The fid is open. */
  async entries(count = this.trial.payload): Promise<DirectoryEntry[]> {
    const all: DirectoryEntry[] = [];
    for (let offset = 0n, at = 0; ; ) {
      let some: DirectoryEntry[];
      if (this.isL) some = await this.readdir(offset, count);
      else {
        const { stats, bytes } = await this.readStats(at, count);
        at += bytes;
        some = stats.map(({ qid, name }) => ({ qid, name, type: 0, offset: BigInt(at) }));
      }
      if (some.length === 0) return all;
      all.push(...some);
      if (all.length > 100_000) throw new Deviation('a directory without an end');
      offset = (some[some.length - 1] as DirectoryEntry).offset;
    }
  }

  /** The names in this directory but "." and "..", sorted, read through a fid of its own. */
  async names(): Promise<string[]> {
    const fid = await (await this.clone()).open();
    const entries = await fid.entries();
    await fid.clunk();
    return entries
      .map(({ name }) => name)
      .filter((name) => name !== '.' && name !== '..')
      .sort();
  }

  getattr(requestMask = GETATTR_ALL): Promise<Attributes> {
    return this.request('Tgetattr', { requestMask });
  }

  async stat(): Promise<LegacyStat> {
    return (await this.request('Tstat', {})).stat;
  }

  /** Attributes that every dialect has. */
  async info(): Promise<Info> {
    if (this.isL) {
      const { size, mode, mtime } = await this.getattr();
      return { size, permissions: mode & 0o777, isDirectory: (mode & 0o170000) === 0o040000, mtime: mtime.sec };
    }
    const { length, mode, mtime, qid } = await this.stat();
    return { size: length, permissions: mode & 0o777, isDirectory: (qid.type & QTDIR) !== 0, mtime };
  }

  async setattr(change: AttributeChange): Promise<void> {
    await this.request('Tsetattr', setattrBody(change));
  }

  async readlink(): Promise<string> {
    return (await this.request('Treadlink', {})).target;
  }

  async fsync(datasync = 0): Promise<void> {
    await this.request('Tfsync', { datasync });
  }

  /** Tlock's status. Owner: `procId`. */
  async lock(range: Partial<LockRange>, flags = 0): Promise<number> {
    return (await this.request('Tlock', { flags, ...wholeRange(range) })).status;
  }

  getlock(range: Partial<LockRange>): Promise<LockRange> {
    return this.request('Tgetlock', wholeRange(range));
  }

  /** A fid that reads a value, or the names if `name` is "", and its size. */
  async xattrwalk(name: string): Promise<{ fid: Handle; size: number }> {
    const newfid = this.trial.newFid();
    const { size } = await this.request('Txattrwalk', { newfid, name });
    return { fid: new Handle(this.trial, newfid, this.qid), size };
  }

  async xattrcreate(name: string, attrSize: number, flags = 0): Promise<void> {
    await this.request('Txattrcreate', { name, attrSize, flags });
  }

  async getxattr(name: string): Promise<Buffer> {
    const { fid, size } = await this.xattrwalk(name);
    const value = size === 0 ? Buffer.alloc(0) : await fid.readAll();
    if (value.length !== size) throw new Deviation(`Txattrwalk promised ${size} bytes, and ${value.length} could be read`);
    await fid.clunk();
    return value;
  }

  async listxattr(): Promise<string[]> {
    const list = await this.getxattr('');
    return decodeText(list).split('\0').filter(Boolean).sort();
  }

  /** Through a clone; an empty value removes. */
  async setxattr(name: string, value: string | Uint8Array, flags = 0): Promise<void> {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    const fid = await this.clone();
    await fid.xattrcreate(name, bytes.length, flags);
    if (bytes.length > 0) await fid.writeAll(bytes);
    await fid.clunk();
  }

  async remove(): Promise<void> {
    await this.request('Tremove', {});
    this.trial.ended(this.number);
  }

  async clunk(): Promise<void> {
    await this.request('Tclunk', {});
    this.trial.ended(this.number);
  }
}

function wholeRange(range: Partial<LockRange>): LockRange {
  return { type: LOCK_TYPE_WRLCK, start: 0, length: 0, procId: 1, clientId: 'interop', ...range };
}
