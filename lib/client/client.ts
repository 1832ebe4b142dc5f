import { type Dialect, NOFID, NONUNAME, VERSION_L } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { decodeText } from '../protocol/text.js';
import type { Qid } from '../protocol/types.js';
import { type CallOptions, type Done, withLate } from '../session/call.js';
import { whileHeard } from '../session/parting.js';
import type { Session } from '../session/session.js';
import { Fid } from './fid.js';
import { FidNumbers } from './fids.js';
import { legacy } from './legacy.js';
import { linux } from './linux.js';
import { Place } from './place.js';
import { type Owner, Recovery, type RecoveryEvent } from './recovery.js';
import type { RequestOptions, Verbs } from './verbs.js';

/** Whose view of which tree: what Tattach says. */
export interface Attachment {
  /** The user's name. Default: "". */
  uname: string;
  /** Which tree of the server. Default: "". */
  aname: string;
  /** n_uname: the user's number, or NONUNAME. */
  uid: number;
}

/** How a client goes on after a lost connection. */
export interface ClientRecovery {
  /** Another client of the same session: they take their fids' numbers in common. It outlives neither session nor `redial`, which must give both the same. */
  beside?: Client | undefined;
  /** Makes another conversation with the same server. */
  redial?: ((signal: AbortSignal) => Promise<Session>) | undefined;
  /** Seconds a request waits for that before it fails; Infinity: for ever; 0: a loss is the end. Default: 0. */
  retry?: number | undefined;
  /** Seconds without a byte, while an answer is due, after which a connection counts as lost; 0: never. Default: 60. */
  silence?: number | undefined;
  /** Is told of losses and what became of them. Must not throw. */
  onEvent?: ((event: RecoveryEvent) => void) | undefined;
}

/**
 * A client of one server: an attached root and the fids walked from it. It outlives its session, so that a lost connection can be
 * followed by another one.
 */
export class Client {
  #session: Session;
  readonly #numbers: FidNumbers;
  readonly #fids = new Map<number, Fid>();
  readonly #roots = new Map<string, Place>();
  readonly #recovery: Recovery | undefined;
  readonly verbs: Verbs;
  /** Messages that this server was found not to have. */
  readonly lacking = new Set<TName>();
  #root: Fid | undefined;
  #closing: Promise<void> | undefined;

  /**
   * `connect` is the usual way to one. The session belongs to the client from then on. `redial` makes another one after a loss: without
   * it, or with a `retry` of 0 seconds, a lost connection is the end of the client.
   */
  constructor(session: Session, { beside, redial, retry = 0, silence, onEvent }: ClientRecovery = {}) {
    this.#numbers = beside === undefined ? new FidNumbers() : beside.#numbers;
    this.#session = session;
    this.verbs = verbsOf(session.dialect);
    if (redial === undefined || retry <= 0 || session.dialect !== VERSION_L) return;
    this.#recovery = new Recovery(session, this.#owner(), redial, { retry, silence, onEvent });
  }

