import { L_O_DIRECTORY, L_O_RDONLY } from '../protocol/constants.js';
import type { EntryPlus } from '../protocol/plus.js';
import type { Attributes } from '../protocol/types.js';
import type { Bridge } from './bridge.js';
import type { Node } from './nodes.js';

/** Look-ups in one directory that follow each other so closely, in ms, belong together. */
const CLOSE = 100;
/** So many of them, and the rest of the directory is looked at ahead. */
const ENOUGH = 4;
/** How long what was seen ahead may be told, in ms; less where the kernel may believe less. */
const LIFETIME = 800;
/** Entries of the first round; each that was worth it is followed by one twice as long. */
const FIRST = 1024;
const LONGEST = 4096;
/** Bytes of one reading. */
const CHUNK = 64 * 1024;

interface Listed {
  readonly one: EntryPlus;
  readonly at: number;
}

/** What a listing told of a name, and when it was asked for (performance.now). */
interface Seen {
  readonly attributes: Attributes;
  readonly bare: boolean;
  readonly at: number;
}

/** What is known ahead of one directory, for one user. */
interface Scan {
  readonly user: number;
  readonly entries: Map<string, Listed>;
  misses: number;
  lastMiss: number;
  running: boolean;
  /** Where the next round goes on; undefined after the end. */
  offset: bigint | undefined;
  endedAt: number;
  size: number;
  hits: number;
  /** Names that changed through this mount during a round: what it saw of them may be from before. */
  readonly changed: Set<string>;
}

/**
 * Whoever looks up one name of a directory after another (a recursive stat, a build, an unpacked module tree) is answered from a listing
 * with attributes that runs ahead, instead of by a round trip for each name. Only with a server that lists so (`Ordered.kept`).
 * What is told is never older than the kernel itself might have kept it, and an open asks the server all the same.
 */
export class LookAhead {
  readonly #bridge: Bridge;
  readonly #scans = new Map<Node, Scan>();
  readonly #rounds = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
  }

  /** What is known of a name, and when it was asked for. Once. */
  take(parent: Node, name: string, user: number): Seen | undefined {
    if (this.#scans.size === 0) return undefined;
    const scan = this.#scans.get(parent);
    const seen = scan?.user === user ? scan.entries.get(name) : undefined;
    if (scan === undefined || seen === undefined) return undefined;
    scan.entries.delete(name);
    const now = performance.now();
    if (now - seen.at > Math.min(LIFETIME, this.#bridge.options.entryTimeout)) return undefined;
    const { attributes, bare } = seen.one;
    if (attributes === undefined) return undefined;
    scan.hits++;
    scan.lastMiss = now;
    return { attributes, bare, at: seen.at };
  }

  /** A name was looked up on the server, and found. */
  missed(parent: Node, user: number): void {
    if (!this.#bridge.ordered.kept || this.#bridge.options.entryTimeout === 0) return;
    const now = performance.now();
    let scan = this.#scans.get(parent);
    if (scan === undefined || scan.user !== user) {
      scan = {
        user,
        entries: new Map(),
        misses: 0,
        lastMiss: now,
        running: false,
        offset: 0n,
        endedAt: 0,
        size: FIRST,
        hits: 0,
        changed: new Set(),
      };
      this.#scans.set(parent, scan);
      this.#timer ??= setInterval(() => this.#sweep(), 1000).unref();
    }
    scan.misses = now - scan.lastMiss > CLOSE ? 1 : scan.misses + 1;
    scan.lastMiss = now;
    if (scan.misses < ENOUGH || scan.running) return;
    if (scan.offset === undefined) {
      // All of it has been seen; again only when that is old news.
      if (now - scan.endedAt < LIFETIME) return;
      scan.offset = 0n;
    }
    scan.misses = 0;
    const round = this.#round(parent, scan).finally(() => this.#rounds.delete(round));
    this.#rounds.add(round);
  }

  /** A name of a directory is changed through this mount. */
  changedName(parent: Node, name: string): void {
    if (this.#scans.size === 0) return;
    const scan = this.#scans.get(parent);
    if (scan === undefined) return;
    scan.entries.delete(name);
    if (scan.running) scan.changed.add(name);
  }

  /** So is a file, by whatever name. */
  changed(node: Node): void {
    if (this.#scans.size === 0) return;
    for (const { parent, name } of node.links) this.changedName(parent, name);
  }

  /** Nothing is known from now on. Resolves when whatever was looked at is done, and its fids are the clunker's. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#scans.clear();
    await Promise.all(this.#rounds);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [node, scan] of this.#scans) if (!scan.running && now - scan.lastMiss > 2 * LIFETIME) this.#scans.delete(node);
    if (this.#scans.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #round(parent: Node, scan: Scan): Promise<void> {
    const { tree, ordered } = this.#bridge;
    scan.running = true;
    let left = scan.size;
    let pin: Awaited<ReturnType<Bridge['clone']>>['pin'] | undefined;
    try {
      const made = await this.#bridge.clone(parent, scan.user, {});
      pin = made.pin;
      const opening = pin.fid.open(L_O_RDONLY | L_O_DIRECTORY);
      opening.catch(() => {});
      while (left > 0 && scan.offset !== undefined) {
        const at = performance.now();
        const count = Math.min(CHUNK, this.#bridge.client.session.maxPayload);
        const list = await ordered.readdirPlus(pin.fid, scan.offset, count, this.#bridge.interest.inXattrs(parent));
        this.#bridge.opens.listed(parent, scan.user, list, at, scan.offset === 0n);
        scan.offset = list[list.length - 1]?.entry.offset;
        left -= list.length;
        for (const one of list) if (!scan.changed.has(one.entry.name)) scan.entries.set(one.entry.name, { one, at });
      }
      if (scan.offset === undefined) scan.endedAt = performance.now();
      await Promise.all([made.done, opening]);
    } catch {
      // It was a guess; whoever wants a name asks for it.
      scan.offset = undefined;
      scan.endedAt = performance.now();
    } finally {
      if (pin !== undefined) tree.clunker.give(pin.fid);
      scan.size = Math.min(LONGEST, scan.size * 2);
      scan.changed.clear();
      scan.running = false;
    }
  }
}
