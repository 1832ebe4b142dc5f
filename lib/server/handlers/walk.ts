import { MAXWELEM } from '../../protocol/constants.js';
import type { ErrnoError } from '../../protocol/error.js';
import type { Qid } from '../../protocol/types.js';
import type { Awaitable, BackendNode } from '../backend.js';
import { failure, isPending } from '../errors.js';
import { Fid, type FidTable } from '../fids.js';
import { checkName } from '../names.js';
import type { Request } from '../request.js';
import type { Handler } from './handler.js';

type Answer = { wqids: Qid[] } | ErrnoError;

export const Twalk: Handler<'Twalk'> = ({ fids }, request, { fid: number, newfid, wnames }) => {
  const fid = request.use(fids, number);
  if (fid.xattr !== undefined) throw failure('EINVAL');
  if (newfid === number) {
    if (fid.file !== undefined || fid.opening) throw failure('EINVAL');
    if (wnames.length === 0) return { wqids: [] };
  }
  if (wnames.length > MAXWELEM) throw failure('EINVAL');
  for (const name of wnames) checkName(name);
  if (newfid !== number) fids.reserve(newfid);
  const walk = new Walk(fids, request, fid, newfid, wnames);
  return walk.go();
};

/** One Twalk under way. It holds the node it has come to, and newfid's number unless that is the fid itself. */
class Walk {
  readonly #fids: FidTable;
  readonly #request: Request;
  readonly #fid: Fid;
  readonly #newfid: number;
  readonly #names: readonly string[];
  readonly #qids: Qid[] = [];
  #at: BackendNode;

  constructor(fids: FidTable, request: Request, fid: Fid, newfid: number, names: readonly string[]) {
    this.#fids = fids;
    this.#request = request;
    this.#fid = fid;
    this.#newfid = newfid;
    this.#names = names;
    this.#at = fid.node;
    this.#at.retain();
  }

  /** Goes on as long as the back-end answers at once. */
  go(): Awaitable<Answer> {
    try {
      while (this.#qids.length < this.#names.length) {
        const next = this.#step(this.#names[this.#qids.length] ?? '');
        if (isPending(next)) return this.#goLater(next);
        if (next === undefined) return this.#missing();
        this.#arrive(next);
      }
    } catch (error) {
      return this.#stop(error);
    }
    return this.#finish();
  }

  async #goLater(first: Promise<BackendNode | undefined>): Promise<Answer> {
    try {
      let next = await first;
      for (;;) {
        if (next === undefined) return this.#missing();
        this.#arrive(next);
        if (this.#qids.length === this.#names.length) break;
        next = await this.#step(this.#names[this.#qids.length] ?? '');
      }
    } catch (error) {
      return this.#stop(error);
    }
    return this.#finish();
  }

  #step(name: string): Awaitable<BackendNode | undefined> {
    if (name === '..') return this.#at.parent(this.#request);
    if (name !== '.') return this.#at.walk(name, this.#request);
    if ((this.#at.qid.type & 0x80) === 0) throw failure('ENOTDIR');
    this.#at.retain();
    return this.#at;
  }

  #arrive(node: BackendNode): void {
    this.#at.release();
    this.#at = node;
    this.#qids.push(node.qid);
  }

  #finish(): { wqids: Qid[] } {
    // A fid that was to move, but was clunked or moved by another request while its walk ran.
    if (this.#newfid === this.#fid.number && this.#fids.find(this.#newfid) !== this.#fid) {
      this.#at.release();
      throw failure('EBADF');
    }
    this.#fids.put(new Fid(this.#newfid, this.#at, this.#fid.attached));
    return { wqids: this.#qids };
  }

  /** A walk that fails at its first name is an error; later, it gives the qids it has and no newfid (walk(5)). */
  #stop(error: unknown): { wqids: Qid[] } {
    this.#leave();
    if (this.#qids.length === 0) throw error;
    return { wqids: this.#qids };
  }

  /** As `#stop`, where there is no such name. */
  #missing(): Answer {
    this.#leave();
    return this.#qids.length === 0 ? failure('ENOENT') : { wqids: this.#qids };
  }

  #leave(): void {
    this.#at.release();
    if (this.#newfid !== this.#fid.number) this.#fids.unreserve(this.#newfid);
  }
}
