import * as localFs from 'node:fs/promises';
import { resolve } from 'node:path';
import type { FileSystem } from '../../lib/index.js';
import { type ConnectionArguments, clientOptions } from '../connection.js';
import { UsageError } from '../failure.js';
import { expand } from './glob.js';

/** What the file commands ask of a file system: Node's own has it, and so has a 9P one. */
export type Files = Pick<typeof localFs, keyof typeof localFs & keyof FileSystem>;

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

/** Cuts `ADDRESS#PATH` in two. A local file whose name begins like an address is written ./unix:x. */
export function splitLocation(text: string): { address: string | undefined; path: string } {
  if (text === '') throw new UsageError('an empty path');
  if (!SCHEMES.test(text)) {
    if (/^[a-z][a-z0-9+]*:\/\//.test(text)) throw new UsageError(`${text}: no such kind of address; ./${text} is a local path`);
    return { address: undefined, path: text };
  }
  const mark = text.lastIndexOf('#');
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
      fs: this.#signal === undefined ? fs : fs.with({ signal: this.#signal }),
      remote: fs,
      path,
      show: (other = path) => `${address}#${other}`,
    };
  }

  async #connect(address: string): Promise<FileSystem> {
    const { openFs } = await import('../../lib/index.js');
    return openFs(address, await clientOptions(this.#argv));
  }

  /** All that the texts name: `*`, `?`, `[…]` and `**` behind an address are for us to expand; the shell does it for local paths. */
  async all(texts: readonly string[]): Promise<Place[]> {
    const places: Place[] = [];
    for (const text of texts) {
      const place = await this.at(text);
      if (place.remote === undefined) places.push(place);
      else for (const path of await expand(place.fs, place.path)) places.push(placeAt(place, path));
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
