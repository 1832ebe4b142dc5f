import type { Node } from './nodes.js';

/** For how long a program that asked for an extended attribute of one file may want those of its neighbours, in ms. */
const LASTING = 5000;

/** When something was last asked about a file of a directory (performance.now). */
interface Asked {
  anything: number;
  xattrs: number;
}

/** What programs ask about the files of each directory one by one, so that a listing of it can tell that at once. */
export class Interest {
  readonly #directories = new WeakMap<Node, Asked>();

  /** A file of the directory was looked up. */
  lookedUp(directory: Node): void {
    this.#of(directory).anything = performance.now();
  }

  /** An extended attribute of a file was asked for, or which there are. */
  xattr(file: Node): void {
    const directory = file.links[file.links.length - 1]?.parent;
    if (directory === undefined) return;
    const asked = this.#of(directory);
    asked.anything = performance.now();
    asked.xattrs = asked.anything;
  }

  /** Whether anything was asked about a file of the directory since then (performance.now). */
  since(directory: Node, at: number): boolean {
    return (this.#directories.get(directory)?.anything ?? Number.NEGATIVE_INFINITY) > at;
  }

  inXattrs(directory: Node): boolean {
    return performance.now() - (this.#directories.get(directory)?.xattrs ?? Number.NEGATIVE_INFINITY) < LASTING;
  }

  #of(directory: Node): Asked {
    let asked = this.#directories.get(directory);
    if (asked === undefined) {
      asked = { anything: Number.NEGATIVE_INFINITY, xattrs: Number.NEGATIVE_INFINITY };
      this.#directories.set(directory, asked);
    }
    return asked;
  }
}
