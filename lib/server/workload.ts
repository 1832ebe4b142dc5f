import { type Body, messages } from '../protocol/messages.js';
import type { Answers } from './answers.js';
import type { Awaitable } from './backend.js';
import { isPending } from './errors.js';
import type { Fid } from './fids.js';
import type { Limits } from './limits.js';
import { Order } from './order.js';
import type { Request } from './request.js';

const EAGAIN = 11;

/** What a workload asks of its connection. */
export interface Worker {
  /** The size of messages agreed on. */
  readonly msize: number;
  /** Whether nothing may begin now, for reasons of the connection's own. */
  readonly held: boolean;
  /** Begins a request: its reply's body, at once or later, or an error. */
  work(request: Request): Awaitable<object>;
  /** Something that was begun is over. */
  finished(): void;
  /** Something went wrong that nobody provided for, where no caller is left to be told. */
  broken(error: unknown): void;
}

/**
 * The requests of one connection that are not answered yet: begun, waiting for their turn, or a Tflush that waits for another. It
 * begins no more than the limits allow, in the order of arrival.
 */
export class Workload {
  readonly #limits: Limits;
  readonly #answers: Answers;
  readonly #worker: Worker;
  readonly #byTag = new Map<number, Request>();
  /** Those whose turn has not come. */
  #waiting: Request[] = [];
  readonly #order = new Order();
  #begun = 0;
  /** Payload bytes of those begun. */
  #cost = 0;
  /** Tflush that wait for what they flush. */
  #flushing = 0;

  constructor(limits: Limits, answers: Answers, worker: Worker) {
    this.#limits = limits;
    this.#answers = answers;
    this.#worker = worker;
  }

  /** Requests that are not answered. */
  get size(): number {
    return this.#byTag.size;
  }

  /** Those begun. */
  get begun(): number {
    return this.#begun;
  }

  /** Those that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether no more should be read from the client. */
  get full(): boolean {
    const { maxRequests, maxPayload } = this.#limits;
    return this.#waiting.length > 0 || this.#begun >= maxRequests || this.#flushing >= maxRequests || this.#order.bytes > maxPayload;
  }

  /** Locks that wait for their range. */
  get lockWaits(): number {
    let count = 0;
    for (const request of this.#byTag.values()) if (request.waits) count++;
    return count;
  }

  /** From now on, until the session ends, requests wait for those that make what they name. */
  keepOrder(): void {
    this.#order.kept = true;
  }

  get keepsOrder(): boolean {
    return this.#order.kept;
  }

  has(tag: number): boolean {
    return this.#byTag.has(tag);
  }

  /** Begins a request, or has it wait. EAGAIN where too many wait already. */
  add(request: Request): void {
    const blocked = this.#order.blocks(request);
    if (!blocked && this.#waiting.length === 0 && !this.#congested(request)) {
      this.#begin(request);
      return;
    }
    if (this.#waiting.length + this.#order.size >= this.#limits.maxWaiting) {
      this.#answers.giveBack(request);
      this.#answers.refuse(request.tag, EAGAIN);
      return;
    }
    if (request.type === messages.Twrite.type) {
      const body = request.body as Body<'Twrite'>;
      body.data = this.#answers.keep(request, body.data);
    }
    this.#byTag.set(request.tag, request);
    if (blocked && this.#waiting.length === 0) this.#order.wait(request);
    else this.#waiting.push(request);
  }

  #congested({ cost }: Request): boolean {
    if (this.#worker.held || this.#begun >= this.#limits.maxRequests) return true;
    return this.#begun > 0 && cost > 0 && this.#cost + cost > this.#limits.maxPayload;
  }

  #begin(request: Request): void {
    if (this.#work(request)) this.#release(request);
  }

  /** Has a request done. Whether it is over already. */
  #work(request: Request): boolean {
    request.begun = true;
    let answer: Awaitable<object>;
    try {
      answer = this.#worker.work(request);
    } catch (error) {
      this.#answers.fail(request, error);
      return true;
    }
    if (isPending(answer)) {
      this.#follow(request, answer);
      return false;
    }
    this.#answers.answer(request, answer, this.#worker.msize);
    return true;
  }

  /** Begins what has waited for a request that is over. */
  #release(request: Request): void {
    const ready = this.#order.ended(request);
    if (ready.length > 0) this.#beginAll(ready);
  }

