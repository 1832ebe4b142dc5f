import type { CopyOptions } from 'node:fs';
import type { RequestOptions } from '../client/verbs.js';
import { ErrnoError } from '../protocol/error.js';
import { requestOf } from './arguments.js';
import type { Context } from './context.js';
import { inParallel } from './entries.js';
import { SystemError } from './errors.js';
import type { files } from './files.js';
import type { listing } from './listing.js';
import type { metadata } from './metadata.js';
import type { names } from './names.js';
import { below, type PathLike, splitPath, toPath } from './path.js';
import type { remove } from './remove.js';
import { qidOf, type Stats } from './stats.js';

/** What a copy is made with. */
export type CopyParts = ReturnType<typeof metadata> &
  ReturnType<typeof files> &
  ReturnType<typeof names> &
  ReturnType<typeof listing> &
  ReturnType<typeof remove>;

/** Files of one directory that are copied at the same time. */
const PARALLEL = 4;

function einval(message: string, path: string): SystemError {
  return new SystemError('ERR_FS_CP_EINVAL', 'Invalid src or dest', 'cp', 22, 'EINVAL', message, path);
}

function intoItself(source: string, destination: string): SystemError {
  return einval(`cannot copy ${source} to a subdirectory of self ${destination}`, destination);
}

function exists(path: string): SystemError {
  return new SystemError('ERR_FS_CP_EEXIST', 'Target already exists', 'cp', 17, 'EEXIST', `${path} already exists`, path);
}

