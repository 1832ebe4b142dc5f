import {
  GETATTR_BASIC,
  L_O_ACCMODE,
  L_O_APPEND,
  L_O_DSYNC,
  L_O_EXCL,
  L_O_NOATIME,
  L_O_NONBLOCK,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_SYNC,
  L_O_TRUNC,
  L_O_WRONLY,
  S_IFMT,
  S_IFREG,
} from '../protocol/constants.js';
import type { Attributes } from '../protocol/types.js';
import { differs, remember } from './attributes.js';
import type { Bridge } from './bridge.js';
import { FileHandle } from './handles.js';
import {
  FOPEN_DIRECT_IO,
  FOPEN_KEEP_CACHE,
  FOPEN_NOFLUSH,
  FSYNC_FDATASYNC,
  OPEN_KILL_SUIDGID,
  RELEASE_FLOCK_UNLOCK,
  WRITE_KILL_SUIDGID,
} from './kernel/constants.js';
import type { Operations, Request } from './kernel/request.js';
import { Lent } from './kernel/structs.js';
import { dropPrivilegeBits } from './node-operations.js';
import type { Node, Seen } from './nodes.js';
import type { Pin } from './pins.js';
import { staleIfGone } from './tree.js';

const EFBIG = -27;
const ENOTTY = -25;
const EOPNOTSUPP = -95;

/** Two changes of a file this close to each other, in ms, may leave the same times behind. */
const TICK = 1000;

/** What an open is asked of the server: the kernel's flags that mean something there, in the numbers of the wire. */
export function wireFlags(flags: number, writeback: boolean): number {
  let wire = flags & (L_O_ACCMODE | L_O_EXCL | L_O_TRUNC | L_O_APPEND | L_O_NONBLOCK | L_O_DSYNC | L_O_SYNC | L_O_NOATIME);
  if (writeback) {
    // The kernel puts appended bytes where they belong, and reads what surrounds a part of a page.
    wire &= ~L_O_APPEND;
    if ((wire & L_O_ACCMODE) === L_O_WRONLY) wire = (wire & ~L_O_ACCMODE) | L_O_RDWR;
  }
  return wire & ~L_O_EXCL;
}

/** FOPEN_* of a file that was just created. */
export function createFlags({ options }: Bridge): number {
  return (
    (options.cache === 'none' || options.direct ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE) | (options.locks === 'local' ? FOPEN_NOFLUSH : 0)
  );
}

