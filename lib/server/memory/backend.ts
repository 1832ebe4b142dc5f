import type { Attachment, Backend } from '../backend.js';
import { failure } from '../errors.js';
import { Entry } from './entry.js';
import type { Produce, Volume } from './inode.js';
import { Quota } from './quota.js';

export interface MemoryOptions {
  /** Bytes of content, symlinks' targets and extended attributes at most; beyond is ENOSPC. 1 GiB if not given. */
  maxBytes?: number;
  /** Files at most, of every kind, and names that files have beside their first; beyond is ENOSPC. 1,048,576 if not given. */
  maxFiles?: number;
  /** Whether permission bits are enforced for clients other than uid 0. They are not if not given: 9P's ids are only claimed. */
  enforcePermissions?: boolean;
  /** The root directory's permission bits, owner and group; 0755, 0, 0 if not given. */
  mode?: number;
  uid?: number;
  gid?: number;
}

/** What a tree in memory holds at the moment. */
export interface MemoryCounts {
  /** Files, the root included, and those that are unlinked but still held; and names beside the first. */
  files: number;
  /** Bytes of content, symlinks' targets and extended attributes. */
  bytes: number;
  /** Holders of nodes: fids and open files. 0 when nobody is attached. */
  held: number;
  /** Byte ranges locked or waited for in files that have a name. */
  locks: number;
}

const builder = { uid: 0, connection: '', signal: new AbortController().signal };

/**
 * A tree in memory: hard links, symlinks, device nodes, extended attributes, byte-range locks, stable directory cookies. Everything
 * is answered at once but a lock that has to wait.
 */
export class MemoryBackend implements Backend {
  readonly #root: Entry;
  readonly #volume: Volume;

  constructor(options: MemoryOptions = {}) {
    this.#volume = {
      quota: new Quota(options.maxBytes ?? 2 ** 30, options.maxFiles ?? 2 ** 20),
      enforce: options.enforcePermissions ?? false,
      held: 0,
      nextInode: 1n,
    };
    this.#root = Entry.root(this.#volume, options.mode ?? 0o755, options.uid ?? 0, options.gid ?? 0);
  }

  attach(_attachment: Attachment): Entry {
    this.#root.retain();
    return this.#root;
  }

  close(): void {}

  /** Makes the directories of `path` that are missing. */
  mkdir(path: string): void {
    this.#directory(split(path));
  }

  /** Writes a file, making the directories above it. EEXIST for a name that is there. */
  writeFile(path: string, content: Uint8Array | string, mode = 0o644): void {
    const [directory, name] = this.#place(path);
    const { node, file } = directory.create(name, 0o201, mode, 0, builder);
    try {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      if (bytes.length > 0) file.write(bytes, 0, builder);
    } finally {
      file.close();
      node.release();
    }
  }

  /** A file whose content `produce` computes each time it is opened. It cannot be written. */
  synthetic(path: string, produce: Produce): void {
    const [directory, name] = this.#place(path);
    directory.synthetic(name, produce);
  }

  counts(): MemoryCounts {
    const { quota, held } = this.#volume;
    return { files: quota.files, bytes: quota.bytes, held, locks: countLocks(this.#root) };
  }

  #place(path: string): [Entry, string] {
    const names = split(path);
    const name = names.pop();
    if (name === undefined) throw failure('EISDIR');
    return [this.#directory(names), name];
  }

  #directory(names: readonly string[]): Entry {
    let at = this.#root;
    for (const name of names) {
      if (at.inode.directory?.get(name) === undefined) at.mkdir(name, 0o755, 0, builder);
      at = at.inode.directory?.get(name) ?? at;
    }
    return at;
  }
}

function split(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function countLocks(entry: Entry): number {
  let count = entry.inode.lockCount;
  for (const child of entry.inode.directory?.after(0) ?? []) count += countLocks(child);
  return count;
}
