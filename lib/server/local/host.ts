import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../protocol/constants.js';
import { decodeText } from '../../protocol/text.js';
import { EINVAL, EOPNOTSUPP, EPERM } from '../../sys/files.js';
import { O_CLOEXEC, O_CREAT, O_EXCL, O_NOFOLLOW, O_PATH, O_RDWR } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import { failure } from '../errors.js';
import { ACL_ACCESS, ACL_DEFAULT } from './acl.js';
import { fail, must } from './fail.js';
import { disarmed, NO_ID, type Owner, type SecurityModel } from './model.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

/** What chown(2) and chmod(2) answer without privileges, in a user namespace to an id that it does not map, and on file systems without owners. */
const REFUSALS: ReadonlySet<number> = new Set([EPERM, EINVAL, EOPNOTSUPP]);

/** Whether clients may see and set an attribute: the user's own, and ACLs. */
export function isServed(name: string): boolean {
  return name.startsWith('user.') || name === ACL_ACCESS || name === ACL_DEFAULT;
}

/** The NUL-terminated names that the kernel left in `value`. */
export function namesIn(work: Work, length: number): string[] {
  return length === 0 ? [] : decodeText(work.value, 0, length - 1).split('\0');
}

/**
 * `passthrough` and `none`: the host's files are what the client sees. New files are the server's for a moment and then the client's; under `none`
 * whatever owner or mode may not be set is left as it is.
 */
export class HostModel implements SecurityModel {
  readonly name: 'passthrough' | 'none';
  readonly mapped = false;
  readonly #uid = process.geteuid?.() ?? 0;
  readonly #gid = process.getegid?.() ?? 0;

  constructor(name: 'passthrough' | 'none') {
    this.name = name;
  }

  reserves(): boolean {
    return false;
  }

  *overlay(): Op<void> {}

  /**
   * A new file of the server's own needs no hiding before it is somebody else's, and gets its mode, group and ACL from the kernel as its maker's own would. What it has
   * got shows whether this process's umask, the directory's group or ACL, or a file system with ideas of its own had a part in it.
   */
  createPlain(
    work: Work,
    dir: LocalNode,
    dirfd: number,
    name: string,
    flags: number,
    wanted: Owner,
    inDirectory: () => Op<Owner>,
  ): Op<number> | undefined {
    const { uid, gid, mode } = wanted;
    if (uid !== this.#uid || gid !== this.#gid || (mode & 0o7000) !== 0) return undefined;
    return this.#createPlain(work, dir, dirfd, name, flags, wanted, inDirectory);
  }

  *#createPlain(
    work: Work,
    dir: LocalNode,
    dirfd: number,
    name: string,
    flags: number,
    { uid, gid, mode }: Owner,
    inDirectory: () => Op<Owner>,
  ): Op<number> {
    const fd = yield* work.openat(dirfd, name, flags | O_CREAT | O_EXCL, mode & 0o777);
    if (fd < 0) return fd;
    try {
      must(yield* work.statOf(fd));
      const { stat } = work;
      if (stat.uid === uid && stat.gid === gid && (stat.mode & 0o7777) === (mode & 0o777)) return fd;
      const owner = yield* inDirectory();
      yield* this.#settle(work, dir, fd, owner, yield* this.#inherits(work, dirfd));
      must(yield* work.statOf(fd));
      return fd;
    } catch (error) {
      yield* work.unlinkat(dirfd, name, false);
      yield* work.close(fd);
      throw error;
    }
  }

  *create(work: Work, dir: LocalNode, dirfd: number, name: string, flags: number, owner: Owner): Op<number> {
    const inherits = yield* this.#inherits(work, dirfd);
    const fd = yield* work.openat(dirfd, name, flags | O_CREAT | O_EXCL, owner.mode & (inherits ? 0o777 : 0o700));
    if (fd < 0) return fd;
    try {
      yield* this.#settle(work, dir, fd, owner, inherits);
      return fd;
    } catch (error) {
      yield* work.unlinkat(dirfd, name, false);
      yield* work.close(fd);
      throw error;
    }
  }

  *mkdir(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner): Op<number> {
    const inherits = yield* this.#inherits(work, dirfd);
    const mode = owner.mode & (inherits ? 0o777 : 0o700);
    return yield* this.#make(work, dir, dirfd, name, owner, inherits, () => work.mkdirat(dirfd, name, mode));
  }

  *symlink(work: Work, dir: LocalNode, dirfd: number, name: string, target: string, owner: Owner): Op<number> {
    return yield* this.#make(work, dir, dirfd, name, owner, false, () => work.symlinkat(target, dirfd, name));
  }

  *mknod(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner, device: bigint): Op<number> {
    const inherits = yield* this.#inherits(work, dirfd);
    const mode = owner.mode & (S_IFMT | (inherits ? 0o777 : 0o700));
    return yield* this.#make(work, dir, dirfd, name, owner, inherits, () => work.mknodat(dirfd, name, mode, device));
  }

