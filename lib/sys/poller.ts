import { O_CLOEXEC, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, pollAt } from './io.js';
import { address, check, declare, lazy, native } from './libc.js';

/**
 * Readiness of raw descriptors on the event loop of the calling thread, without libuv's streams and its thread pool in the way.
 *
 * Every descriptor is watched by libuv (uv_poll_t), which costs nothing while nothing happens. Its first event starts *rounds*: one
 * poll(2) for each turn of the loop over all descriptors and the loop's own backend descriptor, which calls the owners directly.
 * As anything libuv waits for (signals, sockets, thread pool) makes the backend descriptor readable, a round may wait for a
 * moment without holding up anything but timers and immediates, and those by a millisecond at most. That saves a fifth of
 * a round trip's time as long as events keep coming. Rounds end after a few empty ones.
 *
 *     idle ──event──▶ round ──event──▶ round …  ──LINGER ms without any──▶ idle
 *
 * Owners are always called from an immediate, so promises they settle run before the next round waits.
 */

/** How long one round may wait, in ms: what a timer or an immediate may be late by while the poller is busy. */
const ROUND_WAIT = 1;
/** How long rounds go on without an event, in ms. */
const LINGER = 4;

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
   * EPERM. POLLERR, POLLHUP and POLLNVAL are reported whether asked for or not, and again and again until the owner removes the watch.
   * An error thrown by `ready` becomes an uncaught exception.
   */
  add(fd: number, events: number, ready: Ready): Registration;
  /** Rounds and waits since the thread began, for counters. */
  readonly rounds: number;
}

/** The poller of this thread. */
export function poller(): Poller {
  single ??= new LoopPoller();
  return single;
}

let single: LoopPoller | undefined;

