export { NodeFsBackend, type NodeFsOptions } from './backend.js';
export type { FileHandleLike, PromisesLike, StatFsLike, StatLike } from './shape.js';
