import { address, background, check, declare, lazy, outcome } from './libc.js';

/**
 * Reading and writing raw descriptors without libuv: synchronous calls that, on a non-blocking descriptor, never wait.
 * All give the number of bytes moved, or the error number negated (-11 is EAGAIN); nothing here throws on an errno but what makes descriptors.
 */
const calls = lazy(() => ({
  read: declare<(fd: number, buffer: number, size: number) => number>('intptr_t read(int, uintptr_t, size_t)'),
  write: declare<(fd: number, buffer: number, size: number) => number>('intptr_t write(int, uintptr_t, size_t)'),
  pread: declare<(fd: number, buffer: number, size: number, offset: number) => number>('intptr_t pread64(int, uintptr_t, size_t, int64_t)'),
  pwrite: declare<(fd: number, buffer: number, size: number, offset: number) => number>(
    'intptr_t pwrite64(int, uintptr_t, size_t, int64_t)',
  ),
  readv: declare<(fd: number, vector: number, count: number) => number>('intptr_t readv(int, uintptr_t, int)'),
  writev: declare<(fd: number, vector: number, count: number) => number>('intptr_t writev(int, uintptr_t, int)'),
  close: declare<(fd: number) => number>('int close(int)'),
  fcntl: declare<(fd: number, command: number, argument: number) => number>('int fcntl(int, int, intptr_t)'),
  eventfd: declare<(initial: number, flags: number) => number>('int eventfd(unsigned int, int)'),
  pipe2: declare<(descriptors: Uint8Array, flags: number) => number>('int pipe2(void *, int)'),
  socketpair: declare<(domain: number, type: number, protocol: number, descriptors: Uint8Array) => number>(
    'int socketpair(int, int, int, void *)',
  ),
  poll: declare<(descriptors: number, count: number, timeout: number) => number>('int poll(uintptr_t, unsigned long, int)'),
  shutdown: declare<(fd: number, how: number) => number>('int shutdown(int, int)'),
}));

/** fcntl(2), open(2), pipe2(2): the same numbers on every Linux architecture that Node has a build for. */
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;
const AF_UNIX = 1;
const SOCK_STREAM = 1;

/** poll(2) events. */
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;

/** Negated error numbers that callers branch on. */
export const EINTR = -4;
export const EAGAIN = -11;

/** read(2) into `buffer` from `start`, at most `length` bytes. */
export function read(fd: number, buffer: Uint8Array, start = 0, length = buffer.length - start): number {
  return outcome(calls().read(fd, address(buffer) + inside(buffer, start, length), length));
}

/** write(2) of `length` bytes of `buffer` from `start`. */
export function write(fd: number, buffer: Uint8Array, start = 0, length = buffer.length - start): number {
  return outcome(calls().write(fd, address(buffer) + inside(buffer, start, length), length));
}

/** read(2) of at most `length` bytes to where `address` said that a buffer of the caller's is: for one that is read into again and again. */
export function readTo(fd: number, at: number, length: number): number {
  return outcome(calls().read(fd, at, length));
}

/** write(2) of `length` bytes from where `address` said that a buffer of the caller's is. */
export function writeFrom(fd: number, at: number, length: number): number {
  return outcome(calls().write(fd, at, length));
}

/** As `write`, on the thread pool: for writes that may wait for what this thread is yet to do. */
export function writeInBackground(fd: number, buffer: Uint8Array): Promise<number> {
  // Captured by the callback, so the bytes stay where they are until the call is over.
  return background(calls().write, fd, address(buffer), buffer.length).finally(() => void buffer.length);
}

/** pread(2): as `read`, at a position of the file. */
export function pread(fd: number, buffer: Uint8Array, start: number, length: number, position: number): number {
  return outcome(calls().pread(fd, address(buffer) + inside(buffer, start, length), length, position));
}

/** pwrite(2): as `write`, at a position of the file. */
export function pwrite(fd: number, buffer: Uint8Array, start: number, length: number, position: number): number {
  return outcome(calls().pwrite(fd, address(buffer) + inside(buffer, start, length), length, position));
}

/** Vectors longer than this are cut: the call then moves fewer bytes than were passed, as it may at any time. */
export const MAX_VECTOR = 256;

/** struct iovec[MAX_VECTOR], one for each thread, as a call never outlasts itself. */
const vector = lazy(() => {
  const bytes = new Uint8Array(MAX_VECTOR * 16);
  const words = new BigUint64Array(bytes.buffer);
  const halves = new Uint32Array(bytes.buffer);
  return { words, halves, at: address(bytes) };
});

