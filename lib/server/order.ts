import { messages, type TName } from '../protocol/messages.js';
import type { Request } from './request.js';

/**
 * What this server promises beyond the protocol to a client that asks for it (the attribute ORDERED_XATTR of a root): a request that names a fid waits for the requests before it that make that fid, or change what it stands for. So a client may send a Twalk
 * and the Tgetattr of its newfid together, and save a round trip. All others stay independent of each other.
 */
const shaping: ReadonlySet<TName> = new Set<TName>([
  'Tattach',
  'Twalk',
  'Tlopen',
  'Tlcreate',
  'Tmkdir',
  'Tsymlink',
  'Tmknod',
  'Tlink',
  'Tsetattr',
  'Tunlinkat',
  'Trenameat',
  'Trename',
  'Tremove',
  'Txattrwalk',
  'Txattrcreate',
  'Tclunk',
]);

const shapingTypes: ReadonlySet<number> = new Set([...shaping].map((name) => messages[name as keyof typeof messages].type));

type Named = Partial<Record<'fid' | 'newfid' | 'dfid' | 'olddirfid' | 'newdirfid' | 'dirfd', number>>;

function named(body: unknown): (number | undefined)[] {
  const { fid, newfid, dfid, olddirfid, newdirfid, dirfd } = body as Named;
  return [fid, newfid, dfid, olddirfid, newdirfid, dirfd];
}

const none: readonly Request[] = [];

/** The requests under way that others must wait for, and those others. */
export class Order {
  /** The last request that shapes a fid. */
  readonly #shaping = new Map<number, Request>();
  readonly #behind = new Map<Request, Request[]>();
  /** How many requests one that waits still waits for. */
  readonly #left = new Map<Request, number>();
  /** The client asked for it. */
  kept = false;

  /** Requests that wait for others. */
  get size(): number {
    return this.#left.size;
  }

  /** Whether a request that arrives now has to wait; `wait` must follow then. */
  blocks(request: Request): boolean {
    return this.#shaping.size > 0 && this.#blockers(request).size > 0;
  }

  #blockers(request: Request): Set<Request> {
    const blockers = new Set<Request>();
    for (const fid of named(request.body)) {
      const blocker = fid === undefined ? undefined : this.#shaping.get(fid);
      if (blocker !== undefined) blockers.add(blocker);
    }
    return blockers;
  }

  /** Has a request wait until all that block it are over. */
  wait(request: Request): void {
    const blockers = this.#blockers(request);
    this.#left.set(request, blockers.size);
    for (const blocker of blockers) {
      const behind = this.#behind.get(blocker);
      if (behind === undefined) this.#behind.set(blocker, [request]);
      else behind.push(request);
    }
    // Others wait for what it will make already now.
    this.shapes(request);
  }

  /** A request will be answered later: who names what it makes waits for it. */
  shapes(request: Request): void {
    if (!this.kept || !shapingTypes.has(request.type)) return;
    const { fid, newfid } = request.body as Named;
    // A walk leaves the fid it starts from as it is; unless that is what it makes.
    const walks = request.type === messages.Twalk.type || request.type === messages.Txattrwalk.type;
    const numbers = walks && newfid !== fid ? [newfid] : named(request.body);
    for (const number of numbers) if (number !== undefined) this.#shaping.set(number, request);
  }

  /** It is over: gives those that waited for nothing else, in order. */
  ended(request: Request): readonly Request[] {
    if (this.#shaping.size === 0) return none;
    for (const [fid, shaper] of this.#shaping) if (shaper === request) this.#shaping.delete(fid);
    const behind = this.#behind.get(request);
    if (behind === undefined) return none;
    this.#behind.delete(request);
    const ready: Request[] = [];
    for (const next of behind) {
      const left = this.#left.get(next);
      if (left === undefined) continue;
      if (left > 1) {
        this.#left.set(next, left - 1);
      } else {
        this.#left.delete(next);
        ready.push(next);
      }
    }
    return ready;
  }

  /** A request that waits is given up. */
  forget(request: Request): void {
    this.#left.delete(request);
  }

  /** The session is over: gives all that wait. */
  drop(): Request[] {
    const all = [...this.#left.keys()];
    this.#left.clear();
    this.#behind.clear();
    this.#shaping.clear();
    this.kept = false;
    return all;
  }
}
