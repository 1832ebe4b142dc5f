import { QTDIR } from '../protocol/constants.js';
import type { Awaitable, BackendFile, BackendNode } from './backend.js';
import { failure, isPending } from './errors.js';
import type { Export } from './exports.js';

/** The value of an extended attribute on its way to or from a client (Txattrwalk, Txattrcreate). */
export type Xattr =
  | { readonly writing: false; readonly value: Uint8Array }
  | { readonly writing: true; readonly name: string; readonly flags: number; readonly value: Uint8Array; written: number };

/** Who attached, where: every fid that was walked from an attach shares it. */
export interface Attached {
  readonly exported: Export;
  readonly uname: string;
  readonly aname: string;
  readonly uid: number;
}

/**
 * What a fid number stands for: a node, and what was opened through it. Requests that are under way hold it (`refs`), so that one
 * may be clunked while another still reads through it: it is closed when the last of them is done.
 */
export class Fid {
  readonly number: number;
  readonly node: BackendNode;
  readonly attached: Attached;
  file: BackendFile | undefined;
  /** L_O_* flags it was opened with. */
  flags = 0;
  /** An open is under way: no second one may begin. */
  opening = false;
  xattr: Xattr | undefined;
  #refs = 0;
  #retired = false;
  #closed: ((outcome: Awaitable<void>) => void) | undefined;

  /** Takes over the caller's hold on `node`. */
  constructor(number: number, node: BackendNode, attached: Attached) {
    this.number = number;
    this.node = node;
    this.attached = attached;
  }

  get isDirectory(): boolean {
    return (this.node.qid.type & QTDIR) !== 0;
  }

  get busy(): boolean {
    return this.#refs > 0;
  }

  hold(): void {
    this.#refs++;
  }

  letGo(): void {
    this.#refs--;
    if (this.#refs === 0 && this.#retired) this.#closed?.(this.#close());
  }

  /** Ends the fid, as soon as no request holds it. Settles once the file is closed, with the file's error. */
  retire(): Awaitable<void> {
    if (this.#retired) return undefined;
    this.#retired = true;
    if (this.#refs === 0) return this.#close();
    return new Promise((resolve) => {
      this.#closed = resolve;
    });
  }

  #close(): Awaitable<void> {
    this.xattr = undefined;
    const { file, node } = this;
    this.file = undefined;
    let closing: Awaitable<void>;
    try {
      closing = file?.close();
    } catch (error) {
      // Handed on as a promise, for letGo() has a request of its own to finish.
      closing = Promise.reject(error);
    }
    if (closing === undefined || !isPending(closing)) {
      node.release();
      return undefined;
    }
    return closing.finally(() => node.release());
  }
}

/** The fids of one session. */
export class FidTable {
  readonly #max: number;
  readonly #maxXattrs: number;
  readonly #maxXattrBytes: number;
  /** A number that is promised to a walk under way has no fid yet. */
  readonly #fids = new Map<number, Fid | undefined>();
  #xattrs = 0;
  #xattrBytes = 0;
  #ended = false;
  readonly #failed: (error: unknown) => void;

  /** `failed` is told of files that could not be closed when nobody waited for it. */
  constructor(max: number, maxXattrs: number, maxXattrBytes: number, failed: (error: unknown) => void) {
    this.#max = max;
    this.#maxXattrs = maxXattrs;
    this.#maxXattrBytes = maxXattrBytes;
    this.#failed = failed;
  }

  get size(): number {
    return this.#fids.size;
  }

  /** Whether the session is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The fid of that number; EBADF where there is none. */
  get(number: number): Fid {
    const fid = this.#fids.get(number);
    if (fid === undefined) throw failure('EBADF');
    return fid;
  }

  find(number: number): Fid | undefined {
    return this.#fids.get(number);
  }

  /** Promises a number to a request that will fill it. EINVAL for one in use, EMFILE where there are too many. */
  reserve(number: number): void {
    if (number === 0xffffffff || this.#fids.has(number)) throw failure('EINVAL');
    if (this.#fids.size >= this.#max) throw failure('EMFILE');
    this.#fids.set(number, undefined);
  }

  /** Takes the promise back. */
  unreserve(number: number): void {
    if (this.#fids.get(number) === undefined) this.#fids.delete(number);
  }

  /** Puts a fid where its number was reserved, or where it takes another's place; that one ends. */
  put(fid: Fid): void {
    if (this.#ended) {
      // The session ended while its request was under way.
      this.#drop(fid);
      throw failure('EINTR');
    }
    const old = this.#fids.get(fid.number);
    this.#fids.set(fid.number, fid);
    if (old !== undefined) this.#drop(old);
  }

  /** Takes the fid out: the number is free from here on. EBADF where there is none. */
  take(number: number): Fid {
    const fid = this.get(number);
    this.#fids.delete(number);
    this.#forget(fid);
    return fid;
  }

  /** Ends a fid that its client is not told of, whether it is in here yet or not; a failure goes to the log. What it returns resolves when that is closed. */
  discard(fid: Fid): Promise<void> | undefined {
    if (this.#fids.get(fid.number) === fid) this.#fids.delete(fid.number);
    return this.#drop(fid);
  }

  /** Makes a fid one of an extended attribute. EMFILE or ENOSPC where those are too many or too large. */
  setXattr(fid: Fid, xattr: Xattr): void {
    if (this.#xattrs >= this.#maxXattrs) throw failure('EMFILE');
    if (this.#xattrBytes + xattr.value.length > this.#maxXattrBytes) throw failure('ENOSPC');
    this.#xattrs++;
    this.#xattrBytes += xattr.value.length;
    fid.xattr = xattr;
  }

  /** Whether `bytes` more of extended attributes may be held. */
  demandXattrRoom(bytes: number): void {
    if (this.#xattrs >= this.#maxXattrs) throw failure('EMFILE');
    if (this.#xattrBytes + bytes > this.#maxXattrBytes) throw failure('ENOSPC');
  }

  /** Ends every fid; those in use end with the request that uses them. What it returns resolves when all are closed. */
  end(): Awaitable<void> {
    this.#ended = true;
    const closings: Array<Promise<void>> = [];
    for (const fid of this.#fids.values()) {
      const closing = fid === undefined ? undefined : this.#drop(fid);
      if (closing !== undefined) closings.push(closing);
    }
    this.#fids.clear();
    return closings.length === 0 ? undefined : Promise.all(closings).then(() => {});
  }

  /** Ends a fid whose end nobody is told of; a failure goes to the log. */
  #drop(fid: Fid): Promise<void> | undefined {
    this.#forget(fid);
    const closing = fid.retire();
    return isPending(closing) ? closing.catch(this.#failed) : undefined;
  }

  #forget(fid: Fid): void {
    if (fid.xattr === undefined) return;
    this.#xattrs--;
    this.#xattrBytes -= fid.xattr.value.length;
  }
}
