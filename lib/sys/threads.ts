import { isMainThread, Worker } from 'node:worker_threads';
import { type CallName, calls, prototypes, type Word } from './calls.js';
import { koffiPath } from './koffi.js';
import { background, declare } from './libc.js';

/** Threads that make system calls which may block. */
export interface Threads {
  /** Makes one call; resolves with its result, or its error number negated. Memory it points to stays the call's until then. */
  call(name: CallName, words: readonly Word[]): Promise<number>;
  /** Lets go of threads that are idle. */
  close(): void;
}

/** koffi takes 256 calls at once; others of this process want some too. */
const POOL_MOST = 128;
const waiting: (() => void)[] = [];
let running = 0;

/** Node's own pool of threads, which everything in the process shares: for calls that take a disk's time, not a lost server's. */
export const sharedThreads: Threads = {
  async call(name, words) {
    if (running >= POOL_MOST) await new Promise<void>((resolve) => waiting.push(resolve));
    running++;
    try {
      return await background(calls()[name], ...words);
    } finally {
      running--;
      waiting.shift()?.();
    }
  },
  close() {},
};

/**
 * Milliseconds that a call waits for a thread before there is one more: a part of the time that starting one takes, which is a second where a processor is
 * emulated, but no more than a caller bears behind a call that hangs.
 */
const PATIENCE_LEAST = 10;
const PATIENCE_MOST = 250;
let patience = PATIENCE_LEAST;

interface Job {
  readonly name: CallName;
  readonly words: readonly Word[];
  readonly resolve: (result: number) => void;
  readonly reject: (error: Error) => void;
}

/** A thread that makes one call at a time, for whoever has it. It does not keep the process alive while it has nothing to do. */
class CallThread {
  readonly #worker: Worker;
  #job: Job | undefined;
  #free: ((thread: CallThread) => void) | undefined;
  /** 1 while it makes a call: its own word for it, as no message is heard any more while the process ends. */
  readonly #calling = new Int32Array(new SharedArrayBuffer(4));
  ended = false;

  constructor() {
    const begun = performance.now();
    const workerData = { koffi: koffiPath(), prototypes, calling: this.#calling };
    const worker = new Worker(SOURCE, { eval: true, workerData, execArgv: [], stdin: false });
    worker.once('online', () => {
      patience = Math.min(PATIENCE_MOST, Math.max(PATIENCE_LEAST, (performance.now() - begun) / 4));
    });
    worker.on('message', (result: number) => this.#done(result, undefined));
    worker.on('error', (error) => this.#failed(error));
    worker.on('exit', () => this.#failed(new Error('a thread for system calls ended')));
    worker.unref();
    this.#worker = worker;
  }

  /** Makes a call, which keeps the process alive if it is `awaited`. `free` is told when the thread can have another one. */
  run(job: Job, awaited: boolean, free: (thread: CallThread) => void): void {
    this.#job = job;
    this.#free = free;
    if (awaited) this.#worker.ref();
    endDespiteHanging();
    calling.add(this);
    Atomics.store(this.#calling, 0, 1);
    this.#worker.postMessage([job.name, job.words]);
  }

  /** Nobody waits for its call any more. */
  abandon(): void {
    this.#worker.unref();
  }

  /** Waits for the end of its call, which stops this thread: false if there is none within so many milliseconds. */
  isDone(milliseconds: number): boolean {
    return Atomics.wait(this.#calling, 0, 1, milliseconds) !== 'timed-out';
  }

  #done(result: number, error: Error | undefined): void {
    const job = this.#job;
    const free = this.#free;
    this.#job = this.#free = undefined;
    calling.delete(this);
    this.#worker.unref();
    free?.(this);
    if (error === undefined) job?.resolve(result);
    else job?.reject(error);
  }

  #failed(error: Error): void {
    this.ended = true;
    const at = stock.indexOf(this);
    if (at >= 0) stock.splice(at, 1);
    this.#done(0, error);
  }

  end(): void {
    this.ended = true;
    void this.#worker.terminate();
  }
}

/** Threads that make a call. */
const calling = new Set<CallThread>();
/** Milliseconds that the end of the process waits for their calls. */
const LAST_CALLS = 500;
let watching = false;

/** Node waits for its threads when the process ends, and would wait for ever for one whose call hangs: then the process ends without that. */
function endDespiteHanging(): void {
  // In another thread this would be the end of that one only.
  if (watching || !isMainThread) return;
  watching = true;
  process.on('exit', (code) => {
    const until = performance.now() + LAST_CALLS;
    for (const thread of calling) {
      if (!thread.isDone(Math.max(0, until - performance.now())))
        declare<(code: number) => void>('void _exit(int)')(Number(process.exitCode ?? code));
    }
  });
}

/** Threads that have nothing to do: a file system's first call takes one that another has used, or that was made ready, as it takes long to start one. */
const stock: CallThread[] = [];
/** Those who may use them. */
let users = 0;

/** Has a thread ready before somebody waits for it. */
export function readyThread(): void {
  if (stock.length === 0) stock.push(new CallThread());
}

/**
 * Threads of their own, for a file system whose calls may hang for good: whatever hangs there takes none of Node's pool, nor those of
 * another such file system. There are as many as calls hang at once, up to a limit; calls beyond wait in turn.
 */
export class OwnThreads implements Threads {
  readonly #most: number;
  readonly #busy = new Set<CallThread>();
  readonly #queue: Job[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(most = 32) {
    this.#most = most;
    users++;
  }

  call(name: CallName, words: readonly Word[]): Promise<number> {
    return new Promise((resolve, reject) => {
      const job = { name, words, resolve, reject };
      if (this.#busy.size < this.#most && (stock.length > 0 || this.#busy.size === 0)) this.#give(stock.pop() ?? new CallThread(), job);
      else {
        this.#queue.push(job);
        this.#watch();
      }
    });
  }

  /** Its threads end once nobody has any use for them; a call that still hangs does not keep the process alive. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const thread of this.#busy) thread.abandon();
    users--;
    if (users === 0) for (const thread of stock.splice(0)) thread.end();
  }

  /** One more thread once the first of the queue has waited long enough. */
  #watch(): void {
    if (this.#timer !== undefined || this.#queue.length === 0 || this.#busy.size >= this.#most) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const job = this.#queue.shift();
      if (job === undefined) return;
      this.#give(stock.pop() ?? new CallThread(), job);
      this.#watch();
    }, patience);
  }

  #give(thread: CallThread, job: Job): void {
    this.#busy.add(thread);
    thread.run(job, !this.#closed, this.#freed);
  }

  readonly #freed = (thread: CallThread): void => {
    this.#busy.delete(thread);
    const next = this.#queue.shift();
    if (next !== undefined) this.#give(thread.ended ? new CallThread() : thread, next);
    else if (thread.ended) return;
    else if (users === 0) thread.end();
    else stock.push(thread);
  };
}

/** What such a thread runs: plain JavaScript that needs nothing but koffi, so that it starts wherever this package does. */
const SOURCE = `
const { parentPort, workerData } = require('node:worker_threads');
const koffi = require(workerData.koffi);
const library = koffi.load(null);
const calls = {};
parentPort.on('message', ([name, words]) => {
  calls[name] ??= library.func(workerData.prototypes[name]);
  const result = calls[name](...words);
  const error = result < 0 ? koffi.errno() : 0;
  Atomics.store(workerData.calling, 0, 0);
  Atomics.notify(workerData.calling, 0);
  parentPort.postMessage(result < 0 ? -error : result);
});
`;
