import { L_O_EXCL, S_IFDIR, S_IFMT, S_IFREG, S_ISGID } from '../../protocol/constants.js';
import type { Attributes, Qid } from '../../protocol/types.js';
import { EEXIST } from '../../sys/files.js';
import { O_DIRECTORY } from '../../sys/flags.js';
import type { Op } from '../../sys/op.js';
import type { BackendFile, Caller } from '../backend.js';
import { failure } from '../errors.js';
import { attributesOf, qidType, qidVersion } from './attributes.js';
import { must } from './fail.js';
import { LocalFile } from './file.js';
import { Kept } from './kept.js';
import { NO_ID, type Owner } from './model.js';
import { LocalNode } from './node.js';
import { hostFlags } from './open.js';
import type { Work } from './work.js';

/** A regular file that was made and opened, or opened as it was there. */
export interface Made {
  node: LocalNode;
  file: BackendFile;
  /** Where they are known without asking for them. */
  attributes: Attributes | undefined;
}

/** Makes something in a directory that is held: a descriptor of it, or an error number negated. */
export type Make = (work: Work, dirfd: number, owner: Owner) => Op<number>;

/** How often a name may come and go between two looks at it. */
const TRIES = 16;
const EMFILE = -24;

/** Whose a new file is: BSD groups as Linux has them, where a directory with setgid hands its group down. */
function* ownerIn(work: Work, dir: LocalNode, dirfd: number, uid: number, gid: number, mode: number): Op<Owner> {
  must(yield* work.statOf(dirfd));
  const { stat } = work;
  if (dir.tree.model.mapped) yield* dir.tree.model.overlay(work, dir, dirfd, stat);
  dir.mode = stat.mode;
  if (!dir.setgid) return { uid, gid, mode };
  return { uid, gid: stat.gid, mode: (mode & S_IFMT) === S_IFDIR ? mode | S_ISGID : mode };
}

/** Creates and opens a regular file, or opens the one that is there, unless it was to be new. */
export function* createFile(
  work: Work,
  dir: LocalNode,
  name: string,
  flags: number,
  mode: number,
  gid: number,
  { uid, connection }: Caller,
): Op<Made> {
  const { tree } = dir;
  dir.demandDirectory();
  const dirfd = yield* dir.descriptor(work);
  const wanted = { uid, gid, mode: S_IFREG | (mode & 0o7777) };
  const inDirectory = () => ownerIn(work, dir, dirfd, uid, gid, wanted.mode);
  const host = hostFlags(flags) & ~O_DIRECTORY;
  for (let tries = 0; ; tries++) {
    const { armed } = Kept;
    const plain = tree.model.createPlain?.(work, dir, dirfd, name, host, wanted, inDirectory);
    let owner: Owner = wanted;
    let fd: number;
    if (plain === undefined) {
      owner = yield* inDirectory();
      fd = yield* tree.model.create(work, dir, dirfd, name, host, owner);
    } else {
      fd = yield* plain;
    }
    if (fd === EMFILE && tries === 0 && tree.held.relieve()) continue;
    if (fd === EEXIST && (flags & L_O_EXCL) === 0) {
      let node: LocalNode | undefined;
      try {
        node = yield* dir.look(work, name);
        if (node === undefined) throw failure('ENOENT');
        return { node, file: yield* node.openWith(work, flags, connection), attributes: undefined };
      } catch (error) {
        node?.release();
        // Gone between the two: then it can be made after all.
        if (error === failure('ENOENT') && tries < TRIES) continue;
        throw error;
      }
    }
    must(fd);
    try {
      if (plain === undefined) must(yield* work.statOf(fd));
      const made = new LocalNode(tree, dir, name, dir.device, S_IFREG, work.stat);
      if (tree.model.mapped) {
        made.mode = owner.mode;
        made.kept.credentials = {
          uid: owner.uid === NO_ID ? undefined : owner.uid,
          gid: owner.gid === NO_ID ? undefined : owner.gid,
          mode: owner.mode,
        };
        made.kept.asOf = armed;
      }
      const attributes = tree.model.mapped ? undefined : attributesOf(work.stat, made.qid);
      const node = tree.adopt(made, -1);
      return { node, file: new LocalFile(node, fd, flags, connection), attributes };
    } catch (error) {
      yield* work.close(fd);
      throw error;
    }
  }
}

/** Makes a directory, symlink or special file, and tells its qid. */
export function* makeFile(work: Work, dir: LocalNode, mode: number, gid: number, uid: number, make: Make): Op<Qid> {
  dir.demandDirectory();
  const dirfd = yield* dir.descriptor(work);
  const owner = yield* ownerIn(work, dir, dirfd, uid, gid, mode);
  const fd = must(yield* make(work, dirfd, owner));
  const result = yield* work.statOf(fd);
  const { stat } = work;
  yield* work.close(fd);
  must(result);
  const version = dir.device.volatile ? 0 : qidVersion(stat);
  return { type: qidType(mode), version, path: dir.tree.devices.path(dir.device, stat.ino) };
}
