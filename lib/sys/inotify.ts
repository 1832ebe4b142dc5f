import { readlinkSync } from 'node:fs';
import { setNonblocking } from './io.js';
import { check, declare, lazy, outcome } from './libc.js';

/** What a directory's names become, as the kernel tells it at once (inotify(7)). */
const calls = lazy(() => ({
  init: declare<(flags: number) => number>('int inotify_init1(int)'),
  add: declare<(fd: number, path: string, mask: number) => number>('int inotify_add_watch(int, const char *, uint32_t)'),
  remove: declare<(fd: number, watch: number) => number>('int inotify_rm_watch(int, int)'),
}));

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;

/** linux/inotify.h */
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE_SELF = 0x400;
export const IN_Q_OVERFLOW = 0x4000;
export const IN_IGNORED = 0x8000;
const IN_ONLYDIR = 0x1000000;

/** struct inotify_event: wd, mask, cookie and len, of 32 bits each; then len bytes of the name and NULs. */
const HEAD = 16;
/** The longest one: a name of NAME_MAX bytes. */
export const EVENT_MAX = HEAD + 256;

/** A queue for events, non-blocking and close-on-exec; the caller's. Throws a SystemError: EMFILE where the user has too many (max_user_instances). */
export function inotify(): number {
  return check(calls().init(IN_NONBLOCK | IN_CLOEXEC), 'inotify_init1');
}

/** Whether a descriptor that another process made is a queue, which is non-blocking from then on: reading it neither waits nor goes on for ever. */
export function isQueue(fd: number): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:inotify') return false;
    setNonblocking(fd);
    return true;
  } catch {
    return false;
  }
}

/**
 * Has the names that appear in an open directory told in a queue, and its own end. The number (over 0) that events bear, the same each time for one directory; or an error
 * number negated.
 */
export function watchNames(queue: number, directory: number): number {
  return outcome(calls().add(queue, `/proc/self/fd/${directory}`, IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR));
}

/** Ends a watch; IN_IGNORED is the last that is told of it. */
export function endWatch(queue: number, watch: number): void {
  calls().remove(queue, watch);
}

/** Goes through the first `length` bytes of `buffer`, as read(2) of a queue gave them; the name is what lies between `start` and `end`. */
export function eachEvent(
  buffer: Uint8Array,
  length: number,
  told: (watch: number, mask: number, start: number, end: number) => void,
): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, length);
  for (let at = 0; at + HEAD <= length; ) {
    const start = at + HEAD;
    const next = Math.min(start + view.getUint32(at + 12, true), length);
    let end = start;
    while (end < next && buffer[end] !== 0) end++;
    told(view.getInt32(at, true), view.getUint32(at + 4, true), start, end);
    at = next;
  }
}
