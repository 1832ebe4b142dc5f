import type { Fid, RequestOptions } from '../client/index.js';
import { AT_REMOVEDIR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { textBytes } from '../protocol/text.js';
import type { Attributes, Qid } from '../protocol/types.js';
import { freshAttr, WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import { creator } from './creation.js';
import { FOPEN_KEEP_CACHE, RENAME_NOREPLACE } from './kernel/constants.js';
import type { Operations, Request } from './kernel/request.js';
import { decodeDevice, type EntryReply, negativeEntry } from './kernel/structs.js';
import type { Node } from './nodes.js';
import { createFlags, handleFor, howToOpen, wireFlags } from './open.js';
import type { Found } from './ordered.js';
import { ACL_DEFAULT } from './xattr.js';

const EINVAL = -22;
const ENAMETOOLONG = -36;
const NAME_MAX = 255;
/** How long nobody can have given a new file what the kernel asks for before its first write, in ms. */
const BARE = 1000;

/** Look-up, and all that makes, moves or takes away a name. */
export function nameOperations(bridge: Bridge): Partial<Operations> {
  const { tree, options, ordered, backings } = bridge;
  const { nodes } = tree;

  /** The group of a new file: the directory's where that is set-group-ID, as Linux has it. */
  const groupIn = (parent: Node, request: Request): number => ((parent.mode & S_ISGID) !== 0 ? parent.gid : request.gid);

  /**
   * Changes a directory. The kernel forgets what it knew of the directory's attributes then, and asks before it looks into it
   * again: they are asked for here and now, so that it need not wait.
   */
  async function changing<T>(parent: Node, request: Request, change: () => Promise<T>): Promise<T> {
    bridge.changed(parent);
    bridge.looked.acts(request.pid);
    const done = change();
    if (!ordered.kept) await done;
    const pin = options.permissions ? tree.held(parent, tree.userOf(request)) : undefined;
    if (pin !== undefined) {
      const seen = pin.fid.getattr(WANTED).catch(() => undefined);
      bridge.looked.opened(parent, seen);
      void seen.then(() => pin.drop());
    }
    try {
      return await done;
    } finally {
      bridge.touched(parent);
    }
  }

  const create = creator(bridge, changing);

  /** A name that did not lead anywhere a moment ago now leads to a file of that qid. */
  function made(parent: Node, name: string, qid: Qid, request: Request): Node {
    // Whatever had this qid is gone, even if the kernel has not said so yet.
    const before = nodes.find(qid);
    if (before !== undefined) nodes.orphan(before);
    const node = nodes.add(qid);
    nodes.link(node, parent, name);
    bridge.ahead.changedName(parent, name);
    node.gid = groupIn(parent, request);
    node.bareUntil = performance.now() + BARE;
    return node;
  }

  /** Whether what a Tlcreate gave was there before: others had made the name meanwhile. An inode that is open here is not used again. */
  function isOlder(qid: Qid, { size, nlink }: Attributes): boolean {
    return size > 0 || nlink > 1 || (nodes.find(qid)?.handles?.size ?? 0) > 0;
  }

  /** A name that was to be made leads to a file that was there before. What the kernel is to know of it. */
  async function foundInstead(
    parent: Node,
    name: string,
    node: Node,
    fid: Fid,
    attributes: Attributes,
    request: Request,
  ): Promise<Attributes> {
    // It may have been cut off.
    node.seen = undefined;
    bridge.changed(node);
    nodes.link(node, parent, name);
    bridge.ahead.changedName(parent, name);
    if (!node.behind?.missing(request.at)) return attributes;
    await node.behind.idle(request.signal);
    return fid.getattr(WANTED, request.options);
  }

  /** The mode of something new: less the umask, unless the directory has a default ACL, which takes its place (acl(5)). */
  function modeIn(parent: Node, { mode, umask }: { mode: number; umask: number }, request: Request): number | Promise<number> {
    const masked = mode & ~(umask & 0o777);
    // Without ACLs the kernel has seen to that.
    if (!options.acl || masked === mode) return mode;
    if (parent.noXattrsUntil > request.at) return masked;
    const { inherited } = parent;
    if (inherited !== undefined && inherited.until > request.at) return inherited.acl ? mode : masked;
    return hasDefaultAcl(parent, request).then((acl) => {
      parent.inherited = { acl, until: request.at + options.attrTimeout };
      return acl ? mode : masked;
    });
  }

  function hasDefaultAcl(parent: Node, request: Request): Promise<boolean> {
    return bridge.with(parent, request, async (fid, o) => {
      try {
        tree.clunker.give((await fid.xattrwalk(ACL_DEFAULT, o)).fid);
        return true;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENODATA' || code === 'EOPNOTSUPP') return false;
        throw error;
      }
    });
  }

  /** What a new file is supposed to be like. */
  interface Supposed {
    mode: number;
    size: number;
    rdev: number;
  }

  /**
   * Makes a file by a request that gives no fid of it. Where order is kept it is looked up along with that; else the kernel is told what it
   * must be like, and asks before it relies on it.
   */
  async function make(
    parent: Node,
    name: string,
    supposed: Supposed,
    request: Request,
    create: (fid: Fid, o: RequestOptions) => Promise<Qid>,
  ): Promise<EntryReply> {
    const o = request.options;
    let found: Promise<Found | undefined> | undefined;
    const qid = await bridge.with(
      parent,
      request,
      (fid) =>
        changing(parent, request, () => {
          const creating = create(fid, o);
          if (ordered.kept) found = ordered.look(fid, name, o).catch(() => undefined);
          return creating;
        }),
      true,
    );
    const there = await found;
    const node = made(parent, name, qid, request);
    if (there !== undefined) {
      if (node.is(there.fid.qid)) {
        tree.keep(node, tree.userOf(request), there.fid);
        return bridge.entry(node, there.attributes, request.at);
      }
      tree.clunker.give(there.fid);
    }
    node.mode = supposed.mode;
    node.lookups++;
    const attr = freshAttr(node, supposed.mode, request.uid, node.gid, supposed.size, supposed.rdev);
    return { nodeid: node.id, generation: 0, entryValid: options.entryTimeout, attrValid: 0, attr };
  }

  async function removeName(nodeid: number, name: string, flags: number, request: Request): Promise<number> {
    const parent = nodes.get(nodeid);
    await bridge.with(parent, request, (fid, o) => changing(parent, request, () => fid.unlinkat(name, flags, o)));
    gone(parent, name);
    return 0;
  }

  /** The name is gone; so is the file, unless it has others. */
  function gone(parent: Node, name: string): void {
    bridge.ahead.changedName(parent, name);
    const node = nodes.unlink(parent, name);
    if (node === undefined) return;
    bridge.ahead.changed(node);
    if (node.nlink > 0) node.nlink--;
    bridge.touched(node);
    bridge.looked.changed(node);
    if (node.links.length > 0) {
      // Our own server's fids are files, and tell where they are not: whoever has just looked it up by the name that is gone opens it by them.
      if (ordered.kept) node.strayed = true;
      else tree.stray(node);
    } else if (node.nlink === 0 || node.isDirectory) nodes.orphan(node);
  }

  interface Rename {
    name: string;
    newDirectory: number;
    newName: string;
    flags: number;
  }

  async function renamed(nodeid: number, { name, newDirectory, newName, flags }: Rename, request: Request): Promise<number> {
    const from = nodes.get(nodeid);
    const to = nodes.get(newDirectory);
    if (textBytes(newName) > NAME_MAX) return ENAMETOOLONG;
    // 9P cannot exchange: EINVAL makes programs do it their own way.
    if ((flags & ~RENAME_NOREPLACE) !== 0) return EINVAL;
    if (to !== from) bridge.changed(to);
    const move = flags === 0 ? replacing : keeping;
    await bridge.with(from, request, (fid, o) =>
      bridge.with(to, request, (target) => changing(from, request, () => move(fid, name, target, newName, o))),
    );
    if (to !== from) bridge.touched(to);
    const moved = from.children?.get(name);
    // Two names of one file: rename(2) leaves both.
    if (moved !== undefined && moved === to.children?.get(newName)) return 0;
    gone(to, newName);
    nodes.unlink(from, name);
    bridge.ahead.changedName(from, name);
    bridge.ahead.changedName(to, newName);
    if (moved !== undefined) {
      bridge.changed(moved);
      nodes.link(moved, to, newName);
      // A server that renames by fid only keeps paths in its fids: none at or below the old name is any good now.
      if (bridge.client.lacking.has('Trenameat')) tree.strayBelow(moved);
    }
    return 0;
  }

  function replacing(from: Fid, name: string, to: Fid, newName: string, o: RequestOptions): Promise<void> {
    return from.renameat(name, to, newName, o);
  }

  /**
   * Renames without replacing. 9P has only the other kind; but a second name is never made where there is one, and then the first one can be taken
   * away. A directory cannot have two: there the new name is looked for first, and who makes it meanwhile loses an empty directory.
   */
  async function keeping(from: Fid, name: string, to: Fid, newName: string, o: RequestOptions): Promise<void> {
    const moved = await from.walk([name], o);
    try {
      if (moved.isDirectory) {
        const there = await ordered.look(to, newName, o).catch((error: unknown) => {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          return undefined;
        });
        if (there !== undefined) {
          tree.clunker.give(there.fid);
          throw new ErrnoError('EEXIST', { syscall: 'Trenameat' });
        }
        await from.renameat(name, to, newName, o);
        return;
      }
      await to.link(newName, moved, o).catch((error: unknown) => {
        const { code } = error as NodeJS.ErrnoException;
        // No hard links there: the caller must do it its own way.
        throw code === 'EOPNOTSUPP' || code === 'EPERM' || code === 'EMLINK' ? new ErrnoError('EINVAL', { syscall: 'Trenameat' }) : error;
      });
      try {
        await from.unlinkat(name, 0, o);
      } catch (error) {
        await to.unlinkat(newName, 0).catch(() => {});
        throw error;
      }
    } finally {
      tree.clunker.give(moved);
    }
  }

  /** The server is asked. */
  async function lookedUp(parent: Node, name: string, user: number, request: Request): Promise<EntryReply> {
    const o = request.options;
    let found: Found;
    try {
      found = await bridge.with(parent, request, (at) => ordered.look(at, name, o));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      nodes.unlink(parent, name);
      bridge.looked.missed(request.pid);
      bridge.absent.missed(parent, user);
      return negativeEntry(options.negativeTimeout);
    }
    try {
      const { node, attributes, reply } = await bridge.adopt(parent, name, found, user, request);
      bridge.looked.lookup(request.pid, node, attributes, request.at);
      bridge.ahead.missed(parent, user);
      return reply;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return negativeEntry(0);
    }
  }

  return {
    lookup({ name }, request) {
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      const parent = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      bridge.interest.lookedUp(parent);
      // A listing may be from before what made it stale.
      const again = bridge.looked.looksAgain(request.pid);
      if (parent.children?.has(name) !== true && bridge.absent.has(parent, name, user)) {
        bridge.looked.missed(request.pid);
        return negativeEntry(options.negativeTimeout);
      }
      const seen = again ? undefined : bridge.ahead.take(parent, name, user);
      const told = seen && bridge.listed(parent, name, seen, seen.at);
      return told ?? lookedUp(parent, name, user, request);
    },

    async create({ name, flags, ...wanted }, request) {
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      const parent = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      const o = request.options;
      const found = modeIn(parent, wanted, request);
      const mode = typeof found === 'number' ? found : await found;
      const wire = wireFlags(flags, options.cache === 'loose');
      const creation = { wire, flags, mode: mode & 0o7777, gid: groupIn(parent, request), user };
      const { pin, attributes, asked } = await create(parent, name, creation, request);
      const { fid } = pin;
      try {
        const there = isOlder(fid.qid, attributes);
        const node = there ? await tree.nodeFor(parent, name, fid.qid, attributes, false, user, o) : made(parent, name, fid.qid, request);
        const latest = there ? await foundInstead(parent, name, node, fid, attributes, request) : attributes;
        const entry = bridge.entry(node, latest, request.at);
        const { fh, handle } = handleFor(bridge, node, pin, user, wire, flags);
        const how = createFlags(bridge, wire) & (there ? ~FOPEN_KEEP_CACHE : ~0);
        return { entry, open: { fh, ...(await howToOpen(bridge, handle, asked, how)) } };
      } catch (error) {
        backings.drop(asked);
        pin.end();
        throw error;
      }
    },

    async mkdir({ name, ...wanted }, request) {
      const parent = nodes.get(request.nodeid);
      const bits = ((await modeIn(parent, wanted, request)) & 0o7777) | (parent.mode & S_ISGID);
      const gid = groupIn(parent, request);
      return make(parent, name, { mode: S_IFDIR | bits, size: 4096, rdev: 0 }, request, (fid, o) => fid.mkdir(name, bits, gid, o));
    },

    symlink({ name, target }, request) {
      const parent = nodes.get(request.nodeid);
      const gid = groupIn(parent, request);
      const supposed = { mode: S_IFLNK | 0o777, size: textBytes(target), rdev: 0 };
      return make(parent, name, supposed, request, (fid, o) => fid.symlink(name, target, gid, o));
    },

    async mknod({ name, rdev, ...wanted }, request) {
      const parent = nodes.get(request.nodeid);
      const gid = groupIn(parent, request);
      const { major, minor } = decodeDevice(rdev);
      const mode = await modeIn(parent, wanted, request);
      const full = (mode & S_IFMT) === 0 ? mode | S_IFREG : mode;
      return make(parent, name, { mode: full, size: 0, rdev }, request, (fid, o) => fid.mknod(name, full, major, minor, gid, o));
    },

    async link({ oldNode, name }, request) {
      const parent = nodes.get(request.nodeid);
      const node = nodes.get(oldNode);
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      bridge.changed(node);
      if (node.behind?.busy) await node.behind.idle(request.signal);
      return bridge.with(node, request, (target, o) =>
        bridge.with(
          parent,
          request,
          async (fid) => {
            const linking = changing(parent, request, () => fid.link(name, target, o));
            const [, attributes] = await ordered.both(linking, () => target.getattr(WANTED, o));
            nodes.link(node, parent, name);
            bridge.changed(node);
            return bridge.entry(node, attributes, request.at);
          },
          true,
        ),
      );
    },

    unlink: ({ name }, request) => removeName(request.nodeid, name, 0, request),
    rmdir: ({ name }, request) => removeName(request.nodeid, name, AT_REMOVEDIR, request),
    rename: (body, request) => renamed(request.nodeid, body, request),
    rename2: (body, request) => renamed(request.nodeid, body, request),
  };
}
