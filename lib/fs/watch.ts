import type { PathLike, WatchOptions } from 'node:fs';
import type { FileChangeInfo } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { RequestOptions } from '../client/verbs.js';
import { ErrnoError } from '../protocol/error.js';
import { encodingOf, named, optionsOf, requestOf } from './arguments.js';
import type { Context } from './context.js';
import { inParallel } from './entries.js';
import { abortError, nodeError, throwIfAborted } from './errors.js';
import type { listing } from './listing.js';
import type { metadata } from './metadata.js';
import { below, splitPath, toPath } from './path.js';
import type { BigIntStats } from './stats.js';

export interface PollingOptions extends WatchOptions, RequestOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds between two looks. Default: 500. */
  interval?: number | undefined;
}

/** What is compared: a name, and the marks of what it names. */
type Snapshot = Map<string, { mark: string; identity: string }>;

const PARALLEL = 16;

/** What looks for changes: 9P tells of none, so this looks again and again. */
export function watching(context: Context, fs: ReturnType<typeof metadata> & ReturnType<typeof listing>) {
  async function look(path: string, recursive: boolean, request: RequestOptions | undefined): Promise<Snapshot> {
    const snapshot: Snapshot = new Map();
    const root = (await fs.stat(path, { bigint: true, ...request })) as BigIntStats;
    if (!root.isDirectory()) {
      snapshot.set(splitPath(path).last, marksOf(root));
      return snapshot;
    }
    const names = (await fs.readdir(path, { recursive, ...request })) as string[];
    await inParallel(names, PARALLEL, async (name) => {
      try {
        snapshot.set(name, marksOf((await fs.lstat(below(path, name), { bigint: true, ...request })) as BigIntStats));
      } catch (error) {
        if (!(error instanceof ErrnoError) || error.code !== 'ENOENT') throw error;
      }
    });
    return snapshot;
  }

  async function* changes(path: string, options: PollingOptions): AsyncGenerator<FileChangeInfo<string | Buffer>, void, undefined> {
    const { recursive = false, interval = 500, persistent = true } = options;
    const encoding = encodingOf(options);
    const request = requestOf(options, context.request);
    const signal = request?.signal;
    throwIfAborted(signal);
    let before: Snapshot;
    try {
      before = await look(path, recursive, request);
    } catch (error) {
      throw nodeError(error, { syscall: 'watch', path });
    }
    for (;;) {
      await delay(interval, undefined, { ref: persistent, ...(signal ? { signal } : {}) }).catch(() => {
        if (signal) throw abortError(signal);
      });
      let now: Snapshot;
      try {
        now = await look(path, recursive, request);
      } catch (error) {
        // What was watched is gone: its names are, too.
        if (!(error instanceof ErrnoError) || error.code !== 'ENOENT') throw nodeError(error, { syscall: 'watch', path });
        now = new Map();
      }
      for (const name of new Set([...before.keys(), ...now.keys()])) {
        const old = before.get(name);
        const new_ = now.get(name);
        const filename = named(name, encoding);
        if (old?.identity !== new_?.identity) yield { eventType: 'rename', filename };
        else if (old?.mark !== new_?.mark) yield { eventType: 'change', filename };
      }
      before = now;
    }
  }

  return {
    /** As `fsPromises.watch`, by polling: "rename" for names that come and go, "change" for the rest. Ends with an AbortError. */
    watch(filename: PathLike, options?: PollingOptions | BufferEncoding | 'buffer' | null) {
      return changes(toPath(filename, 'filename'), optionsOf<PollingOptions>(options) as PollingOptions);
    },
  };
}

function marksOf({ ino, mode, size, mtimeNs, ctimeNs }: BigIntStats): { mark: string; identity: string } {
  return { mark: `${size} ${mtimeNs} ${ctimeNs} ${mode}`, identity: `${ino} ${mode >> 12n}` };
}
