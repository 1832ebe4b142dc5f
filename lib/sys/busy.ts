import { closeSync, openSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** So many events, each within the window of the one before, and the next one is likely to come within it too. */
const ENOUGH = 4;
/** What follows after more windows than this has nothing to do with what was before. */
const PAUSE = 10;
/** How often it is asked whether others need the processor, in ms. */
const LOOK = 20;
/** What was counted longer ago than so many ms says nothing of now. */
const OLD = 1000;
/**
 * What others need, as a share of what the thread ran, from which on they go first. On two processors a mount that one program keeps busy has 0.2, one that four
 * keep busy 0.4; beside one program that only computes 0.6, beside two 1.1, and up to 1.5 while V8 compiles.
 */
const CROWDED = 0.6;
/** With so many processors there is one each for a mount, its server, the program that uses it and V8's compiling. */
const ENOUGH_FOR_ALL = 4;

/** Nanoseconds that a thread has run, and that others needed a processor meanwhile. */
export interface Scheduled {
  ran: number;
  others: number;
}

/**
 * When to ask for events again and again instead of sleeping until one comes. To be woken on another processor takes as long as all the work on a small
 * request, on a virtual machine above all: who is not asleep need not be woken.
 *
 * It is done only while events follow one another, for as long as the window after each, and not where others need the processor meanwhile.
 */
export class BusyPolling {
  /** Times it was said to ask again. */
  turns = 0;
  readonly #window: number;
  readonly #scheduled: () => Scheduled | undefined;
  #last = Number.NEGATIVE_INFINITY;
  #following = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #before: Scheduled = { ran: 0, others: 0 };
  #crowded = false;

  /** `window`: ms. `scheduled` tells of the calling thread, or undefined where the kernel does not count that. */
  constructor(window: number, scheduled: () => Scheduled | undefined) {
    this.#window = window;
    this.#scheduled = scheduled;
  }

  /** An event has come at `now` (performance.now). */
  event(now: number): void {
    const gap = now - this.#last;
    if (gap <= this.#window) this.#following = Math.min(this.#following + 1, 2 * ENOUGH);
    else this.#following = gap <= PAUSE * this.#window ? this.#following >> 1 : 0;
    this.#last = now;
  }

  /** Whether to ask again rather than sleep. */
  again(now: number): boolean {
    if (this.#following < ENOUGH || now - this.#last > this.#window) return false;
    if (now - this.#lookedAt >= LOOK) this.#look(now);
    if (this.#crowded) return false;
    this.turns++;
    return true;
  }

  #look(now: number): void {
    const scheduled = this.#scheduled();
    if (scheduled === undefined) return;
    const { ran, others } = this.#before;
    this.#crowded = now - this.#lookedAt < OLD && scheduled.others - others > CROWDED * (scheduled.ran - ran);
    this.#before = scheduled;
    this.#lookedAt = now;
  }
}

/**
 * What the scheduler counts of the thread that calls (proc_pid_schedstat(5)): others are those for whom it waited although it could have run and, where processors are few, the
 * threads of its own process, on which V8 compiles: the work is done sooner if they may.
 */
export class Schedstat {
  readonly #bytes = Buffer.alloc(128);
  readonly #few: boolean;
  #fd: number | undefined;

  constructor(processors = availableParallelism()) {
    this.#few = processors < ENOUGH_FOR_ALL;
    try {
      this.#fd = openSync('/proc/thread-self/schedstat', 'r');
    } catch {
      // A kernel without CONFIG_SCHED_INFO.
    }
  }

  read(): Scheduled | undefined {
    if (this.#fd === undefined) return undefined;
    const count = readSync(this.#fd, this.#bytes, 0, this.#bytes.length, 0);
    const [first, waited] = this.#bytes.toString('latin1', 0, count).split(' ');
    const ran = Number(first);
    return { ran, others: Number(waited) + (this.#few ? this.#otherThreads(ran) : 0) };
  }

  /** Nanoseconds that they have run. */
  #otherThreads(ran: number): number {
    const { user, system } = process.cpuUsage();
    return (user + system) * 1000 - ran;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
