import { closeNow } from '../../sys/files.js';
import type { LocalNode } from './node.js';
import { Recent } from './recent.js';

/**
 * The descriptors that the nodes of one tree hold. A node that can be found again by its name loses its own when there are too many; of the others the longest
 * unused are lost to their fids.
 */
export class Held {
  /** Those of all exports: they have their descriptors from one process. */
  static readonly #all = new Set<Held>();
  /** Nodes with descriptors that can be found again by their names; the root is not among them. */
  readonly #named = new Recent();
  /** Those that cannot. */
  readonly #nameless = new Recent();
  readonly #allowed: number;
  #count = 0;

  /** `allowed`: descriptors that there may be. */
  constructor(allowed: number) {
    this.#allowed = allowed;
    Held.#all.add(this);
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Takes over a descriptor for good. */
  keep(node: LocalNode, fd: number): void {
    node.fd = fd;
    this.#count++;
  }

  /** Takes over a descriptor that may be taken back. */
  add(node: LocalNode, fd: number): void {
    this.keep(node, fd);
    (node.attached ? this.#named : this.#nameless).add(node);
    this.reclaim();
  }

  drop(node: LocalNode): void {
    node.recent?.remove(node);
    if (node.fd < 0) return;
    closeNow(node.fd);
    node.fd = -1;
    this.#count--;
  }

  /** Marks a node's descriptor as used now. */
  touch(node: LocalNode): void {
    const { recent } = node;
    if (recent === undefined || recent.newest === node) return;
    recent.remove(node);
    recent.add(node);
  }

  /** A node cannot be found by its name any more. */
  nameless(node: LocalNode): void {
    node.recent?.remove(node);
    if (node.fd >= 0) this.#nameless.add(node);
  }

  /** Takes back half of the nodes' descriptors, of every export; false where there are none to take. */
  relieve(): boolean {
    let taken = 0;
    for (const held of Held.#all) {
      taken += held.#count;
      held.reclaim(Math.floor(held.#count / 2));
      taken -= held.#count;
    }
    return taken > 0;
  }

  /**
   * Takes descriptors back until there are no more than allowed, from nodes that can be found again. Half of what is allowed may be nodes' that
   * cannot, unless something is open of them: beyond, the longest unused of them are lost to their fids, or a client could have all there are.
   */
  reclaim(most = this.#allowed): void {
    const nameless = this.#nameless.size - Math.floor(this.#allowed / 2);
    if (nameless > 0) this.#take(this.#nameless, nameless);
    if (this.#count > most) this.#take(this.#named, this.#count - most);
  }

  /** Takes back so many descriptors, but none that is in use. */
  #take({ oldest, newest }: Recent, count: number): void {
    let left = count;
    for (let node = oldest; left > 0 && node !== undefined && node !== newest; ) {
      const next: LocalNode | undefined = node.newer;
      if (node.pins === 0) {
        this.drop(node);
        left--;
      }
      node = next;
    }
  }

  /** The tree has ended, and dropped them all. */
  close(): void {
    Held.#all.delete(this);
  }
}
