import type { PathLike, RmDirOptions, RmOptions } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { AT_REMOVEDIR, DT_DIR } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { requestOf, toInteger } from './arguments.js';
import type { Context } from './context.js';
import { inParallel, listEntries, openDirectory } from './entries.js';
import { invalidArgType, SystemError, told } from './errors.js';
import { below, checkLength, toPath } from './path.js';
import { Walker } from './walk.js';

/** Removals of one directory's files in flight. */
const PARALLEL = 16;
/** Directories of the first and second level that are emptied at the same time; deeper ones go one by one. */
const BRANCHES = [4, 2];
/** What may go away by itself (documentation of `fsPromises.rm`). */
const PASSING = new Set(['EBUSY', 'EMFILE', 'ENFILE', 'ENOTEMPTY', 'EPERM']);

/** What rmdir(2) says to a path that ends so. */
const special = (last: string): string => (last === '.' ? 'EINVAL' : last === '..' ? 'ENOTEMPTY' : 'EBUSY');

/** What removes directories, and trees. */
export function remove(context: Context) {
  const walker = new Walker(context);

  async function rm(given: PathLike, options: RmOptions & RequestOptions = {}): Promise<void> {
    const path = toPath(given);
    const { force = false, recursive = false, maxRetries = 0, retryDelay = 100 } = options;
    toInteger(maxRetries, 'options.maxRetries', 0, 0xffffffff);
    toInteger(retryDelay, 'options.retryDelay', 0, 0xffffffff);
    const request = requestOf(options, context.request);
    let isDirectory: boolean;
    try {
      isDirectory = await told({ syscall: 'lstat', path }, async () => {
        const { fid } = await walker.find(path, { follow: false, request });
        context.release(fid);
        return fid.isDirectory;
      });
    } catch (error) {
      if (force && error instanceof ErrnoError && error.code === 'ENOENT') return;
      throw error;
    }
    if (isDirectory && !recursive)
      throw new SystemError('ERR_FS_EISDIR', 'Path is a directory', 'rm', 21, 'EISDIR', 'is a directory', path);
    const again = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
      for (let tries = 0; ; tries++) {
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof ErrnoError)) throw error;
          // Somebody else was quicker.
          if (error.code === 'ENOENT') return undefined;
          if (tries >= maxRetries || !PASSING.has(error.code)) throw error;
          await delay((tries + 1) * retryDelay);
        }
      }
    };
    const syscall = isDirectory ? 'rmdir' : 'unlink';
    const parent = await told({ syscall, path }, () => walker.parent(path, request, special));
    await context.using(parent.fid, async (directory) => {
      if (!isDirectory) {
        await told({ syscall, path }, () => again(() => directory.unlinkat(parent.name, 0, request)));
        return;
      }
      await removeTree(directory, parent.name, path, 0, again, request);
    });
  }

  /** Empties and removes a directory by fids of its own, so that nothing a symlink or a rename leads to is touched. */
  async function removeTree(
    parent: Fid,
    name: string,
    path: string,
    depth: number,
    again: <T>(work: () => Promise<T>) => Promise<T | undefined>,
    request: RequestOptions | undefined,
  ): Promise<void> {
    // ENOTEMPTY after all was removed: something was put there meanwhile, and a retry looks again.
    await again(async () => {
      const fid = await told({ syscall: 'rmdir', path }, async () => {
        checkLength(path);
        return parent.walk([name], request);
      });
      await context.using(fid, async () => {
        const entries = await listed(fid, path, request);
        const directories = entries.filter(({ type }) => type === DT_DIR);
        const others = entries.filter(({ type }) => type !== DT_DIR);
        await inParallel(others, PARALLEL, async (entry) => {
          await again(() => told({ syscall: 'unlink', path: below(path, entry.name) }, () => fid.unlinkat(entry.name, 0, request)));
        });
        await inParallel(directories, BRANCHES[depth] ?? 1, (entry) =>
          removeTree(fid, entry.name, below(path, entry.name), depth + 1, again, request),
        );
      });
      await told({ syscall: 'rmdir', path }, () => parent.unlinkat(name, AT_REMOVEDIR, request));
    });
  }

  /** What is in a directory; nothing in one that is gone: whether it is, its own removal tells, and not what a server says who lists it. */
  async function listed(fid: Fid, path: string, request: RequestOptions | undefined): Promise<{ name: string; type: number }[]> {
    try {
      const opened = await told({ syscall: 'scandir', path }, async () => openDirectory(context, await fid.clone(request), request));
      return await context.using(opened, () => told({ syscall: 'scandir', path }, () => listEntries(opened, true, request)));
    } catch (error) {
      if (error instanceof ErrnoError && error.code === 'ENOENT') return [];
      throw error;
    }
  }

  /** With `recursive`, which Node has up to 24, as `rm`; but what `path` leads to must be there, and be a directory. */
  async function rmdir(given: PathLike, options: RmDirOptions & RequestOptions = {}): Promise<void> {
    const path = toPath(given);
    const { recursive = false, maxRetries = 0, retryDelay = 100 } = options;
    if (typeof recursive !== 'boolean') throw invalidArgType('options.recursive', 'of type boolean', recursive);
    toInteger(maxRetries, 'options.maxRetries', 0, 0xffffffff);
    toInteger(retryDelay, 'options.retryDelay', 0, 0x7fffffff);
    const request = requestOf(options, context.request);
    if (recursive) {
      const isDirectory = await told({ syscall: 'stat', path }, async () => {
        const { fid } = await walker.find(path, { follow: true, request });
        context.release(fid);
        return fid.isDirectory;
      });
      if (isDirectory) return rm(given, { ...options, recursive });
    }
    await told({ syscall: 'rmdir', path }, async () => {
      const parent = await walker.parent(path, request, special);
      await context.using(parent.fid, (directory) => directory.unlinkat(parent.name, AT_REMOVEDIR, request));
    });
  }

  return { rm, rmdir };
}
