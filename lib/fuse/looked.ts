import type { Attributes } from '../protocol/types.js';
import type { Link, Node } from './nodes.js';

/** Entries of each kind remembered at most. */
const MOST = 64;
/** A look-up by the same thread so shortly before an open belongs to it, in ms. */
const SAME_OPEN = 5;
/** By then, in ms, a thread that has looked a file up to open it will have done so. */
const OPENED = 100;
/** How long, in ms, a thread that was told to look again may take for each step of it, however busy the host is. */
const AGAIN = 1000;
/** How old attributes seen by an open may be when the kernel asks for them, in ms: far less than it may believe them. */
const SAME_STAT = 20;

/** Attributes, or the promise of them; undefined where that came to nothing. */
export type Seen = Attributes | Promise<Attributes | undefined> | undefined;

interface Look<T> {
  readonly node: Node;
  readonly attributes: T;
  readonly at: number;
}

export interface ThreadLook extends Look<Attributes | undefined> {
  /** The name that was looked up; undefined where others have been found under it meanwhile. */
  readonly link: Link | undefined;
  /** It is the kernel's second look, for an open that it tries again. */
  readonly again: boolean;
}

/** What a thread has been told ESTALE about. */
interface Again {
  /** The node that it was about, or the one that was looked up since; undefined where what was looked up since is none. */
  node: Node | undefined;
  at: number;
  /** It looked in vain, and its call has failed. */
  over: boolean;
}

/**
 * What has just been seen of files, to be told once more instead of being asked for again. open(2) of a name the kernel does not know is a
 * LOOKUP and an OPEN: what the first told is no older than the call. And what an OPEN saw, the kernel asks for right after it.
 */
export class Looked {
  /** Without attributes where they do not hold: the thread has looked the node up all the same. */
  readonly #byThread = new Map<number, ThreadLook>();
  readonly #byNode = new Map<Node, Look<Seen>>();
  /** Threads that have been told ESTALE: the kernel looks each name of the path up anew for them. */
  readonly #again = new Map<number, Again>();

  /** A LOOKUP by a thread, which came at `asked`, gave this. */
  lookup(pid: number, node: Node, attributes: Attributes, asked: number): void {
    // A change that has begun since then is not in it.
    const holds = node.touchedAt < asked;
    const told = this.#told(pid);
    const again = told !== undefined && !told.over;
    if (again) told.node = node;
    const link = node.links[node.links.length - 1];
    remember(this.#byThread, pid, {
      node,
      link,
      attributes: holds ? attributes : undefined,
      at: performance.now(),
      again,
    });
  }

  /** A thread is told that a name of a node leads elsewhere by now: the kernel looks itself, and takes what it finds then. It does so once. */
  stale(pid: number, node: Node): void {
    remember(this.#again, pid, { node, at: performance.now(), over: false });
  }

  /** A thread looks a name up. Whether it does because it has just been told that it is stale. */
  looksAgain(pid: number): boolean {
    const again = this.#told(pid);
    if (again === undefined) return false;
    again.node = undefined;
    again.at = performance.now();
    return true;
  }

  /** A thread has looked in vain: what it opens later is another call. The kernel may look a second time for this one. */
  missed(pid: number): void {
    const again = this.#told(pid);
    if (again !== undefined) again.over = true;
  }

  /**
   * Whether a thread comes back to a node about which it was told that a name was stale: without a look-up, as it came by no name but by a descriptor, or
   * with one that is forgotten here. Once.
   */
  takeAgain(pid: number, node: Node): boolean {
    const again = this.#told(pid);
    if (again === undefined || again.over || again.node !== node) return false;
    this.#again.delete(pid);
    return true;
  }

  #told(pid: number): Again | undefined {
    if (this.#again.size === 0) return undefined;
    const again = this.#again.get(pid);
    return again !== undefined && performance.now() - again.at < AGAIN ? again : undefined;
  }

  /**
   * Whether the thread has just looked the node up, and what it was told then, if that still holds. Once: a second open is another call.
   */
  takeLookup(pid: number, node: Node): ThreadLook | undefined {
    const look = this.#byThread.get(pid);
    if (look === undefined) return undefined;
    this.#byThread.delete(pid);
    if (look.again) this.#again.delete(pid);
    if (look.node !== node) return undefined;
    const age = performance.now() - look.at;
    if (age < SAME_OPEN) return look;
    return look.again && age < AGAIN ? untold(look) : undefined;
  }

  /** A thread does something else than to open what it has looked up: that was for this. */
  acts(pid: number): void {
    if (this.#byThread.size > 0) this.#byThread.delete(pid);
    if (this.#again.size > 0) this.#again.delete(pid);
  }

  /** Whether a thread has looked the node up and may be about to open it. */
  isExpected(node: Node): boolean {
    if (this.#byThread.size === 0) return false;
    const now = performance.now();
    for (const look of this.#byThread.values()) if (look.node === node && now - look.at < OPENED) return true;
    return false;
  }

  /** Somebody who was about, and asked at `asked`, saw this, or has asked for it. */
  opened(node: Node, attributes: Seen, asked = performance.now()): void {
    const at = performance.now();
    if (node.touchedAt >= asked && !(attributes instanceof Promise)) return;
    remember(this.#byNode, node, { node, attributes, at });
    if (!(attributes instanceof Promise)) return;
    void attributes.then((seen) => {
      // Who asks after it has come need not wait for it.
      if (this.#byNode.get(node)?.attributes === attributes) this.#byNode.set(node, { node, attributes: seen, at });
    });
  }

  /** For who asks next. */
  takeOpened(node: Node): Seen {
    const look = this.#byNode.get(node);
    if (look === undefined) return undefined;
    this.#byNode.delete(node);
    return performance.now() - look.at < SAME_STAT ? look.attributes : undefined;
  }

  /** The file is being changed: nothing that was seen holds. */
  changed(node: Node): void {
    if (this.#byNode.size > 0) this.#byNode.delete(node);
    if (this.#byThread.size === 0) return;
    for (const [pid, look] of this.#byThread) if (look.node === node) this.#byThread.set(pid, untold(look));
  }
}

/** The same look-up without what it told. Each name that is made or removed comes by here: a spread would be several times as slow. */
function untold({ node, at, again, link }: ThreadLook): ThreadLook {
  return { node, attributes: undefined, at, again, link };
}

function remember<K, T>(map: Map<K, T>, key: K, look: T): void {
  map.delete(key);
  if (map.size >= MOST) {
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  }
  map.set(key, look);
}
