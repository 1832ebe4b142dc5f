import { S_IFDIR, S_IFMT } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Attributes, Qid } from '../protocol/types.js';
import type { Backing } from './backings.js';
import type { Behind } from './behind.js';
import type { FileHandle } from './handles.js';
import { ROOT_ID } from './kernel/constants.js';
import type { Pin } from './pins.js';

/** A name that leads to a node. */
export interface Link {
  readonly parent: Node;
  readonly name: string;
  /** Until when (performance.now) the kernel may believe it without asking. */
  until: number;
}

/** What was seen of a regular file when its pages began to be cached. */
export interface Seen {
  size: number;
  sec: number;
  nsec: number;
  version: number;
  /** The file was last changed so shortly before that another change might not show in its times. */
  fresh: boolean;
}

/**
 * A file as the kernel knows it. It lives as long as the kernel has look-ups of it (or it is open), and has one fid
 * for each user that touched it, or none: then it is walked to again by its name.
 */
export class Node {
  readonly id: number;
  readonly type: number;
  readonly path: bigint;
  /** The inode number shown; qid.path unless two files of the server have the same. */
  ino: bigint;
  /** Look-ups that the kernel holds. */
  lookups = 0;
  /** st_mode and st_nlink as last seen. */
  mode = 0;
  nlink = 1;
  uid = 0;
  gid = 0;
  /** How far was written since. */
  written = 0;
  /** Size and mtime as last told to the kernel. */
  size = 0;
  sec = 0;
  nsec = 0;
  /** The one that the kernel was told last is the last. */
  readonly links: Link[] = [];
  /** Names that led to it when the kernel was last told of them, and have been found not to. */
  former: Link[] | undefined;
  children: Map<string, Node> | undefined;
  /** Unopened fids by user. */
  pins: Map<number, Pin> | undefined;
  /** A clone of a directory's fid, to be opened or created in: made ahead, so that nobody waits for it. */
  spare: Pin | undefined;
  handles: Set<FileHandle> | undefined;
  seen: Seen | undefined;
  behind: Behind | undefined;
  /** Until when (performance.now) it cannot have attributes of security modules: it was just made. */
  bareUntil = 0;
  /** Until when (performance.now) it is believed to have no extended attribute at all. */
  noXattrsUntil = 0;
  /** Of a directory: whether it has a default ACL, and until when (performance.now) that is believed. */
  inherited: { readonly acl: boolean; readonly until: number } | undefined;
  /** What its open handles have for a backing file. */
  backing: Backing | undefined;
  /** Handles through which it may be written at any time without anybody here hearing of it. */
  unseenWriters = 0;
  #touchedAt = 0;
  /**
   * What the kernel was last told of it, unless it was changed or read since, and when that was asked for (performance.now). Only where birth times are
   * shown.
   */
  told: Attributes | undefined;
  toldAt = 0;
  /** Not to be found by its qid any more: the last name is gone. */
  orphan = false;
  /** It lost a name. To a server that keeps paths in its fids, those from before lead nowhere, or to whatever has that name now. */
  strayed = false;

  constructor(id: number, qid: Qid) {
    this.id = id;
    this.type = qid.type;
    this.path = qid.path;
    this.ino = qid.path;
  }

  /** When a change of it through this mount last began or ended (performance.now): what was asked for before is not to be relied on. */
  get touchedAt(): number {
    return this.unseenWriters > 0 ? Number.POSITIVE_INFINITY : this.#touchedAt;
  }

  set touchedAt(at: number) {
    this.#touchedAt = at;
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  /** Fids that it has had for long are no good, and it has a name to be walked to by. */
  get mustBeWalkedTo(): boolean {
    return this.strayed && this.links.length > 0;
  }

  is(qid: Qid): boolean {
    return this.path === qid.path && this.type === qid.type;
  }
}

/** Deeper than any path the kernel passes: a tree that claims to be deeper goes in circles. */
const MAX_DEPTH = 4096;
/** The kernel begins to count when it has the answer: so much later at most, in ms. */
const ON_ITS_WAY = 100;

/** The nodes of a mount: by the kernel's id, and by qid, so that two names of one file are one inode. */
export class Nodes {
  readonly root: Node;
  readonly #byId = new Map<number, Node>();
  /** By qid.type, then qid.path: pairs make no key. */
  readonly #byQid = new Map<number, Map<bigint, Node>>();
  readonly #believed: number;
  #next = ROOT_ID + 1;

