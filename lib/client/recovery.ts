import debug from 'debug';
import { ConnectionLostError, ErrnoError } from '../protocol/error.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { type CallOptions, type Done, withLate } from '../session/call.js';
import { abortError } from '../session/index.js';
import { pause as sleep } from '../session/pause.js';
import type { Session } from '../session/session.js';
import type { Appends } from './appending.js';
import type { Fid } from './fid.js';
import { fidsOf, inOrder, type Pending, tellFollowers } from './pending.js';
import { hasRule, resend, type Surroundings } from './resend.js';
import { type Casualty, type Move, revive } from './revival.js';
import { endIfSilent } from './silence.js';

const trace = debug('ninep:recovery');

/** What a client tells about its connection. */
export type RecoveryEvent =
  | { type: 'lost'; error: Error }
  /** Requests have waited as long as they may and fail from now on; dialling goes on. */
  | { type: 'giving-up'; error: Error }
  | { type: 'recovered'; milliseconds: number; fids: number; resent: number }
  /** One file is not what it was: its requests fail with that code. */
  | { type: 'casualty'; path: string; code: Casualty['code'] };

export interface RecoveryOptions {
  /** Seconds a request waits for the connection to come back before it fails; Infinity: for ever. */
  retry: number;
  /** Seconds without a byte, while an answer is due, after which a connection counts as lost; 0: never. Default: 60. */
  silence?: number | undefined;
  onEvent?: ((event: RecoveryEvent) => void) | undefined;
}

/** What recovery needs of its client. */
export interface Owner {
  /** Fids that the server knew. */
  living(): Fid[];
  /** Those that will only be clunked, which are not made again either. */
  unneeded(): Fid[];
  /** Those that read or write an extended attribute: they are not made again. */
  transient(): Fid[];
  fid(number: number): Fid | undefined;
  spare(): number;
  giveBack(number: number): void;
  adopt(session: Session): void;
}

const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 2000;
/** A conversation that ends within this many milliseconds got nowhere. */
const SHORT = 1000;
/** So many of them one after another, and what was under way in all of them fails: the peer may be breaking them off over it. */
const TRIES = 10;
/** Seconds of silence by default. */
const SILENCE = 60;

/**
 * Carries a client's requests over lost connections.
 *
 * ```
 *   up ──(session lost)──► down: dial, revive fids ──► up: resend what was in flight, then what waited
 *                           │
 *                    retry seconds: what waits fails, and what comes fails at once; dialling goes on
 * ```
 */
export class Recovery {
  readonly #owner: Owner;
  readonly #redial: (signal: AbortSignal) => Promise<Session>;
  readonly #options: RecoveryOptions;
  #session: Session;
  #parked: Pending[] = [];
  #down = false;
  #hopeless: Error | undefined;
  #order = 0;
  /** When the last conversation began, and how many before it got nowhere, one after another. */
  #begunAt = performance.now();
  #short = 0;
  #guard: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  /** Fids that the server does not have, and what their requests fail with. */
  readonly #broken = new Map<number, Casualty['code'] | 'ERESTART'>();
  /** Fids that are being made again, or were when the connection came back. */
  #revived = new Set<number>();
  #appends: Appends = new Map();
  /** Those of them that their owner ended meanwhile: the server may have them all the same, so their numbers stay taken until it has not. */
  readonly #orphans = new Set<number>();
  /** Connections lost and replaced, requests sent again, files that were not the same any more. */
  readonly counters = { losses: 0, recoveries: 0, resent: 0, casualties: 0 };

  constructor(session: Session, owner: Owner, redial: (signal: AbortSignal) => Promise<Session>, options: RecoveryOptions) {
    this.#session = session;
    this.#owner = owner;
    this.#redial = redial;
    this.#options = options;
    this.#watch(session);
  }

  /** Milliseconds of silence that are borne; 0: without end. */
  get #patience(): number {
    return (this.#options.silence ?? SILENCE) * 1000;
  }

  get down(): boolean {
    return this.#down;
  }

