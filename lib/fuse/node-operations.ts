import type { AttributeChange, Fid, RequestOptions } from '../client/index.js';
import { GETATTR_ALL, GETATTR_BASIC, GETATTR_BTIME, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { textToBytes } from '../protocol/text.js';
import type { Attributes } from '../protocol/types.js';
import { attrOf, WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import {
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_FH,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  GETATTR_FH,
} from './kernel/constants.js';
import type { Body } from './kernel/opcodes.js';
import type { Operations, Request } from './kernel/request.js';
import type { AttrReply, StatxReply } from './kernel/structs.js';
import { leadStill, namesBelieved } from './leads.js';
import { assureItself, changeNameless, isNameless, isReplaced, namelessAttr } from './nameless.js';
import type { Node } from './nodes.js';
import { staleIfGone } from './tree.js';

const EFBIG = -27;
const ENOSYS = -38;
/** The longest target the kernel takes (PATH_MAX without its NUL). */
const TARGET_MAX = 4095;
const S_IXGRP = 0o010;
/** Permissions and kind of file: whoever sets a mode says both, and the client need not ask. */
const MODE_BITS = S_IFMT | 0o7777;

/** All that is about one node and needs no name: attributes, link targets, the file system's own figures. */
export function nodeOperations(bridge: Bridge): Partial<Operations> {
  const { tree, files } = bridge;
  const { nodes } = tree;

  /** With the fid of an open file where the kernel names one, which works after the last name is gone; else with the node's. */
  function withFile<T>(fh: number | undefined, request: Request, use: (fid: Fid, o: RequestOptions) => Promise<T>): Promise<T> {
    const node = nodes.get(request.nodeid);
    if (node.behind?.busy) return node.behind.idle(request.signal).then(() => withFile(fh, request, use));
    const handle = fh === undefined ? undefined : files.find(fh);
    if (handle !== undefined && handle.node === node && !node.mustBeWalkedTo) return use(handle.pin.fid, request.options);
    return bridge.with(node, request, use, true).catch((gone: unknown) => {
      const error = staleIfGone(gone);
      if ((error as NodeJS.ErrnoException).code === 'ESTALE') bridge.looked.stale(request.pid, node);
      throw error;
    });
  }

  /**
   * truncate(2), which like open(2) is not to cut off what a name led to a second ago for what it leads to now. What else is changed without being open,
   * is changed by a descriptor as well (fchmod, fsetxattr), which no ESTALE makes the kernel look again for.
   */
  async function assureNames(node: Node, request: Request): Promise<void> {
    const { looked } = bridge;
    const just = looked.takeLookup(request.pid, node);
    // Without a name it is meant by a descriptor of it.
    if (node.links.length === 0 && !nodes.isMistakable(node)) return;
    try {
      await leadStill(bridge, node, namesBelieved(bridge, node, just, request), tree.userOf(request), request);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESTALE') looked.stale(request.pid, node);
      throw error;
    }
  }

  /** `seen`: what somebody else has just been told of it. */
  function seenOrAsked(node: Node, seen: Attributes | undefined, fh: number | undefined, request: Request): AttrReply | Promise<AttrReply> {
    if (seen !== undefined && node.is(seen.qid)) return bridge.attr(node, seen, 0);
    return withFile(fh, request, (fid, o) => asked(node, fid, o, request)).catch((error: unknown) => {
      if (isNameless(node, error) || isReplaced(node, error)) return namelessAttr(node);
      throw error;
    });
  }

  /** Of an open file whose name another has got meanwhile, or none, a server whose fids are paths tells no more; whoever reads it goes on. */
  async function asked(node: Node, fid: Fid, o: RequestOptions, request: Request): Promise<AttrReply> {
    let attributes: Attributes;
    try {
      attributes = await fid.getattr(WANTED, o);
    } catch (error) {
      if (fid.opened !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return namelessAttr(node);
      throw error;
    }
    if (fid.opened !== undefined && !node.is(attributes.qid)) return namelessAttr(node);
    return bridge.attr(node, attributes, request.at);
  }

  async function statxAsked(node: Node, fh: number | undefined, request: Request): Promise<StatxReply | number> {
    const attributes = await withFile(fh, request, (fid, o) => fid.getattr(GETATTR_ALL, o));
    const { valid, btime } = attributes;
    // A server without birth times: the kernel is told to make do with getattr for good.
    if ((valid & GETATTR_BTIME) === 0n || btime.sec === 0) return ENOSYS;
    return { ...bridge.attr(node, attributes, request.at), btime };
  }

  /**
   * The kernel asks for the birth time of each file that it has just looked up, and has all the rest of what it asks for. It is told what it
   * was told then, for as long as it would itself have believed it.
   */
  const statx: Operations['statx'] = ({ flags, fh }, request) => {
    const node = nodes.get(request.nodeid);
    const { told } = node;
    const left = bridge.holds(node);
    if (told !== undefined && left > 0 && (told.valid & GETATTR_BTIME) !== 0n && told.btime.sec !== 0)
      return { attrValid: left, attr: attrOf(node, told), btime: told.btime };
    return statxAsked(node, (flags & GETATTR_FH) !== 0 ? fh : undefined, request);
  };

  return {
    getattr({ flags, fh }, request) {
      const node = nodes.get(request.nodeid);
      const file = (flags & GETATTR_FH) !== 0 ? fh : undefined;
      const seen = bridge.looked.takeOpened(node);
      if (seen instanceof Promise) return seen.then((attributes) => seenOrAsked(node, attributes, file, request));
      return seenOrAsked(node, seen, file, request);
    },

    ...(bridge.options.birthTimes && { statx }),

    async setattr(body, request) {
      const node = nodes.get(request.nodeid);
      bridge.changed(node);
      if ((body.valid & FATTR_SIZE) !== 0 && !Number.isSafeInteger(body.size)) return EFBIG;
      if ((body.valid & (FATTR_SIZE | FATTR_FH)) === FATTR_SIZE) await assureNames(node, request);
      const changed = withFile((body.valid & FATTR_FH) !== 0 ? body.fh : undefined, request, async (fid, o) => {
        const change = changeOf(body);
        if (change === undefined) return fid.getattr(GETATTR_BASIC, o);
        if (node.links.length === 0 && node !== nodes.root) await assureItself(bridge, node, fid, o);
        if (losesPrivilege(body)) await keepOutPrivilege(fid, change, o);
        // A size and times take two messages, the second of which is behind whatever is sent now.
        if (change.size !== undefined && (change.atime !== undefined || change.mtime !== undefined)) {
          await fid.setattr(change, o);
          return fid.getattr(GETATTR_BASIC, o);
        }
        const [, after] = await bridge.ordered.both(fid.setattr(change, o), () => fid.getattr(GETATTR_BASIC, o));
        return after;
      });
      try {
        const attributes = await changed;
        bridge.changed(node);
        return bridge.attr(node, attributes, request.at);
      } catch (error) {
        if (isNameless(node, error)) return changeNameless(node, body);
        throw error;
      }
    },

    async readlink(_, request) {
      const target = textToBytes(await withFile(undefined, request, (fid, o) => fid.readlink(o)));
      if (target.length === 0 || target.length > TARGET_MAX || target.includes(0)) throw new ErrnoError('EIO', { syscall: 'Treadlink' });
      return target;
    },

    async statfs(_, request) {
      const { blocks, bfree, bavail, files: count, ffree, bsize, namelen } = await withFile(undefined, request, (fid, o) => fid.statfs(o));
      return { blocks, bfree, bavail, files: count, ffree, bsize, namelen: namelen || 255, frsize: bsize };
    },

    /** Only asked where the kernel does not check by itself; then the server does, at each request. */
    access: () => ENOSYS,
  };
}

function changeOf({ valid, mode, uid, gid, size, atime, mtime }: Body<'setattr'>): AttributeChange | undefined {
  const change: AttributeChange = {};
  if ((valid & FATTR_MODE) !== 0) change.mode = mode & MODE_BITS;
  if ((valid & FATTR_UID) !== 0) change.uid = uid;
  if ((valid & FATTR_GID) !== 0) change.gid = gid;
  if ((valid & FATTR_SIZE) !== 0) change.size = size;
  if ((valid & FATTR_ATIME) !== 0) change.atime = (valid & FATTR_ATIME_NOW) !== 0 ? 'now' : atime;
  if ((valid & FATTR_MTIME) !== 0) change.mtime = (valid & FATTR_MTIME_NOW) !== 0 ? 'now' : mtime;
  if ((valid & FATTR_CTIME) !== 0) change.ctime = true;
  return Object.keys(change).length === 0 ? undefined : change;
}

/** A new owner always takes the set-user-ID bit away (chown(2)), a new size if the kernel says so. */
function losesPrivilege({ valid }: Body<'setattr'>): boolean {
  if ((valid & FATTR_MODE) !== 0) return false;
  return (valid & (FATTR_UID | FATTR_GID)) !== 0 || (valid & FATTR_KILL_SUIDGID) !== 0;
}

async function keepOutPrivilege(fid: Fid, change: AttributeChange, options: RequestOptions): Promise<void> {
  const { mode } = await fid.getattr(GETATTR_BASIC, options);
  const less = withoutPrivilege(mode);
  if (less !== mode) change.mode = less & MODE_BITS;
}

/** The mode without set-user-ID, and without set-group-ID where that is no mark for locking (a group that may execute). */
function withoutPrivilege(mode: number): number {
  if ((mode & S_IFMT) !== S_IFREG) return mode;
  return mode & ~(S_ISUID | ((mode & S_IXGRP) !== 0 ? S_ISGID : 0));
}

/** Takes the bits away that a write or a truncation by an ordinary user must not leave. Costs nothing where there are none. */
export async function dropPrivilegeBits(node: Node, fid: Fid, options: RequestOptions): Promise<void> {
  if (withoutPrivilege(node.mode) === node.mode) return;
  // Without a name it starts no program any more; and where fids are paths another file would be changed.
  if (node.links.length === 0) return;
  const { mode } = await fid.getattr(GETATTR_BASIC, options);
  node.mode = withoutPrivilege(mode);
  if (node.mode !== mode) await fid.setattr({ mode: node.mode & 0o7777 }, options);
}