/** The parts without their first `skip` bytes as a struct iovec[]: where that is, which holds until the next call, and how long. */
export function vectorOf(parts: readonly Uint8Array[], skip = 0): { at: number; count: number } {
  const count = fill(parts, skip);
  return { at: vector().at, count };
}

function fill(parts: readonly Uint8Array[], skip: number): number {
  const { halves } = vector();
  let count = 0;
  for (const part of parts) {
    let size = part.length;
    if (skip >= size && size > 0) {
      skip -= size;
      continue;
    }
    if (size === 0) continue;
    const at = address(part) + skip;
    size -= skip;
    skip = 0;
    // Little and big endian alike are right only with whole words; Node's Linux builds that koffi supports are little endian.
    halves[count * 4] = at % 0x100000000;
    halves[count * 4 + 1] = Math.floor(at / 0x100000000);
    halves[count * 4 + 2] = size;
    halves[count * 4 + 3] = 0;
    if (++count === MAX_VECTOR) break;
  }
  return count;
}

/** writev(2) of the parts in order, without the first `skip` bytes of them all: what an earlier, short write has taken. */
export function writev(fd: number, parts: readonly Uint8Array[], skip = 0): number {
  const count = fill(parts, skip);
  return outcome(calls().writev(fd, vector().at, count));
}

/** readv(2) into the parts in order. */
export function readv(fd: number, parts: readonly Uint8Array[]): number {
  const count = fill(parts, 0);
  return outcome(calls().readv(fd, vector().at, count));
}

/** A second descriptor for what `fd` is one for, close-on-exec; or the error number negated. */
export function duplicate(fd: number): number {
  return outcome(calls().fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/** close(2): 0, or the error number negated. The descriptor is gone either way. */
export function close(fd: number): number {
  return outcome(calls().close(fd));
}

/** shutdown(2): 0 stops reading, 1 writing, 2 both. */
export function shutdown(fd: number, how: 0 | 1 | 2): number {
  return outcome(calls().shutdown(fd, how));
}

/** Sets or clears O_NONBLOCK. Throws a SystemError, EBADF above all. */
export function setNonblocking(fd: number, on = true): void {
  const flags = check(calls().fcntl(fd, F_GETFL, 0), 'fcntl');
  const wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted !== flags) check(calls().fcntl(fd, F_SETFL, wanted), 'fcntl');
}

/** Sets or clears FD_CLOEXEC: whether child processes inherit the descriptor. */
export function setCloseOnExec(fd: number, on = true): void {
  const flags = check(calls().fcntl(fd, F_GETFD, 0), 'fcntl');
  check(calls().fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC), 'fcntl');
}

/** eventfd(2), non-blocking and close-on-exec. */
export function eventfd(): number {
  return check(calls().eventfd(0, O_NONBLOCK | O_CLOEXEC), 'eventfd');
}

/** pipe2(2), close-on-exec: the reading end, then the writing one. */
export function pipe(flags = O_CLOEXEC): [read: number, write: number] {
  const pair = new Uint8Array(8);
  check(calls().pipe2(pair, flags), 'pipe2');
  return both(pair);
}

/** A connected pair of unix stream sockets; `flags` are O_NONBLOCK and O_CLOEXEC. */
export function socketpair(flags = O_CLOEXEC): [number, number] {
  const pair = new Uint8Array(8);
  check(calls().socketpair(AF_UNIX, SOCK_STREAM | flags, 0, pair), 'socketpair');
  return both(pair);
}

/**
 * poll(2) on `count` entries of struct pollfd (fd int32, events int16, revents int16) in `entries`. `timeout` is in milliseconds;
 * a synchronous wait stops this thread, so it must be short.
 */
export function poll(entries: Int32Array, count: number, timeout: number): number {
  return outcome(calls().poll(address(entries), count, timeout));
}

/** poll(2) on entries whose address the caller has taken already: the poller's own. */
export function pollAt(entries: number, count: number, timeout: number): number {
  return calls().poll(entries, count, timeout);
}

function both(pair: Uint8Array): [number, number] {
  const view = new DataView(pair.buffer);
  return [view.getInt32(0, true), view.getInt32(4, true)];
}

/** The kernel writes where it is told to: a range outside the buffer must never reach it. */
function inside(buffer: Uint8Array, start: number, length: number): number {
  if (!(start >= 0 && length >= 0 && start + length <= buffer.length))
    throw new RangeError(`bytes ${start}+${length} of a buffer of ${buffer.length}`);
  return start;
}