  #watch(session: Session): void {
    session.onClosed((error) => {
      if (error === undefined || this.#ending.signal.aborted) return;
      this.counters.losses++;
      void this.#recover(error);
    });
    clearInterval(this.#guard);
    this.#guard = endIfSilent(session, this.#patience);
  }

  /** As Session.call; but a lost connection is waited out. */
  call<N extends TName>(name: N, body: Body<N>, done: Done<N>, options?: CallOptions<N>): void {
    const pending: Pending<N> = { name, body, done, options, order: this.#order++, sent: false };
    if (this.#down) this.#park(pending);
    else if (this.#broken.size === 0 || !this.#answerBroken(pending)) this.#send(pending);
  }

  /** Its owner has ended that fid. False: its number is not free yet, and is given back when it is. */
  forget(number: number): boolean {
    this.#broken.delete(number);
    if (!this.#down || !this.#revived.has(number)) return true;
    this.#orphans.add(number);
    return false;
  }

  /** The conversation in which they would have been made is over. */
  #dropOrphans(): void {
    for (const number of this.#orphans) this.#owner.giveBack(number);
    this.#orphans.clear();
    this.#revived = new Set();
  }

  /** Answers a request for a fid that the server does not have. */
  #answerBroken<N extends TName>(pending: Pending<N>): boolean {
    const { name, body } = pending;
    const number = [...fidsOf(body)].find((named) => this.#broken.has(named));
    const code = number === undefined ? undefined : this.#broken.get(number);
    if (code === undefined || number === undefined) return false;
    // Nothing is left to end; but a value that was to be set at the clunk has not been.
    const ends = name === 'Tclunk' && this.#owner.fid(number)?.transient !== 'write';
    if (ends) queueMicrotask(() => this.#finish(pending, undefined, {} as Reply<N>));
    else this.#fail(pending, new ErrnoError(code, { syscall: name }));
    return true;
  }

  #send<N extends TName>(pending: Pending<N>): void {
    let parked = false;
    const { name, body, done, options } = pending;
    const late = options?.late;
    const session = this.#session;
    const begun = session.lost === undefined;
    session.call(
      name,
      body,
      (error, reply) => {
        if (error instanceof ConnectionLostError && !this.#ending.signal.aborted) {
          parked = true;
          pending.sent ||= begun;
          if (this.#isHopeless(pending, begun)) this.#fail(pending, error);
          else this.#park(pending);
        } else {
          done(error, reply);
          if (pending.followers !== undefined) tellFollowers(pending);
        }
      },
      late === undefined
        ? options
        : withLate(options, (error, reply) => {
            if (!parked) late(error, reply);
          }),
    );
  }

  #isHopeless<N extends TName>(pending: Pending<N>, sent: boolean): boolean {
    if (sent) pending.tries = (pending.tries ?? 0) + 1;
    return (pending.tries ?? 0) >= TRIES && this.#short >= TRIES - 2;
  }

  #park<N extends TName>(pending: Pending<N>): void {
    if (pending.followers !== undefined) tellFollowers(pending);
    if (this.#hopeless !== undefined || this.#ending.signal.aborted) {
      this.#fail(pending, this.#hopeless ?? (this.#session.lost as Error));
      return;
    }
    const signal = pending.options?.signal;
    if (signal?.aborted) {
      this.#fail(pending, abortError(signal));
      return;
    }
    // By a rule that the next loss has cut short.
    pending.unwatch?.();
    if (signal !== undefined) {
      const aborted = () => {
        const at = this.#parked.indexOf(pending as unknown as Pending);
        if (at < 0) {
          this.#giveUpOn(pending, abortError(signal));
        } else {
          this.#parked.splice(at, 1);
          this.#fail(pending, abortError(signal));
        }
      };
      signal.addEventListener('abort', aborted, { once: true });
      pending.unwatch = () => signal.removeEventListener('abort', aborted);
    }
    this.#parked.push(pending as unknown as Pending);
  }

  #fail<N extends TName>(pending: Pending<N>, error: Error): void {
    queueMicrotask(() => this.#finish(pending, error, undefined));
  }

  /** It waits for its turn, or is being sent again by a rule that goes on without whoever asked. */
  #giveUpOn<N extends TName>(pending: Pending<N>, error: Error): void {
    if (pending.givenUp !== undefined) return;
    pending.givenUp = error;
    pending.done(error, undefined);
  }

  #finish<N extends TName>(pending: Pending<N>, error: Error | undefined, reply: Reply<N> | undefined): void {
    const { done, options } = pending;
    pending.unwatch?.();
    if (pending.givenUp === undefined) done(error, reply);
    options?.late?.(error, reply);
    if (pending.followers !== undefined) tellFollowers(pending);
  }

  async #recover(cause: Error): Promise<void> {
    this.#down = true;
    this.#revived = new Set();
    const begun = performance.now();
    this.#tell({ type: 'lost', error: cause });
    const patience = this.#options.retry * 1000;
    const timer = Number.isFinite(patience) ? setTimeout(() => this.#giveUp(cause), patience) : undefined;
    const { signal } = this.#ending;
    this.#short = begun - this.#begunAt < SHORT ? this.#short + 1 : 0;
    if (this.#short > 1) await sleep(Math.min(FIRST_PAUSE * 1.6 ** this.#short, LONGEST_PAUSE), signal);
    for (let pause = FIRST_PAUSE; !signal.aborted; pause = Math.min(pause * 1.6, LONGEST_PAUSE)) {
      const session = await this.#attempt();
      if (session !== undefined && !signal.aborted) {
        clearTimeout(timer);
        this.#resume(session, performance.now() - begun);
        return;
      }
      session?.destroy();
      await sleep(pause, signal);
    }
    clearTimeout(timer);
  }

  /** One dialling and reviving; undefined if it failed. */
  async #attempt(): Promise<Session | undefined> {
    const { signal } = this.#ending;
    let session: Session | undefined;
    try {
      session = await this.#redial(this.#patience > 0 ? AbortSignal.any([signal, AbortSignal.timeout(this.#patience)]) : signal);
      if (signal.aborted) throw new Error('closed');
      if (session.dialect !== this.#session.dialect) throw new Error(`the server speaks ${session.dialect} now`);
      const fids = this.#owner.living().filter((fid) => !this.#broken.has(fid.number));
      this.#revived = new Set(fids.map(({ number }) => number));
      for (const { number } of this.#owner.unneeded()) this.#broken.set(number, 'ESTALE');
      const guard = endIfSilent(session, this.#patience);
      const moves = this.#moves();
      const ended = new Set([...this.#removals(), ...moves.map(({ to }) => to)].map((names) => names.join('/')));
      const casualties = await revive(session, fids, moves, this.#owner.spare, this.#owner.giveBack).finally(() => clearInterval(guard));
      for (const { fid, code } of casualties) {
        this.#broken.set(fid.number, code);
        // That a file is gone which this client removed or replaced itself, and has not open, is no news.
        if (fid.opened === undefined && (fid.place.gone || ended.has(fid.names.join('/')))) continue;
        this.counters.casualties++;
        this.#tell({ type: 'casualty', path: fid.path, code });
      }
      if (signal.aborted) throw new Error('closed');
      if (session.lost !== undefined) throw session.lost;
      return session;
    } catch (error) {
      trace('no: %o', error);
      session?.destroy();
      this.#dropOrphans();
      return undefined;
    }
  }

  #namesOf(number: number): readonly string[] {
    return this.#owner.fid(number)?.names ?? [];
  }

  /** What the server may have removed. */
  #removals(): (readonly string[])[] {
    const removals: (readonly string[])[] = [];
    for (const { name, body, sent } of this.#parked) {
      if (!sent) continue;
      if (name === 'Tremove') removals.push(this.#namesOf((body as Body<'Tremove'>).fid));
      else if (name === 'Tunlinkat') {
        const { dirfd, name: gone } = body as Body<'Tunlinkat'>;
        removals.push([...this.#namesOf(dirfd), gone]);
      }
    }
    return removals;
  }

  /** The renames that the server may have done. */
  #moves(): Move[] {
    const moves: Move[] = [];
    const names = (number: number) => this.#namesOf(number);
    for (const { name, body, sent } of this.#parked) {
      if (!sent) continue;
      if (name === 'Trename') {
        const { fid, dfid, name: newname } = body as Body<'Trename'>;
        moves.push({ from: names(fid), to: [...names(dfid), newname] });
      } else if (name === 'Trenameat') {
        const { olddirfid, oldname, newdirfid, newname } = body as Body<'Trenameat'>;
        moves.push({ from: [...names(olddirfid), oldname], to: [...names(newdirfid), newname] });
      }
    }
    return moves;
  }

  #resume(session: Session, milliseconds: number): void {
    this.#session = session;
    this.#begunAt = performance.now();
    this.#owner.adopt(session);
    this.#down = false;
    this.#hopeless = undefined;
    this.counters.recoveries++;
    const parked = this.#parked.sort((one, other) => one.order - other.order);
    this.#parked = [];
    const resent = parked.filter(({ sent }) => sent).length;
    this.counters.resent += resent;
    this.#tell({ type: 'recovered', milliseconds: Math.round(milliseconds), fids: this.#owner.living().length, resent });
    this.#watch(session);
    for (const { number } of this.#owner.transient()) this.#broken.set(number, 'ERESTART');
    for (const number of this.#orphans) {
      this.#broken.delete(number);
      session.call('Tclunk', { fid: number }, () => this.#owner.giveBack(number));
    }
    this.#orphans.clear();
    this.#appends = new Map();
    inOrder(parked, (pending) => {
      if (this.#down) this.#park(pending);
      else this.#again(pending);
    });
  }

  /** Sends what was parked, by the rules of resend.ts if the server may have done it already. */
  #again(pending: Pending): void {
    const { name, body } = pending;
    if (pending.givenUp !== undefined) {
      this.#finish(pending, pending.givenUp, undefined);
      return;
    }
    if (this.#answerBroken(pending)) return;
    if (name === 'Twalk') this.#revived.add((body as Body<'Twalk'>).newfid);
    // A fid whose clunk was under way was not made again, unless the clunk came while that was done.
    if (name === 'Tclunk' && !this.#revived.has((body as Body<'Tclunk'>).fid)) queueMicrotask(() => this.#finish(pending, undefined, {}));
    else if (hasRule(name, pending.sent)) this.#byRule(pending);
    else {
      // The session sees to its being given up from here on.
      pending.unwatch?.();
      this.#send(this.#fitting(pending));
    }
  }

  #byRule(pending: Pending): void {
    const around: Surroundings = {
      session: this.#session,
      sent: pending.sent,
      fid: (number) => this.#owner.fid(number),
      spare: this.#owner.spare,
      giveBack: this.#owner.giveBack,
      appends: this.#appends,
    };
    pending.sent ||= this.#session.lost === undefined;
    resend(around, pending.name, pending.body).then(
      (reply) => this.#finish(pending, undefined, reply),
      (error: unknown) => {
        if (error instanceof ConnectionLostError && !this.#ending.signal.aborted && !this.#isHopeless(pending, true)) this.#park(pending);
        else this.#finish(pending, error instanceof Error ? error : new Error(String(error)), undefined);
      },
    );
  }

  /** msize may be smaller than it was: less is asked for, and the caller asks for the rest. */
  #fitting(pending: Pending): Pending {
    const { body } = pending;
    const { maxPayload } = this.#session;
    if ('count' in body && body.count > maxPayload) return { ...pending, body: { ...body, count: maxPayload } };
    if (pending.name === 'Twrite' && (body as Body<'Twrite'>).data.length > maxPayload) {
      return { ...pending, body: { ...body, data: (body as Body<'Twrite'>).data.subarray(0, maxPayload) } };
    }
    return pending;
  }

  #giveUp(cause: Error): void {
    this.#hopeless = cause;
    this.#tell({ type: 'giving-up', error: cause });
    for (const pending of this.#parked.splice(0)) {
      pending.unwatch?.();
      this.#fail(pending, cause);
    }
  }

  #tell(event: RecoveryEvent): void {
    trace('%o', event);
    this.#options.onEvent?.(event);
  }

  /** No more dialling; what waits fails. */
  end(): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    clearInterval(this.#guard);
    for (const pending of this.#parked.splice(0)) {
      pending.unwatch?.();
      this.#fail(pending, this.#session.lost ?? new ConnectionLostError(this.#session.address));
    }
  }
}