  /** Makes what no descriptor comes with. Whose it has to be may be learned on the way: then it is made once more. */
  *#make(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner, inherits: boolean, make: () => Op<number>): Op<number> {
    const made = yield* make();
    if (made < 0) return made;
    const fd = yield* this.#adopt(work, dir, dirfd, name, owner, inherits);
    if (fd !== undefined) return fd;
    yield* this.#learn(work, dir, dirfd, name);
    const again = yield* make();
    if (again < 0) return again;
    const second = yield* this.#adopt(work, dir, dirfd, name, owner, inherits);
    if (second === undefined) throw failure('EBUSY');
    return second;
  }

  /**
   * Gives what was made under `name` to its owner: through a descriptor, and only if it still is what was made. Undefined if it is somebody
   * else's; like whatever cannot be given away it is removed.
   */
  *#adopt(work: Work, dir: LocalNode, dirfd: number, name: string, owner: Owner, inherits: boolean): Op<number | undefined> {
    const type = owner.mode & S_IFMT;
    const fd = yield* dir.tree.open(work, dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      yield* work.unlinkat(dirfd, name, type === S_IFDIR);
      return fd;
    }
    let given = false;
    try {
      must(yield* work.statOf(fd));
      const { stat } = work;
      if ((stat.mode & S_IFMT) !== type || (stat.nlink !== 1 && type !== S_IFDIR)) throw failure('EBUSY');
      if (stat.uid !== (dir.device.owner ?? this.#uid)) return undefined;
      yield* this.#settle(work, dir, fd, owner, inherits);
      given = true;
      return fd;
    } finally {
      if (!given) {
        yield* work.unlinkat(dirfd, name, type === S_IFDIR);
        yield* work.close(fd);
      }
    }
  }

  /**
   * Learns whom the file system calls the owner of what this server makes: sshfs, NFS and FAT may be told to name another. A descriptor that
   * came with a new file is certainly that file's.
   */
  *#learn(work: Work, dir: LocalNode, dirfd: number, name: string): Op<void> {
    const fd = yield* work.openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600);
    if (fd < 0) throw failure('EBUSY');
    const result = yield* work.statOf(fd);
    const { uid } = work.stat;
    yield* work.unlinkat(dirfd, name, false);
    yield* work.close(fd);
    must(result);
    dir.device.owner = uid;
  }

  /** Whether that an owner or a mode could not be set is left at that: for want of a right, or as there is no such id, or no owner, here. */
  #bears(error: number): boolean {
    return this.name === 'none' && REFUSALS.has(error);
  }

  *#settle(work: Work, dir: LocalNode, fd: number, owner: Owner, inherits: boolean): Op<void> {
    if (owner.uid !== this.#uid || owner.gid !== this.#gid || dir.setgid) {
      const given = yield* work.chown(fd, owner.uid, owner.gid);
      if (given < 0 && !this.#bears(given)) fail(given);
    }
    const type = owner.mode & S_IFMT;
    if (type === S_IFLNK) return;
    let mode = owner.mode & 0o7777;
    if (inherits) {
      // The kernel has narrowed the mode by the directory's default ACL; only what it takes away from new files is left to set.
      if ((mode & 0o7000) === 0) return;
      must(yield* work.statOf(fd));
      mode = (mode & 0o7000) | (work.stat.mode & 0o777);
    }
    const set = yield* work.chmod(fd, mode);
    if (set < 0 && !this.#bears(set)) fail(set);
  }

  /** Whether new files in a directory get their ACL, and with it their mode, from a default ACL. */
  *#inherits(work: Work, dirfd: number): Op<boolean> {
    return (yield* work.getxattr(dirfd, ACL_DEFAULT)) > 0;
  }

  *readlink(work: Work, node: LocalNode, fd: number): Op<string> {
    if (node.kind !== S_IFLNK) throw failure('EINVAL');
    const length = must(yield* work.readlink(fd));
    return decodeText(work.value, 0, length);
  }

  *link(work: Work, _node: LocalNode, fd: number, dirfd: number, name: string): Op<number> {
    return yield* work.linkOf(fd, dirfd, name);
  }

  *rename(work: Work, fromDirfd: number, from: string, toDirfd: number, to: string): Op<number> {
    return yield* work.renameat(fromDirfd, from, toDirfd, to);
  }

  *unlink(work: Work, dirfd: number, name: string, directory: boolean): Op<number> {
    return yield* work.unlinkat(dirfd, name, directory);
  }

  *chown(work: Work, _node: LocalNode, fd: number, uid: number, gid: number): Op<void> {
    const result = yield* work.chown(fd, uid, gid);
    if (result < 0 && !(this.#bears(result) && (uid !== NO_ID || gid !== NO_ID))) fail(result);
  }

  *chmod(work: Work, node: LocalNode, fd: number, mode: number): Op<void> {
    if (node.kind === S_IFLNK) throw failure('EOPNOTSUPP');
    const result = yield* work.chmod(fd, mode);
    if (result < 0 && !this.#bears(result)) fail(result);
  }

  *disarm(work: Work, node: LocalNode, fd: number): Op<boolean> {
    // A server without privileges has no say: the kernel does it.
    if (this.#uid !== 0 || node.kind !== S_IFREG) return true;
    must(yield* work.statOf(fd));
    const mode = work.stat.mode & 0o7777;
    const kept = disarmed(mode);
    if (kept !== mode) must(yield* work.chmod(fd, kept));
    return true;
  }

  *getxattr(work: Work, _node: LocalNode, fd: number, name: string): Op<Uint8Array> {
    if (!isServed(name)) throw failure('EOPNOTSUPP');
    const length = must(yield* work.getxattr(fd, name));
    return new Uint8Array(work.value.subarray(0, length));
  }

  *listxattr(work: Work, _node: LocalNode, fd: number): Op<string[]> {
    const length = must(yield* work.listxattr(fd));
    return namesIn(work, length).filter(isServed);
  }

  *setxattr(work: Work, _node: LocalNode, fd: number, name: string, value: Uint8Array, flags: number): Op<void> {
    if (!isServed(name)) throw failure('EOPNOTSUPP');
    must(yield* work.setxattr(fd, name, value, flags));
  }

  *removexattr(work: Work, _node: LocalNode, fd: number, name: string): Op<void> {
    if (!isServed(name)) throw failure('EOPNOTSUPP');
    must(yield* work.removexattr(fd, name));
  }
}
