import { readFile } from 'node:fs/promises';
import { ErrnoError } from '../protocol/error.js';
import type { Request } from './kernel/request.js';

/** How often a process that was sent a signal is looked at, in ms. */
const INTERVAL = 100;

/**
 * Tells deadly signals from others. The kernel says INTERRUPT for any signal that reaches a process inside a request, and only
 * once. Answering EINTR to a write because a timer went off is not what programs expect of a file system; but a process that is to be killed must not wait
 * for a server. So the caller's pending signals are looked at (proc(5)) until one is deadly or the request is answered.
 */
export class Interrupts {
  readonly #waiting = new Set<Request>();
  #timer: NodeJS.Timeout | undefined;

  add(request: Request): void {
    if (request.interruptible) {
      request.abort();
      return;
    }
    this.#waiting.add(request);
    void this.#look();
  }

  stop(): void {
    this.#waiting.clear();
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    for (const request of [...this.#waiting]) {
      if (!request.answered && (await isDying(request.pid))) request.abort();
      if (request.answered || request.aborted) this.#waiting.delete(request);
    }
    clearTimeout(this.#timer);
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => void this.#look(), INTERVAL).unref();
  }
}

/** Settles with `work`; or fails with EINTR as soon as nobody waits for it any more, by `signal`. What is under way goes on. */
export function unlessKilled<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(new ErrnoError('EINTR'));
  return new Promise((resolve, reject) => {
    const killed = (): void => reject(new ErrnoError('EINTR'));
    signal.addEventListener('abort', killed);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', killed));
  });
}

const SIGKILL = 9;
/** Signals whose default is to ignore, to stop or to go on: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH. */
const HARMLESS = mask(17, 18, 19, 20, 21, 22, 23, 28);

/** Whether a deadly signal is pending: SIGKILL, which the kernel makes of most others, or one that dumps core. */
export async function isDying(pid: number): Promise<boolean> {
  let status: string;
  try {
    status = await readFile(`/proc/${pid}/status`, 'latin1');
  } catch {
    // Gone, or of another namespace: nothing speaks for waiting.
    return true;
  }
  const field = (name: string): bigint => BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
  const pending = field('SigPnd') | field('ShdPnd');
  if ((pending & mask(SIGKILL)) !== 0n) return true;
  return (pending & ~field('SigBlk') & ~field('SigIgn') & ~field('SigCgt') & ~HARMLESS) !== 0n;
}

function mask(...signals: number[]): bigint {
  return signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);
}
