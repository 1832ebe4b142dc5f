import { randomBytes } from 'node:crypto';
import type { MakeDirectoryOptions, PathLike } from 'node:fs';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { S_IFIFO, S_IFMT } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { encodingOf, named, requestOf, toInteger, toMode } from './arguments.js';
import type { Context } from './context.js';
import { invalidArgType, nodeError, told } from './errors.js';
import { toPath } from './path.js';
import { type Parent, Walker } from './walk.js';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** What gives, moves and takes away names. */
export function names(context: Context) {
  const walker = new Walker(context);

  /** What the name leads to now, or the error that says why not. The fid is the caller's. */
  const existing = (parent: Parent, request: RequestOptions | undefined): Promise<Fid> => parent.fid.walk([parent.name], request);

  /** For what makes anything but a directory: a slash behind the new name asks for one (path_resolution(7)). */
  async function refuseSlash(parent: Parent, request: RequestOptions | undefined): Promise<void> {
    if (!parent.directory) return;
    context.release(await existing(parent, request));
    throw new ErrnoError('EEXIST');
  }

  async function makeDirectory(path: string, mode: number, request: RequestOptions | undefined): Promise<void> {
    const parent = await walker.parent(path, request, () => 'EEXIST');
    await context.using(parent.fid, async (directory) => {
      const { gid, setgid } = await context.inherited(directory, request);
      await directory.mkdir(parent.name, context.masked(mode) | setgid, gid, request);
    });
  }

  /** mkdir -p, as Node does it: upwards until something is there, then down again. The first path that was made. */
  async function makeDirectories(path: string, mode: number, request: RequestOptions | undefined): Promise<string | undefined> {
    let first: string | undefined;
    const pending = [path];
    for (let current = pending.pop(); current !== undefined; current = pending.pop()) {
      try {
        await makeDirectory(current, mode, request);
        first ??= current;
      } catch (error) {
        if (!(error instanceof ErrnoError)) throw error;
        const up = parentPath(current);
        if (error.code === 'ENOENT' && up !== undefined && up !== current) {
          pending.push(current, up);
          continue;
        }
        if (error.code !== 'EEXIST' && error.code !== 'EISDIR' && error.code !== 'EROFS' && error.code !== 'EACCES') {
          throw nodeError(error, { syscall: 'mkdir', path });
        }
        // There already: right if it is a directory, or a symlink to one.
        const kind = await kindOf(current, request);
        if (kind === 'directory') continue;
        if (kind === 'file' && pending.length > 0) throw new ErrnoError('ENOTDIR', { syscall: 'mkdir', path: pending[0] ?? path });
        throw new ErrnoError(kind === 'missing' && error.code === 'EEXIST' ? 'ENOENT' : error.errno, { syscall: 'mkdir', path: current });
      }
    }
    return first;
  }

  async function kindOf(path: string, request: RequestOptions | undefined): Promise<'directory' | 'file' | 'missing'> {
    try {
      const { fid } = await walker.find(path, { follow: true, request });
      context.release(fid);
      return fid.isDirectory ? 'directory' : 'file';
    } catch (error) {
      if (error instanceof ErrnoError && error.code === 'ENOENT') return 'missing';
      throw nodeError(error, { syscall: 'mkdir', path });
    }
  }

  async function mkdir(
    given: PathLike,
    options?: string | number | (MakeDirectoryOptions & RequestOptions) | null,
  ): Promise<string | undefined> {
    const path = toPath(given);
    const settings = typeof options === 'object' && options !== null ? options : { mode: options ?? undefined };
    const request = requestOf(settings, context.request);
    const mode = toMode(settings.mode, 'mode', 0o777);
    const recursive = 'recursive' in settings ? settings.recursive : false;
    if (recursive !== undefined && typeof recursive !== 'boolean') throw invalidArgType('options.recursive', 'of type boolean', recursive);
    if (recursive) return makeDirectories(path, mode, request);
    await told({ syscall: 'mkdir', path }, () => makeDirectory(path, mode, request));
    return undefined;
  }

  /** A device, FIFO, socket or empty file: `mode` with its S_IF* bits. */
  async function mknod(given: PathLike, mode: number, major = 0, minor = 0): Promise<void> {
    const path = toPath(given);
    const full = toInteger(mode, 'mode', 0, 0xffff);
    const { request } = context;
    await told({ syscall: 'mknod', path }, async () => {
      const parent = await walker.parent(path, request, () => 'EEXIST');
      await context.using(parent.fid, async (directory) => {
        await refuseSlash(parent, request);
        const { gid } = await context.inherited(directory, request);
        await directory.mknod(parent.name, (full & S_IFMT) | context.masked(full), major, minor, gid, request);
      });
    });
  }

  return {
    mkdir,

    async mkdtemp(prefix: PathLike, options?: unknown) {
      const encoding = encodingOf(options);
      const start = toPath(prefix, 'prefix');
      for (let tries = 0; ; tries++) {
        const path = start + [...randomBytes(6)].map((byte) => LETTERS[byte % LETTERS.length]).join('');
        try {
          await told({ syscall: 'mkdtemp', path }, () => makeDirectory(path, 0o700, context.request));
          return named(path, encoding);
        } catch (error) {
          if (tries > 100 || !(error instanceof ErrnoError) || error.code !== 'EEXIST') throw error;
        }
      }
    },

    async unlink(given: PathLike): Promise<void> {
      const path = toPath(given);
      const { request } = context;
      await told({ syscall: 'unlink', path }, async () => {
        const parent = await walker.parent(path, request, () => 'EISDIR');
        await context.using(parent.fid, async (directory) => {
          if (parent.directory) {
            const fid = await existing(parent, request);
            context.release(fid);
            throw new ErrnoError(fid.isDirectory ? 'EISDIR' : 'ENOTDIR');
          }
          await directory.unlinkat(parent.name, 0, request);
        });
      });
    },

    async rename(oldPath: PathLike, newPath: PathLike): Promise<void> {
      const path = toPath(oldPath, 'oldPath');
      const dest = toPath(newPath, 'newPath');
      const { request } = context;
      await told({ syscall: 'rename', path, dest }, async () => {
        const from = await walker.parent(path, request, () => 'EBUSY');
        await context.using(from.fid, async () => {
          const to = await walker.parent(dest, request, () => 'EBUSY');
          await context.using(to.fid, async () => {
            if (from.directory || to.directory) {
              const fid = await existing(from, request);
              context.release(fid);
              if (!fid.isDirectory) throw new ErrnoError('ENOTDIR');
            }
            await from.fid.renameat(from.name, to.fid, to.name, request);
          });
        });
      });
    },

    /** A second name for a file; of a symlink itself, not of what it points to. */
    async link(existingPath: PathLike, newPath: PathLike): Promise<void> {
      const path = toPath(existingPath, 'existingPath');
      const dest = toPath(newPath, 'newPath');
      const { request } = context;
      await told({ syscall: 'link', path, dest }, async () => {
        const { fid } = await walker.find(path, { follow: false, request });
        await context.using(fid, async () => {
          const to = await walker.parent(dest, request, () => 'EEXIST');
          await context.using(to.fid, async (directory) => {
            await refuseSlash(to, request);
            if (fid.isDirectory) throw new ErrnoError('EPERM');
            await directory.link(to.name, fid, request);
          });
        });
      });
    },

    /** `target` is kept as it is; an absolute one is looked up from the attached root. `type` matters to Windows alone. */
    async symlink(target: PathLike, given: PathLike, _type?: string | null): Promise<void> {
      const path = toPath(target, 'target');
      const dest = toPath(given);
      const { request } = context;
      await told({ syscall: 'symlink', path, dest }, async () => {
        if (path === '') throw new ErrnoError('ENOENT');
        const parent = await walker.parent(dest, request, () => 'EEXIST');
        await context.using(parent.fid, async (directory) => {
          await refuseSlash(parent, request);
          const { gid } = await context.inherited(directory, request);
          await directory.symlink(parent.name, path, gid, request);
        });
      });
    },

    mknod,

    async mkfifo(path: PathLike, mode = 0o666): Promise<void> {
      await mknod(path, S_IFIFO | (mode & 0o7777));
    },
  };
}

/** The path of the directory above, as text; undefined where there is none left to make. */
function parentPath(path: string): string | undefined {
  const end = path.replace(/\/+$/, '');
  const slash = end.lastIndexOf('/');
  if (slash < 0) return undefined;
  return slash === 0 ? '/' : end.slice(0, slash);
}
