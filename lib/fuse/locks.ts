import { hostname } from 'node:os';
import type { Fid, RequestOptions } from '../client/index.js';
import {
  L_O_ACCMODE,
  L_O_RDWR,
  LOCK_BLOCKED,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../protocol/constants.js';
import type { LockRange } from '../protocol/types.js';
import { differs, seenNow, unchanged, WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import type { FileHandle } from './handles.js';
import { F_RDLCK, F_UNLCK, F_WRLCK } from './kernel/constants.js';
import type { Body } from './kernel/opcodes.js';
import type { Operations, Request } from './kernel/request.js';
import type { FileLock } from './kernel/structs.js';
import type { Node } from './nodes.js';
import type { Pin } from './pins.js';

const EAGAIN = -11;
const EINTR = -4;
const ENOLCK = -37;

/** The pauses between two tries for a lock that somebody holds, in ms. */
const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 500;

/** Who locks: a process for fcntl(2), an open file for flock(2); the kernel gives each a number. */
interface Owner {
  /** What the server knows it by. */
  readonly procId: number;
  pid: number;
  /** The fid it locks a node through. */
  readonly fids: Map<Node, OwnerFid>;
}

interface OwnerFid {
  readonly pin: Pin;
  /** Whose fid it is; undefined for one opened for nothing but locks. */
  readonly handle: FileHandle | undefined;
  /** The open file that it first locked: when that ends, so do its locks, of which an owner that is an open file is told in no other way. */
  readonly through: FileHandle;
  /** Something has been locked through it. */
  granted: boolean;
}

/**
 * The kernel's locks on the server. A server may know a lock's owner by the fid alone (open file description locks do) or by the
 * numbers in the request: so each owner gets one fid for each file and no two owners share one, whichever way its processes came by their descriptors.
 */
export class Locks {
  readonly operations: Operations;
  readonly #bridge: Bridge;
  readonly #owners = new Map<bigint, Owner>();
  readonly #pids = new Map<number, number>();
  /** Owners of locks on a node, for the question whether there is anything to release. */
  readonly #clientId = `${hostname()}:${process.pid}:${Math.floor(Math.random() * 0xffffffff).toString(16)}`;
  #next = 1;

  constructor(bridge: Bridge) {
    this.#bridge = bridge;
    const { nodes } = bridge.tree;
    this.operations = {
      forget: () => {},
      getlk: (body, request) => this.#getlk(nodes.get(request.nodeid), body, request),
      setlk: (body, request) => this.#setlk(nodes.get(request.nodeid), body, false, request),
      setlkw: (body, request) => this.#setlk(nodes.get(request.nodeid), body, true, request),
    };
  }

  /** Whether an owner may hold locks on a node. */
  any(node: Node, owner: bigint): boolean {
    return this.#owners.size > 0 && this.#owners.get(owner)?.fids.has(node) === true;
  }

  /** Gives up all that an owner holds on a node: a close does that (fcntl(2)). */
  async release(node: Node, key: bigint): Promise<number> {
    const owner = this.#owners.get(key);
    const held = owner?.fids.get(node);
    if (owner === undefined || held === undefined) return 0;
    this.#forget(key, owner, node);
    held.pin.hold();
    try {
      const whole = { type: LOCK_TYPE_UNLCK, start: 0, length: 0, procId: owner.procId, clientId: this.#clientId };
      // Not to be interrupted: the process may be dying, which is when it matters.
      await held.pin.fid.lock(whole, 0);
    } catch {
      // The server has lost the fid, and with it the lock.
    } finally {
      held.pin.drop();
      if (held.handle === undefined) held.pin.end();
    }
    return 0;
  }

  /** A handle is being closed: gives up at once what is still locked through it, as clunks may take a moment. */
  closing(handle: FileHandle): void {
    if (this.#owners.size === 0) return;
    for (const [key, owner] of this.#owners) {
      if (owner.fids.get(handle.node)?.through === handle) void this.release(handle.node, key);
    }
  }

  #forget(key: bigint, owner: Owner, node: Node): void {
    owner.fids.delete(node);
    if (owner.fids.size > 0) return;
    this.#owners.delete(key);
    this.#pids.delete(owner.procId);
  }

  #owner(key: bigint, pid: number): Owner {
    let owner = this.#owners.get(key);
    if (owner === undefined) {
      owner = { procId: this.#next, pid, fids: new Map() };
      this.#next = this.#next === 0x7fffffff ? 1 : this.#next + 1;
      this.#owners.set(key, owner);
    }
    if (pid !== 0) owner.pid = pid;
    this.#pids.set(owner.procId, owner.pid);
    return owner;
  }

  /** The fid an owner locks through: that of the first open file it locked, if nobody else does and it may both read and write, or one of its own. */
  async #fidFor(owner: Owner, node: Node, handle: FileHandle, options: RequestOptions): Promise<Fid> {
    const there = owner.fids.get(node);
    if (there !== undefined) return there.pin.fid;
    const { pin } = handle;
    let taken = (handle.flags & L_O_ACCMODE) !== L_O_RDWR;
    for (const other of this.#owners.values()) taken ||= other.fids.get(node)?.handle === handle;
    if (taken) {
      const own = await this.#openOwn(handle, options);
      const meanwhile = owner.fids.get(node);
      if (meanwhile !== undefined) {
        own?.end();
        return meanwhile.pin.fid;
      }
      if (own !== undefined) {
        owner.fids.set(node, { pin: own, handle: undefined, through: handle, granted: false });
        return own.fid;
      }
    }
    owner.fids.set(node, { pin, handle, through: handle, granted: false });
    return pin.fid;
  }

  /** A fid for locks alone. Undefined where the file cannot be opened again: it has no name any more, or its mode has changed. */
  async #openOwn(handle: FileHandle, options: RequestOptions): Promise<Pin | undefined> {
    let fid: Fid | undefined;
    try {
      fid = await handle.pin.fid.clone(options);
      await fid.open(L_O_RDWR, options).catch(() => fid?.open(handle.flags & L_O_ACCMODE, options));
      return this.#bridge.tree.pin(fid);
    } catch (error) {
      if (fid !== undefined) this.#bridge.tree.clunker.give(fid);
      if ((error as Error).name === 'AbortError') throw error;
      return undefined;
    }
  }

  async #setlk(node: Node, { fh, owner: key, lock }: Body<'setlk'>, wait: boolean, request: Request): Promise<number> {
    const handle = this.#bridge.files.get(fh);
    const unlocking = lock.type === F_UNLCK;
    if (unlocking && !this.any(node, key)) return 0;
    const owner = this.#owner(key, lock.pid);
    const options = unlocking ? {} : request.options;
    request.interruptible = wait;
    // Whoever gets the lock next must find what was written under it.
    if (node.behind?.busy) await node.behind.idle(request.signal);
    const range = this.#range(lock, owner);
    try {
      const fid = await this.#fidFor(owner, node, handle, options);
      for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 1.6, LONGEST_PAUSE)) {
        const status = await fid.lock(range, wait ? LOCK_FLAGS_BLOCK : 0, options);
        if (status === LOCK_SUCCESS) {
          if (!unlocking) await this.#renew(node, fid, options);
          const there = owner.fids.get(node);
          if (there !== undefined) there.granted = true;
          return 0;
        }
        if (status !== LOCK_BLOCKED) return ENOLCK;
        if (!wait) return EAGAIN;
        if (!(await sleep(pause, request))) return EINTR;
      }
    } catch (error) {
      // The server may have granted it just before it was told to give up.
      const there = owner.fids.get(node);
      if (request.aborted && there !== undefined && !there.granted) await this.release(node, key);
      throw error;
    } finally {
      if (owner.fids.size === 0) this.#forget(key, owner, node);
    }
  }

  /**
   * Whoever gets a lock finds what was written under it before, wherever that was: what the kernel has cached of the file may be older than that. Pages of a
   * mapping that are dirty go to the server first.
   */
  async #renew(node: Node, fid: Fid, options: RequestOptions): Promise<void> {
    const bridge = this.#bridge;
    if (bridge.options.cache !== 'open') return;
    const told = await fid.getattr(WANTED, options).catch((error: Error) => {
      if (error.name === 'AbortError') throw error;
      return undefined;
    });
    const seen = told !== undefined && node.is(told.qid) ? told : undefined;
    if (seen !== undefined && !differs(node, seen) && unchanged(node.seen, seen)) return;
    bridge.changed(node);
    const cached = [...(node.handles ?? [])].some((handle) => handle.cached);
    if (!cached) return bridge.invalidate(node);
    node.seen = seen === undefined ? undefined : seenNow(seen);
    await bridge.dropPages(node, 0, 0);
  }

  async #getlk(node: Node, { fh, owner: key, lock }: Body<'getlk'>, request: Request): Promise<FileLock> {
    const handle = this.#bridge.files.get(fh);
    const known = this.#owners.has(key);
    const owner = this.#owner(key, lock.pid);
    try {
      const { fid } = owner.fids.get(node)?.pin ?? handle.pin;
      const found = await fid.getlock(this.#range(lock, owner), request.options);
      const mine = found.clientId === this.#clientId;
      // A server that knows owners by their fids may find our own lock through another's.
      if (found.type === LOCK_TYPE_UNLCK || (mine && found.procId === owner.procId)) return { ...lock, type: F_UNLCK };
      return {
        start: found.start,
        end: found.length === 0 ? 2 ** 63 : found.start + found.length - 1,
        type: found.type === LOCK_TYPE_RDLCK ? F_RDLCK : F_WRLCK,
        pid: mine ? (this.#pids.get(found.procId) ?? 0) : 0,
      };
    } finally {
      if (!known && owner.fids.size === 0) this.#forget(key, owner, node);
    }
  }

  #range({ start, end, type }: FileLock, owner: Owner): LockRange {
    return {
      type: type === F_RDLCK ? LOCK_TYPE_RDLCK : type === F_WRLCK ? LOCK_TYPE_WRLCK : LOCK_TYPE_UNLCK,
      start,
      length: end >= Number.MAX_SAFE_INTEGER ? 0 : end - start + 1,
      procId: owner.procId,
      clientId: this.#clientId,
    };
  }
}

/** False if the request was aborted meanwhile. */
function sleep(milliseconds: number, request: Request): Promise<boolean> {
  if (request.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const aborted = (): void => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      request.removeEventListener('abort', aborted);
      resolve(true);
    }, milliseconds);
    request.addEventListener('abort', aborted);
  });
}