const loop = lazy(() => {
  const koffi = native();
  const found: unknown[] = [null];
  const status = declare<(env: unknown, loop: unknown[]) => number>('int napi_get_uv_event_loop(void *, _Out_ void **)')(
    koffi.node.env,
    found,
  );
  if (status !== 0) throw new Error(`no event loop to poll on (Node-API status ${status})`);
  const backend = declare<(loop: unknown) => number>('int uv_backend_fd(void *)')(found[0]);
  // A set of nobody's, to ask the kernel whether it can wait for a descriptor before libuv is told: koffi ends the process when libuv refuses.
  const probe = check(declare<(flags: number) => number>('int epoll_create1(int)')(O_CLOEXEC), 'epoll_create1');
  const control = declare<(set: number, operation: number, fd: number, event: Uint8Array) => number>(
    'int epoll_ctl(int, int, int, void *)',
  );
  return { koffi, backend, probe, control };
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

class LoopPoller implements Poller {
  rounds = 0;
  readonly #watches: Watch[] = [];
  /** struct pollfd[]: the backend first, then one for each watch. */
  #entries = new Int32Array(2 * 64);
  #address = 0;
  /** The ready bits of a round are read from `#entries` before owners may change it. */
  #ready: number[] = [];
  #scheduled = false;
  /** The last event, in ms of performance.now(). */
  #last = 0;
  /** The first round after idling does not wait: the event that began it is there. */
  #wait = 0;

  add(fd: number, events: number, ready: Ready): Registration {
    if (!Number.isInteger(fd) || fd < 0) throw new RangeError(`not a descriptor: ${fd}`);
    if (this.#watches.some((watch) => watch.fd === fd)) throw new Error(`descriptor ${fd} is watched already`);
    probe(fd);
    const watch = new Watch(this, fd, ready);
    watch.slot = this.#watches.push(watch);
    if (this.#address === 0 || (watch.slot + 1) * 2 > this.#entries.length) this.#grow();
    this.#entries[watch.slot * 2 + 1] = 0;
    try {
      watch.update(events);
    } catch (error) {
      this.forget(watch);
      throw error;
    }
    return watch;
  }

  #grow(): void {
    const grown = new Int32Array(this.#address === 0 ? this.#entries.length : this.#entries.length * 2);
    grown.set(this.#entries);
    grown[0] = loop().backend;
    grown[1] = POLLIN;
    this.#entries = grown;
    this.#address = address(grown);
  }

  /** Tells poll(2) of a watch's events; a negative descriptor is skipped by it. */
  arm(watch: Watch): void {
    this.#entries[watch.slot * 2] = watch.events === 0 ? -1 : watch.fd;
    this.#entries[watch.slot * 2 + 1] = watch.events;
  }

  forget(watch: Watch): void {
    const last = this.#watches.pop();
    if (last === undefined || last === watch) return;
    // The last one takes the free place; what this round found of it goes along.
    this.#ready[watch.slot] = this.#ready[last.slot] ?? 0;
    this.#ready[last.slot] = 0;
    this.#watches[watch.slot - 1] = last;
    last.slot = watch.slot;
    this.arm(last);
  }

  /** libuv saw an event on some watch. */
  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#wait = 0;
    this.#last = performance.now();
    setImmediate(this.#round);
  }

  readonly #round = (): void => {
    this.#scheduled = false;
    this.rounds++;
    const watches = this.#watches;
    const entries = this.#entries;
    const count = watches.length;
    const found = pollAt(this.#address, count + 1, this.#wait);
    let handled = 0;
    if (found > 0) {
      const ready = this.#ready;
      // revents share a word with events: the upper half, little endian.
      for (let slot = 1; slot <= count; slot++) {
        const revents = (entries[slot * 2 + 1] ?? 0) >>> 16;
        ready[slot] = revents;
        if (revents !== 0) handled++;
      }
      if (handled > 0) {
        for (let slot = 1; slot <= watches.length; slot++) {
          const events = ready[slot] ?? 0;
          if (events === 0) continue;
          ready[slot] = 0;
          const watch = watches[slot - 1];
          if (watch === undefined || (watch.events === 0 && events !== 0)) continue;
          watch.notify(events);
          // A watch that removed itself has another one in its place.
          if (watches[slot - 1] !== watch) slot--;
        }
      }
    }
    this.#again(handled > 0);
  };

  #again(busy: boolean): void {
    const now = performance.now();
    if (busy) this.#last = now;
    let alive = false;
    for (const watch of this.#watches) alive ||= watch.lively;
    if (alive && now - this.#last < LINGER) {
      this.#scheduled = true;
      this.#wait = ROUND_WAIT;
      setImmediate(this.#round);
      return;
    }
    // libuv stops a watch of its own that had an error; from here on it is needed again.
    for (const watch of this.#watches) watch.rearm();
  }
}

class Watch implements Registration {
  readonly fd: number;
  events = 0;
  /** Place in the poller's arrays, from 1. */
  slot = 0;
  readonly #poller: LoopPoller;
  readonly #ready: Ready;
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

  get lively(): boolean {
    return this.#referenced && this.events !== 0;
  }

  update(events: number): void {
    if (this.#removed) return;
    this.events = events & (POLLIN | POLLOUT);
    this.#poller.arm(this);
    this.rearm();
  }

  /** Brings libuv's watch in line with `events`. */
  rearm(): void {
    if (this.#watched === this.events || this.#removed) return;
    if (this.events === 0) {
      this.#handle?.stop();
    } else {
      const options = { readable: (this.events & POLLIN) !== 0, writable: (this.events & POLLOUT) !== 0 };
      if (this.#handle === undefined) {
        this.#handle = loop().koffi.node.poll(this.fd, options, this.#woken as () => void);
        if (!this.#referenced) this.#handle.unref();
      } else {
        this.#handle.start(options, this.#woken as () => void);
      }
    }
    this.#watched = this.events;
  }

  readonly #woken = (status: number): void => {
    if (status < 0) this.#watched = 0;
    this.#poller.wake();
  };

  notify(events: number): void {
    try {
      this.#ready(events);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    this.events = 0;
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
