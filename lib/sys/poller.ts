import { availableParallelism } from 'node:os';
import { BusyPolling, Schedstat } from './busy.js';
import { O_CLOEXEC, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, poll } from './io.js';
import { check, declare, lazy, native } from './libc.js';

/**
 * Readiness of raw descriptors on the event loop of the calling thread, without libuv's streams and its thread pool in the way.
 *
 * Every descriptor is watched by libuv (uv_poll_t), which costs nothing while nothing happens, and calls the owner from the loop's poll
 * phase. The check phase follows in the same turn, so an immediate is where to gather what several owners have to write.
 *
 * Waiting in poll(2) here instead, together with the loop's own backend descriptor, was half as slow again: the loop asks its
 * backend in every turn all the same.
 */

/** What a descriptor's owner is told: POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL as they hold now. Level-triggered. */
export type Ready = (events: number) => void;

/** A watched descriptor. It keeps the process alive until it is removed, unless `unref` was called. */
export interface Registration {
  readonly fd: number;
  /** Changes what is waited for: POLLIN and POLLOUT bits, or 0 for nothing at all (not even errors). */
  update(events: number): void;
  /** Ends the watch; `ready` is never called again. Before the descriptor is closed, always. Idempotent. */
  remove(): void;
  unref(): void;
  ref(): void;
}

/** The watches of one thread. */
export interface Poller {
  /**
   * Watches `fd`, which becomes non-blocking. One watch for each descriptor. A descriptor that poll(2) cannot wait for (a regular file) throws
   * EPERM. Errors are reported whether asked for or not, and again and again until the owner removes the watch; a hang-up may look like
   * what was asked for: the next read or write tells.
   * An error thrown by `ready` becomes an uncaught exception.
   */
  add(fd: number, events: number, ready: Ready): Registration;
  /**
   * Until what is returned is called, the thread asks for events again and again for `window` µs after each, instead of sleeping, while they follow one another; the
   * rest of the loop goes on meanwhile. The longest window asked for counts. Nothing is done where there is only one processor.
   */
  busyPoll(window: number): () => void;
  /** Events since the thread began, for counters. */
  readonly rounds: number;
  /** How often it has asked again instead of sleeping. */
  readonly turns: number;
}

/** The poller of this thread. */
export function poller(): Poller {
  single ??= new LoopPoller();
  return single;
}

let single: LoopPoller | undefined;

const loop = lazy(() => {
  const koffi = native();
  // A set of nobody's, to ask the kernel whether it can wait for a descriptor before libuv is told: koffi ends the process when libuv refuses.
  const probe = check(declare<(flags: number) => number>('int epoll_create1(int)')(O_CLOEXEC), 'epoll_create1');
  const control = declare<(set: number, operation: number, fd: number, event: Uint8Array) => number>(
    'int epoll_ctl(int, int, int, void *)',
  );
  return { koffi, probe, control };
});

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;

/** Throws what epoll_ctl(2) has against a descriptor: EBADF, or EPERM for one that is always ready. */
function probe(fd: number): void {
  const { control, probe: set } = loop();
  const event = new Uint8Array(12);
  check(control(set, EPOLL_CTL_ADD, fd, event), 'epoll_ctl');
  control(set, EPOLL_CTL_DEL, fd, event);
}

/** koffi's typings leave out the status that its callbacks begin with. */
type PollHandle = InstanceType<ReturnType<typeof native>['node']['PollHandle']>;
type PollEvents = { readable: boolean; writable: boolean };

class LoopPoller implements Poller {
  rounds = 0;
  readonly #watches = new Map<number, Watch>();
  #scheduled = false;
  /** Watches that libuv has stopped. */
  #stopped: Watch[] = [];
  readonly #windows: number[] = [];
  #schedstat: Schedstat | undefined;
  #busy: BusyPolling | undefined;
  #turns = 0;

  get turns(): number {
    return this.#turns + (this.#busy?.turns ?? 0);
  }

