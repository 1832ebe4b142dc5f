import type { Attributes } from '../protocol/types.js';
import type { Node } from './nodes.js';

/** Entries of each kind remembered at most. */
const MOST = 64;
/** A look-up by the same thread so shortly before an open belongs to it, in ms. */
const SAME_OPEN = 5;
/** By then, in ms, a thread that has looked a file up to open it will have done so. */
const OPENED = 100;
/** How old attributes seen by an open may be when the kernel asks for them, in ms: far less than it may believe them. */
const SAME_STAT = 20;

/** Attributes, or the promise of them; undefined where that came to nothing. */
export type Seen = Attributes | Promise<Attributes | undefined> | undefined;

interface Look<T> {
  readonly node: Node;
  readonly attributes: T;
  readonly at: number;
}

interface ThreadLook extends Look<Attributes | undefined> {
  /** It is the kernel's second look, for an open that it tries again. */
  readonly again: boolean;
}

/**
 * What has just been seen of files, to be told once more instead of being asked for again. open(2) of a name the kernel does not know is a
 * LOOKUP and an OPEN: what the first told is no older than the call. And what an OPEN saw, the kernel asks for right after it.
 */
export class Looked {
  /** Without attributes where they do not hold: the thread has looked the node up all the same. */
  readonly #byThread = new Map<number, ThreadLook>();
  readonly #byNode = new Map<Node, Look<Seen>>();
  /** Threads that have been told ESTALE, and when: the kernel looks each name of the path up anew for them. */
  readonly #again = new Map<number, number>();

  /** A LOOKUP by a thread, which came at `asked`, gave this. */
  lookup(pid: number, node: Node, attributes: Attributes, asked: number): void {
    // A change that has begun since then is not in it.
    const holds = node.touchedAt < asked;
    remember(this.#byThread, pid, { node, attributes: holds ? attributes : undefined, at: performance.now(), again: this.isAgain(pid) });
  }

  /** A thread is told that a name leads elsewhere by now: the kernel looks itself, and takes what it finds then. It does so once. */
  stale(pid: number): void {
    if (this.#again.size >= MOST) this.#again.clear();
    this.#again.set(pid, performance.now());
  }

  /** Whether a thread looks up what it has just been told is stale. */
  isAgain(pid: number): boolean {
    if (this.#again.size === 0) return false;
    const at = this.#again.get(pid);
    return at !== undefined && performance.now() - at < OPENED;
  }

  /**
   * Whether the thread has just looked the node up, and what it was told then, if that still holds. Once: a second open is another call.
   */
  takeLookup(pid: number, node: Node): { readonly attributes: Attributes | undefined } | undefined {
    const look = this.#byThread.get(pid);
    if (look === undefined) return undefined;
    this.#byThread.delete(pid);
    if (look.again) this.#again.delete(pid);
    if (look.node !== node) return undefined;
    const age = performance.now() - look.at;
    if (age < SAME_OPEN) return look;
    return look.again && age < OPENED ? { attributes: undefined } : undefined;
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
    for (const [pid, { node: looked, at, again }] of this.#byThread)
      if (looked === node) this.#byThread.set(pid, { node, attributes: undefined, at, again });
  }
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
