import type { Attributes } from '../protocol/types.js';
import type { Node } from './nodes.js';

/** A look-up by the same thread so shortly before an open belongs to it, in ms. */
const SAME_OPEN = 5;
/** Threads remembered at most. */
const MOST = 64;

interface Look {
  node: Node;
  attributes: Attributes;
  at: number;
}

/**
 * The last look-up of each thread. open(2) of a name the kernel does not know is a LOOKUP and an OPEN: what the first told is no older than
 * the call, so the second need not ask again.
 */
export class Looked {
  readonly #looks = new Map<number, Look>();

  put(pid: number, node: Node, attributes: Attributes): void {
    this.#looks.delete(pid);
    if (this.#looks.size >= MOST)
      for (const oldest of this.#looks.keys()) {
        this.#looks.delete(oldest);
        break;
      }
    this.#looks.set(pid, { node, attributes, at: performance.now() });
  }

  /** What the thread has just been told of the node. Once: a second open is another call. */
  take(pid: number, node: Node): Attributes | undefined {
    const look = this.#looks.get(pid);
    if (look === undefined) return undefined;
    this.#looks.delete(pid);
    return look.node === node && performance.now() - look.at < SAME_OPEN ? look.attributes : undefined;
  }
}