  busyPoll(window: number): () => void {
    if (!(window > 0) || availableParallelism() < 2) return () => {};
    this.#windows.push(window);
    this.#resolveBusy();
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.#windows.splice(this.#windows.indexOf(window), 1);
      this.#resolveBusy();
    };
  }

  #resolveBusy(): void {
    this.#turns = this.turns;
    if (this.#windows.length === 0) {
      this.#busy = undefined;
      this.#schedstat?.close();
      this.#schedstat = undefined;
      return;
    }
    this.#schedstat ??= new Schedstat();
    const schedstat = this.#schedstat;
    this.#busy = new BusyPolling(Math.max(...this.#windows) / 1000, () => schedstat.read());
  }

  add(fd: number, events: number, ready: Ready): Registration {
    if (!Number.isInteger(fd) || fd < 0) throw new RangeError(`not a descriptor: ${fd}`);
    if (this.#watches.has(fd)) throw new Error(`descriptor ${fd} is watched already`);
    probe(fd);
    const watch = new Watch(this, fd, ready);
    watch.update(events);
    this.#watches.set(fd, watch);
    return watch;
  }

  forget(watch: Watch): void {
    this.#watches.delete(watch.fd);
  }

  /**
   * An owner is about to be called. An immediate makes sure that the ticks and promises it leaves behind run in this turn: libuv
   * itself knows nothing of them.
   */
  woken(): void {
    this.rounds++;
    this.#busy?.event(performance.now());
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#settle);
  }

  rearmLater(watch: Watch): void {
    this.#stopped.push(watch);
  }

  readonly #settle = (): void => {
    // With an immediate to come the loop asks its backend without waiting.
    this.#scheduled = this.#busy?.again(performance.now()) ?? false;
    if (this.#scheduled) setImmediate(this.#settle);
    if (this.#stopped.length === 0) return;
    const stopped = this.#stopped;
    this.#stopped = [];
    for (const watch of stopped) watch.rearm();
  };
}

class Watch implements Registration {
  readonly fd: number;
  readonly #poller: LoopPoller;
  readonly #ready: Ready;
  #events = 0;
  #handle: PollHandle | undefined;
  /** What libuv waits for, as far as it does: 0 after it has stopped by itself. */
  #watched = 0;
  #referenced = true;
  #removed = false;

  constructor(owner: LoopPoller, fd: number, ready: Ready) {
    this.#poller = owner;
    this.fd = fd;
    this.#ready = ready;
  }

  update(events: number): void {
    if (this.#removed) return;
    this.#events = events & (POLLIN | POLLOUT);
    this.rearm();
  }

  /** Brings libuv's watch in line with what the owner wants. */
  rearm(): void {
    if (this.#watched === this.#events || this.#removed) return;
    if (this.#events === 0) {
      this.#handle?.stop();
    } else {
      const options = { readable: (this.#events & POLLIN) !== 0, writable: (this.#events & POLLOUT) !== 0 };
      if (this.#handle === undefined) {
        this.#handle = loop().koffi.node.poll(this.fd, options, this.#woken as () => void);
        if (!this.#referenced) this.#handle.unref();
      } else {
        this.#handle.start(options, this.#woken as () => void);
      }
    }
    this.#watched = this.#events;
  }

  readonly #woken = (status: number, found: PollEvents): void => {
    if (this.#events === 0) return;
    this.#poller.woken();
    let events = (found.readable ? POLLIN : 0) | (found.writable ? POLLOUT : 0);
    if (status < 0) {
      // libuv has stopped after an error, and does not say which.
      this.#watched = 0;
      this.#poller.rearmLater(this);
      const entry = Int32Array.of(this.fd, this.#events);
      events = poll(entry, 1, 0) > 0 ? (entry[1] ?? 0) >>> 16 : 0;
      if (events === 0) return;
    }
    try {
      this.#ready(events);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  };

  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    this.#events = 0;
    this.#handle?.close();
    this.#handle = undefined;
    this.#poller.forget(this);
  }

  ref(): void {
    this.#referenced = true;
    this.#handle?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#handle?.unref();
  }
}

export { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT };
