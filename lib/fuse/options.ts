import type { Access } from './tree.js';

/**
 * How much the kernel may keep. `none`: nothing, every read and write reaches the server. `open`: names and attributes for a second; a file's pages
 * between opens while it stays unchanged; what a closed file held is what the next open sees, and what was written under a lock is what the next one
 * to get it sees. `loose`: everything for long, writes gather: for one client alone.
 */
export type CacheMode = 'none' | 'open' | 'loose';

/** What the bridge goes by; times in ms. */
export interface BridgeOptions {
  cache: CacheMode;
  access: Access;
  /** How long the kernel may believe attributes. */
  attrTimeout: number;
  /** How long a name may lead where it leads. */
  entryTimeout: number;
  /** How long a name may lead nowhere. */
  negativeTimeout: number;
  /** `remote`: locks are the server's. `local`: they stay on this host, for servers that have stubs (QEMU) or whole files (diod; interop: lock.ranges). */
  locks: 'remote' | 'local';
  /** Writes are answered before the server has; a flush, an fsync and whoever looks wait for it, and get its errors. */
  writeBehind: boolean;
  /** Files are opened ahead for whoever reads one after another (`OpenAhead`). */
  openAhead: boolean;
  /** The kernel checks permissions, and so asks for a directory's attributes whenever they may have changed. */
  permissions: boolean;
  /** Files may have POSIX ACLs: the kernel leaves to us whether the umask counts. */
  acl: boolean;
  /** The kernel may ask for birth times. */
  birthTimes: boolean;
  /** Every file is read past the page cache: proc and sysfs, whose files have no size that means anything. */
  direct: boolean;
}

/** The defaults of a cache mode. */
export function timeouts(cache: CacheMode): Pick<BridgeOptions, 'attrTimeout' | 'entryTimeout' | 'negativeTimeout'> {
  if (cache === 'none') return { attrTimeout: 0, entryTimeout: 0, negativeTimeout: 0 };
  if (cache === 'open') return { attrTimeout: 1000, entryTimeout: 1000, negativeTimeout: 0 };
  return { attrTimeout: 60_000, entryTimeout: 60_000, negativeTimeout: 10_000 };
}
