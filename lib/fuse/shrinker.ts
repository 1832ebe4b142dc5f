import type { Node, Nodes } from './nodes.js';

/** Files the kernel may know unless the mount says otherwise. Each takes about 1 KB here, and as much in the kernel. */
export const MAX_NODES = 200_000;
/** How far their number is brought down, so that not every new one asks for another. */
const DOWN_TO = 0.9;

/**
 * Holds down the number of files that the kernel knows. It forgets them by itself only when the host's memory runs short, and this process's would
 * long before: who lists a million files with their attributes has them all known. Beyond `most`, the kernel is asked to forget those known
 * for longest; what is in use stays, and what is wanted again is looked up again. Directories stay: forgetting one in which a process works would
 * leave the process without a path.
 */
export class Shrinker {
  readonly #nodes: Nodes;
  readonly #most: number;
  readonly #forget: (parent: Node, name: string) => Promise<void>;
  /** Where the last search ended: the map is in the order in which they became known. */
  #cursor: Iterator<Node> | undefined;
  #limit: number;
  #busy = false;

  /** `forget` tells the kernel to drop a name, and resolves when that has been said. */
  constructor(nodes: Nodes, most: number, forget: (parent: Node, name: string) => Promise<void>) {
    this.#nodes = nodes;
    this.#most = most;
    this.#limit = most;
    this.#forget = forget;
  }

  /** The kernel is being asked. */
  get busy(): boolean {
    return this.#busy;
  }

  /** A node may have been added. */
  grown(): void {
    if (this.#busy || this.#nodes.size <= this.#limit) return;
    this.#busy = true;
    void this.#shrink().finally(() => {
      this.#busy = false;
    });
  }

  async #shrink(): Promise<void> {
    const excess = this.#nodes.size - this.#most * DOWN_TO;
    const asked: Node[] = [];
    for (let left = this.#nodes.size; left > 0 && asked.length < excess; left--) {
      const node = this.#next();
      if (node === undefined) break;
      if (node.isDirectory || node.lookups === 0 || (node.handles?.size ?? 0) > 0 || node.behind?.busy) continue;
      for (const { parent, name } of [...node.links]) await this.#forget(parent, name);
      asked.push(node);
    }
    const stayed = asked.filter(({ id }) => this.#nodes.has(id)).length;
    // Where most are in use it would be tried in vain with every new one.
    this.#limit = stayed * 2 < asked.length ? this.#most : Math.max(this.#most, this.#nodes.size + this.#most * (1 - DOWN_TO));
  }

  #next(): Node | undefined {
    const next = this.#cursor?.next();
    if (next !== undefined && !next.done) return next.value;
    this.#cursor = this.#nodes.values();
    const first = this.#cursor.next();
    return first.done ? undefined : first.value;
  }
}
