import type { BigIntStats, BigIntStatsFs, Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { FileSystem } from '../../lib/index.js';
import { type ConnectionArguments, clientOptions } from '../connection.js';
import { UsageError } from '../failure.js';
import { expand } from './glob.js';
import { localFs } from './local.js';

/** What the file commands ask of a file system, in the words of Node's own. In names and symlinks, bytes that are not UTF-8 are lone surrogates. */
export interface Files {
  open(path: string, flags: string | number, mode?: number): Promise<FileHandle>;
  stat(path: string): Promise<Stats>;
  stat(path: string, options: { bigint: true }): Promise<BigIntStats>;
  lstat(path: string): Promise<Stats>;
  lstat(path: string, options: { bigint: true }): Promise<BigIntStats>;
  statfs(path: string, options: { bigint: true }): Promise<BigIntStatsFs>;
  readdir(path: string): Promise<string[]>;
  readlink(path: string): Promise<string>;
  mkdir(path: string, options?: { recursive?: boolean; mode?: number }): Promise<string | undefined>;
  symlink(target: string, path: string): Promise<void>;
  link(path: string, name: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  rm(path: string, options: { recursive?: boolean; force?: boolean }): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  lchown(path: string, uid: number, gid: number): Promise<void>;
  utimes(path: string, atime: number | Date, mtime: number | Date): Promise<void>;
  lutimes(path: string, atime: number | Date, mtime: number | Date): Promise<void>;
}

/** Where a path of the command line is: on this host, or behind an address. */
export interface Place {
  readonly fs: Files;
  /** The 9P file system, if it is one. */
  readonly remote: FileSystem | undefined;
  readonly path: string;
  /** As people would write this path, or another one of the same place. */
  show(path?: string): string;
}

const SCHEMES = /^(tcp|tls|unix|exec|fd|dev|vsock|vsock\+unix|qemu):/;

/** Described once for every command that takes one. */
export const LOCATION = 'a local path, or ADDRESS#PATH';

/**
 * Cuts `ADDRESS#PATH` in two, at the first `#/`, or else the first `#`: names may hold a `#`, and a file must not be taken for one of another
 * export. A local file whose name begins like an address is written ./unix:x.
 */
export function splitLocation(text: string): { address: string | undefined; path: string } {
  if (text === '') throw new UsageError('an empty path');
  if (!SCHEMES.test(text)) {
    if (/^[a-z][a-z0-9+]*:\/\//.test(text)) throw new UsageError(`${text}: no such kind of address; ./${text} is a local path`);
    return { address: undefined, path: text };
  }
  const mark = text.includes('#/') ? text.indexOf('#/') : text.indexOf('#');
  if (mark < 0) return { address: text, path: '/' };
  return { address: text.slice(0, mark), path: absolute(text.slice(mark + 1)) };
}

function absolute(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

/** The file systems that one command works on: each address is connected to once, and left when the command is done. */
export class Places implements AsyncDisposable {
  readonly #argv: ConnectionArguments;
  readonly #signal: AbortSignal | undefined;
  readonly #open = new Map<string, Promise<FileSystem>>();

  constructor(argv: ConnectionArguments, signal?: AbortSignal) {
    this.#argv = argv;
    this.#signal = signal;
  }

  async at(text: string): Promise<Place> {
    const { address, path } = splitLocation(text);
    if (address === undefined) return { fs: localFs, remote: undefined, path, show: (other = path) => other };
    let opening = this.#open.get(address);
    if (opening === undefined) {
      opening = this.#connect(address);
      this.#open.set(address, opening);
    }
    const fs = await opening;
    return {
      fs: this.#interruptible(fs),
      remote: fs,
      path,
      show: (other = path) => `${address}#${other}`,
    };
  }

  #interruptible(fs: FileSystem): FileSystem {
    return this.#signal === undefined ? fs : fs.with({ signal: this.#signal });
  }

  async #connect(address: string): Promise<FileSystem> {
    const { openFs } = await import('../../lib/index.js');
    return openFs(address, { ...(await clientOptions(this.#argv)), signal: this.#signal });
  }

  /** All that the texts name: `*`, `?`, `[…]` and `**` behind an address are for us to expand; the shell does it for local paths. */
  async all(texts: readonly string[]): Promise<Place[]> {
    const places: Place[] = [];
    for (const text of texts) {
      const place = await this.at(text);
      if (place.remote === undefined) places.push(place);
      else for (const path of await expand(this.#interruptible(place.remote), place.path)) places.push(placeAt(place, path));
    }
    return places;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opening of this.#open.values()) {
      const fs = await opening.catch(() => undefined);
      await fs?.close().catch(() => undefined);
    }
  }
}

/** The last name of a path; that of the whole path for one that ends in "..", "." or nothing. */
export function baseName({ path, remote }: Pick<Place, 'path' | 'remote'>): string {
  const name = path.replace(/\/+$/, '').split('/').pop() ?? '';
  if (name !== '' && name !== '.' && name !== '..') return name;
  return (
    (remote === undefined ? resolve(path) : path)
      .split('/')
      .filter((part) => part !== '' && part !== '.' && part !== '..')
      .pop() ?? ''
  );
}

export function join(directory: string, name: string): string {
  if (name === '') return directory;
  if (directory === '' || directory === '.') return name;
  return directory.endsWith('/') ? `${directory}${name}` : `${directory}/${name}`;
}

/** Another path of the same place. */
export function placeAt(place: Place, path: string): Place {
  return { ...place, path, show: (other = path) => place.show(other) };
}

/** Whether two places are one tree, so that a rename or a link between them is possible. */
export function together(a: Place, b: Place): boolean {
  return a.remote === b.remote;
}
