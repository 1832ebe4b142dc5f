import { L_O_ACCMODE, L_O_RDONLY } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { EntryPlus } from '../protocol/plus.js';
import type { Backing } from './backings.js';
import type { Node } from './nodes.js';
import type { Pin } from './pins.js';
import type { Prefetch } from './prefetch.js';

/** An open file. Its fid is open; it is no other handle's. */
export class FileHandle {
  readonly node: Node;
  readonly pin: Pin;
  readonly user: number;
  /** L_O_* flags it was opened with. */
  readonly flags: number;
  /** Whether the kernel has pages of the file for it; else each of its reads and writes comes here. */
  cached = true;
  /** Whether its writes may be answered before the server has. */
  behind = false;
  /** What became of such a write, until somebody can be told. */
  error: unknown;
  /** Where its own fid appends: one that writes a page of a mapping where it belongs, once there was such a page. */
  pages: Promise<Pin> | undefined;
  prefetch: Prefetch | undefined;
  /** What the kernel reads and writes instead of asking. */
  backing: Backing | undefined;

  constructor(node: Node, pin: Pin, user: number, flags: number) {
    this.node = node;
    this.pin = pin;
    this.user = user;
    this.flags = flags;
  }

  /** Nobody here hears of what is written through it. */
  get writesUnseen(): boolean {
    return this.backing !== undefined && (this.flags & L_O_ACCMODE) !== L_O_RDONLY;
  }

  /** Its fids are needed no more. */
  end(): void {
    this.pin.end();
    void this.pages?.then(
      (pin) => pin.end(),
      () => {},
    );
  }
}

/** An open directory, and what has been read of it beyond what the kernel took. */
export class DirectoryHandle {
  readonly node: Node;
  readonly pin: Pin;
  readonly user: number;
  /** What was read along with opening it, for the first who asks from the beginning. */
  first: EntryPlus[] | undefined;
  /** Entries that follow the cookie `after`. */
  ahead: readonly EntryPlus[] = [];
  /** When those were asked for (performance.now): attributes grow old. */
  at = 0;
  after = 0n;
  ended = false;
  /** Entries that may still be told with attributes. */
  plusLeft = 0;
  /** Since when (performance.now). */
  allowedAt = 0;

  constructor(node: Node, pin: Pin, user: number) {
    this.node = node;
    this.pin = pin;
    this.user = user;
  }
}

/** File handles by the number the kernel has for them. Numbers are used again after their release. */
export class Handles<T> {
  readonly #handles: (T | undefined)[] = [];
  readonly #free: number[] = [];

  add(handle: T): number {
    const fh = this.#free.pop() ?? this.#handles.length;
    this.#handles[fh] = handle;
    return fh;
  }

  /** EBADF for a number the kernel should not have. */
  get(fh: number): T {
    const handle = this.#handles[fh];
    if (handle === undefined) throw new ErrnoError('EBADF');
    return handle;
  }

  find(fh: number): T | undefined {
    return this.#handles[fh];
  }

  remove(fh: number): T | undefined {
    const handle = this.#handles[fh];
    if (handle === undefined) return undefined;
    this.#handles[fh] = undefined;
    this.#free.push(fh);
    return handle;
  }

  get size(): number {
    return this.#handles.length - this.#free.length;
  }

  *values(): IterableIterator<T> {
    for (const handle of this.#handles) if (handle !== undefined) yield handle;
  }
}
