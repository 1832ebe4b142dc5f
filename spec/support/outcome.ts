import { ErrnoError } from '../../lib/protocol/error.js';

/** The errno of what the server refuses; undefined for what it does. Rejects with any other error. */
export async function codeOf(refused: Promise<unknown>): Promise<string | undefined> {
  try {
    await refused;
    return undefined;
  } catch (error) {
    if (error instanceof ErrnoError) return error.code;
    throw error;
  }
}

/** What has not ended after `patience` milliseconds fails, so that the test can say which of many it was. */
export function ending<T>(work: Promise<T>, patience: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('does not end')), patience);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
