import { type BigIntStats, closeSync, fstatSync, statfsSync } from 'node:fs';
import type { Client } from '../client/index.js';
import { L_O_RDONLY, S_IFMT, S_IFREG, S_ISGID, S_ISUID } from '../protocol/constants.js';
import type { EntryPlus } from '../protocol/plus.js';
import type { Attributes, Timespec } from '../protocol/types.js';
import type { Bridge } from './bridge.js';
import { unlessKilled } from './interrupts.js';
import type { Node } from './nodes.js';
import { type Candidate, Orders } from './orders.js';
import type { Pin } from './pins.js';

/** Opens that follow each other so closely, in ms, belong together. */
const CLOSE = 100;
/** Files of one directory that are open ahead at most, of all directories, and how many are opened at once. */
const MOST = 32;
const MOST_OF_ALL = 64;
const BATCH = 16;
/** Places that are looked at for them. */
const LOOK = 2 * MOST;
/** How long, in ms, a file may stay open for nobody, and how often that is looked at. */
const LIFETIME = 1000;
const SWEEP = 500;
/** Entries of listings that are kept, of all directories: of those read longest ago none are, of a longer one the last. */
const KEPT = 16_384;
/** A directory up to this size, in entries, is worth its order already at the first of its files. */
const SMALL = 256;
/** A change so shortly after another one, in ms, may leave the same ctime behind; on file systems that know seconds only, a second later. */
const TICK = 20;
const SECOND = 1000;
const SECOND_NS = 1_000_000_000n;

/**
 * File systems on which a file's ctime changes with its names, too (statfs(2), linux/magic.h): ext4, XFS, Btrfs, tmpfs, f2fs, bcachefs, ZFS and overlays of these. FAT
 * has no ctime.
 */
const CTIME_TELLS = new Set([0xef53, 0x58465342, 0x9123683e, 0x01021994, 0xf2f52010, 0xca451a4e, 0x2fc12fc1, 0x794c7630]);

/** A file that is open on the server for who opens it next, with the descriptor that the server has it open by. Whoever takes it ends both. */
export interface Ready {
  readonly pin: Pin;
  readonly fd: number;
  /** As it was listed, before it was opened. */
  readonly attributes: Attributes;
}

interface Opening {
  /** When it was begun (performance.now), and in what conversation: the next one's server may pass none. */
  readonly at: number;
  readonly session: Client['session'];
  readonly done: Promise<Ready | undefined>;
  /** What that resolved to. */
  ready: Ready | undefined;
}

/** What is known of one directory, for one user. */
interface Row {
  readonly user: number;
  readonly orders: Orders;
  /** Names in `orders`, as they are counted. */
  count: number;
  /** When it was last listed, or one of its files opened (performance.now). */
  usedAt: number;
  /** The file that was opened before the orders were worth while, and whether they are. */
  first: string | undefined;
  begun: boolean;
  readonly openings: Map<string, Opening>;
  /** Files in a row that could not be had since it was last listed from its beginning: where none can be, none is tried any more. */
  vain: number;
  /** Its file system does not tell by the ctime whether a file is what it was. */
  barred: boolean;
}

/**
 * Whoever opens one file of a directory after another to read it (grep -r, tar, a compiler) finds them open: those that come next are opened on the server
 * meanwhile, several at once, instead of one round trip each.
 *
 * Only files whose descriptor the server passes (`Ordered.lends`): by it this host tells for itself, when the file is opened, that nothing of it has changed since
 * it was listed, its name included, as whatever changes a file, its attributes, its names or how many they are changes its ctime
 * (inode(7)). So an open tells no less than one that asks the server. That a file is open before its time can be seen (leases, fanotify(7), lsof).
 */
