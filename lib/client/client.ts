import { type Dialect, NOFID, NONUNAME, VERSION_L } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { decodeText } from '../protocol/text.js';
import type { Qid } from '../protocol/types.js';
import type { CallOptions, Done } from '../session/call.js';
import type { Session } from '../session/session.js';
import { Fid } from './fid.js';
import { FidNumbers } from './fids.js';
import { legacy } from './legacy.js';
import { linux } from './linux.js';
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

/**
 * A client of one server: an attached root and the fids walked from it. It outlives its session, so that a lost connection can be
 * followed by another one.
 */
export class Client {
  #session: Session;
  readonly #numbers = new FidNumbers();
  readonly #fids = new Set<Fid>();
  readonly verbs: Verbs;
  /** Messages that this server was found not to have. */
  readonly lacking = new Set<TName>();
  #root: Fid | undefined;
  #closing: Promise<void> | undefined;

  /** `connect` is the usual way to one. The session belongs to the client from then on. */
  constructor(session: Session) {
    this.#session = session;
    this.verbs = verbsOf(session.dialect);
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
    const fid = this.newFid({ type: 0, version: 0, path: 0n }, full, []);
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
    return this.#session.request(name, body, options);
  }

  /** As Session.call. */
  call<N extends TName>(name: N, body: Body<N>, done: Done<N>, options?: CallOptions<N>): void {
    this.#session.call(name, body, done, options);
  }

  /** A fid that has a number and is not yet known to the server. */
  newFid(qid: Qid, attachment: Attachment, names: readonly string[]): Fid {
    const fid = new Fid(this, this.#numbers.take(), qid, attachment, names);
    this.#fids.add(fid);
    return fid;
  }

  /** Sends the request that makes `fid` known to the server. If it fails, the fid is void and its number free again. */
  requestNewFid<N extends TName>(fid: Fid, name: N, body: Body<N>, options?: RequestOptions): Promise<Reply<N>> {
    return new Promise((resolve, reject) => {
      let givenUp = false;
      this.call(
        name,
        body,
        (error, reply) => {
          givenUp = reply === undefined;
          if (reply === undefined) reject(error);
          else resolve(reply);
        },
        {
          ...options,
          late: (_error, reply) => {
            if (!givenUp) return;
            // Given up, yet the server did it: nobody else knows the fid.
            if (reply !== undefined) fid.clunk().catch(() => undefined);
            else this.#forget(fid);
          },
        },
      );
    });
  }

  /** Sends the request that ends `fid` on the server, whatever it answers. */
  requestEnd(fid: Fid, name: 'Tclunk' | 'Tremove', options: RequestOptions | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.call(name, { fid: fid.number }, (error, reply) => (reply === undefined ? reject(error) : resolve()), {
        ...options,
        late: () => this.#forget(fid),
      });
    });
  }

  #forget(fid: Fid): void {
    if (!this.#fids.delete(fid)) return;
    fid.void();
    this.#numbers.give(fid.number);
  }

  /** A name was moved through this client: what lies at or below it has a new path. */
  renamed(by: Fid, from: readonly string[], to: readonly string[]): void {
    for (const fid of this.#fids) {
      if (fid.attachment.aname !== by.attachment.aname || !startsWith(fid.names, from)) continue;
      fid.names = [...to, ...fid.names.slice(from.length)];
    }
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

  /** Waits for what is in flight and ends the conversation. Fids end with it. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#session.close();
    return this.#closing;
  }

  /** Ends it at once: everything pending rejects with a ConnectionLostError. */
  destroy(error?: Error): void {
    this.#session.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function verbsOf(dialect: Dialect): Verbs {
  return dialect === VERSION_L ? linux : legacy;
}

function startsWith(names: readonly string[], prefix: readonly string[]): boolean {
  return names.length >= prefix.length && prefix.every((name, index) => name === names[index]);
}
