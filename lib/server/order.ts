import { NOFID } from '../protocol/constants.js';
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
  'Tcreateat',
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

const nothing: readonly undefined[] = [];

function named(body: unknown): (number | undefined)[] {
  const { fid, newfid, dfid, olddirfid, newdirfid, dirfd } = body as Named;
  return [fid, newfid, dfid, olddirfid, newdirfid, dirfd];
}

/** The fids that a request makes or changes; all of them are among those it names. Who asks for a descriptor (DESCRIPTOR_XATTR) makes none. */
function shaped(request: Request): readonly (number | undefined)[] {
  if (!shapingTypes.has(request.type)) return nothing;
  const { fid, newfid } = request.body as Named;
  if (request.type === messages.Tcreateat.type) return [newfid];
  // A walk leaves the fid it starts from as it is; unless that is what it makes.
  const walks = request.type === messages.Twalk.type || request.type === messages.Txattrwalk.type;
  if (walks && newfid !== fid) return newfid === NOFID ? nothing : [newfid];
  return named(request.body);
}

const none: readonly Request[] = [];

/** A request that waits for others. */
interface Wait {
  readonly request: Request;
  /** Grows with each that begins to wait. */
  readonly place: number;
  /** Of each fid it names, the last request before it that shapes that fid and is not over. */
  readonly on: Map<number, Request>;
}

/** The requests under way that others must wait for, and those others. */
export class Order {
  /** The last request that shapes a fid. */
  readonly #shaping = new Map<number, Request>();
  readonly #waits = new Map<Request, Wait>();
  /** Who waits for a request. */
  readonly #behind = new Map<Request, Set<Wait>>();
  #places = 0;
  #bytes = 0;
  /** The client asked for it. */
  kept = false;

  /** Requests that wait for others. */
  get size(): number {
    return this.#waits.size;
  }

  /** Bytes of their messages. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether a request that arrives now has to wait; `wait` must follow then. */
  blocks(request: Request): boolean {
    if (this.#shaping.size === 0) return false;
    for (const fid of named(request.body)) if (fid !== undefined && this.#shaping.has(fid)) return true;
    return false;
  }

  /** Has a request wait until all that block it are over. */
  wait(request: Request): void {
    const wait: Wait = { request, place: this.#places++, on: new Map() };
    this.#waits.set(request, wait);
    this.#bytes += request.bytes;
    for (const fid of named(request.body)) {
      const blocker = fid === undefined ? undefined : this.#shaping.get(fid);
      if (fid !== undefined && blocker !== undefined) this.#follow(wait, fid, blocker);
    }
    // Others wait for what it will make already now.
    for (const fid of shaped(request)) if (fid !== undefined) this.#shaping.set(fid, request);
  }

  #follow(wait: Wait, fid: number, blocker: Request): void {
    wait.on.set(fid, blocker);
    const behind = this.#behind.get(blocker);
    if (behind === undefined) this.#behind.set(blocker, new Set([wait]));
    else behind.add(wait);
  }

  /** A request will be answered later: who names what it makes waits for it. */
  shapes(request: Request): void {
    if (!this.kept) return;
    // One that has waited is known already, and may have others behind it that shape the same fid: those are the last then.
    for (const fid of shaped(request)) if (fid !== undefined && !this.#shaping.has(fid)) this.#shaping.set(fid, request);
  }

  /** It is over: gives those that waited for nothing else, in order. */
  ended(request: Request): readonly Request[] {
    return this.#shaping.size === 0 ? none : this.#leave(request, undefined);
  }

  /**
   * A request that waits is given up. Who waited for it waits for what it waited for, fid by fid, as if it had never come; gives those
   * that are left with nothing to wait for, in order.
   */
  forget(request: Request): readonly Request[] {
    const wait = this.#waits.get(request);
    if (wait === undefined) return none;
    this.#gone(request);
    for (const blocker of wait.on.values()) this.#behind.get(blocker)?.delete(wait);
    return this.#leave(request, wait.on);
  }

  /** Takes a request out; `before` has who takes its place, of each fid. */
  #leave(request: Request, before: ReadonlyMap<number, Request> | undefined): readonly Request[] {
    for (const fid of shaped(request)) {
      if (fid === undefined || this.#shaping.get(fid) !== request) continue;
      const last = before?.get(fid);
      if (last === undefined) this.#shaping.delete(fid);
      else this.#shaping.set(fid, last);
    }
    const behind = this.#behind.get(request);
    if (behind === undefined) return none;
    this.#behind.delete(request);
    const ready: Wait[] = [];
    for (const wait of behind) {
      for (const [fid, blocker] of wait.on) {
        if (blocker !== request) continue;
        const next = before?.get(fid);
        if (next === undefined) wait.on.delete(fid);
        else this.#follow(wait, fid, next);
      }
      if (wait.on.size > 0) continue;
      this.#gone(wait.request);
      ready.push(wait);
    }
    // Some may have come to wait for it after others that arrived later.
    return ready.sort((a, b) => a.place - b.place).map((wait) => wait.request);
  }

  #gone(request: Request): void {
    this.#waits.delete(request);
    this.#bytes -= request.bytes;
  }

  /** The session is over: nobody waits any more. */
  drop(): void {
    this.#waits.clear();
    this.#bytes = 0;
    this.#behind.clear();
    this.#shaping.clear();
    this.kept = false;
  }
}
