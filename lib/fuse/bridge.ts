import type { Client, Fid, RequestOptions } from '../client/index.js';
import { QTDIR } from '../protocol/constants.js';
import { ConnectionLostError, ErrnoError, errnoOf } from '../protocol/error.js';
import type { EntryPlus } from '../protocol/plus.js';
import type { Attributes } from '../protocol/types.js';
import { Absent } from './absent.js';
import { LookAhead } from './ahead.js';
import { attrOf, remember, WANTED } from './attributes.js';
import { Backings } from './backings.js';
import { ReadBuffers } from './buffers.js';
import { directoryOperations } from './directories.js';
import { fileOperations } from './files.js';
import { type DirectoryHandle, type FileHandle, Handles } from './handles.js';
import { Interest } from './interest.js';
import { Interrupts } from './interrupts.js';
import type { Operations, Request } from './kernel/request.js';
import type { AttrReply, EntryReply } from './kernel/structs.js';
import { Locks } from './locks.js';
import { Looked } from './looked.js';
import { nameOperations } from './names.js';
import { nodeOperations } from './node-operations.js';
import type { Node } from './nodes.js';
import { openOperation } from './open.js';
import { OpenAhead } from './open-ahead.js';
import type { BridgeOptions } from './options.js';
import { type Found, Ordered } from './ordered.js';
import type { Pin } from './pins.js';
import type { Shrinker } from './shrinker.js';
import { staleIfGone, Tree } from './tree.js';
import { xattrOperations } from './xattr.js';

const EINTR = 4;
const EIO = 5;

/**
 * Answers the kernel's requests with fids of a client. It knows requests and replies only, so it can be held against a server
 * without any kernel. The operations are spread over one file for each kind; this is what they share.
 */
export class Bridge {
  readonly client: Client;
  readonly options: BridgeOptions;
  readonly tree: Tree;
  readonly files = new Handles<FileHandle>();
  readonly directories = new Handles<DirectoryHandle>();
  readonly buffers = new ReadBuffers();
  readonly looked = new Looked();
  readonly interest = new Interest();
  readonly ordered: Ordered;
  readonly backings: Backings;
  readonly ahead: LookAhead;
  readonly absent: Absent;
  readonly opens: OpenAhead;
  readonly locks: Locks;
  readonly operations: Operations;
  /** Drops what the kernel has of a node's attributes, at once; set by who has a kernel. */
  invalidate: (node: Node) => void = () => {};
  /** Drops what the kernel has of a node's content there, and resolves when it is dropped; set by who has a kernel. */
  dropPages: (node: Node, offset: number, length: number) => Promise<void> = () => Promise.resolve();
  /** Whether the kernel drops its pages of what is written past them, and writes dirty ones first, as Linux has done since 6.6; set by who has a kernel. */
  keepsInStep = false;
  /** Set by who has a kernel. */
  shrinker: Shrinker | undefined;
  readonly #interrupts = new Interrupts();

  constructor(client: Client, options: BridgeOptions) {
    this.client = client;
    this.options = options;
    this.tree = new Tree(client, options.access, options.entryTimeout);
    this.ordered = new Ordered(client);
    this.backings = new Backings(this.ordered);
    this.ahead = new LookAhead(this);
    this.absent = new Absent(this);
    this.opens = new OpenAhead(this);
    this.locks = new Locks(this);
    this.operations = {
      ...nameOperations(this),
      ...nodeOperations(this),
      ...openOperation(this),
      ...fileOperations(this),
      ...directoryOperations(this),
      ...xattrOperations(this),
      ...(options.locks === 'remote' ? this.locks.operations : {}),
      forget: (nodeid, count) => this.forget(nodeid, count),
      interrupt: (request) => this.#interrupts.add(request),
      errno: errnoFor,
    };
  }

  forget(nodeid: number, count: number): void {
    const { nodes } = this.tree;
    if (!nodes.has(nodeid)) return;
    const node = nodes.get(nodeid);
    if (nodes.forget(node, count)) this.tree.unpin(node);
  }

  /** A listing that was asked for at `at` (performance.now) told that a file has no xattr. That is believed for as long as attributes are. */
  bare(node: Node, at: number): void {
    node.noXattrsUntil = at + this.options.attrTimeout;
  }

  /** One more look-up of a node by the kernel, and what it is to know of it, `age` ms after it was told. `at`: as for `attr`. */
  entry(node: Node, attributes: Attributes, at: number, age = 0): EntryReply {
    const { attrValid, attr } = this.attr(node, attributes, at);
    node.lookups++;
    this.shrinker?.grown();
    const left = (valid: number): number => Math.max(0, valid - age);
    return { nodeid: node.id, generation: 0, entryValid: left(this.options.entryTimeout), attrValid: left(attrValid), attr };
  }

  /**
   * A name as a LOOKUP would have it, from a listing that was asked for at `at` (performance.now), where that told enough; undefined where the server must be
   * asked. It is believed for no longer than if it had been asked for then.
   */
  listed(parent: Node, name: string, { attributes, bare }: Pick<EntryPlus, 'attributes' | 'bare'>, at: number): EntryReply | undefined {
    if (attributes === undefined) return undefined;
    const { qid, nlink } = attributes;
    const node = this.tree.clearFor(parent, name, qid, nlink, (qid.type & QTDIR) !== 0);
    if (node === undefined || node.touchedAt >= at || node.behind?.busy) return undefined;
    const reply = this.entry(node, attributes, at, performance.now() - at);
    if (bare) this.bare(node, at);
    this.tree.nodes.link(node, parent, name);
    return reply;
  }

