import {
  L_O_ACCMODE,
  L_O_APPEND,
  L_O_DSYNC,
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
import { ErrnoError } from '../protocol/error.js';
import type { Attributes } from '../protocol/types.js';
import { differs, remember, seenNow, unchanged, WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import { ended } from './ended.js';
import { FileHandle } from './handles.js';
import { FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_NOFLUSH, FOPEN_PASSTHROUGH, OPEN_KILL_SUIDGID } from './kernel/constants.js';
import type { Operations, Request } from './kernel/request.js';
import type { OpenReply } from './kernel/structs.js';
import { leadStill, namesBelieved } from './leads.js';
import { dropPrivilegeBits } from './node-operations.js';
import type { Link, Node } from './nodes.js';
import { asItIs, end } from './open-ahead.js';
import type { BridgeOptions } from './options.js';
import type { Pin } from './pins.js';
import { PREFETCH_MAX, Prefetch } from './prefetch.js';
import { staleIfGone } from './tree.js';

/** O_DIRECT as the kernel of this host has it (open(2)). */
const O_DIRECT = process.arch === 'arm64' || process.arch === 'arm' ? 0o200000 : 0o40000;

/** What an open is asked of the server: the kernel's flags that mean something there, in the numbers of the wire. */
export function wireFlags(flags: number, writeback: boolean): number {
  let wire = flags & (L_O_ACCMODE | L_O_TRUNC | L_O_APPEND | L_O_NONBLOCK | L_O_DSYNC | L_O_SYNC | L_O_NOATIME);
  if (writeback) {
    // The kernel puts appended bytes where they belong, and reads what surrounds a part of a page.
    wire &= ~L_O_APPEND;
    if ((wire & L_O_ACCMODE) === L_O_WRONLY) wire = (wire & ~L_O_ACCMODE) | L_O_RDWR;
  }
  return wire;
}

/** Gives the kernel a handle for a fid that was just opened. */
export function handleFor(
  bridge: Bridge,
  node: Node,
  pin: Pin,
  user: number,
  wire: number,
  flags: number,
): { fh: number; handle: FileHandle } {
  const handle = new FileHandle(node, pin, user, wire);
  // What the caller wants on the disk at once, or at an end that only the server knows, is not said to be done before it is.
  handle.behind = bridge.options.writeBehind && (flags & (L_O_APPEND | L_O_DSYNC | L_O_SYNC | O_DIRECT)) === 0;
  node.handles ??= new Set();
  node.handles.add(handle);
  return { fh: bridge.files.add(handle), handle };
}

/**
 * Whether what is written goes past the kernel's cache.
 *
 * Where somebody only writes nothing would be read from there: the next open compares, and finds a file that has changed. So it is not copied there first,
 * nor asked for capabilities before its first write.
 *
 * Where somebody only appends, at an end that the server knows, the cache would cut what one write(2) appends where, by its own idea of the end, a page
 * ends, and another mount's bytes might come between: without it, it stays one message.
 */
function writesPast({ options, keepsInStep }: Bridge, wire: number): boolean {
  if ((wire & L_O_ACCMODE) !== L_O_WRONLY) return false;
  return (wire & L_O_APPEND) !== 0 || (options.cache === 'open' && keepsInStep);
}

/** FOPEN_* of a file that was just created and opened with these flags. */
export function createFlags(bridge: Bridge, wire: number): number {
  const { options } = bridge;
  const direct = options.cache === 'none' || options.direct || writesPast(bridge, wire);
  return (direct ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE) | withoutFlush(options, wire);
}

/** What the kernel is told of a handle: to go to the backing file, if one was to be had, or else `flags`. */
export async function howToOpen(
  bridge: Bridge,
  handle: FileHandle,
  asked: Promise<number | undefined> | undefined,
  flags: number,
): Promise<Pick<OpenReply, 'flags' | 'backing'>> {
  const backing = await bridge.backings.take(handle, asked);
  // Whatever was seen of it may be written over from now on.
  if (handle.writesUnseen) bridge.changed(handle.node);
  handle.cached = backing === 0 && (flags & FOPEN_DIRECT_IO) === 0;
  if (backing === 0) return { flags };
  // The kernel refuses any other flag beside it (FOPEN_PASSTHROUGH_MASK).
  return { flags: FOPEN_PASSTHROUGH | (flags & FOPEN_NOFLUSH), backing };
}

/** FOPEN_NOFLUSH where nothing waits for the close: no lock that ends with it, and no write that is still on its way. */
function withoutFlush({ locks, writeBehind }: BridgeOptions, wire: number): number {
  return locks === 'local' && (!writeBehind || (wire & L_O_ACCMODE) === L_O_RDONLY) ? FOPEN_NOFLUSH : 0;
}

interface Opening {
  pin: Pin;
  attributes: Attributes | undefined;
  prefetch: Prefetch | undefined;
  /** The descriptor that was asked for along with it. */
  asked: Promise<number | undefined> | undefined;
}

/** What is looked at while a file is being opened: its attributes, and which of its names still lead to it. */
interface Look {
  readonly attributes: boolean;
  readonly names: readonly Link[];
  /** It was looked up just now: the node's own fid is that file. */
  readonly just: boolean;
}

/** OPEN. */
export function openOperation(bridge: Bridge): Pick<Operations, 'open'> {
  const { tree, options, ordered, backings, opens } = bridge;
  const { nodes } = tree;

  /**
   * Opens a fid of a node, and looks at its attributes and its name meanwhile where that matters. `size`: what may be read ahead
   * of it; undefined if nothing.
   */
  async function opened(node: Node, wire: number, look: Look, size: number | undefined, user: number, request: Request): Promise<Opening> {
    const o = request.options;
    // Others who have looked it up need its fid as well: what replaces files all the time would have them find another one by the name, again and again.
    const others = bridge.looked.isExpected(node) && node.pins?.has(user) === true;
    const link = node.links[node.links.length - 1];
    // What a name led to a second ago is not to be cut off, or written to, for what it leads to now.
    const named = !look.attributes && !look.just && look.names.length > 0;
    const own = others || named ? undefined : tree.takeOwn(node, user);
    if (own === undefined && link !== undefined && (named || !others)) return byName(node, link, wire, look, size, user, request);
    const { pin, done } = own === undefined ? await bridge.clone(node, user, o, others) : { pin: own, done: undefined };
    let asked: Opening['asked'];
    try {
      const leading = look.names.length === 0 ? undefined : leadStill(bridge, node, look.names, user, request);
      if ((wire & L_O_TRUNC) !== 0) await leading;
      const opening = pin.fid.open(wire, o);
      asked = backings.ask(node, pin.fid, o);
      if (!look.attributes) {
        const prefetch =
          asked !== undefined || size === undefined || !ordered.kept ? undefined : new Prefetch(pin.fid, size, bridge.buffers);
        await (leading === undefined ? opening : ended([opening, leading]));
        return { pin, attributes: undefined, prefetch, asked };
      }
      // The fid is there already, so none of them waits for another.
      const [, attributes] = await ended([opening, pin.fid.getattr(WANTED, o), leading]);
      return { pin, attributes, prefetch: undefined, asked };
    } catch (error) {
      backings.drop(asked);
      await done;
      if (pin.fid.opened === undefined) tree.putBack(node, user, pin);
      else pin.end();
      throw staleIfGone(error);
    }
  }

  /** The same for a node without a fid: walking there by its name says by itself whether that still leads there. */
  async function byName(
    node: Node,
    link: Link,
    wire: number,
    look: Look,
    size: number | undefined,
    user: number,
    request: Request,
  ): Promise<Opening> {
    const o = request.options;
    const { parent, name } = link;
    const from = tree.held(parent, user) ?? (await tree.reach(parent, user, o));
    const { fid, done } = ordered.walk(from.fid, name, o);
    from.drop();
    const pin = tree.pin(fid);
    let made = false;
    let asked: Opening['asked'];
    try {
      const walking = done.then(() => {
        made = true;
        if (!node.is(fid.qid)) throw new ErrnoError('ESTALE');
      });
      const others = look.names.length > 1 ? look.names.filter((each) => each !== link) : undefined;
      const walked = others === undefined ? walking : ended([walking, leadStill(bridge, node, others, user, request)]);
      // The kernel has looked whether the caller may write to the file that it means: no other is cut off.
      if (!ordered.kept || (wire & L_O_TRUNC) !== 0) await walked;
      const opening = fid.open(wire, o);
      const looking = look.attributes ? fid.getattr(WANTED, o) : undefined;
      asked = backings.ask(node, fid, o);
      const prefetch = asked !== undefined || size === undefined || !ordered.kept ? undefined : new Prefetch(fid, size, bridge.buffers);
      const [, , attributes] = await ended([walked, opening, looking]);
      return { pin, attributes, prefetch, asked };
    } catch (error) {
      backings.drop(asked);
      if (made) pin.end();
      throw staleIfGone(error);
    }
  }

  /** A file that was opened ahead, if it is still what its name leads to, and unchanged. */
  async function alreadyOpen(node: Node, user: number, request: Request): Promise<Opening | undefined> {
    const there = opens.take(node, user);
    if (there === undefined) return undefined;
    const ready = there instanceof Promise ? await opens.arrived(there, request.signal) : there;
    if (ready === undefined) return undefined;
    if (node.touchedAt < request.at && !nodes.isMistakable(node)) {
      const attributes = asItIs(ready);
      if (attributes !== undefined) {
        opens.foreseen++;
        return { pin: ready.pin, attributes, prefetch: undefined, asked: Promise.resolve(ready.fd) };
      }
    }
    end(ready);
    return undefined;
  }

  /** FOPEN_* for a file whose attributes were seen during the open. */
  function caching(node: Node, wire: number, attributes: Attributes | undefined): number {
    const noFlush = withoutFlush(options, wire);
    if (options.cache === 'none' || options.direct) return FOPEN_DIRECT_IO | noFlush;
    // What others have cached stays, as far as it is not written over.
    if (writesPast(bridge, wire)) return FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE | noFlush;
    // Who only writes sees nothing of what is cached; it is compared again when somebody reads.
    if (attributes === undefined) return (wire & L_O_TRUNC) !== 0 ? noFlush : FOPEN_KEEP_CACHE | noFlush;
    if ((wire & L_O_ACCMODE) === L_O_RDONLY && hasNoTrueSize(attributes)) return FOPEN_DIRECT_IO | noFlush;
    const keep = options.cache === 'loose' || unchanged(node.seen, attributes);
    if ((wire & L_O_ACCMODE) !== L_O_WRONLY && !keep) node.seen = seenNow(attributes);
    return (keep ? FOPEN_KEEP_CACHE : 0) | noFlush;
  }

  return {
    async open({ flags, openFlags }, request) {
      const node = nodes.get(request.nodeid);
      const user = tree.userOf(request);
      const loose = options.cache === 'loose';
      let wire = wireFlags(flags, loose);
      const truncates = (wire & L_O_TRUNC) !== 0;
      if (node.behind?.busy) await node.behind.idle(request.signal);
      const just = bridge.looked.takeLookup(request.pid, node);
      const compares = !truncates && options.cache === 'open' && (wire & L_O_ACCMODE) !== L_O_WRONLY && just?.attributes === undefined;
      const reads = (wire & L_O_ACCMODE) === L_O_RDONLY && (flags & O_DIRECT) === 0 && options.cache === 'open' && !options.direct;
      const foreseen = reads && wire === L_O_RDONLY && opens.knows;
      // What is cached and may still be good is not read.
      const size = reads && node.seen === undefined && node.size > 0 && node.size <= PREFETCH_MAX ? node.size : undefined;
      let look: Look = { attributes: compares, names: [], just: just !== undefined };
      let result: Opening;
      try {
        // Who has just looked it up means that file, whatever the name leads to by now.
        look = { attributes: compares, names: namesBelieved(bridge, node, just, request), just: just !== undefined };
        const ready = foreseen ? await alreadyOpen(node, user, request) : undefined;
        result = ready ?? (await opened(node, wire, look, size, user, request));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ESTALE') bridge.looked.stale(request.pid, node);
        // Write-back wants to read as well; who may only write can do without.
        if (!loose || (error as NodeJS.ErrnoException).code !== 'EACCES' || (flags & L_O_ACCMODE) !== L_O_WRONLY) throw error;
        wire = (wire & ~L_O_ACCMODE) | L_O_WRONLY;
        result = await opened(node, wire, look, undefined, user, request);
      }
      const { pin, attributes } = result;
      if (!node.is(pin.fid.qid)) {
        // The name got another file while this one was being opened by it.
        backings.drop(result.asked);
        pin.end();
        bridge.looked.stale(request.pid, node);
        throw new ErrnoError('ESTALE', { syscall: 'Tlopen' });
      }
      try {
        if (attributes !== undefined) {
          // The kernel would go by the old size for as long as it believes its attributes.
          if (differs(node, attributes)) bridge.invalidate(node);
          // What was written since they were asked for is not in them, and its writer would miss it.
          if (request.at > node.touchedAt) {
            remember(node, attributes);
            bridge.looked.opened(node, attributes, request.at);
          }
          bridge.tell(node, attributes, request.at);
        }
        if (truncates) {
          node.seen = undefined;
          bridge.changed(node);
          if ((openFlags & OPEN_KILL_SUIDGID) !== 0) await dropPrivilegeBits(node, pin.fid, request.options);
        }
      } catch (error) {
        // The kernel gets no handle that it could release.
        backings.drop(result.asked);
        pin.end();
        throw error;
      }
      if (foreseen) setImmediate(() => bridge.opens.opened(node, user));
      const { fh, handle } = handleFor(bridge, node, pin, user, wire, flags);
      const known = truncates ? undefined : (attributes ?? just?.attributes);
      const opening = await howToOpen(bridge, handle, result.asked, caching(node, wire, known));
      const how = opening.flags;
      if (opening.backing !== undefined) return { fh, ...opening };
      const cacheless = (how & (FOPEN_KEEP_CACHE | FOPEN_DIRECT_IO)) !== 0;
      const untouched = request.at > node.touchedAt && !node.behind?.busy;
      if (reads && known !== undefined && known.size <= PREFETCH_MAX && !cacheless && untouched) {
        const { prefetch } = result;
        const fits = prefetch !== undefined && prefetch.size === known.size;
        handle.prefetch = (fits ? prefetch : new Prefetch(pin.fid, known.size, bridge.buffers)).opened();
      }
      return { fh, flags: how };
    },
  };
}

/**
 * Files whose size says nothing about what reading them gives: empty ones, which may be of proc, and what looks like sysfs: a page
 * that takes no block.
 */
function hasNoTrueSize({ mode, size, blocks }: Attributes): boolean {
  return (mode & S_IFMT) === S_IFREG && (size === 0 || (size === 4096 && blocks === 0));
}
