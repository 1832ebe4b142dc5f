import debug from 'debug';
import { type NameWatch, watchOf } from '../client/index.js';
import { L_O_DIRECTORY, L_O_RDONLY } from '../protocol/constants.js';
import { decodeText } from '../protocol/text.js';
import { EVENT_MAX, eachEvent, endWatch, IN_CREATE, IN_MOVED_TO, IN_Q_OVERFLOW, isQueue } from '../sys/inotify.js';
import { close, EAGAIN, read } from '../sys/io.js';
import type { Bridge } from './bridge.js';
import type { Node } from './nodes.js';

const trace: (format: string, ...values: unknown[]) => void = debug('ninep:fuse');

/** Look-ups in vain that follow each other so closely, in ms, belong together. */
const CLOSE = 100;
/** So many of them in one directory, and it is watched; the second number, where there were more than the first in others. */
const ENOUGH = 4;
const FEW = 2;
/** Directories that are watched at most, names of one and of all that are kept, bytes of one reading. */
const WATCHES = 64;
const NAMES = 16_384;
const NAMES_OF_ALL = 65_536;
const CHUNK = 64 * 1024;
/** How long, in ms, one is watched that nobody looks anything up in, how often that is looked at, and how long one that cannot be is left alone. */
const IDLE = 5000;
const SWEEP = 1000;
const DENIED = 10_000;
/** Refusals in a row by the server, and nothing is tried anywhere for as long: its file system may be one that does not tell. */
const REFUSALS = 4;
/** Readings at once; a queue holds fewer (max_queued_events) unless it is filled as fast. */
const READINGS = 4096;

/** Whose the queue of a conversation is: of what one has read from it, another hears no more. */
const owners = new WeakMap<object, Absent>();

/** A directory in which names are looked up in vain. */
interface Row {
  readonly user: number;
  misses: number;
  lastAt: number;
  /** Its number in the queue; 0 where it is not watched. */
  watch: number;
  /** Its names, and all that have appeared since it is watched; none is taken away. Undefined until they have been listed. */
  names: Set<string> | undefined;
  /** What has appeared meanwhile. */
  appeared: Set<string> | undefined;
  /** Nothing is tried before (performance.now). */
  deniedUntil: number;
}

/**
 * Names that are not there: whoever makes many files looks each of them up in vain first, a compiler each header in all its directories. Our own server on this
 * host watches such a directory (WATCH_XATTR) and lends the queue of events, from which this host sees for itself, at the very moment, that a name has not
 * appeared since the directory was listed. So nothing is told that is old: the event is in the queue before whoever made the name hears that it is
 * made (inotify(7)).
 */
