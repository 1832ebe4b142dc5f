import { ErrnoError } from '../../lib/protocol/index.js';
import { failureLine } from '../failure.js';
import { printable } from './listing.js';

const placed = new WeakMap<Error, string>();

/** Does what is done with one place while another one is worked on: a failure is told of this one. */
export async function about<T>(shown: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error) placed.set(error, shown);
    throw error;
  }
}

/** Does what has two names, one to lead to and one to be made: a failure is told of both as they were given. */
export async function ofBoth<T>(from: string, to: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Error && 'dest' in error ? Object.assign(error, { path: from, dest: to }) : error;
  }
}

/** Failures of one operand among several: each is told when it happens, the rest is done all the same, and the exit code is 1. */
export class Problems {
  #count = 0;
  #progress: { hidden(print: () => void): void } | undefined;

  /** Whose line on the terminal has to make way for a message. */
  set progress(progress: { hidden(print: () => void): void }) {
    this.#progress = progress;
  }

  get count(): number {
    return this.#count;
  }

  /** Tells of a failure. What ends everything, such as a lost connection, is thrown on. */
  tell(error: unknown, where?: string): void {
    if (!isOperand(error)) throw error;
    const shown = (error instanceof Error ? placed.get(error) : undefined) ?? where;
    this.#count++;
    process.exitCode = 1;
    const at = (error as NodeJS.ErrnoException).path;
    const line = failureLine(error);
    // An open file's errors have no path.
    const text =
      shown === undefined ? line : at === undefined ? `ninep: ${shown}: ${line.slice('ninep: '.length)}` : line.replace(at, () => shown);
    const print = (): void => console.error(printable(text, process.stderr));
    if (this.#progress === undefined) print();
    else this.#progress.hidden(print);
  }

  /** Runs `work`; whether it went well. */
  async try(work: () => Promise<unknown>, shown?: string): Promise<boolean> {
    return (await this.got(work, shown)) !== undefined;
  }

  /** Runs `work`; what it gives, if it went well. */
  async got<T>(work: () => Promise<T>, shown?: string): Promise<{ value: T } | undefined> {
    try {
      return { value: await work() };
    } catch (error) {
      this.tell(error, shown);
      return undefined;
    }
  }
}

/** Whether it is about one file, and not the whole command or its connection. */
function isOperand(error: unknown): boolean {
  if (error instanceof ErrnoError) return true;
  const { code, name } = error as NodeJS.ErrnoException;
  return name !== 'AbortError' && name !== 'ConnectionLostError' && typeof code === 'string' && /^E[A-Z0-9]+$|^ERR_FS_/.test(code);
}