  /**
   * A name that the server was asked for, as the kernel is to know it. The fid becomes the node's; where this rejects it is clunked.
   */
  async adopt(
    parent: Node,
    name: string,
    { fid, attributes }: Found,
    user: number,
    request: Request,
  ): Promise<{ node: Node; attributes: Attributes; reply: EntryReply }> {
    const { options } = request;
    try {
      const node = await this.tree.nodeFor(parent, name, fid.qid, attributes, (fid.qid.type & QTDIR) !== 0, user, options);
      let latest = attributes;
      if (node.behind?.missing(request.at)) {
        // The kernel would take the size without what is on its way, or has landed since they were asked for, for the true one.
        await node.behind.idle(request.signal);
        latest = await fid.getattr(WANTED, options);
      }
      const reply = this.entry(node, latest, request.at);
      this.tree.nodes.link(node, parent, name);
      this.tree.keep(node, user, fid);
      return { node, attributes: latest, reply };
    } catch (error) {
      this.tree.clunker.give(fid);
      throw error;
    }
  }

  /**
   * What the kernel is to know of a node, which was asked for at `at` (performance.now) or later. ESTALE for the attributes of another file:
   * a server whose fids are paths tells what is at the path now.
   */
  attr(node: Node, attributes: Attributes, at: number): AttrReply {
    if (!node.is(attributes.qid)) throw new ErrnoError('ESTALE', { syscall: 'Tgetattr' });
    remember(node, attributes);
    const attr = attrOf(node, attributes);
    this.tell(node, attributes, at);
    return { attrValid: this.options.attrTimeout, attr };
  }

  /** The kernel is told this of a node. Where birth times are shown it is kept: they are asked for by themselves. */
  tell(node: Node, attributes: Attributes, at: number): void {
    if (!this.options.birthTimes) return;
    node.told = at > node.touchedAt ? attributes : undefined;
    node.toldAt = at;
  }

  /** For how long the kernel may still believe what it was told of a node, in ms; 0 where it must not. */
  holds(node: Node): number {
    if (node.told === undefined || node.behind?.busy) return 0;
    return Math.max(0, this.options.attrTimeout - (performance.now() - node.toldAt));
  }

  /**
   * A second, unopened fid of a node, the caller's own; where order is kept it may be used before it is there. `done` rejects where it is not. It may be the
   * node's own, where cloning costs a round trip, unless others need that.
   */
  async clone(node: Node, user: number, options: RequestOptions, others = false): Promise<{ pin: Pin; done: Promise<void> }> {
    if (!this.ordered.kept) {
      const pin = others ? this.tree.cloned(node, user, options) : this.tree.take(node, user, options);
      return { pin: await pin, done: Promise.resolve() };
    }
    const from = this.tree.held(node, user) ?? (await this.tree.reach(node, user, options));
    const { fid, done } = this.ordered.walk(from.fid, undefined, options);
    from.drop();
    // Whoever uses the fid fails as well, and may not get round to asking.
    done.catch(() => {});
    return { pin: this.tree.pin(fid), done };
  }

  /** A change of a node through this mount begins or ends: what was told of it holds no more, nor what was asked for meanwhile. */
  touched(node: Node): void {
    node.touchedAt = performance.now();
    node.told = undefined;
    node.noXattrsUntil = 0;
    this.ahead.changed(node);
  }

  /** The same, also for what was seen of it on behalf of requests that are still to come. */
  changed(node: Node): void {
    this.touched(node);
    this.looked.changed(node);
    if (node.handles !== undefined) for (const handle of node.handles) handle.prefetch = undefined;
  }

  /**
   * Runs `use` with a fid of a node. A fid that turns out to be stale is walked to anew, once. With `itself`, ENOENT says that too, as
   * the request is about nothing but the node.
   */
  async with<T>(node: Node, request: Request, use: (fid: Fid, options: RequestOptions) => Promise<T>, itself = false): Promise<T> {
    const { tree } = this;
    const user = tree.userOf(request);
    const options = { signal: request.signal };
    let pin = tree.held(node, user) ?? (await tree.reach(node, user, options));
    try {
      return await use(pin.fid, options);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ESTALE' && !(itself && code === 'ENOENT')) throw error;
      if (node === tree.nodes.root || node.links.length === 0) throw staleIfGone(error);
      const open = pin;
      tree.lose(node, user);
      pin = await tree.reach(node, user, options);
      open.drop();
      // The fid of an open file is no better than it was.
      if (pin === open) throw staleIfGone(error);
      return await use(pin.fid, options);
    } finally {
      pin.drop();
    }
  }

  /** Ends every fid and handle there is. */
  async close(): Promise<void> {
    this.#interrupts.stop();
    const stopped = Promise.all([this.ahead.stop(), this.opens.stop(), this.absent.stop()]);
    for (const handle of this.files.values()) handle.end();
    for (const handle of this.directories.values()) handle.pin.end();
    await this.tree.close(stopped);
  }
}

/** Aborted is EINTR; a lost or silent server is EIO, as a disk would have it. */
function errnoFor(error: unknown): number {
  if (error instanceof ConnectionLostError) return EIO;
  const { name, code } = error as { name?: unknown; code?: unknown };
  if (name === 'AbortError') return EINTR;
  if (code === 'ETIMEDOUT') return EIO;
  return errnoOf(error);
}
