import { S_IFDIR, S_IFLNK, S_IFMT } from '../../protocol/constants.js';
import { decodeText } from '../../protocol/text.js';
import { Dirents } from '../../sys/dirent.js';
import { EEXIST, ENOENT, ENOTEMPTY } from '../../sys/files.js';
import { O_CLOEXEC, O_CREAT, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import { failure } from '../errors.js';
import { ACL_ACCESS, ACL_DEFAULT, ACL_USER_OBJ, formatAcl, inheritAcl, modeOfAcl, parseAcl, withMode } from './acl.js';
import { fail, must } from './fail.js';
import { isServed, namesIn } from './host.js';
import { Kept } from './kept.js';
import { type Inheritance, MappedModel, type Place } from './mapped.js';
import { type Credentials, formatMetadata, METADATA_DIRECTORY, METADATA_ROOT, mergeCredentials, parseMetadata } from './metadata.js';
import type { LocalNode } from './node.js';
import { OVERTAKEN, type Work } from './work.js';

const HELD = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
const OWN = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
/** A metadata file is four short lines. */
const TEXT_MOST = 4096;
const NOTHING: Credentials = {};
/** Bytes of a directory read at once. */
const CHUNK = 32 * 1024;
/** ENOENT, ENOTDIR and ELOOP: there is no directory of metadata. */
const ABSENT: ReadonlySet<number> = new Set([ENOENT, -20, -40]);
/** ENOMEM, ENFILE and EMFILE. */
const SHORTAGES: ReadonlySet<number> = new Set([-12, -23, -24]);
/** How often a node's file is read again where a change of its directory came in between. */
const LOOKS = 8;

/**
 * `mapped-file`: owner, mode and device in a text file of the same name in `.virtfs_metadata` beside the file, the root's in
 * `.virtfs_metadata_root`; works where there are no xattrs. ACLs are the host's own, if it has any, with the client's mode laid over them.
 */
export class MappedFileModel extends MappedModel {
  readonly name = 'mapped-file';

  reserves(name: string): boolean {
    return name === METADATA_DIRECTORY || name === METADATA_ROOT;
  }

  protected *load(work: Work, node: LocalNode): Op<Credentials> {
    const { kept } = node;
    for (let looks = 0; looks < LOOKS; looks++) {
      const { armed } = Kept;
      const { above, label } = node;
      // The name is gone, and so is the file that went with it.
      if (!node.attached || above === undefined) {
        if (node.attached) kept.credentials = yield* readFile(work, yield* node.descriptor(work), METADATA_ROOT);
        kept.asOf = armed;
        return kept.credentials;
      }
      const { turn } = above;
      // While names move, theirs do not move along at once. What is known of a node is not changed by that.
      if (turn % 2 !== 0) {
        if (!Number.isNaN(kept.asOf)) return kept.credentials;
        yield* node.tree.turned(work, above);
        continue;
      }
      const credentials = yield* readIn(work, yield* above.descriptor(work), label);
      if (above.turn !== turn || node.above !== above || node.label !== label || !node.attached) continue;
      kept.credentials = credentials;
      kept.asOf = armed;
      return credentials;
    }
    if (Number.isNaN(kept.asOf)) throw OVERTAKEN;
    return kept.credentials;
  }

  protected *store(work: Work, node: LocalNode, _fd: number, change: Credentials): Op<void> {
    node.kept.credentials = mergeCredentials(node.kept.credentials, change);
    if (!node.attached) return;
    const { above } = node;
    if (above === undefined) yield* writeFile(work, yield* node.descriptor(work), METADATA_ROOT, change);
    else yield* writeIn(work, yield* above.descriptor(work), node.label, change);
  }

  protected *found(work: Work, place: Place, credentials: Credentials): Op<void> {
    const directory = must(yield* openDirectory(work, place.dirfd));
    try {
      // What a file of that name that was removed on the host has left is not this one's.
      yield* work.unlinkat(directory, place.name, false);
      yield* writeFile(work, directory, place.name, credentials);
    } finally {
      yield* work.close(directory);
    }
  }

  protected *inherit(work: Work, dirfd: number, mode: number): Op<Inheritance> {
    // The host's kernel hands the ACL itself down.
    const length = yield* work.getxattr(dirfd, ACL_DEFAULT);
    const entries = length > 0 ? parseAcl(work.value.subarray(0, length)) : undefined;
    return { mode: entries === undefined || (mode & S_IFMT) === S_IFLNK ? mode : inheritAcl(entries, mode).mode };
  }

  protected *endow(): Op<void> {}

  protected *modeChanged(): Op<void> {}

  *link(work: Work, node: LocalNode, fd: number, dirfd: number, name: string): Op<number> {
    const linked = yield* work.linkOf(fd, dirfd, name);
    if (linked < 0) return linked;
    const { above } = node;
    if (!node.attached || above === undefined) {
      // Its own name is gone, but the file has others, and what is known of it.
      try {
        yield* this.found(work, { dirfd, name, fd }, node.kept.credentials);
        return linked;
      } catch (error) {
        yield* work.unlinkat(dirfd, name, false);
        throw error;
      }
    }
    const from = yield* work.openat(yield* above.descriptor(work), METADATA_DIRECTORY, HELD);
    if (ABSENT.has(from)) return linked;
    if (from < 0) {
      yield* work.unlinkat(dirfd, name, false);
      return from;
    }
    const to = yield* openDirectory(work, dirfd);
    if (to >= 0) {
      yield* work.unlinkat(to, name, false);
      // One metadata file for one file, whatever its names: a change through one shows through all.
      const result = yield* work.linkat(from, node.label, to, name);
      yield* work.close(to);
      yield* work.close(from);
      if (result >= 0 || result === ENOENT) return linked;
      yield* work.unlinkat(dirfd, name, false);
      return result;
    }
    yield* work.close(from);
    yield* work.unlinkat(dirfd, name, false);
    return to;
  }

  *rename(work: Work, fromDirfd: number, from: string, toDirfd: number, to: string, replaced: LocalNode | undefined): Op<number> {
    // Two names of one file: rename(2) leaves both, so both keep their metadata.
    if ((yield* work.statAt(toDirfd, to)) >= 0) {
      const { ino, dev } = work.stat;
      if ((yield* work.statAt(fromDirfd, from)) >= 0 && work.stat.ino === ino && work.stat.dev === dev) return 0;
    }
    if (replaced !== undefined) replaced.kept.credentials = yield* readIn(work, toDirfd, to);
    // Before anything is moved: what has been replaced cannot be brought back.
    const fromData = yield* work.openat(fromDirfd, METADATA_DIRECTORY, HELD);
    if (fromData < 0 && !ABSENT.has(fromData)) return fromData;
    const toData = fromData < 0 ? yield* work.openat(toDirfd, METADATA_DIRECTORY, HELD) : yield* openDirectory(work, toDirfd);
    try {
      if (toData < 0 && (fromData >= 0 || !ABSENT.has(toData))) return toData;
      return yield* renameBoth(work, { dirfd: fromDirfd, name: from, data: fromData }, { dirfd: toDirfd, name: to, data: toData });
    } finally {
      if (fromData >= 0) yield* work.close(fromData);
      if (toData >= 0) yield* work.close(toData);
    }
  }

  *unlink(work: Work, dirfd: number, name: string, directory: boolean, node: LocalNode | undefined): Op<number> {
    if (node !== undefined) node.kept.credentials = yield* readIn(work, dirfd, name);
    if (directory) {
      const inside = yield* work.openat(dirfd, name, HELD);
      if (inside < 0) return inside;
      try {
        const emptied = yield* removeMetadata(work, inside);
        if (emptied < 0 && emptied !== ENOENT) return emptied;
      } finally {
        yield* work.close(inside);
      }
    }
    const removed = yield* work.unlinkat(dirfd, name, directory);
    if (removed >= 0) yield* removeIn(work, dirfd, name);
    return removed;
  }

  *getxattr(work: Work, node: LocalNode, fd: number, name: string): Op<Uint8Array> {
    yield* this.#check(work, node, fd, name);
    const length = must(yield* work.getxattr(fd, name));
    const value = new Uint8Array(work.value.subarray(0, length));
    if (name !== ACL_ACCESS) return value;
    const entries = parseAcl(value);
    return entries === undefined ? value : formatAcl(withMode(entries, node.mode));
  }

  *listxattr(work: Work, _node: LocalNode, fd: number): Op<string[]> {
    const length = must(yield* work.listxattr(fd));
    return namesIn(work, length).filter(isServed);
  }

  *setxattr(work: Work, node: LocalNode, fd: number, name: string, value: Uint8Array, flags: number): Op<void> {
    yield* this.#check(work, node, fd, name);
    if (name !== ACL_ACCESS) {
      if (name === ACL_DEFAULT && node.kind !== S_IFDIR) throw failure('EACCES');
      must(yield* work.setxattr(fd, name, value, flags));
      return;
    }
    const entries = parseAcl(value);
    if (entries === undefined) throw failure('EINVAL');
    // What the client takes from the owner it must not take from this server, which is the owner on the host.
    const server = node.kind === S_IFDIR ? 7 : 6;
    const onDisk = entries.map((entry) => (entry.tag === ACL_USER_OBJ ? { ...entry, perm: entry.perm | server } : entry));
    must(yield* work.setxattr(fd, name, formatAcl(onDisk), flags));
    node.mode = (node.mode & ~0o777) | modeOfAcl(entries);
    yield* this.keep(work, node, fd, { mode: node.mode });
  }

  *removexattr(work: Work, node: LocalNode, fd: number, name: string): Op<void> {
    yield* this.#check(work, node, fd, name);
    must(yield* work.removexattr(fd, name));
  }

  /** Whether an attribute is served; with its mode known, where that matters. */
  *#check(work: Work, node: LocalNode, fd: number, name: string): Op<void> {
    if (!isServed(name)) throw failure('EOPNOTSUPP');
    if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return;
    must(yield* work.statOf(fd));
    yield* this.overlay(work, node, fd, work.stat);
    if ((node.mode & S_IFMT) === S_IFLNK) throw failure('EOPNOTSUPP');
  }
}

