import { address, declare, lazy } from './libc.js';

const RUSAGE_THREAD = 1;
/** Where struct rusage has ru_nvcsw on 64-bit Linux: two timevals and twelve longs come first. */
const NVCSW = 128;

const usage = lazy(() => {
  const bytes = new Uint8Array(144);
  return {
    view: new DataView(bytes.buffer),
    at: address(bytes),
    getrusage: declare<(who: number, usage: number) => number>('int getrusage(int, uintptr_t)'),
  };
});

/**
 * How often this thread has gone to sleep of its own accord (getrusage(2), ru_nvcsw): what a call that waits for a disk or a lock does, and one
 * that was merely interrupted by the scheduler does not.
 */
export function sleeps(): number {
  const { view, at, getrusage } = usage();
  getrusage(RUSAGE_THREAD, at);
  return view.getUint32(NVCSW, true);
}