export class Absent {
  readonly #bridge: Bridge;
  readonly #rows = new Map<Node, Row>();
  readonly #watched = new Map<number, Set<Row>>();
  /** Watches that nobody wants any more, until no answer is on its way that may be about one of them. */
  readonly #left = new Set<number>();
  readonly #buffer = new Uint8Array(16 * EVENT_MAX);
  /** The conversation that the queue is of. */
  #session: unknown;
  #queue = -1;
  #kept = 0;
  /** Look-ups in vain in a row, wherever. */
  #misses = 0;
  #lastAt = Number.NEGATIVE_INFINITY;
  readonly #rounds = new Set<Promise<void>>();
  #refusals = 0;
  /** Nothing is tried before. */
  #deniedUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** Look-ups that were answered so. */
  told = 0;

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
  }

  /** Directories whose names are known. */
  get count(): number {
    let count = 0;
    for (const { names } of this.#rows.values()) if (names !== undefined) count++;
    return count;
  }

  /** Whether a name of a directory is certain to lead nowhere now. */
  has(parent: Node, name: string, user: number): boolean {
    if (this.#queue < 0) return false;
    const row = this.#rows.get(parent);
    if (row === undefined || row.user !== user || row.names === undefined || row.names.has(name)) return false;
    // What appeared until now is in the queue.
    this.#drain();
    // It may have ended by what was there.
    if (row.names === undefined || row.names.has(name) || this.#session !== this.#bridge.client.session) return false;
    row.lastAt = performance.now();
    this.told++;
    return true;
  }

  /** A name was looked up on the server, in vain. */
  missed(parent: Node, user: number): void {
    const { options, ordered } = this.#bridge;
    // Who may look anything up in a directory is otherwise the server's to say.
    if (this.#stopped || options.cache !== 'open' || !options.permissions || !ordered.lends) return;
    if (this.#queue >= 0 && this.#session !== this.#bridge.client.session) this.#lose();
    const now = performance.now();
    this.#misses = now - this.#lastAt > CLOSE ? 1 : this.#misses + 1;
    this.#lastAt = now;
    if (this.#deniedUntil > now) return;
    let row = this.#rows.get(parent);
    // It is another's for as long as he uses it: to list it for each in turn would take longer than to ask.
    if (row !== undefined && row.user !== user && (row.names ?? row.appeared) !== undefined) return;
    if (row === undefined || row.user !== user) {
      if (row !== undefined) this.#forget(parent, row);
      row = { user, misses: 0, lastAt: now, watch: 0, names: undefined, appeared: undefined, deniedUntil: 0 };
      this.#rows.set(parent, row);
      this.#timer ??= setInterval(() => this.#sweep(), SWEEP).unref();
    }
    row.misses = now - row.lastAt > CLOSE ? 1 : row.misses + 1;
    row.lastAt = now;
    if (row.misses < (this.#misses > ENOUGH ? FEW : ENOUGH) || row.names !== undefined || row.appeared !== undefined) return;
    if (row.deniedUntil > now || this.#watched.size + this.#rounds.size >= WATCHES) return;
    const { session } = this.#bridge.client;
    const owner = owners.get(session);
    if (owner !== undefined && owner !== this) return;
    owners.set(session, this);
    row.appeared = new Set();
    const round = this.#watch(parent, row).finally(() => {
      this.#rounds.delete(round);
      this.#endLeft();
    });
    this.#rounds.add(round);
  }

  /** Nothing is known from now on. Resolves when whatever was asked for is there, and its fids are the clunker's. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#forgetAll();
    await Promise.all(this.#rounds);
    this.#lose();
    const { session } = this.#bridge.client;
    if (owners.get(session) === this) owners.delete(session);
  }

  async #watch(parent: Node, row: Row): Promise<void> {
    const bridge = this.#bridge;
    const { session } = bridge.client;
    let pin: Awaited<ReturnType<Bridge['clone']>>['pin'] | undefined;
    let watching: Promise<NameWatch> | undefined;
    try {
      const made = await bridge.clone(parent, row.user, {});
      pin = made.pin;
      const { fid } = pin;
      const opening = fid.open(L_O_RDONLY | L_O_DIRECTORY);
      opening.catch(() => {});
      watching = watchOf(fid);
      watching.catch(() => this.#refusals++);
      await Promise.all([made.done, opening]);
      const watch = await watching;
      watching = undefined;
      this.#refusals = 0;
      this.#begin(parent, row, watch, session);
      // What is in the queue by now may be older than what is listed: it does no harm.
      const names = new Set<string>();
      const count = Math.min(CHUNK, bridge.client.session.maxPayload);
      let listed = 0;
      for (let offset: bigint | undefined = 0n; offset !== undefined; ) {
        const list = await fid.readdir(offset, count);
        // It may have ended meanwhile.
        if (row.watch === 0 || row.appeared === undefined) throw new Error('the watch has ended');
        for (const { name } of list) names.add(name);
        // What is known of others is not given up for it: who goes from one to the next would have each of them listed anew.
        listed += list.length;
        if (listed > NAMES || this.#kept + listed > NAMES_OF_ALL) throw new Error('too many names');
        offset = list[list.length - 1]?.offset;
      }
      for (const name of row.appeared ?? []) names.add(name);
      row.appeared = undefined;
      row.names = names;
      this.#kept += names.size;
    } catch (error) {
      trace('not watched: %s', error);
      // It was not waited for.
      void watching?.then(
        ({ queue }) => close(queue),
        () => {},
      );
      this.#deny(row);
      if (this.#refusals >= REFUSALS) {
        this.#refusals = 0;
        this.#deniedUntil = row.deniedUntil;
      }
    } finally {
      if (pin !== undefined) bridge.tree.clunker.give(pin.fid);
    }
  }

  #begin(parent: Node, row: Row, { queue, watch }: NameWatch, session: unknown): void {
    if (session !== this.#bridge.client.session || session === this.#session) close(queue);
    else if (isQueue(queue)) {
      // Those that are asked for in this conversation, too, go on.
      if (this.#queue >= 0) this.#lose(row);
      this.#queue = queue;
      this.#session = session;
    } else {
      close(queue);
      this.#deniedUntil = Number.POSITIVE_INFINITY;
    }
    const known = session === this.#session;
    if (this.#stopped || !known || this.#rows.get(parent) !== row) {
      if (known) this.#left.add(watch);
      throw new Error('nobody wants it any more');
    }
    row.watch = watch;
    const rows = this.#watched.get(watch) ?? new Set();
    this.#watched.set(watch, rows.add(row));
  }

  #drain(): void {
    const buffer = this.#buffer;
    for (let many = 0; many < READINGS; many++) {
      const length = read(this.#queue, buffer);
      if (length === EAGAIN) return;
      if (length <= 0) break;
      eachEvent(buffer, length, (watch, mask, start, end) => {
        if ((mask & IN_Q_OVERFLOW) !== 0) this.#forgetAll();
        else if ((mask & (IN_CREATE | IN_MOVED_TO)) === 0) this.#ended(watch);
        else this.#appeared(watch, decodeText(buffer, start, end));
      });
      if (length <= buffer.length - EVENT_MAX) return;
    }
    this.#forgetAll();
  }

  #appeared(watch: number, name: string): void {
    for (const row of this.#watched.get(watch) ?? []) {
      const names = row.names ?? row.appeared;
      if (names === undefined || names.has(name)) continue;
      names.add(name);
      if (row.names !== undefined) this.#kept++;
      if (names.size > NAMES || this.#kept > NAMES_OF_ALL) this.#deny(row);
    }
  }

  /** A directory is gone. */
  #ended(watch: number): void {
    for (const row of this.#watched.get(watch) ?? []) this.#unwatch(row);
  }

  #unwatch(row: Row): void {
    const rows = this.#watched.get(row.watch);
    if (rows?.delete(row) && rows.size === 0) {
      this.#watched.delete(row.watch);
      this.#left.add(row.watch);
      this.#endLeft();
    }
    this.#kept -= row.names?.size ?? 0;
    row.watch = 0;
    row.names = undefined;
    row.appeared = undefined;
  }

  #deny(row: Row): void {
    this.#unwatch(row);
    row.deniedUntil = performance.now() + DENIED;
  }

  #endLeft(): void {
    if (this.#rounds.size > 0) return;
    for (const watch of this.#left) if (!this.#watched.has(watch)) endWatch(this.#queue, watch);
    this.#left.clear();
  }

  #forget(directory: Node, row: Row): void {
    this.#unwatch(row);
    this.#rows.delete(directory);
  }

  #forgetAll(but?: Row): void {
    for (const [directory, row] of this.#rows) if (row !== but) this.#forget(directory, row);
  }

  /** The queue tells nothing more. */
  #lose(but?: Row): void {
    this.#forgetAll(but);
    if (this.#queue >= 0) close(this.#queue);
    this.#queue = -1;
    this.#left.clear();
    this.#session = undefined;
    if (but !== undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    const now = performance.now();
    for (const [directory, row] of this.#rows) if (now - row.lastAt > IDLE && row.deniedUntil < now) this.#forget(directory, row);
    if (this.#rows.size === 0 && this.#rounds.size === 0) this.#lose();
  }
}
