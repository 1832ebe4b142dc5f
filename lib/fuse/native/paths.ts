import { ErrnoError } from '../../protocol/error.js';
import type { Bridge } from '../bridge.js';
import { ROOT_ID } from '../kernel/constants.js';
import { type Body, type OperationName, opcodes, type Reply } from '../kernel/opcodes.js';
import { Request } from '../kernel/request.js';
import type { EntryReply } from '../kernel/structs.js';

/** Paths remembered at most. */
const MOST = 4096;

/** The operations as one table of handlers, which a generic name can index. */
type Table = { [K in OperationName]?: (body: Body<K>, request: Request) => Reply<K> | number | Promise<Reply<K> | number> };

/** A node that a path leads to, and the one look-up that is held of it as long as it is known or used. */
export class Place {
  readonly id: number;
  readonly at = performance.now();
  users = 0;
  dropped = false;

  constructor(id: number) {
    this.id = id;
  }
}

/**
 * Drives a bridge, which knows nodes by number and counts look-ups of them, by paths: what the kernel does for a back-end that is
 * asked for names. A path is believed for as long as the kernel would believe a name.
 */
export class Paths {
  readonly counts: Record<string, number> = {};
  pending = 0;
  readonly #bridge: Bridge;
  readonly #table: Table;
  readonly #places = new Map<string, Place>();
  readonly #root = new Place(ROOT_ID);
  #unique = 0;

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
    this.#table = bridge.operations;
  }

  /** One request on a node. What the bridge answers as a negative number is thrown. */
  async call<K extends OperationName>(name: K, nodeid: number, body: Body<K>): Promise<Reply<K>> {
    const operation = this.#table[name];
    if (operation === undefined || opcodes[name] === undefined) throw new ErrnoError('ENOSYS');
    const unique = ++this.#unique;
    // Who asks is not told: it is this process, and no two requests are one thread's.
    const request = new Request(unique, nodeid, process.geteuid?.() ?? 0, process.getegid?.() ?? 0, -unique);
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    this.pending++;
    try {
      const reply = await operation(body, request);
      if (typeof reply === 'number' && reply < 0) throw new ErrnoError(reply);
      return reply as Reply<K>;
    } finally {
      request.answered = true;
      this.pending--;
    }
  }

  /** What is at a path now, asked for even if it is known. ENOENT where nothing is. */
  async look(path: string): Promise<EntryReply> {
    const { place, reply } = await this.#look(path);
    this.release(place);
    return reply;
  }

  /** Runs `use` with the node at a path; with a fresh look once more where what was known turned out to be stale. */
  async with<T>(path: string, use: (nodeid: number, place: Place) => Promise<T>): Promise<T> {
    for (let first = true; ; first = false) {
      const place = await this.#node(path);
      try {
        return await use(place.id, place);
      } catch (error) {
        if (!first || (error as NodeJS.ErrnoException).code !== 'ESTALE') throw error;
        this.forget(path);
      } finally {
        this.release(place);
      }
    }
  }

  /** As `with`, for a name to be made, changed or removed: the node is the directory's. */
  inDirectory<T>(path: string, use: (directory: number, name: string) => Promise<T>): Promise<T> {
    const { directory, name } = split(path);
    return this.with(directory, (nodeid) => use(nodeid, name));
  }

  /** A request that made a name told what it made. */
  made(path: string, reply: EntryReply): Place {
    this.forget(path);
    const place = new Place(reply.nodeid);
    this.#places.set(path, place);
    if (this.#places.size > MOST) for (const oldest of this.#places.keys()) if (this.#drop(oldest)) break;
    return place;
  }

  /** A path does not lead any more where it led; nor does any below it. */
  forget(path: string, below = false): void {
    this.#drop(path);
    if (!below) return;
    const prefix = `${path}/`;
    for (const each of this.#places.keys()) if (each.startsWith(prefix)) this.#drop(each);
  }

  hold(place: Place): Place {
    place.users++;
    return place;
  }

  release(place: Place): void {
    place.users--;
    if (place.dropped && place.users === 0) this.#bridge.operations.forget(place.id, 1);
  }

  #drop(path: string): boolean {
    const place = this.#places.get(path);
    if (place === undefined) return false;
    this.#places.delete(path);
    place.dropped = true;
    if (place.users === 0) this.#bridge.operations.forget(place.id, 1);
    return true;
  }

  async #node(path: string): Promise<Place> {
    if (path === '/') return this.hold(this.#root);
    const known = this.#places.get(path);
    if (known !== undefined && performance.now() - known.at < this.#bridge.options.entryTimeout) return this.hold(known);
    return (await this.#look(path)).place;
  }

  async #look(path: string): Promise<{ place: Place; reply: EntryReply }> {
    const reply = await this.inDirectory(path, (directory, name) => this.call('lookup', directory, { name }));
    if (reply.nodeid === 0) {
      this.forget(path, true);
      throw new ErrnoError('ENOENT');
    }
    return { place: this.hold(this.made(path, reply)), reply };
  }
}

/** What fuse-native makes of bytes that are not UTF-8: several names become one, so none of them is let through. */
export const REPLACEMENT = '\ufffd';

/** EILSEQ for a name that cannot be told from others. */
function split(path: string): { directory: string; name: string } {
  if (path.includes(REPLACEMENT)) throw new ErrnoError('EILSEQ');
  const slash = path.lastIndexOf('/');
  return { directory: path.slice(0, slash) || '/', name: path.slice(slash + 1) };
}