/** A name in a directory, whose metadata are in another; `data` is negative where there is none. */
interface Filed {
  dirfd: number;
  name: string;
  data: number;
}

/** Renames a file, and its metadata. */
function* renameBoth(work: Work, from: Filed, to: Filed): Op<number> {
  let renamed = yield* work.renameat(from.dirfd, from.name, to.dirfd, to.name);
  if (renamed === ENOTEMPTY || renamed === EEXIST) {
    renamed = yield* renameOntoEmptied(work, from.dirfd, from.name, to.dirfd, to.name, renamed);
  }
  if (renamed < 0) return renamed;
  let result = from.data < 0 ? ENOENT : yield* work.renameat(from.data, from.name, to.data, to.name);
  // Without metadata of its own the file must not take over those of the one it replaced.
  if (result === ENOENT && to.data >= 0) result = yield* work.unlinkat(to.data, to.name, false);
  if (result >= 0 || result === ENOENT) return renamed;
  yield* work.renameat(to.dirfd, to.name, from.dirfd, from.name);
  return result;
}

/**
 * rename(2) onto a directory that was found not to be empty, which is `refused`: for the client it is, if there is nothing in it but a directory of
 * metadata. That is there again if it stays.
 */
function* renameOntoEmptied(work: Work, fromDirfd: number, from: string, toDirfd: number, to: string, refused: number): Op<number> {
  const inside = yield* work.openat(toDirfd, to, HELD);
  if (inside < 0) return refused;
  try {
    if ((yield* removeMetadata(work, inside)) < 0) return refused;
    const result = yield* work.renameat(fromDirfd, from, toDirfd, to);
    if (result < 0) yield* work.mkdirat(inside, METADATA_DIRECTORY, 0o700);
    return result;
  } finally {
    yield* work.close(inside);
  }
}

