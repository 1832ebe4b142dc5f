import { NOTAG } from '../protocol/constants.js';
import type { Body, TName } from '../protocol/messages.js';
import type { Call } from './call.js';

interface Waiting {
  readonly call: Call;
  readonly body: Body<TName>;
}

/**
 * Who uses which tag, by index in an array, and who waits for one. At most `window` requests are in flight; a Tflush goes beyond
 * that, or a full window could never be emptied.
 */
export class Tags {
  readonly #window: number;
  readonly #calls: (Call | undefined)[] = [];
  readonly #free: number[] = [];
  /** Those before `#head` have had their turn: nothing of them stays, as what they send may be large. */
  readonly #queue: (Waiting | undefined)[] = [];
  #head = 0;
  #used = 0;
  #idle: (() => void)[] = [];
  /** Tversion, which has NOTAG. */
  special: Call | undefined;

  constructor(window: number) {
    this.#window = window;
  }

  get inFlight(): number {
    return this.#used;
  }

  get waiting(): number {
    return this.#queue.length - this.#head;
  }

  get(tag: number): Call | undefined {
    return this.#calls[tag];
  }

  /** Gives `call` a tag, unless the window is full or others have waited longer. */
  take(call: Call): boolean {
    if (this.#used >= this.#window || this.waiting > 0) return false;
    this.takeBeyond(call);
    return true;
  }

  /** Gives `call` a tag although the window may be full. */
  takeBeyond(call: Call): void {
    const tag = this.#free.pop() ?? this.#calls.length;
    if (tag >= NOTAG) throw new RangeError('no tag is free');
    call.tag = tag;
    this.#calls[tag] = call;
    this.#used++;
  }

  /** The reply to `tag`, or the Rflush for it, has arrived. */
  release(tag: number): void {
    if (this.#calls[tag] === undefined) return;
    this.#calls[tag] = undefined;
    this.#free.push(tag);
    this.#used--;
    if (this.#used === 0 && this.waiting === 0) this.#becomeIdle();
  }

  wait(call: Call, body: Body<TName>): void {
    this.#queue.push({ call, body });
  }

  /** The next one that waited, with a tag now, if the window has room for it. */
  next(): Waiting | undefined {
    while (this.waiting > 0 && this.#used < this.#window) {
      const next = this.#queue[this.#head];
      this.#queue[this.#head++] = undefined;
      if (this.#head === this.#queue.length || (this.#head > 1024 && this.#head * 2 > this.#queue.length)) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
      if (next === undefined || next.call.finished) continue;
      this.takeBeyond(next.call);
      return next;
    }
    return undefined;
  }

  /** `call` does not wait any more. */
  forget(call: Call): void {
    const index = this.#queue.findIndex((waiting) => waiting?.call === call);
    if (index >= 0) this.#queue.splice(index, 1);
    if (this.#used === 0 && this.waiting === 0) this.#becomeIdle();
  }

  /** Those that do not wait any more, as `over` says so. */
  withdraw(over: (call: Call) => boolean): Call[] {
    const gone: Call[] = [];
    let left = 0;
    for (let at = this.#head; at < this.#queue.length; at++) {
      const waiting = this.#queue[at];
      if (waiting === undefined) continue;
      if (over(waiting.call)) gone.push(waiting.call);
      else this.#queue[left++] = waiting;
    }
    this.#queue.length = left;
    this.#head = 0;
    if (this.#used === 0 && left === 0) this.#becomeIdle();
    return gone;
  }

  /** Those in flight. */
  *calls(): IterableIterator<Call> {
    for (const call of this.#calls) if (call !== undefined) yield call;
  }

  /** Those in flight and those that wait. */
  all(): Call[] {
    return [...this.calls(), ...this.#queue.flatMap((waiting) => waiting?.call ?? [])];
  }

  /** Takes everybody out, those in flight and those that wait. */
  drain(): Call[] {
    const all = this.all();
    if (this.special !== undefined) all.push(this.special);
    this.special = undefined;
    this.#calls.length = 0;
    this.#free.length = 0;
    this.#queue.length = 0;
    this.#head = 0;
    this.#used = 0;
    this.#becomeIdle();
    return all;
  }

  /** Resolves once nobody is in flight and nobody waits. */
  idle(): Promise<void> {
    if (this.#used === 0 && this.waiting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #becomeIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
