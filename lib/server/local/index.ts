import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { ErrnoError } from '../../protocol/error.js';
import { run } from '../../sys/op.js';
import { readyThread, sharedThreads } from '../../sys/threads.js';
import type { Awaitable, Backend, BackendNode } from '../backend.js';
import { descriptorLimit } from '../descriptors.js';
import { HostModel } from './host.js';
import { MappedFileModel } from './mapped-file.js';
import { MappedXattrModel } from './mapped-xattr.js';
import type { SecurityModel } from './model.js';
import { type LocalOptions, type Settings, settle } from './options.js';
import { Tree } from './tree.js';
import { Work } from './work.js';

export type { LocalOptions, MultiDevices, SecurityModelName } from './options.js';

/** A host directory as an export. */
export class LocalBackend implements Backend {
  readonly #tree: Tree;
  #closed = false;

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  attach(): BackendNode {
    this.#tree.root.retain();
    return this.#tree.root;
  }

  /** Descriptors that nodes hold besides the root's own, fids' holds on it, and locks held or waited for: all 0 once nobody is attached. */
  counts(): { held: number; locks: number; descriptors: number } {
    const { root, locks, descriptors } = this.#tree;
    return { held: root.holders - 1 + descriptors, locks: locks.size, descriptors };
  }

  close(): Awaitable<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#tree.close();
  }
}

function modelOf({ securityModel, fmode, dmode }: Settings): SecurityModel {
  if (securityModel === 'mapped-xattr') return new MappedXattrModel(fmode, dmode);
  if (securityModel === 'mapped-file') return new MappedFileModel(fmode, dmode);
  return new HostModel(securityModel);
}

/** Whether other file systems are mounted below a path, which may be of the kind that can hang. */
function spansMounts(path: string): boolean {
  const prefix = path === '/' ? path : `${path}/`;
  try {
    // proc(5): the fifth field is where it is mounted.
    return readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .some((line) => (line.split(' ')[4] ?? '').startsWith(prefix) && line.split(' ')[4] !== '/');
  } catch {
    return false;
  }
}

/**
 * Serves the directory `path` and what is below it, with one of QEMU's security models. Rejects with ENOENT or ENOTDIR where
 * there is no such directory, with EPERM for passthrough without root, with a TypeError for options that are none. Linux only.
 */
export async function localBackend(path: string, options: LocalOptions = {}): Promise<LocalBackend> {
  const settings = settle(resolve(path), options, descriptorLimit());
  try {
    const tree = await run(Tree.plant(new Work(sharedThreads), settings, modelOf(settings)));
    if (tree.root.device.threads !== sharedThreads || spansMounts(settings.path)) readyThread();
    return new LocalBackend(tree);
  } catch (error) {
    throw error instanceof ErrnoError ? new ErrnoError(error.errno, { syscall: 'open', path }) : error;
  }
}
