import { background, type Declared } from './libc.js';

type Word = number | bigint;
type Native = Declared<(...words: Word[]) => number>;

/** Threads that make system calls which may block. */
export interface Threads {
  /** Makes one call; resolves with its result, or its error number negated. Memory it points to stays the call's until then. */
  call(call: Native, words: readonly Word[]): Promise<number>;
}

const pool: Threads = {
  call: (call, words) => background(call, ...words),
};

/** The threads of this process. */
export function threads(): Threads {
  return pool;
}
