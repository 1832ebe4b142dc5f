import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../protocol/constants.js';
import { EBADF, ENODATA } from '../../sys/files.js';
import { O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDONLY } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import type { Stat } from '../../sys/stat.js';
import { failure } from '../errors.js';
import { ACL_ACCESS, ACL_DEFAULT, type AclEntry, formatAcl, inheritAcl, isMinimal, modeOfAcl, parseAcl, withMode } from './acl.js';
import { fail, must } from './fail.js';
import { isServed, namesIn } from './host.js';
import { Kept } from './kept.js';
import { type Inheritance, MappedModel, type Place } from './mapped.js';
import type { Credentials } from './metadata.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

/** QEMU's names (hw/9pfs). */
const PREFIX = 'user.virtfs.';
const UID = `${PREFIX}uid`;
const GID = `${PREFIX}gid`;
const MODE = `${PREFIX}mode`;
const RDEV = `${PREFIX}rdev`;
const MAPPED_ACL_ACCESS = PREFIX + ACL_ACCESS;
const MAPPED_ACL_DEFAULT = PREFIX + ACL_DEFAULT;

/** A ctime younger than this, in seconds, may not have moved with the last change: file systems keep it in ticks. */
const RACY = 0.05;

const word = new Uint8Array(8);
const wordView = new DataView(word.buffer);
const four = word.subarray(0, 4);

/**
 * `mapped-xattr`: owner, mode and device in `user.virtfs.*` of the file itself, little endian; ACLs in `user.virtfs.system.posix_acl_*`.
 * Those names are hidden from clients.
 */
export class MappedXattrModel extends MappedModel {
  readonly name = 'mapped-xattr';

  reserves(): boolean {
    return false;
  }

  protected *load(work: Work, node: LocalNode, fd: number, stat: Stat): Op<Credentials> {
    if (node.kind === S_IFLNK) return node.kept.forget();
    const { kept } = node;
    // Whatever changes an xattr changes the ctime: as long as that is what it was, so are they.
    if (kept.ctimeSec === stat.ctimeSec && kept.ctimeNsec === stat.ctimeNsec) return kept.credentials;
    const now = Date.now() / 1000;
    const { armed } = Kept;
    const credentials = yield* this.#read(work, node, fd);
    kept.credentials = credentials;
    kept.asOf = armed;
    const settled = node.device.ctimeTells && now - (stat.ctimeSec + stat.ctimeNsec / 1e9) > RACY;
    kept.ctimeSec = settled ? stat.ctimeSec : Number.NaN;
    kept.ctimeNsec = stat.ctimeNsec;
    return credentials;
  }

  /** Through an open file where that can be had, as then four reads cost what two by path do. */
  *#read(work: Work, node: LocalNode, fd: number): Op<Credentials> {
    const opens = node.kind === S_IFREG || node.kind === S_IFDIR;
    if (!opens || (yield* work.fgetxattr(fd, UID)) !== EBADF) return yield* read(work, fd);
    const open = yield* work.reopen(fd, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (open < 0) return yield* read(work, fd);
    try {
      return yield* read(work, open);
    } finally {
      yield* work.close(open);
    }
  }

  protected *store(work: Work, node: LocalNode, fd: number, change: Credentials): Op<void> {
    node.kept.forget();
    yield* write(work, fd, change);
  }

  protected *found(work: Work, place: Place, credentials: Credentials): Op<void> {
    yield* write(work, place.fd, credentials);
  }

  protected *inherit(work: Work, dirfd: number, mode: number): Op<Inheritance> {
    const length = yield* work.getxattr(dirfd, MAPPED_ACL_DEFAULT);
    const entries = length > 0 ? parseAcl(work.value.subarray(0, length)) : undefined;
    if (entries === undefined) return { mode };
    const inherited = inheritAcl(entries, mode);
    return {
      mode: inherited.mode,
      access: isMinimal(inherited.acl) ? undefined : formatAcl(inherited.acl),
      default: (mode & S_IFMT) === S_IFDIR ? formatAcl(entries) : undefined,
    };
  }

  protected *endow(work: Work, fd: number, inheritance: Inheritance): Op<void> {
    if (inheritance.access !== undefined) must(yield* work.setxattr(fd, MAPPED_ACL_ACCESS, inheritance.access, 0));
    if (inheritance.default !== undefined) must(yield* work.setxattr(fd, MAPPED_ACL_DEFAULT, inheritance.default, 0));
  }