/** Opening, and all that is done with an open file. */
export function fileOperations(bridge: Bridge): Partial<Operations> {
  const { tree, options, files, buffers } = bridge;
  const { nodes } = tree;

  function handle(node: Node, pin: Pin, user: number, flags: number): number {
    const made = new FileHandle(node, pin, user, flags);
    node.handles ??= new Set();
    node.handles.add(made);
    return files.add(made);
  }

  /** Opens a node for itself, and looks at its attributes meanwhile where that matters. */
  async function opened(
    node: Node,
    flags: number,
    look: boolean,
    request: Request,
  ): Promise<{ fh: number; attributes: Attributes | undefined }> {
    const user = tree.userOf(request);
    const o = { signal: request.signal };
    const pin = await tree.take(node, user, o);
    try {
      if (!look) {
        await pin.fid.open(flags, o);
        return { fh: handle(node, pin, user, flags), attributes: undefined };
      }
      // The fid is there already, so neither waits for the other.
      const [open, seen, still] = await Promise.allSettled([
        pin.fid.open(flags, o),
        pin.fid.getattr(GETATTR_BASIC, o),
        leadsStill(node, user, request),
      ]);
      if (open.status === 'rejected') throw open.reason;
      if (seen.status === 'rejected' || still.status === 'rejected') {
        // It is open, so the fid is of no use as a node's any more.
        pin.end();
        throw staleIfGone(seen.status === 'rejected' ? seen.reason : (still as PromiseRejectedResult).reason);
      }
      return { fh: handle(node, pin, user, flags), attributes: seen.value };
    } catch (error) {
      if (pin.fid.opened === undefined) tree.putBack(node, user, pin);
      throw error;
    }
  }

  /** Whether the name still leads to the node; what walks there to see it becomes the node's next fid. ESTALE makes the kernel look itself. */
  async function leadsStill(node: Node, user: number, request: Request): Promise<undefined> {
    const link = node.links[node.links.length - 1];
    if (link === undefined) return undefined;
    const o = { signal: request.signal };
    const parent = await tree.reach(link.parent, user, o);
    try {
      const fid = await parent.fid.walk([link.name], o);
      if (!node.is(fid.qid)) {
        tree.clunker.give(fid);
        throw Object.assign(new Error('another file by now'), { code: 'ENOENT' });
      }
      if (nodes.has(node.id)) tree.keep(node, user, fid);
      else tree.clunker.give(fid);
      return undefined;
    } catch (error) {
      throw Object.assign(new Error('stale', { cause: error }), {
        code: (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'ESTALE' : 'EIO',
      });
    } finally {
      parent.drop();
    }
  }

  /** FOPEN_* for a file whose attributes were seen during the open. */
  function caching(node: Node, flags: number, attributes: Attributes | undefined): number {
    const noFlush = options.locks === 'local' ? FOPEN_NOFLUSH : 0;
    if (options.cache === 'none' || options.direct) return FOPEN_DIRECT_IO | noFlush;
    const reads = (flags & L_O_ACCMODE) !== L_O_WRONLY;
    // Who only writes sees nothing of what is cached; it is compared again when somebody reads.
    if (attributes === undefined) return (flags & L_O_TRUNC) !== 0 ? noFlush : FOPEN_KEEP_CACHE | noFlush;
    if ((flags & L_O_ACCMODE) === L_O_RDONLY && hasNoTrueSize(attributes)) return FOPEN_DIRECT_IO | noFlush;
    const keep = options.cache === 'loose' || unchanged(node.seen, attributes);
    if (reads && !keep) node.seen = seenNow(attributes);
    return (keep ? FOPEN_KEEP_CACHE : 0) | noFlush;
  }

  return {
    async open({ flags, openFlags }, request) {
      const node = nodes.get(request.nodeid);
      const loose = options.cache === 'loose';
      const wire = wireFlags(flags, loose);
      const truncates = (wire & L_O_TRUNC) !== 0;
      const just = bridge.looked.take(request.pid, node);
      const look = !truncates && options.cache === 'open' && (wire & L_O_ACCMODE) !== L_O_WRONLY && just === undefined;
      let result: Awaited<ReturnType<typeof opened>>;
      try {
        result = await opened(node, wire, look, request);
      } catch (error) {
        // Write-back wants to read as well; who may only write can do without.
        const { code } = error as NodeJS.ErrnoException;
        if (!loose || code !== 'EACCES' || (flags & L_O_ACCMODE) !== L_O_WRONLY) throw staleIfGone(error);
        result = await opened(node, (wire & ~L_O_ACCMODE) | L_O_WRONLY, look, request);
      }
      const { fh, attributes } = result;
      if (attributes !== undefined && differs(node, attributes)) {
        // The kernel would go by the old size for as long as it believes its attributes.
        remember(node, attributes);
        bridge.invalidate(node);
      }
      if (truncates) {
        node.seen = undefined;
        if ((openFlags & OPEN_KILL_SUIDGID) !== 0) await dropPrivilegeBits(node, files.get(fh).pin.fid, { signal: request.signal });
      }
      return { fh, flags: caching(node, wire, truncates ? undefined : (attributes ?? just)) };
    },

    async read({ fh, offset, size }, request) {
      const { fid } = files.get(fh).pin;
      if (!Number.isSafeInteger(offset + size)) return new Uint8Array(0);
      const buffer = buffers.take(size);
      const into = buffer.length === size ? buffer : buffer.subarray(0, size);
      // After an error it is not given back: a late reply might still be on its way into it.
      const count = await fid.read(into, offset, request.options);
      return new Lent(into.subarray(0, count), () => buffers.give(buffer));
    },

    async write({ fh, offset, data, writeFlags }, request) {
      const { node, pin } = files.get(fh);
      if (!Number.isSafeInteger(offset + data.length)) return EFBIG;
      if ((writeFlags & WRITE_KILL_SUIDGID) !== 0) await dropPrivilegeBits(node, pin.fid, request.options);
      return pin.fid.write(data, offset, request.options);
    },

    flush({ fh, lockOwner }) {
      const handle = files.find(fh);
      if (handle === undefined || !bridge.locks.any(handle.node, lockOwner)) return 0;
      return bridge.locks.release(handle.node, lockOwner);
    },

    release({ fh, releaseFlags, lockOwner }) {
      const handle = files.remove(fh);
      if (handle === undefined) return 0;
      const { node, pin } = handle;
      node.handles?.delete(handle);
      if (node.handles?.size === 0) node.handles = undefined;
      const unlocked =
        (releaseFlags & RELEASE_FLOCK_UNLOCK) !== 0 && bridge.locks.any(node, lockOwner)
          ? bridge.locks.release(node, lockOwner)
          : undefined;
      if (unlocked === undefined) {
        bridge.locks.closing(handle);
        pin.end();
        return 0;
      }
      return unlocked.then(() => {
        bridge.locks.closing(handle);
        pin.end();
        return 0;
      });
    },

    async fsync({ fh, fsyncFlags }, request) {
      await files.get(fh).pin.fid.fsync((fsyncFlags & FSYNC_FDATASYNC) !== 0, request.options);
      return 0;
    },

    /** 9P can make a file longer, which is what mode 0 shows of itself; nothing can be reserved or punched. */
    async fallocate({ fh, offset, length, mode }, request) {
      if (mode !== 0) return EOPNOTSUPP;
      const { fid } = files.get(fh).pin;
      const end = offset + length;
      if (!Number.isSafeInteger(end)) return EFBIG;
      const { size } = await fid.getattr(GETATTR_BASIC, request.options);
      if (end > size) await fid.setattr({ size: end }, request.options);
      return 0;
    },

    ioctl: () => ENOTTY,
  };
}

/**
 * Files whose size says nothing about what reading them gives: empty ones, which may be of proc, and what looks like sysfs: a page
 * that takes no block.
 */
function hasNoTrueSize({ mode, size, blocks }: Pick<Attributes, 'mode' | 'size' | 'blocks'>): boolean {
  return (mode & S_IFMT) === S_IFREG && (size === 0 || (size === 4096 && blocks === 0));
}

function unchanged(seen: Seen | undefined, { size, mtime, qid }: Attributes): boolean {
  return (
    seen !== undefined &&
    !seen.fresh &&
    seen.size === size &&
    seen.sec === mtime.sec &&
    seen.nsec === mtime.nsec &&
    seen.version === qid.version
  );
}

function seenNow({ size, mtime, qid }: Attributes): Seen {
  const age = Date.now() - (mtime.sec * 1000 + mtime.nsec / 1e6);
  return { size, sec: mtime.sec, nsec: mtime.nsec, version: qid.version, fresh: age < TICK && age > -TICK };
}
