/** How long a server may be silent while its last answers are waited for, in milliseconds. */
export const PARTING = 10_000;

/**
 * Waits for `work`, which ends a conversation, as long as something is heard from its other end: `heard` tells how much that was so far. After PARTING without
 * it calls `end`, which is to make `work` end, too.
 */
export async function whileHeard<T>(work: Promise<T>, heard: () => number, end: () => void): Promise<T> {
  let last = heard();
  let silent = 0;
  const timer = setInterval(() => {
    const now = heard();
    silent = now === last ? silent + 1 : 0;
    last = now;
    if (silent >= 4) end();
  }, PARTING / 4);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}