  /** `believed`: how long the kernel believes a name, in ms. */
  constructor(root: Qid, believed = 0) {
    this.#believed = believed === 0 ? 0 : believed + ON_ITS_WAY;
    this.root = new Node(ROOT_ID, root);
    this.root.lookups = Number.POSITIVE_INFINITY;
    this.root.mode = S_IFDIR;
    this.#byId.set(ROOT_ID, this.root);
    this.#register(this.root);
  }

  get size(): number {
    return this.#byId.size;
  }

  values(): IterableIterator<Node> {
    return this.#byId.values();
  }

  /** ESTALE for an id the kernel should not have. */
  get(id: number): Node {
    const node = this.#byId.get(id);
    if (node === undefined) throw new ErrnoError('ESTALE');
    return node;
  }

  has(id: number): boolean {
    return this.#byId.has(id);
  }

  find(qid: Qid): Node | undefined {
    return this.#byQid.get(qid.type)?.get(qid.path);
  }

  /** A node for a file that has none. With `apart`, another one has the same qid and is another file. */
  add(qid: Qid, apart = false): Node {
    const node = new Node(this.#next++, qid);
    this.#byId.set(node.id, node);
    if (apart) {
      // Nobody may take the two for one file, least of all `cp`.
      node.ino = BigInt.asUintN(64, qid.path ^ (BigInt(node.id) << 40n));
      node.orphan = true;
    } else {
      this.#register(node);
    }
    return node;
  }

  #register(node: Node): void {
    let paths = this.#byQid.get(node.type);
    if (paths === undefined) {
      paths = new Map();
      this.#byQid.set(node.type, paths);
    }
    paths.set(node.path, node);
  }

  /** From now on another file may have its qid: inode numbers are used again. */
  orphan(node: Node): void {
    if (node.orphan) return;
    node.orphan = true;
    const paths = this.#byQid.get(node.type);
    if (paths?.get(node.path) === node) paths.delete(node.path);
  }

  /** Says that a name leads to a node. What it led to before is told that it does not any more. */
  link(node: Node, parent: Node, name: string): void {
    parent.children ??= new Map();
    const before = parent.children.get(name);
    const until = performance.now() + this.#believed;
    if (before === node && node.links.length === 1) {
      for (const link of node.links) link.until = until;
      return;
    }
    if (before !== undefined) this.unlink(parent, name);
    parent.children.set(name, node);
    node.links.push({ parent, name, until });
  }

  /** A name was found not to lead to its node any more, which the kernel has not been told. */
  moved(node: Node, link: Link): void {
    this.unlink(link.parent, link.name);
    if (link.until > performance.now()) node.former = [...(this.#believedFormer(node) ?? []), link];
  }

  /** Whether the kernel, where it goes by what it believes, may come to a node by a name that does not lead there any more. */
  isMistakable(node: Node): boolean {
    if (node.former === undefined) return false;
    node.former = this.#believedFormer(node);
    return node.former !== undefined;
  }

  #believedFormer(node: Node): Link[] | undefined {
    const now = performance.now();
    // What the kernel was told of a name since is what it believes.
    const former = node.former?.filter(({ parent, name, until }) => until > now && !parent.children?.has(name));
    return former?.length === 0 ? undefined : former;
  }

  /** The names by which the kernel, where it goes by what it believes, may come to a node: at least the newest, if there is any. */
  believedNames(node: Node): readonly Link[] {
    const { links } = node;
    if (links.length < 2) return links;
    const now = performance.now();
    return links.filter((link, index) => index === links.length - 1 || link.until > now);
  }

  /** A name leads nowhere any more; gives the node that it led to. */
  unlink(parent: Node, name: string): Node | undefined {
    const node = parent.children?.get(name);
    if (node === undefined) return undefined;
    parent.children?.delete(name);
    const at = node.links.findIndex((link) => link.parent === parent && link.name === name);
    if (at >= 0) node.links.splice(at, 1);
    return node;
  }

  /** The kernel holds `count` look-ups less. True: the node is gone, and its pins are the caller's to end. */
  forget(node: Node, count: number): boolean {
    node.lookups -= count;
    if (node.lookups > 0 || node === this.root) return false;
    this.#byId.delete(node.id);
    this.orphan(node);
    for (const { parent, name } of node.links) parent.children?.delete(name);
    node.links.length = 0;
    return true;
  }

  /** The names from the nearest node that `stop` accepts down to `node`; undefined where a name on the way is gone. */
  names(node: Node, stop: (node: Node) => boolean): { from: Node; names: string[] } | undefined {
    const names: string[] = [];
    let at = node;
    while (!stop(at)) {
      const link = at.links[at.links.length - 1];
      if (link === undefined || names.length > MAX_DEPTH) return undefined;
      names.push(link.name);
      at = link.parent;
    }
    return { from: at, names: names.reverse() };
  }
}