export class OpenAhead {
  readonly #bridge: Bridge;
  readonly #rows = new Map<Node, Row>();
  #kept = 0;
  #open = 0;
  /** Opens that were answered with what was open ahead. */
  foreseen = 0;
  /** Who has last opened the next file of an order, when, and whether that was foreseen. */
  #last = { user: 0, at: Number.NEGATIVE_INFINITY, going: false };
  /** By st_dev, whether the file system is one of these. */
  readonly #telling = new Map<number, boolean>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
  }

  /** Files that are open ahead. */
  get count(): number {
    return this.#open;
  }

  /** Whether there is any directory of which the next files can be told: never where none may be open ahead. */
  get knows(): boolean {
    return this.#rows.size > 0;
  }

  /**
   * A directory was listed for a user, with attributes, from its beginning (`anew`) or from where the last listing of it ended, as was asked for at `at`
   * (performance.now).
   */
  listed(directory: Node, user: number, entries: readonly EntryPlus[], at: number, anew: boolean): void {
    const { options, backings, ordered } = this.#bridge;
    if (this.#stopped || !options.openAhead || entries.length === 0 || backings.registry === undefined || !ordered.lends) return;
    let row = this.#rows.get(directory);
    if (row === undefined || row.user !== user) {
      if (row !== undefined) this.#forget(directory, row);
      row = {
        user,
        orders: new Orders(),
        count: 0,
        usedAt: 0,
        first: undefined,
        begun: false,
        openings: new Map(),
        vain: 0,
        barred: false,
      };
      this.#timer ??= setInterval(() => this.#sweep(), SWEEP).unref();
    }
    // The longest unused one comes first.
    this.#rows.delete(directory);
    this.#rows.set(directory, row);
    row.usedAt = performance.now();
    if (anew) row.vain = 0;
    // Clocks are set, and that of performance.now stands still while the machine sleeps: what it said when this process began does not tell the time.
    row.orders.list(entries, Date.now() - (performance.now() - at), anew);
    this.#count(row);
    for (const [oldest, each] of this.#rows) {
      if (this.#kept <= KEPT) break;
      if (each !== row) this.#forget(oldest, each);
      else while (this.#kept > KEPT && row.orders.shorten()) this.#count(row);
    }
  }

  /** A file that is open already, the caller's from now on; whether it is what it was (`asItIs`) is to be asked when it is there. */
  take(node: Node, user: number): Ready | Promise<Ready | undefined> | undefined {
    if (this.#open === 0 || node.links.length !== 1) return undefined;
    const [link] = node.links;
    const row = link && this.#rows.get(link.parent);
    const opening = row?.user === user ? row.openings.get(link?.name ?? '') : undefined;
    if (link === undefined || row === undefined || opening === undefined) return undefined;
    const { session } = this.#bridge.client;
    if (opening.session !== session || session.lost !== undefined) {
      this.#drop(row, link.name, opening);
      return undefined;
    }
    this.#remove(row, link.name);
    if (opening.ready !== undefined) opening.ready.pin.fid.unneeded = false;
    return opening.ready ?? opening.done;
  }

  /** What is still being opened, when it is open. EINTR where nobody waits for it any more. */
  async arrived(opening: Promise<Ready | undefined>, signal: AbortSignal): Promise<Ready | undefined> {
    try {
      return await unlessKilled(opening, signal);
    } catch (error) {
      void opening.then(end);
      throw error;
    }
  }

  /** A file was opened to be read. */
  opened(node: Node, user: number): void {
    const link = node.links[node.links.length - 1];
    const row = link && this.#rows.get(link.parent);
    if (link === undefined || row === undefined || row.user !== user || row.barred || !this.#bridge.backings.likely) return;
    const { name, parent } = link;
    const now = performance.now();
    const last = this.#last;
    const close = now - last.at < CLOSE && last.user === user;
    const going = close && last.going;
    this.#last = { user, at: now, going };
    row.usedAt = now;
    const { first, orders } = row;
    if (!row.begun) {
      // One open of one file says nothing, and a long directory takes its time.
      if (first === undefined || !close) {
        row.first = name;
        if (!going || row.count > SMALL) return;
      }
      row.begun = true;
      if (first !== undefined && first !== name) orders.took(first, false);
    }
    orders.took(name, going, row.count <= SMALL);
    this.#count(row);
    const following = close ? orders.following() : undefined;
    this.#last.going = following !== undefined;
    if (following !== undefined && row.openings.size <= MOST - BATCH && row.vain < MOST) this.#next(parent, row, following, now);
  }

  /** Nothing is open ahead from now on. Resolves when what was being opened is, and its fids are the clunker's. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const openings = [...this.#rows.values()].flatMap((row) => [...row.openings.values()]);
    for (const [directory, row] of this.#rows) this.#forget(directory, row);
    await Promise.all(openings.map(({ done }) => done));
  }

  #next(directory: Node, row: Row, files: Iterable<Candidate>, now: number): void {
    const { tree, client } = this.#bridge;
    const from = tree.held(directory, row.user);
    if (from === undefined) return;
    const { session } = client;
    let left = LOOK;
    for (const file of files) {
      if (row.openings.size >= MOST || this.#open >= MOST_OF_ALL || left-- === 0) break;
      const { name } = file.entry;
      const { attributes } = file.told;
      if (file.vain || attributes === undefined || !isFit(attributes, file.at) || row.openings.has(name)) continue;
      const opening: Opening = { at: now, session, done: this.#begin(row, from, name, attributes), ready: undefined };
      void opening.done.then((ready) => {
        opening.ready = ready;
        if (ready !== undefined) {
          row.vain = 0;
          // After a loss nobody misses it.
          if (row.openings.get(name) === opening) ready.pin.fid.unneeded = true;
          return;
        }
        // The same attempt would fail again, for each file that is opened before it.
        file.vain = true;
        row.vain++;
        if (row.openings.get(name) === opening) this.#remove(row, name);
      });
      row.openings.set(name, opening);
      this.#open++;
    }
    from.drop();
  }

  async #begin(row: Row, from: Pin, name: string, attributes: Attributes): Promise<Ready | undefined> {
    const { tree, ordered, backings } = this.#bridge;
    const { fid, done } = ordered.walk(from.fid, name, {});
    const opening = fid.open(L_O_RDONLY);
    opening.catch(() => {});
    const asked = backings.ask(undefined, fid, {});
    let pin: Pin | undefined;
    try {
      await done;
      pin = tree.pin(fid);
      await opening;
      const fd = await asked;
      if (fd === undefined) throw new Error('no descriptor');
      const ready = { pin, fd, attributes };
      if (!this.#tells(fd)) row.barred = true;
      else if (fid.qid.path === attributes.qid.path && asItIs(ready) !== undefined) return ready;
      closeSync(fd);
    } catch {
      // It was a guess; whoever wants the file opens it.
      backings.drop(asked);
    }
    pin?.end();
    return undefined;
  }

  #tells(fd: number): boolean {
    const { dev } = fstatSync(fd);
    let tells = this.#telling.get(dev);
    if (tells === undefined) {
      tells = CTIME_TELLS.has(statfsSync(`/proc/self/fd/${fd}`).type);
      this.#telling.set(dev, tells);
    }
    return tells;
  }

  #remove(row: Row, name: string): void {
    if (row.openings.delete(name)) this.#open--;
  }

  #drop(row: Row, name: string, opening: Opening): void {
    this.#remove(row, name);
    if (opening.ready === undefined) void opening.done.then(end);
    else end(opening.ready);
  }

  #count(row: Row): void {
    const { size } = row.orders;
    this.#kept += size - row.count;
    row.count = size;
  }

  #forget(directory: Node, row: Row): void {
    for (const [name, opening] of row.openings) this.#drop(row, name, opening);
    this.#rows.delete(directory);
    this.#kept -= row.count;
    if (this.#rows.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    const before = performance.now() - LIFETIME;
    for (const [directory, row] of this.#rows) {
      for (const [name, opening] of row.openings) if (opening.at < before) this.#drop(row, name, opening);
      if (row.usedAt < before) this.#forget(directory, row);
    }
  }
}

/**
 * What is known of a file if it is still what was listed, and under the only name it had: it would have another ctime. When it was last read, and the space it takes,
 * may be others without that.
 */
export function asItIs({ fd, attributes }: Ready): Attributes | undefined {
  const { size, mtime, ctime, atime, blocks } = attributes;
  const stat = told(fd);
  if (stat === undefined) return undefined;
  if (stat.ctimeNs !== nanoseconds(ctime) || stat.mtimeNs !== nanoseconds(mtime) || stat.size !== BigInt(size) || stat.nlink !== 1n)
    return undefined;
  const { atimeNs } = stat;
  if (atimeNs === nanoseconds(atime) && stat.blocks === BigInt(blocks)) return attributes;
  // As the wire has it: nothing before 1970.
  if (atimeNs < 0n) return undefined;
  const read = { sec: Number(atimeNs / SECOND_NS), nsec: Number(atimeNs % SECOND_NS) };
  return { ...attributes, atime: read, blocks: Number(stat.blocks) };
}

/** fstat(2), or undefined where that fails, as it does on a file system that was shut down: the server will say so. */
function told(fd: number): BigIntStats | undefined {
  try {
    return fstatSync(fd, { bigint: true });
  } catch {
    return undefined;
  }
}

/** Ends what nobody has taken, or what does not hold. */
export function end(ready: Ready | undefined): void {
  if (ready === undefined) return;
  closeSync(ready.fd);
  ready.pin.end();
}

function nanoseconds({ sec, nsec }: Timespec): bigint {
  return BigInt(sec) * SECOND_NS + BigInt(nsec);
}

/**
 * Whether a file that was listed then (ms since the epoch) may be opened ahead: another change would show, no other name can be meant, and the kernel may have its content
 * behind it (`Backings`).
 */
function isFit({ mode, nlink, ctime }: Attributes, listedAt: number): boolean {
  if ((mode & S_IFMT) !== S_IFREG || nlink !== 1 || (mode & (S_ISUID | S_ISGID)) !== 0) return false;
  const age = listedAt - ctime.sec * 1000 - ctime.nsec / 1e6;
  return age > (ctime.nsec === 0 ? SECOND + TICK : TICK);
}
