import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../protocol/constants.js';
import { decodeText, textToBytes } from '../../protocol/text.js';
import { O_CLOEXEC, O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import type { Stat } from '../../sys/stat.js';
import { failure } from '../errors.js';
import { must } from './fail.js';
import { Kept } from './kept.js';
import type { Credentials } from './metadata.js';
import { disarmed, NO_ID, type Owner, type SecurityModel } from './model.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

/** Flags of every file the mapped models open for themselves. */
const OWN = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
const TARGET_MOST = 4095;

/** Where a new file is: its directory, its name and a descriptor of its own. */
export interface Place {
  dirfd: number;
  name: string;
  fd: number;
}

/** What a new file takes over from its directory's default ACL. */
export interface Inheritance {
  mode: number;
  access?: Uint8Array | undefined;
  default?: Uint8Array | undefined;
}

/**
 * What mapped-xattr and mapped-file have in common: files on the host are the server's, with `fmode` and `dmode`; symlinks and special
 * files are regular files there. Where the credentials are kept is up to the two.
 */
export abstract class MappedModel implements SecurityModel {
  abstract readonly name: 'mapped-xattr' | 'mapped-file';
  readonly mapped = true;
  readonly #fmode: number;
  readonly #dmode: number;

  constructor(fmode: number, dmode: number) {
    this.#fmode = fmode;
    this.#dmode = dmode;
  }

  abstract reserves(name: string): boolean;
  /** What is kept of a node. `stat` is what the host says of it. Whenever it is read, `asOf` is set. */
  protected abstract load(work: Work, node: LocalNode, fd: number, stat: Stat): Op<Credentials>;
  /** Keeps the given fields of a node: for `keep` alone. */
  protected abstract store(work: Work, node: LocalNode, fd: number, change: Credentials): Op<void>;
  /** Keeps the credentials of a file that has just been made. */
  protected abstract found(work: Work, place: Place, credentials: Credentials): Op<void>;
  protected abstract inherit(work: Work, dirfd: number, mode: number): Op<Inheritance>;
  protected abstract endow(work: Work, fd: number, inheritance: Inheritance): Op<void>;
  /** The mode was changed: ACLs follow. */
  protected abstract modeChanged(work: Work, node: LocalNode, fd: number, mode: number): Op<void>;

  abstract link(work: Work, node: LocalNode, fd: number, dirfd: number, name: string): Op<number>;
  abstract rename(work: Work, fromDirfd: number, from: string, toDirfd: number, to: string, replaced: LocalNode | undefined): Op<number>;
  abstract unlink(work: Work, dirfd: number, name: string, directory: boolean, node: LocalNode | undefined): Op<number>;
  abstract getxattr(work: Work, node: LocalNode, fd: number, name: string): Op<Uint8Array>;
  abstract listxattr(work: Work, node: LocalNode, fd: number): Op<string[]>;
  abstract setxattr(work: Work, node: LocalNode, fd: number, name: string, value: Uint8Array, flags: number): Op<void>;
  abstract removexattr(work: Work, node: LocalNode, fd: number, name: string): Op<void>;

  /** Keeps the given fields of a node, so that a write through any other name of the file heeds them. */
  protected *keep(work: Work, node: LocalNode, fd: number, change: Credentials): Op<void> {
    try {
      yield* this.store(work, node, fd, change);
    } finally {
      // Not before: who reads the old mode meanwhile must not take it for the new one.
      if (change.mode !== undefined && disarmed(change.mode) !== change.mode) Kept.armed++;
    }
  }

  *overlay(work: Work, node: LocalNode, fd: number, stat: Stat): Op<void> {
    const kept = yield* this.load(work, node, fd, stat);
    if (kept.uid !== undefined) stat.uid = kept.uid;
    if (kept.gid !== undefined) stat.gid = kept.gid;
    if (kept.mode !== undefined) stat.mode = modeOver(stat.mode, kept.mode);
    const type = stat.mode & S_IFMT;
    stat.rdev = (type === S_IFBLK || type === S_IFCHR) && kept.rdev !== undefined ? kept.rdev : stat.rdev;
    node.mode = stat.mode;
  }

  *create(work: Work, _dir: LocalNode, dirfd: number, name: string, flags: number, owner: Owner): Op<number> {
    const inheritance = yield* this.inherit(work, dirfd, owner.mode);
    const fd = yield* work.openat(dirfd, name, flags | O_CREAT | O_EXCL, this.#fmode);
    return fd < 0 ? fd : yield* this.#settle(work, { dirfd, name, fd }, owner, inheritance, undefined);
  }

  *mkdir(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner): Op<number> {
    const inheritance = yield* this.inherit(work, dirfd, owner.mode);
    const made = yield* work.mkdirat(dirfd, name, this.#dmode);
    if (made < 0) return made;
    const fd = yield* dir.tree.open(work, dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) return yield* this.#settle(work, { dirfd, name, fd }, owner, inheritance, undefined);
    yield* work.unlinkat(dirfd, name, true);
    return fd;
  }

  *symlink(work: Work, _dir: LocalNode, dirfd: number, name: string, target: string, owner: Owner): Op<number> {
    if (target === '') throw failure('ENOENT');
    const bytes = textToBytes(target);
    if (bytes.length > TARGET_MOST) throw failure('ENAMETOOLONG');
    if (bytes.includes(0)) throw failure('EINVAL');
    const fd = yield* work.openat(dirfd, name, O_CREAT | O_EXCL | O_RDWR | OWN, this.#fmode);
    if (fd < 0) return fd;
    const written = yield* work.writeValue(fd, bytes);
    if (written !== bytes.length) {
      yield* work.unlinkat(dirfd, name, false);
      yield* work.close(fd);
      return written < 0 ? written : -28;
    }
    return yield* this.#settle(work, { dirfd, name, fd }, owner, { mode: owner.mode }, undefined);
  }

  *mknod(work: Work, _dir: LocalNode, dirfd: number, name: string, owner: Owner, device: bigint): Op<number> {
    const inheritance = yield* this.inherit(work, dirfd, owner.mode);
    const fd = yield* work.openat(dirfd, name, O_CREAT | O_EXCL | O_RDWR | OWN, this.#fmode);
    return fd < 0 ? fd : yield* this.#settle(work, { dirfd, name, fd }, owner, inheritance, device);
  }

  /** Writes down whose a new file is, or takes it away again. */
  *#settle(work: Work, place: Place, owner: Owner, inheritance: Inheritance, device: bigint | undefined): Op<number> {
    try {
      const { uid, gid } = owner;
      const { mode } = inheritance;
      yield* this.found(work, place, { uid: uid === NO_ID ? undefined : uid, gid: gid === NO_ID ? undefined : gid, mode, rdev: device });
      // Somebody may have looked at it when it was not written down yet.
      if (disarmed(mode) !== mode) Kept.armed++;
      yield* this.endow(work, place.fd, inheritance);
      owner.mode = mode;
      return place.fd;
    } catch (error) {
      yield* work.unlinkat(place.dirfd, place.name, (owner.mode & S_IFMT) === S_IFDIR);
      yield* work.close(place.fd);
      throw error;
    }
  }

  *readlink(work: Work, node: LocalNode, fd: number): Op<string> {
    let length: number;
    if (node.kind === S_IFLNK) {
      // Made on the host by somebody else; nothing is followed, so the client may as well know where it points.
      length = must(yield* work.readlink(fd));
    } else {
      must(yield* work.statOf(fd));
      yield* this.overlay(work, node, fd, work.stat);
      if ((work.stat.mode & S_IFMT) !== S_IFLNK) throw failure('EINVAL');
      const open = must(yield* work.reopen(fd, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
      length = yield* work.readValue(open, TARGET_MOST);
      yield* work.close(open);
      must(length);
    }
    return decodeText(work.value, 0, length);
  }

  *chown(work: Work, node: LocalNode, fd: number, uid: number, gid: number, keepMode: boolean): Op<void> {
    if (uid === NO_ID && gid === NO_ID) return yield* mark(work, fd);
    const change: Credentials = { uid: uid === NO_ID ? undefined : uid, gid: gid === NO_ID ? undefined : gid };
    if (!keepMode) {
      must(yield* work.statOf(fd));
      yield* this.overlay(work, node, fd, work.stat);
      const { mode } = work.stat;
      // Linux takes them from every type but directories.
      if ((mode & S_IFMT) !== S_IFDIR && disarmed(mode) !== mode) change.mode = disarmed(mode);
    }
    yield* this.keep(work, node, fd, change);
    yield* mark(work, fd);
  }

  *chmod(work: Work, node: LocalNode, fd: number, mode: number): Op<void> {
    must(yield* work.statOf(fd));
    yield* this.overlay(work, node, fd, work.stat);
    const type = work.stat.mode & S_IFMT;
    if (type === S_IFLNK) throw failure('EOPNOTSUPP');
    node.mode = type | (mode & 0o7777);
    yield* this.keep(work, node, fd, { mode: node.mode });
    yield* this.modeChanged(work, node, fd, node.mode);
    yield* mark(work, fd);
  }

  *disarm(work: Work, node: LocalNode, fd: number, inRow: boolean): Op<boolean> {
    // What the node knows costs a write nothing, but only says that there was nothing to take: the mode may have been changed through another
    // name, which must neither leave setuid in place nor be undone.
    const { armed } = Kept;
    if (disarmed(node.mode) === node.mode && node.kept.asOf === armed) return true;
    must(yield* work.statOf(fd));
    yield* this.overlay(work, node, fd, work.stat);
    const { mode } = work.stat;
    // While names move, what was known before is told.
    if (!inRow && node.kept.asOf < armed) return false;
    const left = disarmed(mode);
    if (left === mode || (mode & S_IFMT) !== S_IFREG) return true;
    if (!inRow) return false;
    yield* this.keep(work, node, fd, { mode: left });
    node.mode = left;
    return true;
  }
}

/** Marks the ctime for update: what is kept beside a file, or set to what it was, does not. */
function* mark(work: Work, fd: number): Op<void> {
  must(yield* work.chown(fd, NO_ID, NO_ID));
}

/**
 * The mode the client sees. What is a directory or a special file on the host is nothing else for the client, and nothing else is a
 * directory: a type that was written down wrongly must not have it walk into a file.
 */
function modeOver(host: number, kept: number): number {
  const type = kept & S_IFMT;
  const real = host & S_IFMT;
  return (kept & 0o7777) | (real === S_IFREG && type !== 0 && type !== S_IFDIR ? type : real);
}