  /**
   * Begins requests that wait for nothing any more, and behind each that is over at once those that waited for it. How long such a row
   * is, is up to the client: it must not be the depth of the stack.
   */
  #beginAll(ready: readonly Request[]): void {
    const stack = [...ready].reverse();
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      this.#byTag.delete(next.tag);
      if (!this.#work(next)) continue;
      for (const after of [...this.#order.ended(next)].reverse()) stack.push(after);
    }
  }

  /** Begins a request whose turn has come, unless what it names is still being made. */
  #beginInOrder(request: Request): void {
    if (this.#order.blocks(request)) {
      this.#order.wait(request);
      return;
    }
    this.#byTag.delete(request.tag);
    this.#begin(request);
  }

  #follow(request: Request, answer: Promise<object>): void {
    this.#order.shapes(request);
    this.#begun++;
    this.#cost += request.cost;
    this.#byTag.set(request.tag, request);
    request.hold();
    answer.then(
      (body) => this.#finish(request, body, undefined),
      (error: unknown) => this.#finish(request, undefined, error),
    );
  }

  /** A request is answered later than it came, with a body or an error: what waited for that goes on. */
  #finish(request: Request, body: object | undefined, error: unknown): void {
    try {
      try {
        if (body === undefined) this.#answers.fail(request, error);
        else this.#answers.answer(request, body, this.#worker.msize);
      } finally {
        this.#begun--;
        this.#cost -= request.cost;
        this.#byTag.delete(request.tag);
        request.letGo();
      }
      this.#release(request);
      if (request.flushes !== undefined) this.#flushed(request.flushes);
      this.proceed();
    } catch (unexpected) {
      this.#worker.broken(unexpected);
    }
    this.#worker.finished();
  }

  /** Begins what has waited, as far as there is room. */
  proceed(): void {
    let count = 0;
    for (const request of this.#waiting) {
      if (this.#congested(request)) break;
      count++;
      this.#beginInOrder(request);
    }
    if (count > 0) this.#waiting = this.#waiting.slice(count);
  }

  /**
   * Does what a Tflush asks: its target is asked to end, and it is answered after the target, whose answer, if there is one, still
   * counts (flush(5)). It overtakes what waits, for it may be what sets the rest free.
   */
  flush(request: Request): void {
    const { oldtag } = request.body as Body<'Tflush'>;
    const target = this.#byTag.get(oldtag);
    if (target?.begun === true) {
      this.#await(request, target);
      return;
    }
    if (target !== undefined) {
      this.#waiting = this.#waiting.filter((other) => other !== target);
      this.#byTag.delete(oldtag);
      this.#answers.giveBack(target);
      this.#beginAll(this.#order.forget(target));
    }
    this.#answers.answer(request, {}, this.#worker.msize);
  }

  /** Has a Tflush wait for its target. EAGAIN where too many do: they do not wait for their turn, so they are counted by themselves. */
  #await(request: Request, target: Request): void {
    const { maxRequests, maxWaiting } = this.#limits;
    if (this.#flushing >= maxRequests + maxWaiting) {
      this.#answers.refuse(request.tag, EAGAIN);
      return;
    }
    this.#flushing++;
    request.begun = true;
    this.#byTag.set(request.tag, request);
    target.flushes ??= [];
    target.flushes.push(request);
    target.flushed = true;
    target.abort();
  }

  /** What they wanted the end of has ended, and its answer, if any, has been sent before theirs; then those that flush them. */
  #flushed(flushes: readonly Request[]): void {
    const over = [...flushes];
    // It grows as it is gone through: each may have been flushed itself.
    for (const flush of over) {
      this.#flushing--;
      this.#byTag.delete(flush.tag);
      this.#answers.answer(flush, {}, this.#worker.msize);
      for (const next of flush.flushes ?? []) over.push(next);
    }
  }

  /** Ends locks that wait: all, or those on a fid that is about to go; they would wait for ever. */
  abortWaits(fid?: Fid): void {
    for (const request of this.#byTag.values()) if (request.waits && (fid === undefined || request.uses(fid))) request.abort();
  }

  /** The session is over: what was begun is asked to end and will not be answered, what waits is forgotten. */
  drop(): void {
    for (const request of this.#byTag.values()) {
      request.dropped = true;
      request.abort();
    }
    this.forgetWaiting();
  }

  forgetWaiting(): void {
    for (const request of this.#byTag.values()) {
      if (request.begun) continue;
      this.#byTag.delete(request.tag);
      this.#answers.giveBack(request);
    }
    this.#order.drop();
    this.#waiting = [];
  }
}
