import type { Client, Fid, RequestOptions } from '../client/index.js';
import { NONUNAME } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Attributes, Qid, Timespec } from '../protocol/types.js';
import { isFresh, WANTED } from './attributes.js';
import { unlessKilled } from './interrupts.js';
import type { Request } from './kernel/request.js';
import { type Node, Nodes } from './nodes.js';
import { Clunker, Pin } from './pins.js';

/**
 * Whose view of the tree a caller gets: `any`: everybody the one of the mount's own attach; `user`: each uid one of its own, attached when it first
 * comes; a number: that uid alone is let in.
 */
export type Access = 'user' | 'any' | number;

/** The user of those who share the mount's own attach. */
const SHARED = -1;

/** How long the last fids may take to be clunked, in ms. */
const LAST_CLUNKS = 5000;

/** Fids kept for nodes that nobody uses at the moment; beyond that the oldest go, and are walked to again when needed. */
const MAX_PINS = 16384;

/** The kernel's nodes and the fids that reach them. */
export class Tree {
  readonly client: Client;
  readonly nodes: Nodes;
  readonly clunker = new Clunker();
  readonly #access: Access;
  readonly #roots = new Map<number, Promise<Fid>>();
  readonly #rootPins = new Map<number, Pin>();
  /** Nodes that have pins, the longest unused first, roughly: a node moves to the end when a pin is made for it. */
  readonly #pinned = new Set<Node>();

  /** `believed`: how long the kernel believes a name, in ms. */
  constructor(client: Client, access: Access, believed: number) {
    this.client = client;
    this.#access = access;
    this.nodes = new Nodes(client.root.qid, believed);
    const own = access === 'user' ? (process.geteuid?.() ?? 0) : SHARED;
    this.#rootPins.set(own, new Pin(client.root, this.clunker));
  }

  /** For counters and tests. */
  get pinned(): number {
    return this.#pinned.size;
  }

  /** Whose fids serve a request. EACCES for who is not let in. */
  userOf(request: Request): number {
    const access = this.#access;
    if (access === 'user') return request.uid;
    if (access !== 'any' && request.uid !== access) throw new ErrnoError('EACCES');
    return SHARED;
  }

  /** The fid of a node that is at hand, held; undefined where one has to be walked to. */
  held(node: Node, user: number): Pin | undefined {
    if (node === this.nodes.root) return this.#rootPins.get(user)?.hold();
    const pin = node.pins?.get(user);
    if (pin !== undefined) return pin.hold();
    if (node.handles === undefined || node.mustBeWalkedTo) return undefined;
    for (const handle of node.handles) if (handle.user === user) return handle.pin.hold();
    return undefined;
  }

