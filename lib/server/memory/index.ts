export { MemoryBackend, type MemoryCounts, type MemoryOptions } from './backend.js';
export type { Produce } from './inode.js';
