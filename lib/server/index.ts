/** The answering side: a server for 9P2000.L, and what it can serve. */
export type { Attachment, Awaitable, Backend, BackendFile, BackendNode, Caller } from './backend.js';
export type { Connection } from './connection.js';
export { controlBackend } from './ctl.js';
export { formatEvent, type ServerEvent } from './events.js';
export type { ExportOptions } from './exports.js';
export type { Attached } from './fids.js';
export { defaultLimits, type Limits } from './limits.js';
export { type LocalOptions, localBackend, type MultiDevices, type SecurityModelName } from './local/index.js';
export { LockTable } from './locks.js';
export { MemoryBackend, type MemoryCounts, type MemoryOptions, type Produce } from './memory/index.js';
export {
  type FileHandleLike,
  NodeFsBackend,
  type NodeFsOptions,
  type PromisesLike,
  type StatFsLike,
  type StatLike,
} from './nodefs/index.js';
export { notifyReady } from './notify.js';
export { Server, type ServerOptions, type ServerStatus } from './server.js';