  /**
   * A fid of a node, held by the caller: one that it has, or one walked to by its name. ESTALE where the name leads elsewhere by now, which
   * makes the kernel look for itself.
   */
  async reach(node: Node, user: number, options?: RequestOptions): Promise<Pin> {
    const at = this.held(node, user);
    if (at !== undefined) return at;
    if (node === this.nodes.root) return this.#attach(user, options);
    const way = this.nodes.names(node, (each) => each === this.nodes.root || each.pins?.has(user) === true);
    if (way === undefined) {
      // Unlinked and open: whoever opened it, it is the same file.
      if (node.handles !== undefined) for (const handle of node.handles) return handle.pin.hold();
      throw new ErrnoError('ESTALE');
    }
    const from = this.held(way.from, user) ?? (await this.#attach(user, options));
    let fid: Fid;
    try {
      fid = await from.fid.walk(way.names, options);
    } catch (error) {
      throw staleIfGone(error);
    } finally {
      from.drop();
    }
    if (!node.is(fid.qid)) {
      this.clunker.give(fid);
      throw new ErrnoError('ESTALE');
    }
    return this.keep(node, user, fid).hold();
  }

  /** What is known of a node's fids turned out to be wrong: the next one is walked to. */
  lose(node: Node, user: number): void {
    const pin = node.pins?.get(user);
    if (pin === undefined) return;
    node.pins?.delete(user);
    pin.end();
  }

  /** Gives a node a fid that was walked to. It replaces the one before: the newest way is the surest. */
  keep(node: Node, user: number, fid: Fid): Pin {
    const pin = new Pin(fid, this.clunker);
    node.pins ??= new Map();
    node.pins.get(user)?.end();
    node.pins.set(user, pin);
    this.#pinned.delete(node);
    this.#pinned.add(node);
    if (this.#pinned.size > MAX_PINS) this.#evict();
    return pin;
  }

  #evict(): void {
    let tries = 64;
    for (const node of this.#pinned) {
      if (this.#pinned.size <= MAX_PINS || --tries < 0) return;
      this.#pinned.delete(node);
      if (node.spare !== undefined || [...(node.pins?.values() ?? [])].some((pin) => pin.busy)) this.#pinned.add(node);
      else this.unpin(node);
      node.spare?.end();
      node.spare = undefined;
    }
  }

  /** A fid as a pin of the caller's. */
  pin(fid: Fid): Pin {
    return new Pin(fid, this.clunker);
  }

  /** Ends all fids of a node but those of its handles. */
  unpin(node: Node): void {
    this.#pinned.delete(node);
    for (const pin of node.pins?.values() ?? []) pin.end();
    node.pins = undefined;
    node.spare?.end();
    node.spare = undefined;
  }

  /** A name of a node is gone, and with it all fids that may be no more than that name to the server. */
  stray(node: Node): void {
    node.strayed = true;
    this.unpin(node);
  }

  /** As `stray`, for all that is known below as well. */
  strayBelow(node: Node): void {
    const pending = [node];
    for (let each = pending.pop(); each !== undefined; each = pending.pop()) {
      this.stray(each);
      if (each.children !== undefined) pending.push(...each.children.values());
    }
  }

  /**
   * An unopened fid of a node, the caller's own: the node's, which is then without, or a clone. Opening the node's own saves a round trip;
   * should it be needed again, an open fid serves as well, or it is walked to.
   */
  async take(node: Node, user: number, options?: RequestOptions): Promise<Pin> {
    const own = this.takeOwn(node, user);
    if (own !== undefined) return own;
    if (node.spare !== undefined && this.#spareIsOf(node.spare, user)) {
      const spare = node.spare;
      node.spare = undefined;
      return spare;
    }
    return this.cloned(node, user, options);
  }

  /** A clone of a node's fid, the caller's own. */
  async cloned(node: Node, user: number, options?: RequestOptions): Promise<Pin> {
    const from = await this.reach(node, user, options);
    try {
      return new Pin(await from.fid.clone(options), this.clunker);
    } catch (error) {
      throw staleIfGone(error);
    } finally {
      from.drop();
    }
  }

  /** The node's own unopened fid, if it has one that can be done without: a directory's is walked from. */
  takeOwn(node: Node, user: number): Pin | undefined {
    const own = node.isDirectory ? undefined : node.pins?.get(user);
    if (own === undefined) return undefined;
    node.pins?.delete(user);
    if (node.pins?.size === 0) this.#pinned.delete(node);
    return own;
  }

  /** Puts an unopened fid back that was taken. */
  putBack(node: Node, user: number, pin: Pin): void {
    if (node.pins?.has(user) || node.isDirectory || !this.nodes.has(node.id)) {
      pin.end();
      return;
    }
    node.pins ??= new Map();
    node.pins.set(user, pin);
    this.#pinned.add(node);
  }

  /** Clones a directory's fid in the background, for the next who opens it or creates in it. */
  prepare(node: Node, user: number): void {
    if (node.spare !== undefined || this.#preparing.has(node)) return;
    const from = this.held(node, user);
    if (from === undefined) return;
    this.#preparing.add(node);
    const done = (): void => {
      from.drop();
      this.#preparing.delete(node);
    };
    from.fid.clone().then(
      (fid) => {
        done();
        if (node.spare === undefined && this.nodes.has(node.id)) node.spare = new Pin(fid, this.clunker);
        else this.clunker.give(fid);
      },
      // It was a favour; whoever needs it will hear of what is wrong.
      done,
    );
  }
  readonly #preparing = new Set<Node>();

  #spareIsOf(spare: Pin, user: number): boolean {
    return this.#access !== 'user' || spare.fid.attachment === this.#rootPins.get(user)?.fid.attachment;
  }

  async #attach(user: number, options: RequestOptions | undefined): Promise<Pin> {
    const there = this.#rootPins.get(user);
    if (there !== undefined) return there.hold();
    let attaching = this.#roots.get(user);
    if (attaching === undefined) {
      const { uname, aname } = this.client.root.attachment;
      // v9fs's way: a number, and no name that might contradict it.
      attaching = this.client.attach({ uname: user === NONUNAME ? uname : '', aname, uid: user });
      this.#roots.set(user, attaching);
      attaching.then(
        (fid) => this.#rootPins.set(user, new Pin(fid, this.clunker)),
        () => this.#roots.delete(user),
      );
    }
    await (options?.signal === undefined ? attaching : unlessKilled(attaching, options.signal));
    const pin = this.#rootPins.get(user);
    if (pin === undefined) throw new ErrnoError('EACCES');
    return pin.hold();
  }

  /** Ends every fid, also those that come to be until `others` resolves. The client's root stays. */
  async close(others: Promise<unknown>): Promise<void> {
    for (const node of this.nodes.values()) this.unpin(node);
    for (const pin of this.#rootPins.values()) if (pin.fid !== this.client.root) pin.end();
    this.#rootPins.clear();
    // A server that is lost meanwhile, and waited for, must not hold what is unmounted: fids end with the conversation, too.
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LAST_CLUNKS);
    });
    await Promise.race([others.then(() => this.clunker.idle()), enough]);
    clearTimeout(timer);
  }

  /** What a walk gave, as a node: the one that is known for it, or a new one. `attributes` as getattr told them. */
  async nodeFor(
    parent: Node,
    name: string,
    qid: Qid,
    attributes: Pick<Attributes, 'nlink' | 'mtime'>,
    directory: boolean,
    user: number,
    options?: RequestOptions,
  ): Promise<Node> {
    const { nlink, mtime } = attributes;
    const clear = this.clearFor(parent, name, qid, nlink, directory);
    if (clear !== undefined) return clear;
    const known = this.nodes.find(qid);
    const link = known?.links[known.links.length - 1];
    if (known === undefined || link === undefined) return this.nodes.add(qid);
    if (await this.#leadsTo(link.parent, link.name, qid, user, options)) return this.nodes.add(qid, true);
    this.nodes.moved(known, link);
    if (!directory || (await this.#isStill(known, mtime, options))) return known;
    // What the kernel believes to be in the one that is gone must not be found in the other.
    this.nodes.orphan(known);
    return this.nodes.add(qid);
  }

  /**
   * Whether a node that has lost its name is the file it was, as far as one of its fids can tell: a server that keeps no more than paths in them lets a
   * directory's inode number be used again. Without fids nobody has used it for long. Where the fids lead nowhere it may have been moved with a
   program's working directory in it: one that has not been changed since it was last seen, nor within the time that making another takes, is no other.
   */
  async #isStill(node: Node, mtime: Timespec, options: RequestOptions | undefined): Promise<boolean> {
    for (const pin of node.pins?.values() ?? []) {
      pin.hold();
      try {
        return node.is((await pin.fid.getattr(WANTED, options)).qid);
      } catch (error) {
        if (staleIfGone(error) === error && (error as NodeJS.ErrnoException).code !== 'ESTALE') throw error;
        return node.sec === mtime.sec && node.nsec === mtime.nsec && !isFresh(mtime);
      } finally {
        pin.drop();
      }
    }
    return true;
  }

  /** The same where it is clear without asking the server. */
  clearFor(parent: Node, name: string, qid: Qid, nlink: number, directory: boolean): Node | undefined {
    const named = parent.children?.get(name);
    if (named?.is(qid)) return named;
    const known = this.nodes.find(qid);
    if (known === undefined) return this.nodes.add(qid);
    // One file with two names but one link, or a directory with two: it was renamed behind our back, or the server gives one qid
    // to files of two of its file systems.
    return known.links.length === 0 || (!directory && nlink > 1) ? known : undefined;
  }

  async #leadsTo(parent: Node, name: string, qid: Qid, user: number, options: RequestOptions | undefined): Promise<boolean> {
    let at: Pin | undefined;
    try {
      at = await this.reach(parent, user, options);
      const fid = await at.fid.walk([name], options);
      this.clunker.give(fid);
      return fid.qid.path === qid.path && fid.qid.type === qid.type;
    } catch {
      return false;
    } finally {
      at?.drop();
    }
  }
}

/** A fid whose file has gone is stale: the kernel then looks again, by name. */
export function staleIfGone(error: unknown): unknown {
  if (error instanceof ErrnoError && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
    return new ErrnoError('ESTALE', {}, { cause: error });
  return error;
}
