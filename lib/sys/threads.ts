import { Worker } from 'node:worker_threads';
import { type CallName, calls, prototypes, type Word } from './calls.js';
import { koffiPath } from './koffi.js';
import { background } from './libc.js';

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

/** Milliseconds that a call waits for a thread before there is one more. */
const PATIENCE = 10;

interface Job {
  name: CallName;
  words: readonly Word[];
  resolve: (result: number) => void;
  reject: (error: Error) => void;
}

/**
 * Threads of their own, for a file system whose calls may hang for good: whatever hangs there takes none of Node's pool, nor those of
 * another such file system. There are as many as calls hang at once, up to a limit; calls beyond wait in turn.
 */
export class OwnThreads implements Threads {
  readonly #most: number;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Job>();
  readonly #queue: Job[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(most = 32) {
    this.#most = most;
  }

  call(name: CallName, words: readonly Word[]): Promise<number> {
    return new Promise((resolve, reject) => {
      const job = { name, words, resolve, reject };
      const worker = this.#idle.pop() ?? (this.#busy.size === 0 ? this.#grow() : undefined);
      if (worker !== undefined) this.#give(worker, job);
      else {
        this.#queue.push(job);
        this.#watch();
      }
    });
  }

  close(): void {
    this.#closed = true;
    for (const worker of this.#idle.splice(0)) void worker.terminate();
  }

  /** One more thread once the first of the queue has waited long enough. */
  #watch(): void {
    if (this.#timer !== undefined || this.#queue.length === 0 || this.#busy.size >= this.#most) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const job = this.#queue.shift();
      if (job === undefined) return;
      this.#give(this.#grow(), job);
      this.#watch();
    }, PATIENCE);
  }

  #grow(): Worker {
    const koffi = koffiPath();
    const worker = new Worker(SOURCE, { eval: true, workerData: { koffi, prototypes }, execArgv: [], stdin: false });
    worker.on('message', (result: number) => this.#done(worker, result));
    worker.on('error', (error) => this.#failed(worker, error));
    worker.on('exit', () => this.#failed(worker, new Error('a thread for system calls ended')));
    return worker;
  }

  #give(worker: Worker, job: Job): void {
    this.#busy.set(worker, job);
    worker.ref();
    worker.postMessage([job.name, job.words]);
  }

  #done(worker: Worker, result: number): void {
    const job = this.#busy.get(worker);
    const next = this.#queue.shift();
    if (next !== undefined) this.#give(worker, next);
    else {
      this.#busy.delete(worker);
      worker.unref();
      if (this.#closed) void worker.terminate();
      else this.#idle.push(worker);
    }
    job?.resolve(result);
  }

  #failed(worker: Worker, error: Error): void {
    this.#busy.get(worker)?.reject(error);
    this.#busy.delete(worker);
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
  }
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
  parentPort.postMessage(result < 0 ? -koffi.errno() : result);
});
`;
