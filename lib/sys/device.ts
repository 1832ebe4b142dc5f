import { O_CLOEXEC, O_NONBLOCK } from './io.js';
import { check, declare, lazy } from './libc.js';

const calls = lazy(() => ({
  open: declare<(path: string, flags: number, mode: number) => number>('int open(const char *, int, unsigned int)'),
}));

const O_RDWR = 2;

/** Opens a character device for reading and writing, non-blocking and close-on-exec. The path must not lead through a mount of this thread's own. */
export function openDevice(path: string): number {
  return check(calls().open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0), 'open', path);
}
