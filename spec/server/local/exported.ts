import { vi } from 'vitest';
import type { Attributes, SetAttributes } from '../../../lib/protocol/types.js';
import type { BackendFile, BackendNode, Caller } from '../../../lib/server/backend.js';
import { failure } from '../../../lib/server/errors.js';
import { type LocalBackend, type LocalOptions, localBackend } from '../../../lib/server/local/index.js';
import { LocalNode } from '../../../lib/server/local/node.js';
import { Door } from '../../support/gated.js';
import { loadSyscalls } from '../../support/syscalls.js';
import { TemporaryDirectory } from '../../support/temporary.js';

export const sys = loadSyscalls();
export const WRITE_CREATE = 0o101;

/** On whose behalf a test asks. */
export function caller(uid = 1000, connection = 'c1', signal = new AbortController().signal): Caller {
  return { uid, connection, signal };
}

/** The code of the error that something throws or rejects with, or 'done'. */
export async function outcome(action: () => unknown): Promise<string> {
  try {
    await action();
    return 'done';
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

/** The child of that name. ENOENT. */
export async function child(directory: BackendNode, name: string, who = caller()): Promise<BackendNode> {
  const node = await directory.walk(name, who);
  if (node === undefined) throw failure('ENOENT');
  return node;
}

/** An export of a fresh directory, spoken to without a wire. */
export class Exported implements AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly backend: LocalBackend;
  readonly root: BackendNode;

  private constructor(directory: TemporaryDirectory, backend: LocalBackend) {
    this.directory = directory;
    this.backend = backend;
    this.root = backend.attach();
  }

  /** `below`: serve that directory of the fresh one instead of the whole. */
  static async make(options: LocalOptions = {}, directory = new TemporaryDirectory('local'), below = ''): Promise<Exported> {
    return new Exported(directory, await localBackend(directory.join(below), options));
  }

  /** A path on the host. */
  host(...names: readonly string[]): string {
    return this.directory.join(...names);
  }

  async walk(path: string, who = caller()): Promise<BackendNode> {
    let node = this.root;
    node.retain();
    for (const name of path.split('/').filter((part) => part !== '')) {
      const next = await child(node, name, who);
      node.release();
      node = next;
    }
    return node;
  }

  async attributes(path: string): Promise<Attributes> {
    const node = await this.walk(path);
    try {
      return await node.getattr(0x3fffn, caller());
    } finally {
      node.release();
    }
  }

  /** Does something with the node of a path, and lets go of it. */
  async at<T>(path: string, action: (node: BackendNode) => T | Promise<T>): Promise<T> {
    const node = await this.walk(path);
    try {
      return await action(node);
    } finally {
      node.release();
    }
  }

  async create(path: string, { mode = 0o644, uid = 1000, gid = 1000, text = '', flags = WRITE_CREATE } = {}): Promise<void> {
    const { file, node } = await this.at(parentOf(path), (parent) => parent.create(nameOf(path), flags, mode, gid, caller(uid)));
    if (text !== '') await file.write(Buffer.from(text), 0, caller(uid));
    await file.close();
    node.release();
  }

  mkdir(path: string, { mode = 0o755, uid = 1000, gid = 1000 } = {}): Promise<unknown> {
    return this.at(parentOf(path), (parent) => parent.mkdir(nameOf(path), mode, gid, caller(uid)));
  }

  async open(path: string, flags = 0): Promise<BackendFile> {
    return this.at(path, (node) => node.open(flags, caller()));
  }

  setattr(path: string, valid: number, change: Partial<SetAttributes>): Promise<void> {
    return this.at(path, (node) => node.setattr(changeOf(valid, change), caller()));
  }

  async names(path = ''): Promise<string[]> {
    const file = await this.open(path);
    const names: string[] = [];
    for (let cookie = 0n; ; ) {
      const entries = await file.readdir(cookie, 8192, caller());
      const last = entries.at(-1);
      if (last === undefined) break;
      names.push(...entries.map(({ name }) => name));
      cookie = last.offset;
    }
    await file.close();
    return names.filter((name) => name !== '.' && name !== '..').sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.root.release();
    await this.backend.close();
    this.directory.remove();
  }
}

export function changeOf(valid: number, change: Partial<SetAttributes>): SetAttributes {
  return { valid, mode: 0, uid: 0, gid: 0, size: 0, atime: { sec: 0, nsec: 0 }, mtime: { sec: 0, nsec: 0 }, ...change };
}

export function parentOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** An attribute as the host has it: its bytes in hexadecimal, or the error number negated. */
export function hostXattr(path: string, name: string): string | number {
  const buffer = Buffer.alloc(65536);
  const length = sys.getxattr(path, name, buffer, buffer.length);
  return length < 0 ? length : buffer.toString('hex', 0, length);
}

/** Sets an attribute on the host. */
export function setHostXattr(path: string, name: string, hex: string): void {
  const value = Buffer.from(hex, 'hex');
  const result = sys.setxattr(path, name, value, value.length, 0);
  if (result < 0) throw new Error(`setxattr ${name}: ${result}`);
}

/** Has what `around` does happen around each system call of that name, or of those. */
export function intercept(
  e: Exported,
  names: string | readonly string[],
  around: (make: () => Promise<number>, name: string) => Promise<number>,
): void {
  if (!(e.root instanceof LocalNode)) throw new Error('no node of a host directory');
  const { threads } = e.root.device;
  const call = threads.call.bind(threads);
  const meant = typeof names === 'string' ? [names] : names;
  vi.spyOn(threads, 'call').mockImplementation((name, words) =>
    meant.includes(name) ? around(() => call(name, words), name) : call(name, words),
  );
}

/** Keeps the first call of that name, or the `nth`, waiting: before it is made or with its answer. */
export function hold(e: Exported, name: string, when: 'before' | 'answer', nth = 1): { reached: Promise<void>; door: Door } {
  const [here, door] = [new Door(), new Door()];
  let left = nth;
  intercept(e, name, async (make) => {
    if (--left !== 0) return make();
    const made = when === 'answer' ? await make() : undefined;
    here.open();
    await door.opened;
    return made ?? make();
  });
  return { reached: here.opened, door };
}
