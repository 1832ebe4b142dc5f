import { declare, lazy, outcome, SystemError } from './libc.js';

/** fcntl(2) commands of open file description locks; the same on every 64-bit Linux. */
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
/** struct flock's l_type. */
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
/** Bytes of struct flock on 64-bit Linux. */
export const FLOCK_SIZE = 32;

const HIGH = 0x1_0000_0000;

/** Fills a struct flock: bytes from `start` on, `length` of them, or all that follow if it is 0. */
export function writeFlock(view: DataView, type: number, start: number, length: number): void {
  view.setInt16(0, type, true);
  view.setInt16(2, 0, true);
  view.setUint32(8, start % HIGH, true);
  view.setUint32(12, Math.floor(start / HIGH), true);
  view.setUint32(16, length % HIGH, true);
  view.setUint32(20, Math.floor(length / HIGH), true);
  view.setInt32(24, 0, true);
}

/** What the kernel left in a struct flock. `pid` is -1 for the lock of an open file description. */
export function readFlock(view: DataView): { type: number; start: number; length: number; pid: number } {
  return {
    type: view.getInt16(0, true),
    start: view.getUint32(8, true) + view.getUint32(12, true) * HIGH,
    length: view.getUint32(16, true) + view.getUint32(20, true) * HIGH,
    pid: view.getInt32(24, true),
  };
}

const calls = lazy(() => ({ flock: declare<(fd: number, operation: number) => number>('int flock(int, int)') }));
const LOCK_EX = 2;
const LOCK_NB = 4;
const EAGAIN = 11;

/** flock(2), exclusive, without waiting: false if somebody else has it. It goes with the descriptor, or the process. */
export function tryLock(fd: number): boolean {
  const result = outcome(calls().flock(fd, LOCK_EX | LOCK_NB));
  if (result === -EAGAIN) return false;
  if (result < 0) throw new SystemError(result, 'flock');
  return true;
}
