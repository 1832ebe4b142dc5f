import type { LocalNode } from './node.js';

/** Nodes that hold descriptors, from the longest unused on. A node is in one of these at most. */
export class Recent {
  oldest: LocalNode | undefined;
  newest: LocalNode | undefined;
  size = 0;

  add(node: LocalNode): void {
    node.recent = this;
    node.older = this.newest;
    if (this.newest !== undefined) this.newest.newer = node;
    else this.oldest = node;
    this.newest = node;
    this.size++;
  }

  remove(node: LocalNode): void {
    if (node.older !== undefined) node.older.newer = node.newer;
    else this.oldest = node.newer;
    if (node.newer !== undefined) node.newer.older = node.older;
    else this.newest = node.older;
    node.recent = undefined;
    node.older = undefined;
    node.newer = undefined;
    this.size--;
  }
}
