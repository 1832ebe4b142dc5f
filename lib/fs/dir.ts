import type { Dirent as NodeDirent } from 'node:fs';
import { Cookies } from '../client/cookies.js';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { DT_DIR } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { DirectoryEntry } from '../protocol/types.js';
import { named } from './arguments.js';
import type { Context } from './context.js';
import { Dirent } from './dirent.js';
import { describeEntry, openDirectory } from './entries.js';
import { errorWithCode, told } from './errors.js';
import { below, checkLength } from './path.js';

type ReadCallback = (error: NodeJS.ErrnoException | null, entry: NodeDirent | null) => void;

/** A directory that is still to be read. */
interface Level {
  /** Missing until its turn comes: of all directories that are found and not yet read, a server might not keep that many. */
  fid: Fid | undefined;
  /** The names from the top, and how the caller would write its path. */
  readonly names: readonly string[];
  readonly path: string;
  /** The cookie to go on from. */
  offset: bigint;
  readonly cookies: Cookies;
}

/** As `fs.Dir`: an open directory, read a message's worth at a time. The async iterator closes it at its end. */
export class Dir {
  readonly path: string;
  readonly #context: Context;
  readonly #fd: number;
  readonly #recursive: boolean;
  readonly #encoding: BufferEncoding | 'buffer' | undefined;
  readonly #request: RequestOptions | undefined;
  readonly #top: Fid;
  #levels: Level[];
  #entries: { entry: DirectoryEntry; level: Level }[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  /** Of `opendir`: the fid, an open directory, belongs to it. */
  constructor(
    context: Context,
    fid: Fid,
    path: string,
    options: { recursive?: boolean | undefined; encoding?: BufferEncoding | 'buffer' | undefined; request: RequestOptions | undefined },
  ) {
    this.#context = context;
    this.path = path;
    this.#recursive = options.recursive ?? false;
    this.#encoding = options.encoding;
    this.#request = options.request;
    this.#top = fid;
    this.#levels = [{ fid, names: [], path, offset: 0n, cookies: new Cookies() }];
    this.#fd = context.opened(this);
  }

  /** The next entry, never "." or ".."; null at the end. Calls take turns. */
  read(): Promise<NodeDirent | null>;
  read(callback: ReadCallback): void;
  read(callback?: ReadCallback): Promise<NodeDirent | null> | undefined {
    const result = this.#turn.then(() => this.#next());
    this.#turn = result.catch(() => undefined);
    if (callback === undefined) return result;
    result.then(
      (entry) => process.nextTick(callback, null, entry),
      (error) => process.nextTick(callback, error, null),
    );
    return undefined;
  }

  async #next(): Promise<NodeDirent | null> {
    if (this.#closing !== undefined) throw closed();
    const { path } = this;
    return told({ syscall: 'scandir', path }, async () => {
      while (this.#entries.length === 0) {
        const level = this.#levels[0];
        if (level === undefined) return null;
        level.fid ??= await this.#open(level.names);
        const entries = (await level.fid?.readdir(level.offset, undefined, this.#request)) ?? [];
        const last = entries[entries.length - 1];
        if (last === undefined) {
          this.#levels.shift();
          // From the top the others are reached.
          if (level.fid !== this.#top) this.#context.release(level.fid);
          continue;
        }
        level.cookies.pass(entries);
        level.offset = last.offset;
        // Reversed, so that taking the next one is cheap.
        this.#entries = entries
          .filter(({ name }) => name !== '.' && name !== '..')
          .map((entry) => ({ entry, level }))
          .reverse();
      }
      const next = this.#entries.pop();
      if (next === undefined) return null;
      const { entry, level } = next;
      const type = await describeEntry(level.fid ?? this.#top, entry, this.#request);
      if (this.#recursive && type === DT_DIR) {
        const path = checkLength(below(level.path, entry.name));
        this.#levels.push({ fid: undefined, names: [...level.names, entry.name], path, offset: 0n, cookies: new Cookies() });
      }
      return new Dirent(named(entry.name, this.#encoding) as string, type, level.path);
    });
  }

  /** Undefined where it is gone since it was found: nothing is in it then. */
  async #open(names: readonly string[]): Promise<Fid | undefined> {
    try {
      return await openDirectory(this.#context, await this.#top.walk(names, this.#request), this.#request);
    } catch (error) {
      if (error instanceof ErrnoError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Not without blocking: ERR_METHOD_NOT_IMPLEMENTED. */
  readSync(): NodeDirent | null {
    throw errorWithCode('ERR_METHOD_NOT_IMPLEMENTED', 'The readSync() method is not implemented');
  }

  closeSync(): void {
    throw errorWithCode('ERR_METHOD_NOT_IMPLEMENTED', 'The closeSync() method is not implemented');
  }

  /** ERR_DIR_CLOSED the second time, as Node has it. */
  close(): Promise<void>;
  close(callback: (error?: NodeJS.ErrnoException | null) => void): void;
  close(callback?: (error?: NodeJS.ErrnoException | null) => void): Promise<void> | undefined {
    const result = this.#closing === undefined ? this.#end() : Promise.reject(closed());
    if (callback === undefined) return result;
    result.then(
      () => process.nextTick(callback, null),
      (error) => process.nextTick(callback, error),
    );
    return undefined;
  }

  #end(): Promise<void> {
    this.#closing ??= (async () => {
      await this.#turn;
      this.#context.closed(this.#fd);
      this.#entries = [];
      const fids = new Set([this.#top, ...this.#levels.splice(0).flatMap(({ fid }) => fid ?? [])]);
      await Promise.all([...fids].map((fid) => fid.clunk()));
    })();
    return this.#closing;
  }

  async *entries(): AsyncGenerator<NodeDirent, undefined, undefined> {
    try {
      for (;;) {
        const entry = await this.read();
        if (entry === null) return undefined;
        yield entry;
      }
    } finally {
      await this.#end();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<NodeDirent, undefined, undefined> {
    return this.entries();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

function closed(): Error {
  return errorWithCode('ERR_DIR_CLOSED', 'Directory handle was closed');
}
