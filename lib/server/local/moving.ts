import { ENOENT } from '../../sys/files.js';
import type { Op } from '../../sys/op.js';
import type { BackendNode } from '../backend.js';
import { failure } from '../errors.js';
import { must } from './fail.js';
import type { LocalNode } from './node.js';
import type { Work } from './work.js';

/** Renames what has a name in `from`, in the row of changes of both directories. ENOENT where it is not `node`, if that is given. */
export function* renameIn(
  work: Work,
  from: LocalNode,
  oldName: string,
  to: LocalNode,
  newName: string,
  node: BackendNode | undefined,
): Op<void> {
  from.demandDirectory();
  to.demandDirectory();
  if (node !== undefined) yield* demand(work, from, oldName, node);
  yield* from.tree.turn(work, from, to, renameInTurn(work, from, oldName, to, newName));
}

function* renameInTurn(work: Work, from: LocalNode, oldName: string, to: LocalNode, newName: string): Op<void> {
  const { tree } = from;
  const renamed = from.children?.get(oldName);
  const replaced = to.children?.get(newName);
  // Until the tree knows of it, the old name leads nowhere.
  if (renamed !== undefined) yield* tree.keep(work, renamed);
  if (replaced !== undefined) yield* tree.keep(work, replaced);
  const toDirfd = yield* to.descriptor(work);
  must(yield* tree.model.rename(work, yield* from.descriptor(work), oldName, toDirfd, newName, replaced));
  // Two names of one file: rename(2) has done nothing. Who is known by one of them only cannot be told by that from who was replaced.
  if (renamed === undefined && replaced !== undefined && (yield* work.statAt(toDirfd, newName)) >= 0 && replaced.is(work.stat)) return;
  yield* tree.moved(work, from, oldName, to, newName);
}

/** Takes away a name in `directory`, in the row of its changes; of a directory with `isDirectory`. ENOENT where it is not `node`'s, if that is given. */
export function* unlinkIn(work: Work, directory: LocalNode, name: string, isDirectory: boolean, node: BackendNode | undefined): Op<void> {
  directory.demandDirectory();
  if (node !== undefined) yield* demand(work, directory, name, node);
  yield* directory.tree.turn(work, directory, directory, unlinkInTurn(work, directory, name, isDirectory));
}

function* unlinkInTurn(work: Work, directory: LocalNode, name: string, isDirectory: boolean): Op<void> {
  const { tree } = directory;
  const node = directory.children?.get(name);
  if (node !== undefined) yield* tree.keep(work, node);
  const result = yield* tree.model.unlink(work, yield* directory.descriptor(work), name, isDirectory, node);
  if (node !== undefined && (result >= 0 || result === ENOENT) && directory.children?.get(name) === node) tree.detach(node);
  must(result);
}

/** ENOENT where a name does not lead to `node`: it had that name when it was asked for, but others had their turn since. */
function* demand(work: Work, directory: LocalNode, name: string, node: BackendNode): Op<void> {
  const child = directory.children?.get(name);
  if (child === undefined || child.qid !== node.qid) throw failure('ENOENT');
  must(yield* work.statAt(yield* directory.descriptor(work), name));
  if (!child.is(work.stat)) throw failure('ENOENT');
}
