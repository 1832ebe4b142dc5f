import { constants } from 'node:fs';
import { open as hostOpen } from 'node:fs/promises';
import { sep } from 'node:path';
import { L_O_ACCMODE, L_O_APPEND, L_O_DSYNC, L_O_RDONLY, L_O_SYNC, L_O_WRONLY, S_IFDIR, S_IFREG } from '../../protocol/constants.js';
import { errnoOf } from '../../protocol/error.js';
import type { Qid } from '../../protocol/types.js';
import { openFiles, opening } from '../descriptors.js';
import { failure } from '../errors.js';
import { disarmed } from '../local/model.js';
import { LockTable } from '../locks.js';
import { Shares } from '../shares.js';
import { Gate } from './gate.js';
import type { PathNode } from './node.js';
import type { FileHandleLike, PromisesLike, StatLike } from './shape.js';
import { qidOf, sameFile, typeOf } from './stat.js';

const ENOENT = 2;
/** Listings of the largest size whose names may be kept, of all connections: a second one always finds room for one. */
const LISTINGS = 4;
/** What counts as such where listings may not be large. */
const FEW = 16384;
/** Names of a file system that is not addressed by bytes but by the host's paths. */
const FOREIGN = sep === '/' ? /[\udc80-\udcff]/ : /[\udc80-\udcff\\:]/;

/** What the nodes of one tree share: the file system under them, and the checks that keep a path inside. */
export class Tree {
  /** How often a client has set setuid or setgid, in any tree: a file may be in two. */
  static #armed = 0;
  readonly fs: PromisesLike;
  readonly root: string;
  /** Entries a listing may have; EOVERFLOW beyond. */
  readonly maxEntries: number;
  /** Bytes of a file; EFBIG beyond. */
  readonly maxFileSize: number;
  /** Names that open directories keep. */
  readonly names: Shares;
  readonly gate = new Gate();
  /** Holders of nodes. */
  held = 0;
  /** Whether open files are descriptors of this process. */
  readonly #host: boolean;
  /** Whether it is for this server to take setuid away: of a process without privileges, the host's kernel does. */
  readonly #disarms: boolean;
  readonly #devices = new Map<bigint, bigint>();
  readonly #locks = new Map<bigint, LockTable>();

  constructor(fs: PromisesLike, root: string, maxEntries: number, maxFileSize: number) {
    this.fs = fs;
    this.root = root.endsWith('/') && root !== '/' ? root.slice(0, -1) : root;
    this.maxEntries = maxEntries;
    this.maxFileSize = maxFileSize;
    this.names = new Shares(LISTINGS * Math.max(maxEntries + 2, FEW));
    this.#host = fs.open === hostOpen;
    this.#disarms = !this.#host || process.geteuid?.() === 0;
  }

  lstat(path: string): Promise<StatLike> {
    return this.fs.lstat(path, { bigint: true });
  }

  /** The stat of a path that may not be there. */
  async find(path: string): Promise<StatLike | undefined> {
    try {
      return await this.lstat(path);
    } catch (error) {
      if (errnoOf(error) === ENOENT) return undefined;
      throw error;
    }
  }