/** What copies trees within one file system: `fsPromises.cp`, rule by rule. */
export function copy(context: Context, fs: CopyParts) {
  async function maybe(path: string, dereference: boolean): Promise<Stats | undefined> {
    try {
      return (await (dereference ? fs.stat(path) : fs.lstat(path))) as Stats;
    } catch (error) {
      if (error instanceof ErrnoError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** What may not be copied onto what (documentation of `fsPromises.cp`, and its errors). */
  async function check(source: string, destination: string, options: CopyOptions): Promise<{ from: Stats; to: Stats | undefined }> {
    const dereference = options.dereference ?? false;
    const from = (await (dereference ? fs.stat(source) : fs.lstat(source))) as Stats;
    const to = await maybe(destination, dereference);
    if (to !== undefined) {
      if (isSame(from, to)) throw einval('src and dest cannot be the same', destination);
      if (from.isDirectory() && !to.isDirectory()) {
        const message = `cannot overwrite non-directory ${destination} with directory ${source}`;
        throw new SystemError(
          'ERR_FS_CP_DIR_TO_NON_DIR',
          'Cannot overwrite non-directory with directory',
          'cp',
          21,
          'EISDIR',
          message,
          destination,
        );
      }
      if (!from.isDirectory() && to.isDirectory()) {
        const message = `cannot overwrite directory ${destination} with non-directory ${source}`;
        throw new SystemError(
          'ERR_FS_CP_NON_DIR_TO_DIR',
          'Cannot overwrite directory with non-directory',
          'cp',
          20,
          'ENOTDIR',
          message,
          destination,
        );
      }
    }
    if (from.isDirectory() && isBelow(destination, source)) throw intoItself(source, destination);
    if (from.isSocket()) throw special('ERR_FS_CP_SOCKET', 'Cannot copy a socket file', `cannot copy a socket file: ${destination}`);
    if (from.isFIFO()) throw special('ERR_FS_CP_FIFO_PIPE', 'Cannot copy a FIFO pipe', `cannot copy a FIFO pipe: ${destination}`);
    if (!from.isFile() && !from.isDirectory() && !from.isSymbolicLink() && !from.isBlockDevice() && !from.isCharacterDevice()) {
      throw special('ERR_FS_CP_UNKNOWN', 'Cannot copy an unknown file type', `cannot copy an unknown file type: ${destination}`);
    }
    return { from, to };

    function special(code: string, text: string, message: string): SystemError {
      return new SystemError(code, text, 'cp', 22, 'EINVAL', message, destination);
    }
  }

  /** Whether a path leads through that directory, by whatever names: a copy into its own source would go on until the disk is full. */
  async function isWithin(path: string, directory: Stats): Promise<boolean> {
    for (let above = parentOf(path); above !== '' && above !== '/'; above = parentOf(above)) {
      const there = await maybe(above, true);
      if (there !== undefined && isSame(there, directory)) return true;
    }
    return false;
  }

  async function one(source: string, destination: string, options: CopyOptions, request: RequestOptions | undefined): Promise<void> {
    if (options.filter && !(await options.filter(source, destination))) return;
    const { from, to } = await check(source, destination, options);
    if (from.isDirectory()) {
      if (!options.recursive) {
        throw new SystemError('ERR_FS_EISDIR', 'Path is a directory', 'cp', 21, 'EISDIR', `${source} is a directory (not copied)`, source);
      }
      await directory(source, destination, from, to, options, request);
    } else if (from.isSymbolicLink()) await symlink(source, destination, to, options);
    else await file(source, destination, from, to, options, request);
  }

  async function directory(
    source: string,
    destination: string,
    from: Stats,
    to: Stats | undefined,
    options: CopyOptions,
    request: RequestOptions | undefined,
  ): Promise<void> {
    if (to === undefined) await fs.mkdir(destination, { recursive: true });
    const entries = (await fs.readdir(source, { withFileTypes: true, ...request })) as { name: string }[];
    await inParallel(entries, PARALLEL, ({ name }) => one(below(source, name), below(destination, name), options, request));
    if (to === undefined) await fs.chmod(destination, from.mode & 0o7777);
    if (options.preserveTimestamps) await fs.utimes(destination, from.atime, from.mtime);
  }

  async function file(
    source: string,
    destination: string,
    from: Stats,
    to: Stats | undefined,
    options: CopyOptions,
    request: RequestOptions | undefined,
  ): Promise<void> {
    if (to !== undefined) {
      if (options.force === false) {
        if (options.errorOnExist) throw exists(destination);
        return;
      }
      await fs.unlink(destination);
    }
    await fs.copyFile(source, destination, options.mode ?? 0, request);
    if (options.preserveTimestamps) await fs.utimes(destination, from.atimeMs / 1000, from.mtimeMs / 1000);
  }

  async function symlink(source: string, destination: string, to: Stats | undefined, options: CopyOptions): Promise<void> {
    let target = String(await fs.readlink(source));
    // Node makes a relative target absolute, so that the copy still leads to the same file.
    if (!options.verbatimSymlinks && !target.startsWith('/')) target = resolvePath(below(parentOf(source), target));
    if (to !== undefined) {
      if (options.force === false && !to.isSymbolicLink()) {
        if (options.errorOnExist) throw exists(destination);
        return;
      }
      await fs.unlink(destination);
    }
    await fs.symlink(target, destination);
  }

  return {
    async cp(source: PathLike, destination: PathLike, options: CopyOptions & RequestOptions = {}): Promise<void> {
      const from = toPath(source, 'src');
      const to = toPath(destination, 'dest');
      const request = requestOf(options, context.request);
      // Those above the destination are made even if the filter leaves nothing to copy, as Node does.
      if (options.filter && !(await options.filter(from, to))) return;
      const checked = await check(from, to, options);
      if (checked.from.isDirectory() && (await isWithin(to, checked.from))) throw intoItself(from, to);
      const above = parentOf(to);
      if (above !== '' && (await maybe(above, true)) === undefined) await fs.mkdir(above, { recursive: true });
      await one(from, to, { ...options, ...(options.filter ? { filter: skipFirst(options.filter) } : {}) }, request);
    },
  };
}

/** The first question was asked already. */
function skipFirst(filter: NonNullable<CopyOptions['filter']>): NonNullable<CopyOptions['filter']> {
  let first = true;
  return (source, destination) => {
    if (!first) return filter(source, destination);
    first = false;
    return true;
  };
}

/** By their qids: an inode number of 64 bits is more than a number holds. */
function isSame(a: Stats, b: Stats): boolean {
  const [one, other] = [qidOf(a), qidOf(b)];
  return one !== undefined && other !== undefined && one.path === other.path && a.mode >> 12 === b.mode >> 12;
}

function parentOf(path: string): string {
  const end = path.replace(/\/+$/, '');
  const slash = end.lastIndexOf('/');
  return slash < 0 ? '' : slash === 0 ? '/' : end.slice(0, slash);
}

/** By text alone, as `path.resolve` does it; the root is "/". */
function resolvePath(path: string): string {
  const names: string[] = [];
  for (const name of splitPath(path).names) {
    if (name === '..') names.pop();
    else names.push(name);
  }
  return `/${names.join('/')}`;
}

function isBelow(path: string, directory: string): boolean {
  const above = resolvePath(directory);
  const at = resolvePath(path);
  return above !== at && (above === '/' || at.startsWith(`${above}/`));
}
