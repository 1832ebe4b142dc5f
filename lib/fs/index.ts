/** `node:fs/promises` over a 9P client. */
export { type CallbackFs, callbackFs } from './callback.js';
export type { FileSystemOptions } from './context.js';
export { Dir } from './dir.js';
export { Dirent } from './dirent.js';
export { type DisposableTempDirectory, type FileSystem, fileSystem, openFs } from './filesystem.js';
export { FileHandle, type ReadArguments } from './handle.js';
export type { LockHolder, LockOptions, RangeOptions } from './lock.js';
export type { XattrOptions } from './metadata.js';
export { ReadStream, type ReadStreamOptions } from './read-stream.js';
export { BigIntStats, qidOf, Stats } from './stats.js';
export type { PollingOptions } from './watch.js';
export { WriteStream, type WriteStreamOptions } from './write-stream.js';