  qid(stat: StatLike): Qid {
    let device = this.#devices.get(stat.dev);
    if (device === undefined) {
      device = BigInt(this.#devices.size);
      this.#devices.set(stat.dev, device);
    }
    return qidOf(stat, device);
  }

  /** The path of a name in a directory. */
  join(directory: string, name: string): string {
    // A name that this host would not take as it is could mean another file.
    if (FOREIGN.test(name)) throw failure('EILSEQ');
    return directory === '/' ? `/${name}` : `${directory}/${name}`;
  }

  /**
   * The path of a node and its stat, after a look at every directory on the way: each must still be the very directory that was
   * walked, and none a symlink. ESTALE where something else has taken its place.
   */
  async locate(node: PathNode): Promise<{ path: string; stat: StatLike }> {
    const above = node.above;
    const path = above === undefined ? this.root : this.join((await this.locate(above)).path, node.name());
    const stat = await this.lstat(path);
    if (!sameFile(stat, node.stat)) throw failure('ESTALE');
    return { path, stat };
  }

  /** Where a name of a directory is, or would be. The directory is checked, the name is not looked at. */
  async place(directory: PathNode, name: string): Promise<string> {
    const { path, stat } = await this.locate(directory);
    if (typeOf(stat) !== S_IFDIR) throw failure('ENOTDIR');
    return this.join(path, name);
  }

  /**
   * Opens a regular file: never a symlink, never something that could block; and after the open it must be the file that was
   * looked at before. Only then it is truncated, where that was asked for.
   */
  async open(path: string, flags: number, expected: StatLike | undefined, truncate: boolean): Promise<FileHandleLike> {
    if (expected !== undefined && typeOf(expected) !== S_IFREG) throw failure('ENXIO');
    const handle = await this.fs.open(path, hostFlags(flags));
    try {
      const stat = await handle.stat({ bigint: true });
      if (typeOf(stat) !== S_IFREG || (expected !== undefined && !sameFile(stat, expected))) throw failure('ESTALE');
      if (truncate) await this.truncate(handle, 0);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return handle;
  }

  /** Runs `open`, which opens one file for a connection; `closed` follows when that is closed. */
  async opening<T>(connection: string, open: () => Promise<T>): Promise<T> {
    return this.#host ? opening(connection, open) : open();
  }

  closed(connection: string): void {
    if (this.#host) openFiles().give(connection, 1);
  }

  async truncate(handle: FileHandleLike, size: number): Promise<void> {
    this.admit(size);
    await handle.truncate(size);
    await this.disarm(handle);
  }

  /** EFBIG where a file may not be of `size` bytes. */
  admit(size: number): void {
    if (size > this.maxFileSize) throw failure('EFBIG');
  }

  /**
   * Takes setuid and setgid from a file whose content was changed, as from one that a user other than root wrote. Each write would cost a
   * stat: what this gives, given back with the next, spares that for as long as no client has set either on any file.
   */
  async disarm(handle: FileHandleLike, asOf = Number.NaN): Promise<number> {
    const armed = Tree.#armed;
    if (!this.#disarms || asOf === armed) return armed;
    const mode = Number((await handle.stat({ bigint: true })).mode) & 0o7777;
    if (disarmed(mode) !== mode) await handle.chmod(disarmed(mode));
    return armed;
  }

  /** Sets a mode, as `set` does it. */
  async chmod(mode: number, set: (mode: number) => Promise<void>): Promise<void> {
    const bits = mode & 0o7777;
    try {
      await set(bits);
    } finally {
      // Not before: whoever looks at the old mode meanwhile must not take it for the new one.
      if (disarmed(bits) !== bits) Tree.#armed++;
    }
  }

  locks(qid: Qid): LockTable {
    let table = this.#locks.get(qid.path);
    if (table === undefined) {
      table = new LockTable();
      this.#locks.set(qid.path, table);
    }
    return table;
  }

  /** Gives up what an open file holds. */
  unlock(qid: Qid, owner: object): void {
    const table = this.#locks.get(qid.path);
    table?.release(owner);
    if (table?.empty === true) this.#locks.delete(qid.path);
  }

  /** Byte ranges locked and waited for. */
  get lockCount(): number {
    let count = 0;
    for (const table of this.#locks.values()) count += table.size;
    return count;
  }
}

/** The host's numbers for L_O_* flags. */
export function hostFlags(flags: number): number {
  const access = flags & L_O_ACCMODE;
  let host = access === L_O_RDONLY ? constants.O_RDONLY : access === L_O_WRONLY ? constants.O_WRONLY : constants.O_RDWR;
  if ((flags & L_O_APPEND) !== 0) host |= constants.O_APPEND;
  if ((flags & L_O_SYNC) === L_O_SYNC) host |= constants.O_SYNC ?? 0;
  if ((flags & L_O_DSYNC) !== 0) host |= constants.O_DSYNC ?? 0;
  // Windows has neither.
  return host | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
}
