export { FuseMissingError } from './kernel/fusermount.js';
export { type Mount, type MountCounters, type MountOptions, mount, unmount } from './mount.js';
export type { CacheMode } from './options.js';
export type { Access } from './tree.js';
