import { closeSync } from 'node:fs';
import debug from 'debug';
import { descriptorOf, type Fid, type RequestOptions } from '../client/index.js';
import { S_IFMT, S_IFREG, S_ISGID, S_ISUID } from '../protocol/constants.js';
import type { FileHandle } from './handles.js';
import type { Node } from './nodes.js';
import type { Ordered } from './ordered.js';

const trace: (format: string, ...values: unknown[]) => void = debug('ninep:fuse');

/** Files in a row whose descriptor is not passed, after which that of the next is not expected. */
const MAX_REFUSED = 4;

/** Where the kernel keeps backing files. */
export interface BackingRegistry {
  /** Registers what a descriptor has open, which may be closed then: a number over 0, or an error number negated. */
  open(fd: number): number;
  /** Files that were opened with the number keep what they have. */
  close(backing: number): void;
}

/** A backing file, and the open handles that have it. */
export interface Backing {
  readonly number: number;
  users: number;
}

/**
 * Files of a server on this host whose content the kernel reads and writes by itself, through the descriptor that the server has them open by
 * (FOPEN_PASSTHROUGH): no request for content leaves the kernel any more, and its page cache is the very one the server's other users have.
 *
 * The kernel wants all that is open of one inode to be backed by the same file, or none of it (fuse_file_io_open): the first handle decides, for as long as
 * any is left.
 */
export class Backings {
  readonly #ordered: Ordered;
  /** Set by who has a kernel that knows of it. */
  registry: BackingRegistry | undefined;
  #count = 0;
  #refused = 0;

  constructor(ordered: Ordered) {
    this.#ordered = ordered;
  }

  /** Backing files there are. */
  get count(): number {
    return this.#count;
  }

  /** Whether the next file's descriptor is likely to be had: an export may pass none, or none of what is on a slow disk. */
  get likely(): boolean {
    return this.registry !== undefined && this.#ordered.lends && this.#refused < MAX_REFUSED;
  }

  /**
   * Asks for the descriptor of a fid that is being opened; `node` is undefined for what is being made. Undefined where it would be no good. It may be sent along
   * with the open. Never rejects.
   */
  ask(node: Node | undefined, fid: Fid, options: RequestOptions): Promise<number | undefined> | undefined {
    if (!this.wanted) return undefined;
    if (node !== undefined && (node.backing !== undefined || !mayBeBacked(node))) return undefined;
    return descriptorOf(fid, options).then(
      (fd) => {
        this.#refused = 0;
        return fd;
      },
      (error: unknown) => {
        trace('no descriptor: %s', error);
        if ((error as NodeJS.ErrnoException).code === 'EOPNOTSUPP') this.#refused++;
        return undefined;
      },
    );
  }

  /** Whether the descriptor of what is being made is of any use. */
  get wanted(): boolean {
    return this.registry !== undefined && this.#ordered.lends;
  }

  /** The descriptor that was wanted, as `ask` would have given it; undefined where none came. */
  came(descriptor: number | undefined): Promise<number | undefined> | undefined {
    if (descriptor !== undefined) this.#refused = 0;
    else if (this.wanted) this.#refused++;
    return descriptor === undefined ? undefined : Promise.resolve(descriptor);
  }

  /** The backing file for a handle that was just opened: the one its node has, or what was asked for; 0 where it is to have none. */
  async take(handle: FileHandle, asked: Promise<number | undefined> | undefined): Promise<number> {
    const { node } = handle;
    const fd = asked === undefined ? undefined : await asked;
    try {
      if (node.backing === undefined && fd !== undefined && mayBeBacked(node, handle)) this.#register(node, fd);
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
    const { backing } = node;
    if (backing === undefined) return 0;
    backing.users++;
    handle.backing = backing;
    handle.behind = false;
    if (handle.writesUnseen) {
      // What was cached before is compared with what it is by then.
      node.seen = undefined;
      node.unseenWriters++;
    }
    return backing.number;
  }

  /** What was asked for is not needed: the open has failed. */
  drop(asked: Promise<number | undefined> | undefined): void {
    void asked?.then((fd) => {
      if (fd !== undefined) closeSync(fd);
    });
  }

  #register(node: Node, fd: number): void {
    let number = 0;
    try {
      number = this.registry?.open(fd) ?? 0;
    } catch (error) {
      // Whoever runs this process may have forbidden it to give up rights for a moment.
      trace('no backing file: %s', error);
      return;
    }
    if (number <= 0) {
      trace('no backing file: %d', number);
      return;
    }
    node.backing = { number, users: 0 };
    this.#count++;
  }

  /** A handle that has one is released. Whether it may have written. */
  release(handle: FileHandle): boolean {
    const { node, backing, writesUnseen } = handle;
    if (backing === undefined) return false;
    handle.backing = undefined;
    if (writesUnseen) node.unseenWriters--;
    if (--backing.users === 0) this.#end(node, backing);
    return writesUnseen;
  }

  #end(node: Node, backing: Backing): void {
    node.backing = undefined;
    this.#count--;
    this.registry?.close(backing.number);
  }
}

/**
 * Whether nothing else that is open of a file stands against it. The kernel cannot take setuid and setgid from what is written past everybody, so
 * files with them are not.
 */
function mayBeBacked(node: Node, but?: FileHandle): boolean {
  if ((node.mode & S_IFMT) !== S_IFREG || (node.mode & (S_ISUID | S_ISGID)) !== 0) return false;
  for (const handle of node.handles ?? []) if (handle !== but && handle.backing === undefined) return false;
  return true;
}
