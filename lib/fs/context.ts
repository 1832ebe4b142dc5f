import type { Client } from '../client/client.js';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { GETATTR_GID, GETATTR_MODE, S_ISGID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import { joinSignals } from './arguments.js';

/** Who a file system acts for, and where it begins. */
export interface FileSystemOptions {
  /** Where paths begin; it stays the caller's. Default: the client's root. */
  root?: Fid | undefined;
  /** Taken off the mode of what is created: 9P servers apply none. Default: this process's, at the time of each call. */
  umask?: number | undefined;
  /** Whose permissions `access` judges by. Default: that of the attach, else this process's. */
  uid?: number | undefined;
  /** The group that new files get, but for directories with the setgid bit. Default: this process's. */
  gid?: number | undefined;
  /** Ends every request that is made through it. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that one request may take, then ETIMEDOUT. Default: the client's. */
  timeout?: number | undefined;
  /** Files and directories open at once; more are refused with EMFILE. Default: 4096. */
  maxOpen?: number | undefined;
}

/** What must end before the file system does. */
export interface Closable {
  close(): Promise<void>;
}

/** Numbers for `fd` that no descriptor of this process has, so that one given to `node:fs` by mistake meets EBADF there. */
const FIRST_FD = 0x40000000;

/** What the parts of one file system share. */
export class Context {
  readonly client: Client;
  readonly root: Fid;
  readonly request: RequestOptions | undefined;
  readonly #options: FileSystemOptions;
  readonly #open: Map<number, Closable>;

  constructor(client: Client, options: FileSystemOptions, open: Map<number, Closable> = new Map()) {
    this.client = client;
    this.root = options.root ?? client.root;
    this.#options = options;
    this.#open = open;
    const { signal, timeout } = options;
    this.request = signal === undefined && timeout === undefined ? undefined : { signal: joinSignals(signal), timeout };
  }

  /** The same file system with other options; what is open belongs to both. */
  with(options: FileSystemOptions): Context {
    return new Context(this.client, { ...this.#options, ...options }, this.#open);
  }

  get uid(): number {
    const { uid } = this.root.attachment;
    return this.#options.uid ?? (uid === 0xffffffff ? (process.getuid?.() ?? 0) : uid);
  }

  get gid(): number {
    return this.#options.gid ?? process.getgid?.() ?? 0;
  }

  /** Whether the user is in a group, as far as this host knows. */
  inGroup(gid: number): boolean {
    if (gid === this.gid) return true;
    return this.#options.gid === undefined && this.uid === process.getuid?.() && (process.getgroups?.().includes(gid) ?? false);
  }

  /** The mode of a new file. */
  masked(mode: number): number {
    return mode & ~(this.#options.umask ?? process.umask()) & 0o7777;
  }

  /**
   * The group of what is created in `directory`, and whether a directory there gets the setgid bit (inode(7)): a server that takes the
   * client's word for the group, as QEMU does, does not work that out.
   */
  async inherited(directory: Fid, request: RequestOptions | undefined): Promise<{ gid: number; setgid: number }> {
    const { mode, gid } = await directory.getattr(GETATTR_MODE | GETATTR_GID, request);
    return (mode & S_ISGID) === 0 ? { gid: this.gid, setgid: 0 } : { gid, setgid: S_ISGID };
  }

  /** Ends a fid that nobody waits for; the root stays. What the server says to that concerns nobody. */
  release(fid: Fid | undefined): void {
    if (fid === undefined || fid === this.root) return;
    fid.clunk().catch(() => undefined);
  }

  /** Runs `work` with a fid, and ends that then. */
  async using<T>(fid: Fid, work: (fid: Fid) => Promise<T>): Promise<T> {
    try {
      return await work(fid);
    } finally {
      this.release(fid);
    }
  }

  /** A number for something that is open from now on. EMFILE if there is too much of it. */
  opened(what: Closable): number {
    this.checkRoom();
    let fd = FIRST_FD + this.#open.size;
    while (this.#open.has(fd)) fd = fd === 0x7fffffff ? FIRST_FD : fd + 1;
    this.#open.set(fd, what);
    return fd;
  }

  checkRoom(): void {
    if (this.#open.size >= (this.#options.maxOpen ?? 4096)) throw new ErrnoError('EMFILE');
  }

  closed(fd: number): void {
    this.#open.delete(fd);
  }

  /** Ends everything that is open. Rejects with the first error, after all of it has ended. */
  async closeAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#open.values()].map((one) => one.close()));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}
