import type { Attachment, Backend } from '../backend.js';
import { failure } from '../errors.js';
import { PathNode } from './node.js';
import type { PromisesLike } from './shape.js';
import { sameFile, typeOf } from './stat.js';
import { Tree } from './tree.js';

export interface NodeFsOptions {
  /** The directory that is served: a path of the file system. "/" if not given. Must not lead through symlinks. */
  root?: string;
  /** Entries of one directory that a listing may have at most; EOVERFLOW beyond. 1,000,000 if not given. */
  maxEntries?: number;
  /**
   * Bytes that a file may grow to; EFBIG beyond. No limit if not given. For a file system in memory: a client asks for any size with one message, and
   * gets it of memory.
   */
  maxFileSize?: number;
}

/**
 * Serves anything shaped like `node:fs/promises`: memfs, a union, an archive, a remote store, or `node:fs/promises` itself.
 *
 * Symlinks are shown to clients and never followed. Every path is checked from the root on before it is used, and no client can change
 * it in between; another process could, so for a directory of this host that others write to there is the local back-end, which needs no
 * paths. Files that are made belong to whoever the file system makes them belong to. Extended attributes and device nodes
 * are not in that shape: EOPNOTSUPP. Locks are held between the clients of this back-end.
 */
export class NodeFsBackend implements Backend {
  readonly #tree: Tree;
  /** All attaches share it, so that a rename by one moves the fids of all. */
  #root: PathNode | undefined;

  constructor(fs: PromisesLike, options: NodeFsOptions = {}) {
    const { root = '/', maxEntries = 1_000_000, maxFileSize = Number.POSITIVE_INFINITY } = options;
    this.#tree = new Tree(fs, root, maxEntries, maxFileSize);
  }

  async attach(_attachment: Attachment): Promise<PathNode> {
    const stat = await this.#tree.lstat(this.#tree.root);
    if (typeOf(stat) !== 0o040000) throw failure('ENOTDIR');
    if (this.#root === undefined || this.#root.isGone || !sameFile(this.#root.stat, stat)) this.#root = new PathNode(this.#tree, stat);
    else this.#root.retain();
    return this.#root;
  }

  close(): void {}

  /** Holders of nodes, and byte ranges locked or waited for: both 0 when nobody is attached. */
  counts(): { held: number; locks: number } {
    return { held: this.#tree.held, locks: this.#tree.lockCount };
  }
}
