import { S_IFDIR } from '../../protocol/constants.js';
import { closeNow } from '../../sys/files.js';
import { O_CLOEXEC, O_DIRECTORY, O_PATH } from '../../sys/flags.js';
import { type Op, run, wait } from '../../sys/op.js';
import { readStatFs } from '../../sys/stat.js';
import type { Threads } from '../../sys/threads.js';
import type { Awaitable, BackendNode } from '../backend.js';
import { failure } from '../errors.js';
import { type Device, Devices } from './devices.js';
import { must } from './fail.js';
import { Held } from './held.js';
import { LocalLocks } from './locks.js';
import type { SecurityModel } from './model.js';
import { LocalNode } from './node.js';
import type { Settings } from './options.js';
import { ELSEWHERE, MOVED, Work } from './work.js';

/** Sets of buffers kept for calls on other threads. */
const IDLE_MOST = 32;
const EMFILE = -24;

/**
 * The tree of nodes of one export: who is above whom, and where the calls of an operation are made. Every live node but a detached one is its parent's
 * child under its name.
 */
export class Tree {
  readonly model: SecurityModel;
  readonly devices: Devices;
  readonly locks: LocalLocks;
  readonly root: LocalNode;
  readonly held: Held;
  readonly #settings: Settings;
  readonly #here = new Work();
  readonly #idle = new Map<Threads, Work[]>();
  /** Where the operation that is being attempted on this thread is to go on, if it cannot here. */
  #where: { readonly threads: Threads };
  /** The ends of changes under way on other threads, of the directories whose turn is odd. */
  readonly #turns = new Map<LocalNode, Promise<void>>();

  private constructor(settings: Settings, model: SecurityModel, devices: Devices, device: Device, work: Work, fd: number) {
    this.#settings = settings;
    this.model = model;
    this.devices = devices;
    this.#where = device;
    this.locks = new LocalLocks(this);
    this.root = new LocalNode(this, undefined, '', device, S_IFDIR, work.stat);
    this.held = new Held(settings.descriptors);
    this.held.keep(this.root, fd);
  }

