import type { Attributes } from '../protocol/types.js';
import type { Node } from './nodes.js';

/** Entries of each kind remembered at most. */
const MOST = 64;
/** A look-up by the same thread so shortly before an open belongs to it, in ms. */
const SAME_OPEN = 5;
/** How old attributes seen by an open may be when the kernel asks for them, in ms: far less than it may believe them. */
const SAME_STAT = 20;

interface Look {
  readonly node: Node;
  readonly attributes: Attributes;
  readonly at: number;
}

/**
 * What has just been seen of files, to be told once more instead of being asked for again. open(2) of a name the kernel does not know is a
 * LOOKUP and an OPEN: what the first told is no older than the call. And what an OPEN saw, the kernel asks for right after it.
 */
export class Looked {
  readonly #byThread = new Map<number, Look>();
  readonly #byNode = new Map<Node, Look>();

  /** A LOOKUP by a thread gave this. */
  lookup(pid: number, node: Node, attributes: Attributes): void {
    remember(this.#byThread, pid, { node, attributes, at: performance.now() });
  }

  /** What the thread has just been told of the node. Once: a second open is another call. */
  takeLookup(pid: number, node: Node): Attributes | undefined {
    const look = this.#byThread.get(pid);
    if (look === undefined) return undefined;
    this.#byThread.delete(pid);
    return look.node === node && performance.now() - look.at < SAME_OPEN ? look.attributes : undefined;
  }

  /** An OPEN saw this. */
  opened(node: Node, attributes: Attributes): void {
    remember(this.#byNode, node, { node, attributes, at: performance.now() });
  }

  takeOpened(node: Node): Attributes | undefined {
    const look = this.#byNode.get(node);
    if (look === undefined) return undefined;
    this.#byNode.delete(node);
    return performance.now() - look.at < SAME_STAT ? look.attributes : undefined;
  }

  /** The file is being changed: nothing that was seen holds. */
  changed(node: Node): void {
    if (this.#byNode.size > 0) this.#byNode.delete(node);
    if (this.#byThread.size > 0) for (const [pid, look] of this.#byThread) if (look.node === node) this.#byThread.delete(pid);
  }
}

function remember<K>(map: Map<K, Look>, key: K, look: Look): void {
  map.delete(key);
  if (map.size >= MOST) {
    for (const oldest of map.keys()) {
      map.delete(oldest);
      break;
    }
  }
  map.set(key, look);
}
