import type { Body, OperationName, Reply } from './opcodes.js';

/** What every request says of itself, and how its handler learns that nobody waits for it any more. */
export class Request {
  /** The kernel's number for it. */
  readonly unique: number;
  readonly nodeid: number;
  /** The caller's file system uid and gid, in the mount's user namespace; 0 for what the kernel does by itself (write-back). */
  readonly uid: number;
  readonly gid: number;
  /** The caller's thread id; 0 for what the kernel does by itself. */
  readonly pid: number;
  #interrupted = false;
  #controller: AbortController | undefined;

  constructor(unique: number, nodeid: number, uid: number, gid: number, pid: number) {
    this.unique = unique;
    this.nodeid = nodeid;
    this.uid = uid;
    this.gid = gid;
    this.pid = pid;
  }

  /** Aborted when the caller was interrupted by a signal (FUSE_INTERRUPT). Made when first asked for. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#interrupted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  get interrupted(): boolean {
    return this.#interrupted;
  }

  interrupt(): void {
    this.#interrupted = true;
    this.#controller?.abort();
  }
}

/**
 * What answers the kernel: one method for each operation it knows; the others are answered ENOSYS, which the kernel mostly remembers.
 * A method gives the reply, at once or by a promise; a negative number instead of one is an errno, without the cost of an exception.
 * What it throws is answered with the Linux number that the error carries.
 */
export type Operations = {
  [K in OperationName]?: (body: Body<K>, request: Request) => Reply<K> | number | Promise<Reply<K> | number>;
} & {
  /** The kernel has dropped `count` look-ups of a node. There is no reply. */
  forget(nodeid: number, count: number): void;
};