/**
 * Removes the directory of metadata from one that is to go. What it may still have belongs to files that a program of the host has removed, if
 * there is no file left: no client could see what keeps such a directory from being removed.
 */
function* removeMetadata(work: Work, inside: number): Op<number> {
  const removed = yield* work.unlinkat(inside, METADATA_DIRECTORY, true);
  if (removed !== ENOTEMPTY && removed !== EEXIST) return removed;
  const directory = yield* work.openat(inside, METADATA_DIRECTORY, HELD);
  if (directory < 0) return directory;
  try {
    // In this order: the metadata of a file that is made meanwhile are not among those.
    const left = yield* namesOf(work, directory);
    for (const name of yield* namesOf(work, inside)) if (name !== METADATA_DIRECTORY) return removed;
    for (const name of left) yield* work.unlinkat(directory, name, false);
  } finally {
    yield* work.close(directory);
  }
  return yield* work.unlinkat(inside, METADATA_DIRECTORY, true);
}

/** What is in a directory, but for the dots. */
function* namesOf(work: Work, dirfd: number): Op<string[]> {
  const fd = must(yield* work.openat(dirfd, '.', O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const dirents = new Dirents(Buffer.allocUnsafe(CHUNK));
  const names: string[] = [];
  try {
    for (let length = 1; length > 0; ) {
      length = must(yield* work.getdents(fd, CHUNK));
      work.value.copy(dirents.bytes, 0, 0, length);
      dirents.reset(length);
      while (dirents.next()) if (!dirents.isDots) names.push(decodeText(dirents.bytes, dirents.nameStart, dirents.nameEnd));
    }
    return names;
  } finally {
    yield* work.close(fd);
  }
}

/** The directory of metadata, made if there is none: O_PATH, or an error number negated. */
function* openDirectory(work: Work, dirfd: number): Op<number> {
  const fd = yield* work.openat(dirfd, METADATA_DIRECTORY, HELD);
  if (fd !== ENOENT) return fd;
  const made = yield* work.mkdirat(dirfd, METADATA_DIRECTORY, 0o700);
  return made < 0 && made !== EEXIST ? made : yield* work.openat(dirfd, METADATA_DIRECTORY, HELD);
}

function* readIn(work: Work, dirfd: number, name: string): Op<Credentials> {
  const directory = yield* work.openat(dirfd, METADATA_DIRECTORY, HELD);
  if (directory < 0) return unread(directory);
  try {
    return yield* readFile(work, directory, name);
  } finally {
    yield* work.close(directory);
  }
}

/** For want of a descriptor or of memory it is not known whether there are any: that must not make a file look like the host's own. */
function unread(result: number): Credentials {
  if (SHORTAGES.has(result)) fail(result);
  return NOTHING;
}

/** Nothing, where there is no such file or it cannot be read: the host's own attributes show then. */
function* readFile(work: Work, dirfd: number, name: string): Op<Credentials> {
  const fd = yield* work.openat(dirfd, name, O_RDONLY | OWN);
  if (fd < 0) return unread(fd);
  const length = yield* work.readValue(fd, TEXT_MOST);
  yield* work.close(fd);
  return length <= 0 ? NOTHING : parseMetadata(work.value.toString('latin1', 0, length));
}

function* writeIn(work: Work, dirfd: number, name: string, change: Credentials): Op<void> {
  const directory = must(yield* openDirectory(work, dirfd));
  try {
    yield* writeFile(work, directory, name, change);
  } finally {
    yield* work.close(directory);
  }
}

/** In place, as a metadata file may have several names. */
function* writeFile(work: Work, dirfd: number, name: string, change: Credentials): Op<void> {
  const fd = must(yield* work.openat(dirfd, name, O_RDWR | O_CREAT | OWN, 0o600));
  try {
    const length = must(yield* work.readValue(fd, TEXT_MOST));
    const before = parseMetadata(work.value.toString('latin1', 0, length));
    const text = Buffer.from(formatMetadata(mergeCredentials(before, change)), 'latin1');
    must(yield* work.writeValue(fd, text));
    if (text.length < length) must(yield* work.ftruncate(fd, text.length));
  } finally {
    yield* work.close(fd);
  }
}

function* removeIn(work: Work, dirfd: number, name: string): Op<void> {
  const directory = yield* work.openat(dirfd, METADATA_DIRECTORY, HELD);
  if (directory < 0) return;
  yield* work.unlinkat(directory, name, false);
  yield* work.close(directory);
}
