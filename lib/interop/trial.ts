import { NOFID } from '../protocol/constants.js';
import { ConnectionLostError } from '../protocol/error.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { Handle } from './handle.js';
import { Deviation } from './outcome.js';
import type { Place } from './place.js';
import type { Answer, Wire } from './wire.js';

/** Who attaches, and to what. */
export interface Attach {
  uname: string;
  aname: string;
  uid: number;
}

/** What a trial stands on. */
export interface Ground {
  /** A new connection, with a version agreed on; `msize` other than the usual one if given. */
  connect(msize?: number): Promise<Wire>;
  /** A new connection on which nothing has been said. */
  dial(): Promise<Wire>;
  readonly attach: Attach;
  readonly gid: number;
  readonly msize: number;
  /** Milliseconds to wait for what may never come. */
  readonly patience: number;
}

export { STRANGER } from './wire.js';

/** One run of one check: its connections, its fids, its directory. */
export class Trial {
  readonly ground: Ground;
  readonly wire: Wire;
  readonly #place: Place;
  readonly #fids = new Set<number>();
  /** Those of them that the server has given something. */
  readonly #made = new Set<number>();
  /** All it ever took. A check may use one again after its clunk, so none goes back before the end. */
  readonly #numbers: number[] = [];
  readonly #others: Trial[] = [];
  readonly #wires = new Set<Wire>();

  constructor(ground: Ground, wire: Wire, place: Place) {
    this.ground = ground;
    this.wire = wire;
    this.#place = place;
  }

  get gid(): number {
    return this.ground.gid;
  }

  /** The most that one Tread or Twrite may ask for, in bytes. */
  get payload(): number {
    return this.wire.msize - 24;
  }

  get patience(): number {
    return this.ground.patience;
  }

  request<N extends TName>(name: N, body: Body<N>): Promise<Reply<N>> {
    return this.wire.request(name, body);
  }

  /** A number that is in nobody's use. What the server then knows by it is clunked after the check. */
  newFid(): number {
    const number = this.wire.newFid();
    this.#fids.add(number);
    this.#numbers.push(number);
    return number;
  }

  /** A number that is not to be had from `newFid`, because the check is about that one. What the server knows by it is clunked after the check. */
  claim(number: number): number {
    this.#fids.add(number);
    return number;
  }

  /** The server knows something by it. */
  made(number: number): void {
    this.#made.add(number);
  }

  /** The server has forgotten it, or says so. */
  ended(number: number): void {
    this.#fids.delete(number);
    this.#made.delete(number);
  }

  /** A new attach. */
  async root(): Promise<Handle> {
    const fid = this.newFid();
    const { qid } = await this.request('Tattach', this.attachBody(fid));
    return new Handle(this, fid, qid);
  }

  attachBody(fid: number): Body<'Tattach'> {
    const { uname, aname, uid } = this.ground.attach;
    return { fid, afid: NOFID, uname, aname, nUname: uid };
  }

  /** A new fid for this check's own directory, which is empty at first. */
  dir(): Promise<Handle> {
    return this.#place.dir(this);
  }

  /** The names that lead from the root to that directory. */
  get path(): readonly string[] {
    return this.#place.path;
  }

  /** A new fid for a new file in the check's directory. */
  async file(content: string | Uint8Array = '', name = 'file'): Promise<Handle> {
    const dir = await this.dir();
    await dir.make(name, content);
    return dir.walk(name);
  }

  /** The same check's second connection, to be used beside the first. */
  async other(msize?: number): Promise<Trial> {
    const other = new Trial(this.ground, await this.ground.connect(msize), this.#place);
    this.#others.push(other);
    return other;
  }

  /** A connection on which nothing has been said. */
  async dial(): Promise<Wire> {
    const wire = await this.ground.dial();
    this.#wires.add(wire);
    return wire;
  }

  /** A connection of its own to be broken, with a version agreed on. */
  async connection(): Promise<Wire> {
    const wire = await this.ground.connect();
    this.#wires.add(wire);
    return wire;
  }

  /** The promise's value, or a deviation if there is none in time. */
  async soon<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Deviation(what)), this.patience);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The answer, or undefined where the server ended the connection instead. */
  async answerOrEnd(answer: Promise<Answer>, what = 'it neither answered nor dropped the connection'): Promise<Answer | undefined> {
    try {
      return await this.soon(answer, what);
    } catch (error) {
      if (error instanceof ConnectionLostError && !(error.cause instanceof Deviation)) return undefined;
      throw error;
    }
  }

  /** Waits for `work`, which may fail only because the connection has ended. */
  async unlessEnded(wire: Wire, work: Promise<void>): Promise<void> {
    try {
      await this.soon(work, 'the connection goes on, but nothing is answered');
    } catch (error) {
      if (wire.lost === undefined || !(error instanceof ConnectionLostError)) throw error;
    }
  }

  /** The server is there and does what it did before, if need be on a new connection. */
  async alive(): Promise<void> {
    const trial = this.wire.lost === undefined ? this : await this.other();
    await this.soon(
      trial.root().then((root) => root.clunk()),
      'the server does not answer any more',
    );
  }

  /** What went on beside the connection that was broken still does. */
  async others(): Promise<void> {
    try {
      await this.soon(
        this.root().then((root) => root.clunk()),
        'the server does not answer on another connection any more',
      );
    } catch (error) {
      if (error instanceof ConnectionLostError) throw new Deviation('the server ended another connection as well');
      throw error;
    }
  }

  /** Everything that was asked and not answered, on all its connections. */
  get unanswered(): string[] {
    return [this.wire, ...this.#others.map(({ wire }) => wire), ...this.#wires].flatMap(({ unanswered }) => unanswered);
  }

  get strays(): string[] {
    return [this.wire, ...this.#others.map(({ wire }) => wire)].flatMap(({ strays }) => strays);
  }

  /** Ends all that waits, with this error. */
  giveUp(error: Error): void {
    for (const { wire } of [this, ...this.#others]) wire.destroy(error);
    for (const wire of this.#wires) wire.destroy(error);
  }

  /** Clunks what the check left, and ends its further connections. */
  async end(): Promise<void> {
    for (const wire of this.#wires) wire.destroy();
    for (const other of this.#others) {
      await other.end();
      other.wire.destroy();
    }
    const fids = [...this.#fids];
    this.#fids.clear();
    const clunks = await Promise.allSettled(fids.map((fid) => this.request('Tclunk', { fid })));
    // Not all of them came to be. One that did and cannot be clunked, or is said to be gone already, may still be in the way of whoever has its number next.
    if (clunks.some(({ status }, index) => status === 'rejected' && this.#made.has(fids[index] ?? NOFID))) this.wire.dirty = true;
    this.#made.clear();
    this.wire.giveBack(this.#numbers.splice(0));
  }
}