  protected *modeChanged(work: Work, _node: LocalNode, fd: number, mode: number): Op<void> {
    const length = yield* work.getxattr(fd, MAPPED_ACL_ACCESS);
    const entries = length > 0 ? parseAcl(work.value.subarray(0, length)) : undefined;
    if (entries !== undefined) must(yield* work.setxattr(fd, MAPPED_ACL_ACCESS, formatAcl(withMode(entries, mode)), 0));
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

  *getxattr(work: Work, node: LocalNode, fd: number, name: string): Op<Uint8Array> {
    const length = must(yield* work.getxattr(fd, this.#diskName(node, name, ENODATA)));
    return new Uint8Array(work.value.subarray(0, length));
  }

  *listxattr(work: Work, _node: LocalNode, fd: number): Op<string[]> {
    const length = must(yield* work.listxattr(fd));
    const names: string[] = [];
    for (const name of namesIn(work, length)) {
      if (name === MAPPED_ACL_ACCESS) names.push(ACL_ACCESS);
      else if (name === MAPPED_ACL_DEFAULT) names.push(ACL_DEFAULT);
      else if (name.startsWith('user.') && !name.startsWith(PREFIX)) names.push(name);
    }
    return names;
  }

  *setxattr(work: Work, node: LocalNode, fd: number, name: string, value: Uint8Array, flags: number): Op<void> {
    const diskName = this.#diskName(node, name, EACCES);
    if (name !== ACL_ACCESS && name !== ACL_DEFAULT) {
      node.kept.forget();
      must(yield* work.setxattr(fd, diskName, value, flags));
      return;
    }
    const entries = parseAcl(value);
    if (entries === undefined) throw failure('EINVAL');
    if (name === ACL_DEFAULT) {
      if (node.kind !== S_IFDIR) throw failure('EACCES');
      must(yield* work.setxattr(fd, diskName, value, flags));
      return;
    }
    yield* this.#setAccess(work, node, fd, entries, value, flags);
  }

  /** The permission bits are part of the ACL; one that says no more than they do is not kept. */
  *#setAccess(work: Work, node: LocalNode, fd: number, entries: AclEntry[], value: Uint8Array, flags: number): Op<void> {
    must(yield* work.statOf(fd));
    yield* this.overlay(work, node, fd, work.stat);
    const { mode } = work.stat;
    if (isMinimal(entries)) {
      const removed = yield* work.removexattr(fd, MAPPED_ACL_ACCESS);
      if (removed < 0 && removed !== ENODATA) fail(removed);
    } else {
      must(yield* work.setxattr(fd, MAPPED_ACL_ACCESS, value, flags));
    }
    node.mode = (mode & ~0o777) | modeOfAcl(entries);
    yield* this.keep(work, node, fd, { mode: node.mode });
  }

  *removexattr(work: Work, node: LocalNode, fd: number, name: string): Op<void> {
    const diskName = this.#diskName(node, name, EACCES);
    node.kept.forget();
    const result = yield* work.removexattr(fd, diskName);
    if (result === ENODATA && (name === ACL_ACCESS || name === ACL_DEFAULT)) return;
    must(result);
  }

  /** The name on disk; `refused` is the error for one that is hidden. */
  #diskName(node: LocalNode, name: string, refused: number): string {
    if (!isServed(name)) throw failure('EOPNOTSUPP');
    if (name.startsWith(PREFIX)) fail(refused);
    if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return name;
    if ((node.mode & S_IFMT) === S_IFLNK) throw failure('EOPNOTSUPP');
    return PREFIX + name;
  }
}

const EACCES = -13;

function* read(work: Work, fd: number): Op<Credentials> {
  const credentials: Credentials = {
    uid: yield* number32(work, fd, UID),
    gid: yield* number32(work, fd, GID),
    mode: yield* number32(work, fd, MODE),
    rdev: undefined,
  };
  const type = (credentials.mode ?? 0) & S_IFMT;
  if (type === S_IFBLK || type === S_IFCHR) credentials.rdev = yield* number64(work, fd, RDEV);
  return credentials;
}

function* number32(work: Work, fd: number, name: string): Op<number | undefined> {
  return (yield* work.getxattr(fd, name)) === 4 ? work.value.readUInt32LE(0) : undefined;
}

function* number64(work: Work, fd: number, name: string): Op<bigint | undefined> {
  return (yield* work.getxattr(fd, name)) === 8 ? work.value.readBigUInt64LE(0) : undefined;
}

function* write(work: Work, fd: number, { uid, gid, mode, rdev }: Credentials): Op<void> {
  if (uid !== undefined) yield* write32(work, fd, UID, uid);
  if (gid !== undefined) yield* write32(work, fd, GID, gid);
  if (mode !== undefined) yield* write32(work, fd, MODE, mode);
  if (rdev === undefined) return;
  wordView.setBigUint64(0, rdev, true);
  must(yield* work.setxattr(fd, RDEV, word, 0));
}

function* write32(work: Work, fd: number, name: string, value: number): Op<void> {
  // `setxattr` has copied the word before anything can wait.
  wordView.setUint32(0, value, true);
  must(yield* work.setxattr(fd, name, four, 0));
}
