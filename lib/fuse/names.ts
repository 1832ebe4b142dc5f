import type { Fid } from '../client/index.js';
import { AT_REMOVEDIR, L_O_CREAT, L_O_EXCL, QTDIR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from '../protocol/constants.js';
import { textBytes } from '../protocol/text.js';
import type { Qid } from '../protocol/types.js';
import { freshAttr } from './attributes.js';
import type { Bridge } from './bridge.js';
import type { Operations, Request } from './kernel/request.js';
import { decodeDevice, type EntryReply, negativeEntry } from './kernel/structs.js';
import type { Node } from './nodes.js';
import { createFlags, handleFor, wireFlags } from './open.js';

const EINVAL = -22;
const ENAMETOOLONG = -36;
const NAME_MAX = 255;
/** How long nobody can have given a new file what the kernel asks for before its first write, in ms. */
const BARE = 1000;

/** Whoever renames or removes a name; lookup, and all that makes one. */
export function nameOperations(bridge: Bridge): Partial<Operations> {
  const { tree, options } = bridge;
  const { nodes } = tree;

  /** A name that did not lead anywhere a moment ago now leads to a file of that qid. */
  function made(parent: Node, name: string, qid: Qid, request: Request): Node {
    // Whatever had this qid is gone, even if the kernel has not said so yet.
    const before = nodes.find(qid);
    if (before !== undefined) nodes.orphan(before);
    const node = nodes.add(qid);
    nodes.link(node, parent, name);
    node.gid = groupIn(parent, request);
    node.bareUntil = performance.now() + BARE;
    return node;
  }

  /** The same where nobody has looked at the file yet: what it must be like, for the kernel to ask again before it relies on it. */
  function supposed(parent: Node, name: string, qid: Qid, mode: number, size: number, rdev: number, request: Request): EntryReply {
    const node = made(parent, name, qid, request);
    node.mode = mode;
    node.lookups++;
    const attr = freshAttr(node, mode, request.uid, node.gid, size, rdev);
    return { nodeid: node.id, generation: 0, entryValid: options.entryTimeout, attrValid: 0, attr };
  }

  /** The group of a new file: the directory's where that is set-group-ID, as Linux has it. */
  const groupIn = (parent: Node, request: Request): number => ((parent.mode & S_ISGID) !== 0 ? parent.gid : request.gid);

  async function removeName(nodeid: number, name: string, flags: number, request: Request): Promise<number> {
    const parent = nodes.get(nodeid);
    await bridge.with(parent, request, (fid, o) => fid.unlinkat(name, flags, o));
    gone(parent, name);
    return 0;
  }

  /** The name is gone; so is the file, unless it has others. */
  function gone(parent: Node, name: string): void {
    const node = nodes.unlink(parent, name);
    if (node === undefined) return;
    if (node.nlink > 0) node.nlink--;
    if (node.links.length === 0 && (node.nlink === 0 || node.isDirectory)) nodes.orphan(node);
  }

  async function renamed(nodeid: number, body: { name: string; newDirectory: number; newName: string }, request: Request): Promise<number> {
    const from = nodes.get(nodeid);
    const to = nodes.get(body.newDirectory);
    const { name, newName } = body;
    if (textBytes(newName) > NAME_MAX) return ENAMETOOLONG;
    await bridge.with(from, request, (fid, o) => bridge.with(to, request, (target) => fid.renameat(name, target, newName, o)));
    const moved = from.children?.get(name);
    // Two names of one file: rename(2) leaves both.
    if (moved !== undefined && moved === to.children?.get(newName)) return 0;
    gone(to, newName);
    nodes.unlink(from, name);
    if (moved !== undefined) {
      nodes.link(moved, to, newName);
      // A server that renames by fid only keeps paths in its fids: none at or below the old name is any good now.
      if (bridge.client.lacking.has('Trenameat')) tree.unpinBelow(moved);
    }
    return 0;
  }

  return {
    async lookup({ name }, request) {
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      const parent = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      const o = { signal: request.signal };
      let fid: Fid;
      try {
        fid = await bridge.with(parent, request, (at) => at.walk([name], o));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        nodes.unlink(parent, name);
        return negativeEntry(options.negativeTimeout);
      }
      try {
        const directory = (fid.qid.type & QTDIR) !== 0;
        const clone = directory ? spareOf(fid) : undefined;
        let attributes = await fid.getattr(undefined, o);
        const node = await tree.nodeFor(parent, name, fid.qid, attributes.nlink, directory, user, o);
        if (node.behind?.busy) {
          // The kernel would take the size without what is on its way for the true one.
          await node.behind.idle();
          attributes = await fid.getattr(undefined, o);
        }
        const reply = bridge.entry(node, attributes);
        nodes.link(node, parent, name);
        tree.keep(node, user, fid);
        clone?.(node);
        bridge.looked.lookup(request.pid, node, attributes);
        return reply;
      } catch (error) {
        tree.clunker.give(fid);
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
        return negativeEntry(0);
      }
    },

    async create({ name, flags, mode }, request) {
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      const parent = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      const o = { signal: request.signal };
      const wire = wireFlags(flags, options.cache === 'loose');
      const pin = await tree.take(parent, user, o);
      try {
        await pin.fid.create(name, wire | L_O_CREAT | (flags & L_O_EXCL), mode & 0o7777, groupIn(parent, request), o);
        const attributes = await pin.fid.getattr(undefined, o);
        const node = made(parent, name, pin.fid.qid, request);
        const { fh } = handleFor(bridge, node, pin, user, wire, flags);
        return { entry: bridge.entry(node, attributes), open: { fh, flags: createFlags(bridge) } };
      } catch (error) {
        pin.end();
        throw error;
      } finally {
        tree.prepare(parent, user);
      }
    },

    async mkdir({ name, mode }, request) {
      const parent = nodes.get(request.nodeid);
      const bits = (mode & 0o7777) | (parent.mode & S_ISGID);
      const qid = await bridge.with(parent, request, (fid, o) => fid.mkdir(name, bits, groupIn(parent, request), o), true);
      return supposed(parent, name, qid, S_IFDIR | bits, 4096, 0, request);
    },

    async symlink({ name, target }, request) {
      const parent = nodes.get(request.nodeid);
      const qid = await bridge.with(parent, request, (fid, o) => fid.symlink(name, target, groupIn(parent, request), o), true);
      return supposed(parent, name, qid, S_IFLNK | 0o777, textBytes(target), 0, request);
    },

    async mknod({ name, mode, rdev }, request) {
      const parent = nodes.get(request.nodeid);
      const { major, minor } = decodeDevice(rdev);
      const full = (mode & S_IFMT) === 0 ? mode | S_IFREG : mode;
      const qid = await bridge.with(parent, request, (fid, o) => fid.mknod(name, full, major, minor, groupIn(parent, request), o), true);
      return supposed(parent, name, qid, full, 0, rdev, request);
    },

    async link({ oldNode, name }, request) {
      const parent = nodes.get(request.nodeid);
      const node = nodes.get(oldNode);
      if (textBytes(name) > NAME_MAX) return ENAMETOOLONG;
      return bridge.with(node, request, async (target, o) => {
        await bridge.with(parent, request, (fid) => fid.link(name, target, o), true);
        nodes.link(node, parent, name);
        return bridge.entry(node, await target.getattr(undefined, o));
      });
    },

    unlink: ({ name }, request) => removeName(request.nodeid, name, 0, request),
    rmdir: ({ name }, request) => removeName(request.nodeid, name, AT_REMOVEDIR, request),
    rename: (body, request) => renamed(request.nodeid, body, request),
    // 9P has neither NOREPLACE nor EXCHANGE: EINVAL makes programs do it their own way, which a race cannot be hidden in.
    rename2: (body, request) => (body.flags !== 0 ? EINVAL : renamed(request.nodeid, body, request)),
  };

  /** Clones a directory's fid beside asking for its attributes, for the open that mostly follows. */
  function spareOf(fid: Fid): (node: Node) => void {
    const cloned = fid.clone().catch(() => undefined);
    return (node) => {
      void cloned.then((clone) => {
        if (clone === undefined) return;
        if (node.spare === undefined && nodes.has(node.id)) node.spare = tree.pin(clone);
        else tree.clunker.give(clone);
      });
    };
  }
}
