import type { Fid, RequestOptions } from '../client/index.js';
import { L_O_DIRECTORY, L_O_RDONLY } from '../protocol/constants.js';
import type { EntryPlus } from '../protocol/plus.js';
import { textBytes } from '../protocol/text.js';
import type { DirectoryEntry } from '../protocol/types.js';
import { WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import { DirectoryHandle } from './handles.js';
import { FSYNC_FDATASYNC } from './kernel/constants.js';
import { type Dirent, Dirents } from './kernel/dirents.js';
import type { Operations, Request } from './kernel/request.js';
import type { EntryReply } from './kernel/structs.js';
import type { Node } from './nodes.js';
import { staleIfGone } from './tree.js';

/** What is read ahead of a directory at once, in bytes: the kernel mostly asks for less. */
const CHUNK = 64 * 1024;
/** How long attributes that came with a listing may be told, in ms. */
const FRESH = 500;
/** Entries of one READDIRPLUS that are looked up at the same time. */
const LOOKUPS = 64;
/**
 * Entries of one listing that are told with attributes, and again as many whenever somebody has asked about one of the directory's files meanwhile.
 * The kernel remembers each of them, and so do we, until it needs the memory: who lists a million names mostly wants nothing but names.
 */
const PLUS_MOST = 4096;

/** Opening and listing directories. */
export function directoryOperations(bridge: Bridge): Partial<Operations> {
  const { tree, directories, client, options, ordered } = bridge;
  const { nodes } = tree;

  /** Entries after the cookie `offset`: what is left of an earlier reading, or read now. Empty at the end. */
  function entries(
    handle: DirectoryHandle,
    offset: bigint,
    plus: boolean,
    request: Request,
  ): readonly EntryPlus[] | Promise<readonly EntryPlus[]> {
    const { first } = handle;
    handle.first = undefined;
    if (offset === 0n) {
      allow(handle);
      if (first !== undefined && first.length > 0 && still(handle)) {
        handle.ahead = first;
        handle.after = 0n;
        bridge.opens.listed(handle.node, handle.user, first, handle.at, true);
        return first;
      }
      handle.ended = false;
    }
    if (handle.plusLeft <= 0 && bridge.interest.since(handle.node, handle.allowedAt)) allow(handle);
    if (handle.after !== offset || offset === 0n || (handle.ahead.length === 0 && !handle.ended))
      return readOn(handle, offset, plus && handle.plusLeft > 0 && ordered.kept, request);
    return handle.ahead;
  }

  /** A descriptor may be kept for long before it is listed (fdopendir), and shows what is there then: what was read along with opening it is for who lists at once. */
  function still({ node, at }: DirectoryHandle): boolean {
    return node.touchedAt < at && performance.now() - at < FRESH;
  }

  function allow(handle: DirectoryHandle): void {
    handle.plusLeft = PLUS_MOST;
    handle.allowedAt = performance.now();
  }

  async function readOn(handle: DirectoryHandle, offset: bigint, plus: boolean, request: Request): Promise<readonly EntryPlus[]> {
    handle.at = performance.now();
    handle.ahead = await chunk(handle.pin.fid, handle.node, offset, plus, request.options);
    if (plus) bridge.opens.listed(handle.node, handle.user, handle.ahead, handle.at, offset === 0n);
    handle.after = offset;
    handle.ended = handle.ahead.length === 0;
    return handle.ahead;
  }

  function chunk(fid: Fid, node: Node, offset: bigint, plus: boolean, o: RequestOptions): Promise<readonly EntryPlus[]> {
    const count = Math.min(CHUNK, client.session.maxPayload);
    return plus ? ordered.readdirPlus(fid, offset, count, bridge.interest.inXattrs(node), o) : ordered.readdir(fid, offset, count, o);
  }

  /** The kernel has taken the first `count` entries. */
  function taken(handle: DirectoryHandle, count: number): void {
    const last = handle.ahead[count - 1];
    if (last === undefined) return;
    handle.after = last.entry.offset;
    handle.ahead = handle.ahead.slice(count);
  }

  /** The same from the server; undefined where it cannot be looked up, which then waits for whoever wants it. */
  async function lookedUp(
    parent: Node,
    dirFid: Fid,
    { entry }: EntryPlus,
    user: number,
    request: Request,
  ): Promise<EntryReply | undefined> {
    const { name, qid } = entry;
    const o = request.options;
    const known = parent.children?.get(name);
    const pin = known?.is(qid) && !known.behind?.busy ? known.pins?.get(user)?.hold() : undefined;
    if (known !== undefined && pin !== undefined) {
      try {
        return bridge.entry(known, await pin.fid.getattr(WANTED, o), request.at);
      } catch {
        return undefined;
      } finally {
        pin.drop();
      }
    }
    try {
      return (await bridge.adopt(parent, name, await ordered.look(dirFid, name, o), user, request)).reply;
    } catch {
      return undefined;
    }
  }

  return {
    async opendir(_, request) {
      const node = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      const o = request.options;
      if (!ordered.kept) {
        const pin = await tree.take(node, user, o);
        try {
          await pin.fid.open(L_O_RDONLY | L_O_DIRECTORY, o);
        } catch (error) {
          pin.end();
          throw staleIfGone(error);
        }
        return { fh: directories.add(new DirectoryHandle(node, pin, user)), flags: 0 };
      }
      return bridge.with(node, request, async (from) => {
        // Clone, open and first reading leave together. Where nothing may be kept the listing is not read before somebody lists.
        const { fid, done } = ordered.walk(from, undefined, o);
        const opening = fid.open(L_O_RDONLY | L_O_DIRECTORY, o);
        const at = performance.now();
        const reading = options.cache === 'none' ? undefined : chunk(fid, node, 0n, true, o);
        const [walked, opened, read] = await Promise.allSettled([done, opening, reading]);
        if (walked.status === 'rejected') throw walked.reason;
        const pin = tree.pin(fid);
        if (opened.status === 'rejected') {
          pin.end();
          throw staleIfGone(opened.reason);
        }
        const handle = new DirectoryHandle(node, pin, user);
        if (read.status === 'fulfilled' && read.value !== undefined) handle.first = [...read.value];
        handle.at = at;
        return { fh: directories.add(handle), flags: 0 };
      });
    },

    async readdir({ fh, offset, size }, request) {
      const handle = directories.get(fh);
      const dirents = new Dirents(size, false);
      let after = offset;
      // A whole batch may be unfit to be shown; "nothing" would say that the directory ends.
      for (;;) {
        const reading = entries(handle, after, false, request);
        const list = reading instanceof Promise ? await reading : reading;
        let count = 0;
        for (const { entry } of list) {
          if (isFit(entry.name) && !dirents.add(direntOf(handle.node, entry))) break;
          count++;
        }
        taken(handle, count);
        if (!dirents.empty || count === 0) return dirents.bytes;
        after = handle.after;
      }
    },

    async readdirplus({ fh, offset, size }, request) {
      const handle = directories.get(fh);
      const { node: parent, user } = handle;
      const dirents = new Dirents(size, true);
      let after = offset;
      for (;;) {
        const reading = entries(handle, after, true, request);
        const list = reading instanceof Promise ? await reading : reading;
        const fitting: EntryPlus[] = [];
        let room = size;
        let count = 0;
        for (const one of list) {
          if (isFit(one.entry.name)) {
            room -= dirents.sizeOf(one.entry.name);
            if (room < 0) break;
            fitting.push(one);
          }
          count++;
        }
        const { at } = handle;
        const fresh = performance.now() - at < FRESH;
        const found: (EntryReply | undefined)[] = [];
        const missing: number[] = [];
        const allowed = handle.plusLeft > 0;
        for (const [index, one] of fitting.entries()) {
          const { name } = one.entry;
          const looked = allowed && name !== '.' && name !== '..';
          const reply = looked && fresh ? bridge.listed(parent, one.entry.name, one, at) : undefined;
          found.push(reply);
          if (looked && reply === undefined) missing.push(index);
        }
        if (missing.length > 0) await lookUpAll(parent, fitting, missing, found, user, request);
        handle.plusLeft -= fitting.length;
        for (const [index, { entry }] of fitting.entries()) dirents.add(direntOf(parent, entry), found[index]);
        taken(handle, count);
        if (!dirents.empty || count === 0) return dirents.bytes;
        after = handle.after;
      }
    },

    releasedir({ fh }) {
      const handle = directories.remove(fh);
      // It has been read now, which its times say.
      if (handle !== undefined) handle.node.told = undefined;
      handle?.pin.end();
      return 0;
    },

    async fsyncdir({ fh, fsyncFlags }, request) {
      try {
        await directories.get(fh).pin.fid.fsync((fsyncFlags & FSYNC_FDATASYNC) !== 0, request.options);
      } catch (error) {
        // Not every server can, for a directory; then there is nothing it holds back.
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EINVAL' && code !== 'EOPNOTSUPP' && code !== 'ENOSYS' && code !== 'EBADF' && code !== 'EISDIR') throw error;
      }
      return 0;
    },
  };

  async function lookUpAll(
    parent: Node,
    list: readonly EntryPlus[],
    missing: readonly number[],
    found: (EntryReply | undefined)[],
    user: number,
    request: Request,
  ): Promise<void> {
    // The handle's own fid is open, and from an open fid nothing can be walked.
    const from = await tree.reach(parent, user, request.options);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (;;) {
        const index = missing[next++];
        const one = index === undefined ? undefined : list[index];
        if (index === undefined || one === undefined) return;
        found[index] = await lookedUp(parent, from.fid, one, user, request);
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(LOOKUPS, missing.length) }, worker));
    } finally {
      from.drop();
    }
  }

  /** The inode number shown is the one that stat shows, also where two files have one qid. */
  function direntOf(parent: Node, { name, offset, qid, type }: DirectoryEntry): Dirent {
    const known = parent.children?.get(name);
    return { ino: known?.is(qid) ? known.ino : qid.path, offset, type: type & 0xf, name };
  }
}

/** A server's word for a name: the kernel would refuse the whole directory for one that is none. */
function isFit(name: string): boolean {
  return name.length > 0 && textBytes(name) <= 255 && !name.includes('/') && !name.includes('\0');
}
