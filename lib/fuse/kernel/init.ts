import * as c from './constants.js';
import type { Decoder, Encoder } from './structs.js';

/** What the kernel offers when a mount begins. */
export interface InitRequest {
  major: number;
  minor: number;
  maxReadahead: number;
  flags: number;
  flags2: number;
}

/** What the mount would like; each is granted only where the kernel has it. */
export interface InitOptions {
  /** Bytes in one WRITE at most; also bounds READ. */
  maxWrite: number;
  maxReadahead: number;
  /** fcntl and flock locks come as requests instead of staying on this host. */
  remoteLocks: boolean;
  /** Writes gather in the page cache: only sound while nobody else changes the files. */
  writeback: boolean;
  /** POSIX ACLs are asked for and obeyed; turns on default_permissions. */
  posixAcl: boolean;
  /** Cached pages go only when told to, not whenever a file's times or size change. */
  explicitInvalidation: boolean;
  /** The kernel may keep link targets. */
  cacheSymlinks: boolean;
  /** Files may be backed by others of this host (FOPEN_PASSTHROUGH), which write-back excludes. */
  passthrough?: boolean;
  /** Directories are listed with attributes: never, when the kernel thinks it useful, or always. */
  readdirplus: 'never' | 'auto' | 'always';
}

/** What was agreed. */
export interface InitReply {
  minor: number;
  maxReadahead: number;
  flags: number;
  flags2: number;
  maxWrite: number;
  maxPages: number;
  maxBackground: number;
  congestionThreshold: number;
}

const PAGE_SIZE = 4096;

export function takeInit(from: Decoder): InitRequest {
  const request = { major: from.u32(), minor: from.u32(), maxReadahead: from.u32(), flags: from.u32(), flags2: 0 };
  if ((request.flags & c.INIT_EXT) !== 0 && from.left >= 4) request.flags2 = from.u32();
  return request;
}

/** Wanted and offered: what both have. */
export function negotiate(request: InitRequest, options: InitOptions): InitReply {
  let wanted =
    c.INIT_ASYNC_READ |
    c.INIT_ATOMIC_O_TRUNC |
    c.INIT_BIG_WRITES |
    c.INIT_ASYNC_DIO |
    c.INIT_PARALLEL_DIROPS |
    c.INIT_HANDLE_KILLPRIV_V2 |
    c.INIT_MAX_PAGES |
    c.INIT_SETXATTR_EXT |
    c.INIT_EXT;
  wanted |= options.explicitInvalidation ? c.INIT_EXPLICIT_INVAL_DATA : c.INIT_AUTO_INVAL_DATA;
  if (options.remoteLocks) wanted |= c.INIT_POSIX_LOCKS | c.INIT_FLOCK_LOCKS;
  if (options.writeback) wanted |= c.INIT_WRITEBACK_CACHE;
  // A default ACL takes the place of the umask (acl(5)), and only who makes a file can find out whether there is one.
  if (options.posixAcl) wanted |= c.INIT_POSIX_ACL | c.INIT_DONT_MASK;
  if (options.cacheSymlinks) wanted |= c.INIT_CACHE_SYMLINKS;
  if (options.readdirplus !== 'never') wanted |= c.INIT_DO_READDIRPLUS;
  if (options.readdirplus === 'auto') wanted |= c.INIT_READDIRPLUS_AUTO;
  // So that a file read past the cache can still be mapped shared.
  let wanted2 = c.INIT2_DIRECT_IO_ALLOW_MMAP;
  if (options.passthrough && !options.writeback) wanted2 |= c.INIT2_PASSTHROUGH;
  const flags2 = request.flags2 & wanted2;
  return {
    minor: Math.min(request.minor, c.KERNEL_MINOR),
    maxReadahead: options.maxReadahead,
    flags: request.flags & wanted,
    flags2,
    maxWrite: options.maxWrite,
    maxPages: Math.ceil(options.maxWrite / PAGE_SIZE),
    maxBackground: 64,
    congestionThreshold: 48,
  };
}

export function putInit(to: Encoder, reply: InitReply): void {
  to.u32(c.KERNEL_VERSION);
  to.u32(reply.minor);
  to.u32(reply.maxReadahead);
  to.u32(reply.flags);
  to.u16(reply.maxBackground);
  to.u16(reply.congestionThreshold);
  to.u32(reply.maxWrite);
  to.u32(1);
  to.u16(reply.maxPages);
  to.u16(0);
  to.u32(reply.flags2);
  // How many file systems may lie one over the other down to a backing file: it is on one that lies over none, so that an overlay can still lie over this mount.
  to.u32((reply.flags2 & c.INIT2_PASSTHROUGH) !== 0 ? 1 : 0);
  to.zeros(24);
}
