/**
 * A piece of work made of system calls, written once for two ways of running it. Where no call can block, nothing is ever yielded and
 * `run` answers at once, without a promise. Where one can, it is made on another thread: the work yields the promise of its result
 * and goes on from there, as an async function would.
 */
export type Op<T> = Generator<Promise<unknown>, T, unknown>;

/** Waits for a promise within an operation. */
export function* wait<T>(promise: Promise<T>): Op<T> {
  return (yield promise) as T;
}

/** Runs an operation: its result at once, or, from its first wait on, a promise of it. What it throws is thrown or rejected alike. */
export function run<T>(op: Op<T>): T | Promise<T> {
  const step = op.next();
  return step.done === true ? step.value : resume(op, step.value);
}

async function resume<T>(op: Op<T>, pending: Promise<unknown>): Promise<T> {
  for (;;) {
    let value: unknown;
    let failed = false;
    try {
      value = await pending;
    } catch (error) {
      failed = true;
      value = error;
    }
    const step = failed ? op.throw(value) : op.next(value);
    if (step.done === true) return step.value;
    pending = step.value;
  }
}
