import { constants, type OpenMode, type PathLike } from 'node:fs';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import {
  GETATTR_BASIC,
  L_O_ACCMODE,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_NOFOLLOW,
  L_O_RDONLY,
  L_O_TRUNC,
  L_O_WRONLY,
  QTSYMLINK,
  S_IFMT,
  S_IFREG,
} from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { encodingOf, optionsOf, requestOf, toInteger, toMode } from './arguments.js';
import { checkContent, copyContent, readToEnd, writeContent } from './content.js';
import type { Context } from './context.js';
import { throwIfAborted, told } from './errors.js';
import { toFlags, wireFlags } from './flags.js';
import { FileHandle } from './handle.js';
import { setMode } from './mode.js';
import { OpenFile } from './open-file.js';
import { splitPath, toPath } from './path.js';
import { ReadStream, type ReadStreamOptions } from './read-stream.js';
import type { Source } from './stream-file.js';
import { Walker } from './walk.js';
import { WriteStream, type WriteStreamOptions } from './write-stream.js';

interface ContentOptions {
  encoding?: BufferEncoding | null | undefined;
  mode?: string | number | undefined;
  flag?: OpenMode | undefined;
  flush?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface PathStreamOptions {
  flags?: OpenMode | undefined;
  mode?: string | number | undefined;
  autoClose?: boolean | undefined;
  /** An open file instead of the path. */
  fd?: FileHandle | undefined;
}

/** What opens files, and what reads and writes them whole. */
export function files(context: Context) {
  const walker = new Walker(context);

  /** Opens what a path names, or makes it; the fid is the caller's. */
  async function openFid(path: string, flags: number, mode: number, request: RequestOptions | undefined): Promise<Fid> {
    const exclusive = (flags & L_O_CREAT) !== 0 && (flags & L_O_EXCL) !== 0;
    const follow = !exclusive && (flags & L_O_NOFOLLOW) === 0;
    if ((flags & L_O_CREAT) === 0) return openFound((await walker.find(path, { follow, request })).fid, flags, request);
    const { directory, last } = splitPath(path);
    if (path !== '' && (directory || last === '..' || last === '')) {
      const parent = await walker.parent(path, request, () => (exclusive ? 'EEXIST' : 'EISDIR'));
      context.release(parent.fid);
      throw new ErrnoError('EISDIR');
    }
    for (let tries = 0; ; tries++) {
      const found = await walker.findOrMissing(path, { follow, request });
      if (found.fid !== undefined) {
        if (exclusive) {
          context.release(found.fid);
          throw new ErrnoError('EEXIST');
        }
        return openFound(found.fid, flags, request);
      }
      try {
        return await create(found.names, flags, mode, request);
      } catch (error) {
        // Somebody else made it since: then it is to be opened.
        if (exclusive || tries > 2 || !(error instanceof ErrnoError) || error.code !== 'EEXIST') throw error;
      }
    }
  }

  async function create(names: readonly string[], flags: number, mode: number, request: RequestOptions | undefined): Promise<Fid> {
    const fid = await own(await walker.reach(names.slice(0, -1), request), request);
    try {
      const { gid } = await context.inherited(fid, request);
      await fid.create(names[names.length - 1] ?? '', wireFlags(flags), context.masked(mode), gid, request);
      return fid;
    } catch (error) {
      context.release(fid);
      throw error;
    }
  }

  async function openFound(found: Fid, flags: number, request: RequestOptions | undefined): Promise<Fid> {
    const fid = await own(found, request);
    try {
      const writes = (flags & L_O_ACCMODE) !== L_O_RDONLY || (flags & L_O_TRUNC) !== 0;
      if ((fid.qid.type & QTSYMLINK) !== 0) throw new ErrnoError((flags & L_O_DIRECTORY) !== 0 ? 'ENOTDIR' : 'ELOOP');
      if (fid.isDirectory && (writes || (flags & L_O_CREAT) !== 0)) throw new ErrnoError('EISDIR');
      if (!fid.isDirectory && (flags & L_O_DIRECTORY) !== 0) throw new ErrnoError('ENOTDIR');
      await fid.open(wireFlags(flags & ~(L_O_CREAT | L_O_EXCL)), request);
      return fid;
    } catch (error) {
      context.release(fid);
      throw error;
    }
  }

  /** The root cannot be opened itself: everybody walks from it. */
  async function own(fid: Fid, request: RequestOptions | undefined): Promise<Fid> {
    return fid === context.root ? fid.clone(request) : fid;
  }

  async function openFile(
    given: PathLike,
    flags: number,
    mode: number,
    request: RequestOptions | undefined = context.request,
  ): Promise<OpenFile> {
    const path = toPath(given);
    return told({ syscall: 'open', path }, async () => {
      context.checkRoom();
      const fid = await openFid(path, flags, mode, request);
      try {
        return new OpenFile(context, fid, flags);
      } catch (error) {
        context.release(fid);
        throw error;
      }
    });
  }

  async function open(path: PathLike, flags: OpenMode = 'r', mode?: string | number | null): Promise<FileHandle> {
    const shown = path instanceof URL ? toPath(path) : path;
    toPath(path);
    const wire = toFlags(flags);
    return new FileHandle(await openFile(path, wire, toMode(mode, 'mode', 0o666)), shown as string | Buffer, flags);
  }

  async function readFile(path: PathLike | FileHandle, options?: ContentOptions | BufferEncoding | null): Promise<string | Buffer> {
    if (path instanceof FileHandle) return path.readFile(options as BufferEncoding);
    const { flag } = optionsOf<ContentOptions>(options);
    const encoding = encodingOf(options);
    const request = requestOf(options, context.request);
    throwIfAborted(request?.signal);
    const file = await openFile(path, toFlags(flag ?? 'r'), 0o666, request);
    try {
      const data = await file.use('read', (fid) => readToEnd(fid, 0, request));
      return encoding === undefined || encoding === 'buffer' ? data : data.toString(encoding);
    } finally {
      // Nothing was written, so there is nothing its end could still tell.
      file.close().catch(() => undefined);
    }
  }

  async function writeFile(path: PathLike | FileHandle, data: unknown, options?: ContentOptions | BufferEncoding | null): Promise<void> {
    if (path instanceof FileHandle) {
      await path.writeFile(data, options as BufferEncoding);
      return;
    }
    const { flag, mode, flush } = optionsOf<ContentOptions>(options);
    const encoding = encodingOf(options);
    const request = requestOf(options, context.request);
    checkContent(data);
    throwIfAborted(request?.signal);
    const file = await openFile(path, toFlags(flag ?? 'w'), toMode(mode, 'mode', 0o666), request);
    try {
      await writeContent(file, data, encoding === 'buffer' ? undefined : encoding, request);
      if (flush) await file.use('fsync', (fid) => fid.fsync(false, request));
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
    await file.close();
  }

  async function copyFile(source: PathLike, destination: PathLike, mode = 0, options?: RequestOptions): Promise<void> {
    const request = requestOf(options, context.request);
    const path = toPath(source, 'src');
    const dest = toPath(destination, 'dest');
    toInteger(mode, 'mode', 0, 7);
    await told({ syscall: 'copyfile', path, dest }, async () => {
      // A clone shares blocks of one disk: nothing that 9P can ask for.
      if ((mode & constants.COPYFILE_FICLONE_FORCE) !== 0) throw new ErrnoError('EOPNOTSUPP');
      const exclusive = (mode & constants.COPYFILE_EXCL) !== 0 ? L_O_EXCL : 0;
      const from = await openFid(path, L_O_RDONLY, 0, request);
      await context.using(from, async () => {
        if (from.isDirectory) throw new ErrnoError('EISDIR');
        const attributes = await from.getattr(GETATTR_BASIC, request);
        const permissions = attributes.mode & 0o777;
        const to = await openFid(dest, L_O_WRONLY | L_O_CREAT | exclusive, permissions, request);
        let half = false;
        try {
          // Onto itself there is nothing to copy, and truncating it first would be its end.
          if (to.qid.path !== from.qid.path) {
            const before = await to.getattr(GETATTR_BASIC, request);
            if (before.size > 0) await to.setattr({ size: 0 }, request);
            half = (before.mode & S_IFMT) === S_IFREG;
            await copyContent(from, to, request);
            half = false;
            if ((before.mode & 0o7777) !== permissions) await setMode(to, permissions, request);
          }
        } catch (error) {
          context.release(to);
          const removed = half ? discard(dest) : undefined;
          // Whoever has given it up does not wait for a server that may be away.
          if (request?.signal?.aborted !== true) await removed;
          throw error;
        }
        await to.clunk();
      });
    });
  }

  /** Half a copy is none: libuv removes it, too. */
  async function discard(path: string): Promise<void> {
    const request = { timeout: context.request?.timeout };
    await walker
      .parent(path, request, () => 'EISDIR')
      .then((parent) => context.using(parent.fid, (directory) => directory.unlinkat(parent.name, 0, request)))
      .catch(() => undefined);
  }

  function sourceOf(path: PathLike, options: PathStreamOptions, flags: OpenMode): Source | undefined {
    const shown = toPath(path);
    const used = options.flags ?? flags;
    const wire = toFlags(used);
    const mode = toMode(options.mode, 'mode', 0o666);
    return {
      path: path instanceof Uint8Array ? (path as Buffer) : shown,
      flags: used,
      autoClose: options.autoClose ?? true,
      open: (request) => openFile(path, wire, mode, request),
    };
  }

  return {
    open,
    readFile,
    writeFile,

    async appendFile(path: PathLike | FileHandle, data: unknown, options?: ContentOptions | BufferEncoding | null): Promise<void> {
      const settings = optionsOf<ContentOptions>(options);
      await writeFile(path, data, { ...settings, flag: settings.flag ?? 'a' });
    },

    /** As Node does it: the file is opened for writing first, so a directory is EISDIR from "open". */
    async truncate(given: PathLike, length = 0): Promise<void> {
      const size = Math.max(0, toInteger(length, 'len'));
      const file = await openFile(given, L_O_WRONLY, 0);
      try {
        await file.use('ftruncate', (fid) => fid.setattr({ size }, context.request));
      } catch (error) {
        await file.close().catch(() => undefined);
        throw error;
      }
      await file.close();
    },

    copyFile,

    /** As `fs.createReadStream`, with requests in flight ahead of the consumer. */
    createReadStream(path: PathLike, options?: (ReadStreamOptions & PathStreamOptions) | BufferEncoding | null): ReadStream {
      const settings = optionsOf<ReadStreamOptions & PathStreamOptions>(options);
      if (settings.fd !== undefined) return settings.fd.createReadStream(settings);
      return new ReadStream(sourceOf(path, settings, 'r') as Source, settings, context.request);
    },

    /** As `fs.createWriteStream`, with the parts of a batch in flight together. */
    createWriteStream(path: PathLike, options?: (WriteStreamOptions & PathStreamOptions) | BufferEncoding | null): WriteStream {
      const settings = optionsOf<WriteStreamOptions & PathStreamOptions>(options);
      if (settings.fd !== undefined) return settings.fd.createWriteStream(settings);
      return new WriteStream(sourceOf(path, settings, 'w') as Source, settings, context.request);
    },
  };
}
