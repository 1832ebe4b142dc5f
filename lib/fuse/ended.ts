/**
 * What promises come to, once all of them have ended; the error of the first one that failed counts. As allSettled, which makes three objects for each of them,
 * and those slowly.
 */
export async function ended<T extends readonly unknown[]>(work: readonly [...{ [K in keyof T]: T[K] | Promise<T[K]> }]): Promise<T> {
  for (const one of work) if (one instanceof Promise) one.catch(ignored);
  const results: unknown[] = [];
  try {
    for (const one of work) results.push(await one);
  } catch (error) {
    await Promise.allSettled(work);
    throw error;
  }
  return results as unknown as T;
}

function ignored(): void {}
