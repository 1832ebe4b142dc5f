import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { GETATTR_SIZE, L_O_APPEND } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Context } from './context.js';
import { fileClosed, told } from './errors.js';
import { canRead, canWrite } from './flags.js';

/**
 * An open file: its fid, the position that reads and writes without one share, and who still uses it. FileHandle and the
 * streams are faces of it.
 */
export class OpenFile {
  readonly context: Context;
  readonly fid: Fid;
  /** L_O_* as it was opened. */
  readonly flags: number;
  #fd: number;
  /** Where the next read or write without a position begins, in bytes; undefined: at the end, wherever that is. */
  #position: number | undefined = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #users = 1;
  /** Those who use it for longer, and what tells them that it is to be closed. */
  readonly #holders = new Map<object, () => void>();
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  /** Called once, when it has been closed. */
  onClosed: (() => void) | undefined;

  /** The fid belongs to the file from now on, which `context` counts. */
  constructor(context: Context, fid: Fid, flags: number) {
    this.context = context;
    this.fid = fid;
    this.flags = flags;
    this.#fd = context.opened(this);
  }

  /** -1 after `close`. */
  get fd(): number {
    return this.#closing === undefined ? this.#fd : -1;
  }

  get append(): boolean {
    return (this.flags & L_O_APPEND) !== 0;
  }

  get position(): number | undefined {
    return this.#position;
  }

  set position(value: number) {
    this.#position = value;
  }

  /** Runs `work` while the file is held open, and tells of errors as `node:fs` does of that system call. Once it is to be closed, only for a holder. */
  async use<T>(syscall: string, work: (fid: Fid) => Promise<T>, holder?: object): Promise<T> {
    if (this.#closing !== undefined && (holder === undefined || !this.#holders.has(holder))) throw fileClosed(syscall);
    this.#users++;
    try {
      return await told({ syscall }, () => work(this.fid));
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    if (--this.#users === 0) this.#idle?.();
  }

  /** One user more until `drop`: `close` waits for that, and calls `onClosing` to ask for it. */
  hold(holder: object, onClosing: () => void): void {
    if (this.#closing !== undefined) throw fileClosed('open');
    this.#holders.set(holder, onClosing);
    this.#users++;
  }

  drop(holder: object): void {
    if (this.#holders.delete(holder)) this.#leave();
  }

  /**
   * Fills `view` from `position`, or from the file's own position if that is null. Resolves with the bytes read, as
   * read(2): none at the end of the file. The view is the file's until then.
   */
  read(view: Uint8Array, position: number | null, request: RequestOptions | undefined, holder?: object): Promise<number> {
    const work = async (fid: Fid): Promise<number> => {
      if (!canRead(this.flags)) throw new ErrnoError('EBADF');
      if (fid.isDirectory) throw new ErrnoError('EISDIR');
      if (position !== null) return fid.read(view, position, request);
      return this.#inTurn(async () => {
        const at = await this.#here(request);
        const count = await fid.read(view, at, request);
        this.#position = at + count;
        return count;
      });
    };
    return this.use('read', work, holder);
  }

  /** Writes all of `data` at `position`, or at the file's own position if that is null; at the end if it was opened to append. */
  write(data: Uint8Array, position: number | null, request: RequestOptions | undefined, holder?: object): Promise<number> {
    const work = async (fid: Fid): Promise<number> => {
      if (!canWrite(this.flags)) throw new ErrnoError('EBADF');
      if (position !== null && !this.append) return fid.write(data, position, request);
      return this.#inTurn(async () => {
        if (this.append) {
          const count = await fid.write(data, 0, request);
          this.#position = undefined;
          return count;
        }
        const at = await this.#here(request);
        const count = await fid.write(data, at, request);
        this.#position = at + count;
        return count;
      });
    };
    return this.use('write', work, holder);
  }

  async #here(request: RequestOptions | undefined): Promise<number> {
    this.#position ??= (await this.fid.getattr(GETATTR_SIZE, request)).size;
    return this.#position;
  }

  /** Those who share the position take turns. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** Ends it after whoever uses it; those who hold it are told, as Node ends the streams of a handle that is closed. Idempotent. */
  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = this.#close();
      for (const onClosing of [...this.#holders.values()]) onClosing();
    }
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (--this.#users > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    const fd = this.#fd;
    this.#fd = -1;
    this.context.closed(fd);
    try {
      await told({ syscall: 'close' }, () => this.fid.clunk());
    } finally {
      this.onClosed?.();
    }
  }
}
