import type { Body, OperationName, Reply } from './opcodes.js';

/**
 * What every request says of itself, and how its handler learns that nobody waits for it any more. An AbortController with one
 * listener costs as much as a whole system call, and nearly no request is ever aborted: this does by itself what its users need of a signal.
 */
export class Request {
  /** The kernel's number for it. */
  readonly unique: number;
  readonly nodeid: number;
  /** The caller's file system uid and gid, in the mount's user namespace; 0 for what the kernel does by itself (write-back). */
  readonly uid: number;
  readonly gid: number;
  /** The caller's thread id; 0 for what the kernel does by itself. */
  readonly pid: number;
  aborted = false;
  readonly reason = undefined;
  /** Any signal may end it, as POSIX has it for waiting locks; others go on unless the caller is being killed. */
  interruptible = false;
  /** It has been answered. */
  answered = false;
  /** When it came (performance.now): what the server tells in answer to it is no older. */
  readonly at = performance.now();
  #listeners: (() => void)[] | undefined;

  constructor(unique: number, nodeid: number, uid: number, gid: number, pid: number) {
    this.unique = unique;
    this.nodeid = nodeid;
    this.uid = uid;
    this.gid = gid;
    this.pid = pid;
  }

  /** This request as a signal: `aborted`, `reason`, and listeners for `abort`, which is all that a session uses. */
  get signal(): AbortSignal {
    return this as unknown as AbortSignal;
  }

  /** The same, as the options of a request that is made for this one. */
  get options(): { signal: AbortSignal } {
    return { signal: this.signal };
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners ??= [];
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const at = this.#listeners?.indexOf(listener) ?? -1;
    if (at >= 0) this.#listeners?.splice(at, 1);
  }

  /** Nobody waits for it any more. Each listener is called once. */
  abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener();
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
  /** A signal was sent to who waits for a request. Default: `request.abort()`. */
  interrupt?(request: Request): void;
  /** The Linux number to answer for something thrown. Default: the one it carries, or EIO. */
  errno?(error: unknown): number;
};