  #owner(): Owner {
    return {
      living: () => [...this.#fids.values()].filter((fid) => fid.known && !fid.ended && !fid.unneeded && fid.transient === undefined),
      unneeded: () => [...this.#fids.values()].filter((fid) => fid.known && !fid.ended && fid.unneeded),
      transient: () => [...this.#fids.values()].filter((fid) => fid.known && fid.transient !== undefined),
      fid: (number) => this.#fids.get(number),
      spare: () => this.#numbers.take(),
      giveBack: (number) => this.#numbers.give(number),
      adopt: (session) => {
        this.#session = session;
      },
    };
  }

  /** What became of lost connections; undefined where they are the end. */
  get recovery(): { down: boolean; losses: number; recoveries: number; resent: number; casualties: number } | undefined {
    return this.#recovery && { down: this.#recovery.down, ...this.#recovery.counters };
  }

  /** The conversation as it is now. */
  get session(): Session {
    return this.#session;
  }

  get dialect(): Dialect {
    return this.#session.dialect;
  }

  /** The root of the first attach. It belongs to the client: nobody else clunks it. */
  get root(): Fid {
    if (this.#root === undefined) throw new ErrnoError('EBADF', { syscall: 'Tattach' });
    return this.#root;
  }

  /** Fids that are alive, the root among them; and numbers the server has not yet given back. */
  get fidCount(): { alive: number; numbers: number } {
    return { alive: this.#fids.size, numbers: this.#numbers.used };
  }

  /** Tattach: the root of a tree, as a fid of the caller's. The first one becomes `root` and stays the client's. */
  async attach(attachment: Partial<Attachment> = {}, options?: RequestOptions): Promise<Fid> {
    const full: Attachment = { uname: attachment.uname ?? '', aname: attachment.aname ?? '', uid: attachment.uid ?? NONUNAME };
    // On the wire there would be another number, and 2^32 is root's.
    if (!Number.isInteger(full.uid) || full.uid < 0 || full.uid > NONUNAME) {
      throw new RangeError(`uid must be 0 to ${NONUNAME}, not ${full.uid}`);
    }
    const fid = this.newFid({ type: 0, version: 0, path: 0n }, full, this.#rootPlace(full));
    const body = { fid: fid.number, afid: NOFID, uname: full.uname, aname: full.aname, nUname: full.uid };
    try {
      fid.qid = (await this.requestNewFid(fid, 'Tattach', body, options)).qid;
    } catch (error) {
      throw this.located(error, full.aname);
    }
    this.#root ??= fid;
    return fid;
  }

  /** Sends a request for a fid of this client; as Session.request. */
  request<N extends TName>(name: N, body: Body<N>, options?: CallOptions<N>): Promise<Reply<N>> {
    return new Promise((resolve, reject) => {
      this.call(name, body, (error, reply) => (reply === undefined ? reject(error) : resolve(reply)), options);
    });
  }

  /** As Session.call. */
  call<N extends TName>(name: N, body: Body<N>, done: Done<N>, options?: CallOptions<N>): void {
    if (this.#recovery === undefined) this.#session.call(name, body, done, options);
    else this.#recovery.call(name, body, done, options);
  }

  /** A fid that has a number and is not yet known to the server; `at` is its place, or the names from its attach. */
  newFid(qid: Qid, attachment: Attachment, at: Place | readonly string[]): Fid {
    const place = at instanceof Place ? at : this.#rootPlace(attachment).descend(at);
    const fid = new Fid(this, this.#numbers.take(), qid, attachment, place);
    this.#fids.set(fid.number, fid);
    return fid;
  }

  /** The place of a tree's root. All its users share it: a rename by one moves the fids of all. */
  #rootPlace({ aname }: Attachment): Place {
    let place = this.#roots.get(aname);
    if (place === undefined) {
      place = Place.root();
      this.#roots.set(aname, place);
    }
    return place;
  }

  /** Sends the request that makes `fid` known to the server. If it fails, the fid is void and its number free again. */
  requestNewFid<N extends TName>(fid: Fid, name: N, body: Body<N>, options?: CallOptions<N>): Promise<Reply<N>> {
    return new Promise((resolve, reject) => {
      let givenUp = false;
      this.call(
        name,
        body,
        (error, reply) => {
          givenUp = reply === undefined;
          fid.known = !givenUp;
          if (reply === undefined) reject(error);
          else resolve(reply);
        },
        withLate(options, (_error, reply) => {
          if (!givenUp) return;
          // Given up, yet the server did it: nobody else knows the fid.
          fid.known = reply !== undefined;
          if (fid.known) fid.clunk().catch(() => undefined);
          else this.#forget(fid);
        }),
      );
    });
  }

  /** Sends the request that ends `fid` on the server, whatever it answers. */
  requestEnd(fid: Fid, name: 'Tclunk' | 'Tremove', options: RequestOptions | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      this.call<typeof name>(
        name,
        { fid: fid.number },
        (error, reply) => {
          failure = error;
          if (reply === undefined) reject(error);
          else resolve();
        },
        withLate<typeof name>(options, (error) => {
          if (error !== undefined && error === failure && isGivenUp(error)) this.#endUnanswered(fid);
          else this.#forget(fid);
        }),
      );
    });
  }

  /** What was given up and has no answer was not done (flush(5)): the server has the fid still. */
  #endUnanswered(fid: Fid): void {
    this.call('Tclunk', { fid: fid.number }, () => undefined, { timeout: 0, late: () => this.#forget(fid) });
  }

  #forget(fid: Fid): void {
    if (!this.#fids.delete(fid.number)) return;
    fid.forgotten();
    if (this.#recovery?.forget(fid.number) ?? true) this.#numbers.give(fid.number);
  }

  /** An error of ours, as the server would have made it. */
  error(code: string, syscall: string, path: string): ErrnoError {
    return new ErrnoError(code, { syscall, path });
  }

  /** The error with the path it was about, and the stack of who asked. */
  located(error: unknown, path: string): unknown {
    if (!(error instanceof ErrnoError) || error.path !== undefined) return error;
    return new ErrnoError(error.errno, { syscall: error.syscall, path }, error.cause === undefined ? undefined : { cause: error.cause });
  }

  /** For the clunk of a fid that the server may not know: that it does not is no error. */
  readonly ignoreUnknownFid = (error: unknown): void => {
    if (!(error instanceof ErrnoError)) throw error;
  };

  text(bytes: Uint8Array): string {
    return decodeText(bytes);
  }

  /**
   * Waits for `work`, which ends what is in use, as long as the server is heard of (Session.close); then it ends the conversation. A lost connection has `retry`
   * for its bound.
   */
  part<T>(work: Promise<T>): Promise<T> {
    let away = 0;
    return whileHeard(
      work,
      () => (this.#recovery?.down === true ? --away : this.#session.counters.bytesIn),
      () => this.destroy(new ErrnoError('ETIMEDOUT', { syscall: 'close' })),
    );
  }

  /**
   * Waits for what is in flight, as Session.close does, and ends the conversation: a lock that is being waited for, and what a silent server has not answered
   * within ten seconds, rejects with a ConnectionLostError. Fids end with it. Idempotent.
   */
  close(): Promise<void> {
    this.#recovery?.end();
    this.#closing ??= this.#session.close();
    return this.#closing;
  }

  /** Ends it at once: everything pending rejects with a ConnectionLostError. */
  destroy(error?: Error): void {
    this.#recovery?.end();
    this.#session.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function verbsOf(dialect: Dialect): Verbs {
  return dialect === VERSION_L ? linux : legacy;
}

/** By an abort or a time-out; a server that answers ETIMEDOUT itself may be asked once more. */
function isGivenUp(error: Error): boolean {
  return error.name === 'AbortError' || (error instanceof ErrnoError && error.code === 'ETIMEDOUT');
}