  /** Opens the export's root. The path itself is the administrator's, so its symlinks are followed. */
  static *plant(work: Work, settings: Settings, model: SecurityModel): Op<Tree> {
    const fd = must(yield* work.openat(-100, settings.path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    try {
      must(yield* work.fstatfs(fd));
      const statfs = readStatFs(work.small);
      must(yield* work.statOf(fd));
      const devices = new Devices(settings.multidevs, settings.background === 'always', settings.warn);
      return new Tree(settings, model, devices, devices.add(work.stat.dev, statfs), work, fd);
    } catch (error) {
      yield* work.close(fd);
      throw error;
    }
  }

  /** Refuses names that are no single component, and the model's own. The server has checked already; nothing here relies on it. */
  check(name: string): void {
    if (name === '' || name === '.' || name === '..' || name.includes('/') || this.model.reserves(name)) throw failure('EINVAL');
  }

  /** EACCES for the child of `directory` that is not to be entered. */
  enter(directory: LocalNode, name: string): void {
    for (const names of this.#settings.except) {
      let at = names.length - 1;
      if (names[at] !== name) continue;
      let node: LocalNode | undefined = directory;
      while (at > 0 && node?.above !== undefined && node.label === names[at - 1]) {
        node = node.above;
        at--;
      }
      if (at === 0 && node === this.root) throw failure('EACCES');
    }
  }

  /** EROFS on an export that is not to be changed. */
  writable(): void {
    if (this.#settings.readonly) throw failure('EROFS');
  }

  /** Whether clients may have descriptors of its open files. */
  get lends(): boolean {
    return this.#settings.lend;
  }

  /** Whether a name that is not listed is none. */
  get showsAll(): boolean {
    return this.#settings.except.length === 0 && this.#settings.securityModel !== 'mapped-file';
  }

  /** A node of this export: EXDEV for any other. */
  own(node: BackendNode): LocalNode {
    if (!(node instanceof LocalNode) || node.tree !== this) throw failure('EXDEV');
    return node;
  }

  /** Runs an operation about a node: at once where its file system answers from memory, else on other threads. */
  perform<T>(node: LocalNode, body: (work: Work) => Op<T>): Awaitable<T> {
    const { device } = node;
    const now = Date.now();
    if (!device.here(now)) return this.background(device, body);
    this.#where = device;
    const answer = this.#attempt(device, now, body);
    return answer === ELSEWHERE ? this.background(this.#where, body) : answer;
  }

  /** Runs an operation on this thread; ELSEWHERE if it would block. */
  #attempt<T>(device: Device, now: number, body: (work: Work) => Op<T>): Awaitable<T> | typeof ELSEWHERE {
    const begun = device.begin(now);
    try {
      return run(body(this.#here));
    } catch (error) {
      if (error !== ELSEWHERE) throw error;
      return ELSEWHERE;
    } finally {
      this.#unpin(this.#here);
      const end = Date.now();
      device.took(end - now, end, begun);
    }
  }

  /** Runs an operation on other threads, whatever the file system. */
  async background<T>(device: { readonly threads: Threads }, body: (work: Work) => Op<T>): Promise<T> {
    const idle = this.#idleOf(device.threads);
    const work = idle.pop() ?? new Work(device.threads);
    try {
      return await run(body(work));
    } finally {
      this.#unpin(work);
      if (idle.length < IDLE_MOST) idle.push(work);
    }
  }

  /** Gives up what an operation has kept open, and with it what is more than allowed. */
  #unpin({ pinned }: Work): void {
    for (let node = pinned.pop(); node !== undefined; node = pinned.pop()) {
      node.pins--;
      this.retire(node);
    }
    if (this.held.count > this.#settings.descriptors) this.held.reclaim();
  }

  #idleOf(threads: Threads): Work[] {
    let idle = this.#idle.get(threads);
    if (idle === undefined) {
      idle = [];
      this.#idle.set(threads, idle);
    }
    return idle;
  }

  /** Runs an operation that changes a node or what is in it, or two of them: one after another for each node, wherever it runs. */
  change<T>(first: LocalNode, second: LocalNode | undefined, body: (work: Work) => Op<T>): Awaitable<T> {
    if (first.queue === undefined && second?.queue === undefined) {
      const device = first.device;
      const now = Date.now();
      if (device.here(now) && (second === undefined || second.device === device)) {
        const answer = this.#attempt(device, now, body);
        if (answer !== ELSEWHERE) return answer;
      }
    }
    const before = Promise.allSettled([first.queue, second?.queue]);
    const done = this.background(first.device, function* (work) {
      yield* wait(before);
      return yield* body(work);
    });
    const settled = done.then(
      () => {},
      () => {},
    );
    for (const node of [first, second]) {
      if (node === undefined) continue;
      node.queue = settled;
      node.pins++;
      settled.then(() => {
        if (node.queue === settled) node.queue = undefined;
        node.pins--;
        this.retire(node);
      });
    }
    return done;
  }

  /** As `change`, and in the row of the directory that `node` is in, wherever those before it have moved it: what is kept of it may lie there. */
  beside<T>(first: LocalNode, node: LocalNode, body: (work: Work) => Op<T>): Awaitable<T> {
    const { above } = node;
    const answer = this.change(first, above, function* (work) {
      if (node.above !== above) throw MOVED;
      return yield* body(work);
    });
    if (!(answer instanceof Promise)) return answer;
    return answer.catch((error: unknown) => {
      if (error !== MOVED) throw error;
      return this.beside(first, node, body);
    });
  }

  /** Does what takes names of one or two directories to other files. It is in the row of changes of both, so it does that alone. */
  *turn(work: Work, first: LocalNode, second: LocalNode, change: Op<void>): Op<void> {
    const directories = first === second ? [first] : [first, second];
    let ended: (() => void) | undefined;
    if (work.background) {
      const end = new Promise<void>((resolve) => {
        ended = resolve;
      });
      for (const directory of directories) this.#turns.set(directory, end);
    }
    for (const directory of directories) directory.turn++;
    try {
      yield* change;
    } finally {
      for (const directory of directories) {
        directory.turn++;
        this.#turns.delete(directory);
      }
      ended?.();
    }
  }

  /** Waits for the end of such a change. */
  *turned(work: Work, directory: LocalNode): Op<void> {
    if (!work.background) this.elsewhere();
    const end = this.#turns.get(directory);
    if (end !== undefined) yield* wait(end);
  }

  /** Ends an attempt on this thread; the operation begins again on others: those of the file system that it may have to wait for, if that is not its node's. */
  elsewhere(device?: { readonly threads: Threads }): never {
    if (device !== undefined) this.#where = device;
    throw ELSEWHERE;
  }

  /** The device a descriptor lies on, if it is another than its parent's. To learn of a new one may take a file server's answer. */
  *device(work: Work, fd: number, dev: number): Op<Device> {
    const known = this.devices.get(dev);
    if (known !== undefined) return known;
    if (!work.background) this.elsewhere(this.devices.strangers);
    must(yield* work.fstatfs(fd));
    const device = this.devices.add(dev, readStatFs(work.small));
    must(yield* work.statOf(fd));
    return device;
  }

  /** openat(2), once more after giving descriptors back if the process had none left. */
  *open(work: Work, dirfd: number, name: string, flags: number): Op<number> {
    const fd = yield* work.openat(dirfd, name, flags);
    return fd === EMFILE && this.held.relieve() ? yield* work.openat(dirfd, name, flags) : fd;
  }

  /** Puts a new node below its parent, or gives the one that came there meanwhile. `fd` is the node's then, or -1. */
  adopt(node: LocalNode, fd: number): LocalNode {
    const parent = node.above;
    if (parent === undefined) throw failure('EIO');
    parent.children ??= new Map();
    const rival = parent.children.get(node.label);
    if (rival !== undefined) {
      if (rival.ino === node.ino && rival.device === node.device && rival.qid.type === node.qid.type) {
        if (fd >= 0) closeNow(fd);
        rival.retain();
        return rival;
      }
      this.detach(rival);
    }
    parent.children.set(node.label, node);
    if (fd >= 0) this.held.add(node, fd);
    return node;
  }

  /** Finds a node whose descriptor was taken back: by what is open of it, or from the nearest node above that can be had so, name by name. */
  *find(work: Work, node: LocalNode): Op<number> {
    let at = node;
    while (node.fd < 0) {
      const path: LocalNode[] = [];
      for (at = node; at.fd < 0 && !(yield* this.#reopen(work, at)); at = at.above) {
        if (!at.attached || at.above === undefined) throw failure('ESTALE');
        path.push(at);
        work.pin(at.above);
      }
      this.held.touch(at);
      for (let next = path.pop(); next !== undefined && (yield* this.#reach(work, at, next)); next = path.pop()) at = next;
    }
    return node.fd;
  }

  /** Finds a node by what is open of it: false where nothing is. */
  *#reopen(work: Work, node: LocalNode): Op<boolean> {
    const { opened } = node;
    if (opened === undefined) return false;
    const fd = yield* opened.held(work);
    if (fd < 0) return node.fd >= 0;
    if (node.fd < 0) this.held.add(node, fd);
    else closeNow(fd);
    return true;
  }

  /** Finds a node in the directory above it, which has been found. False where a rename has taken it from there meanwhile. */
  *#reach(work: Work, above: LocalNode, node: LocalNode): Op<boolean> {
    // Another operation may have found it while this one waited.
    if (node.fd >= 0) return true;
    if (node.above !== above) return false;
    const { label } = node;
    try {
      const fd = yield* node.findIn(work, above.fd);
      if (node.fd < 0) this.held.add(node, fd);
      else closeNow(fd);
    } catch (error) {
      if (node.fd < 0 && node.attached && node.above === above && node.label === label) throw error;
    }
    return node.fd >= 0;
  }

  /** Makes a node independent of its name, which is about to go. What cannot be found is lost already. */
  *keep(work: Work, node: LocalNode): Op<void> {
    try {
      yield* node.descriptor(work);
    } catch {
      // Its fids will see ESTALE.
    }
  }

  /** A node's name does not lead to it any more; its descriptor still does, for as long as fids hold it and there are not too many of those. */
  detach(node: LocalNode): void {
    const { above } = node;
    if (!node.attached || above === undefined) return;
    if (above.children?.get(node.label) === node) above.children.delete(node.label);
    node.attached = false;
    above.holders++;
    this.held.nameless(node);
    this.retire(node);
    this.held.reclaim();
  }

  /** Follows a rename that has been done. */
  *moved(work: Work, from: LocalNode, oldName: string, to: LocalNode, newName: string): Op<void> {
    const node = from.children?.get(oldName);
    const replaced = to.children?.get(newName);
    if (node !== undefined && node === replaced) return;
    // Two names of one file: rename(2) has done nothing.
    if (node !== undefined && replaced !== undefined && node.ino === replaced.ino && node.device === replaced.device) return;
    if (replaced !== undefined) this.detach(replaced);
    if (node === undefined) return;
    // Only somebody else's renames can have put the new place below the node that moves: then what we know of it is wrong.
    for (let at: LocalNode | undefined = to; at !== undefined; at = at.above) {
      if (at.above !== node) continue;
      yield* this.keep(work, at);
      this.detach(at);
      this.#hang(at, this.root);
    }
    from.children?.delete(oldName);
    node.label = newName;
    if (from !== to) {
      node.above = to;
      to.children ??= new Map();
      this.retire(from);
    }
    to.children ??= new Map();
    to.children.set(newName, node);
  }

  /** Gives a detached node another place for "..". */
  #hang(node: LocalNode, above: LocalNode): void {
    const old = node.above;
    node.above = above;
    above.holders++;
    if (old === undefined) return;
    old.holders--;
    this.retire(old);
  }

  /** Frees a node that nobody holds, and what is above it and was only there for it. */
  retire(node: LocalNode): void {
    let at: LocalNode | undefined = node;
    while (
      at !== undefined &&
      at.holders <= 0 &&
      at.pins === 0 &&
      at !== this.root &&
      (at.children === undefined || at.children.size === 0)
    ) {
      const above: LocalNode | undefined = at.above;
      if (above === undefined) return;
      this.held.drop(at);
      at.above = undefined;
      if (at.attached) {
        if (above.children?.get(at.label) === at) above.children.delete(at.label);
        at.attached = false;
      } else {
        above.holders--;
      }
      at = above;
    }
  }

  /** Descriptors that nodes hold, the root's own left out. */
  get descriptors(): number {
    return this.held.count - (this.root.fd < 0 ? 0 : 1);
  }

  /** Ends the tree: every descriptor is closed. */
  close(): void {
    this.locks.close();
    this.#closeBelow(this.root);
    this.held.close();
    this.devices.close();
  }

  #closeBelow(node: LocalNode): void {
    for (const child of node.children?.values() ?? []) this.#closeBelow(child);
    this.held.drop(node);
  }
}
