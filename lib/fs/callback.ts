import type * as NodeFs from 'node:fs';
import { constants, type NoParamCallback, type PathLike } from 'node:fs';
import { promisify } from 'node:util';
import { fileClosed, invalidArgType } from './errors.js';
import type { FileSystem } from './filesystem.js';
import type { FileHandle } from './handle.js';

type Callback = (error: Error | null, ...results: unknown[]) => void;

/** Functions on paths that have the same name and arguments in both faces. */
const PATHS = [
  'access',
  'appendFile',
  'chmod',
  'chown',
  'copyFile',
  'cp',
  'lchown',
  'link',
  'lstat',
  'lutimes',
  'mkdir',
  'mkdtemp',
  'opendir',
  'readFile',
  'readdir',
  'readlink',
  'realpath',
  'rename',
  'rm',
  'rmdir',
  'stat',
  'statfs',
  'symlink',
  'truncate',
  'unlink',
  'utimes',
  'writeFile',
] as const;

/** Functions on descriptors, and the method of FileHandle that each is. */
const DESCRIPTORS = {
  close: 'close',
  fchmod: 'chmod',
  fchown: 'chown',
  fdatasync: 'datasync',
  fstat: 'stat',
  fsync: 'sync',
  ftruncate: 'truncate',
  futimes: 'utimes',
} as const;

/** What `callbackFs` gives: the part of `node:fs` that takes callbacks, and `promises`. Nothing in it is synchronous. */
export type CallbackFs = Pick<
  typeof NodeFs,
  | (typeof PATHS)[number]
  | keyof typeof DESCRIPTORS
  | 'open'
  | 'read'
  | 'write'
  | 'readv'
  | 'writev'
  | 'exists'
  | 'createReadStream'
  | 'createWriteStream'
  | 'constants'
> & { promises: FileSystem };

/**
 * `node:fs` itself, for libraries that want callbacks: `callbackFs(fs).readFile(path, callback)`. A descriptor is a number that only
 * this object knows.
 */
export function callbackFs(fs: FileSystem): CallbackFs {
  const handles = new Map<number, FileHandle>();

  const handleOf = (fd: unknown, syscall: string): FileHandle => {
    if (typeof fd !== 'number') throw invalidArgType('fd', 'of type number', fd);
    const handle = handles.get(fd);
    if (handle === undefined) throw fileClosed(syscall);
    return handle;
  };

  const face: Record<string, unknown> = { promises: fs, constants };
  for (const name of PATHS) {
    const work = fs[name] as (...parameters: unknown[]) => Promise<unknown>;
    face[name] = taking((...parameters) => work(...withHandles(parameters)).then((result) => [result]));
  }
  for (const [name, method] of Object.entries(DESCRIPTORS)) {
    face[name] = taking(async (fd, ...parameters) => {
      const handle = handleOf(fd, name);
      if (name === 'close') handles.delete(fd as number);
      return [await (handle[method] as (...values: unknown[]) => Promise<unknown>).apply(handle, parameters)];
    });
  }
  face['open'] = taking(async (path, flags, mode) => {
    const handle = await fs.open(path as PathLike, flags as string, mode as number);
    const { fd } = handle;
    handles.set(fd, handle);
    handle.once('close', () => handles.delete(fd));
    return [fd];
  });
  const transfer = (name: 'read' | 'write' | 'readv' | 'writev', count: string): void => {
    const both = async (fd: unknown, ...parameters: unknown[]) =>
      (await (handleOf(fd, name)[name] as (...values: unknown[]) => Promise<Record<string, unknown>>).apply(
        handleOf(fd, name),
        parameters,
      )) as Record<string, unknown>;
    const withCallback = taking(async (...parameters) => {
      const result = await both(...(parameters as [unknown]));
      return [result[count], result['buffer'] ?? result['buffers']];
    });
    // `util.promisify` gives an object here, as it does for Node's own.
    face[name] = Object.assign(withCallback, { [promisify.custom]: both });
  };
  transfer('read', 'bytesRead');
  transfer('write', 'bytesWritten');
  transfer('readv', 'bytesRead');
  transfer('writev', 'bytesWritten');

  const exists = (path: PathLike): Promise<boolean> =>
    fs.access(path).then(
      () => true,
      () => false,
    );
  face['exists'] = Object.assign((path: PathLike, callback: (there: boolean) => void) => void exists(path).then(callback), {
    [promisify.custom]: exists,
  });
  const streaming =
    (name: 'createReadStream' | 'createWriteStream') =>
    (path: PathLike, options?: { fd?: number | FileHandle } | BufferEncoding | null) => {
      if (typeof options !== 'object' || options === null || typeof options.fd !== 'number') return fs[name](path, options as undefined);
      return fs[name](path, { ...options, fd: handleOf(options.fd, 'open') });
    };
  face['createReadStream'] = streaming('createReadStream');
  face['createWriteStream'] = streaming('createWriteStream');
  return face as unknown as CallbackFs;

  /** `readFile(fd)` and its like. */
  function withHandles(parameters: unknown[]): unknown[] {
    const [first, ...rest] = parameters;
    return typeof first === 'number' && handles.has(first) ? [handles.get(first), ...rest] : parameters;
  }
}

/** A function that takes a callback as its last argument, from one that promises what the callback is to get. */
function taking(work: (...parameters: unknown[]) => Promise<unknown[]>): (...parameters: unknown[]) => void {
  return (...parameters) => {
    const callback = parameters.pop() as Callback | NoParamCallback;
    if (typeof callback !== 'function') throw invalidArgType('cb', 'of type function', callback);
    // Out of the promise, so that what the callback throws is an uncaught exception and no rejection.
    Promise.resolve()
      .then(() => work(...parameters))
      .then(
        (results) => process.nextTick(callback as Callback, null, ...results.filter((result) => result !== undefined)),
        (error) => process.nextTick(callback as Callback, error),
      );
  };
}
