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
    return this.use('read', (fid) => this.#reading(fid, position, request, (at) => fid.read(view, at, request)), holder);
  }

  /** As `read`, into one view after another at one go: nobody else's read of the same position comes between. */
  readAll(views: readonly Uint8Array[], position: number | null, request: RequestOptions | undefined): Promise<number> {
    return this.use('read', (fid) =>
      this.#reading(fid, position, request, (at) => each(views, (view, done) => fid.read(view, at + done, request))),
    );
  }

  async #reading(
    fid: Fid,
    position: number | null,
    request: RequestOptions | undefined,
    move: (at: number) => Promise<number>,
  ): Promise<number> {
    if (!canRead(this.flags)) throw new ErrnoError('EBADF');
    if (fid.isDirectory) throw new ErrnoError('EISDIR');
    return position === null ? this.#onward(request, move) : move(position);
  }

  /** Writes all of `data` at `position`, or at the file's own position if that is null; at the end if it was opened to append. */
  write(data: Uint8Array, position: number | null, request: RequestOptions | undefined, holder?: object): Promise<number> {
    return this.use('write', (fid) => this.#writing(position, request, (at) => fid.write(data, at, request)), holder);
  }

  /** As `write`, one view after another at one go; those that fit into one message leave in one, so that nobody else's come between at the server either. */
  writeAll(views: readonly Uint8Array[], position: number | null, request: RequestOptions | undefined): Promise<number> {
    return this.use('write', (fid) => {
      const total = views.reduce((sum, { length }) => sum + length, 0);
      const parts = views.length > 1 && total <= fid.iounit ? [Buffer.concat(views, total)] : views;
      return this.#writing(position, request, (at) => each(parts, (part, done) => fid.write(part, this.append ? at : at + done, request)));
    });
  }

  async #writing(position: number | null, request: RequestOptions | undefined, move: (at: number) => Promise<number>): Promise<number> {
    if (!canWrite(this.flags)) throw new ErrnoError('EBADF');
    if (!this.append) return position === null ? this.#onward(request, move) : move(position);
    return this.inTurn(async () => {
      const count = await move(0);
      this.#position = undefined;
      return count;
    });
  }

  /** From where the file is, which then is behind what was moved. */
  #onward(request: RequestOptions | undefined, move: (at: number) => Promise<number>): Promise<number> {
    return this.inTurn(async () => {
      const at = await this.here(request);
      const count = await move(at);
      this.#position = at + count;
      return count;
    });
  }

  /** Where the file is; for whoever has the turn. */
  async here(request: RequestOptions | undefined): Promise<number> {
    this.#position ??= (await this.fid.getattr(GETATTR_SIZE, request)).size;
    return this.#position;
  }

  /** Those who share the position take turns: whoever looks at it and then moves it does both in one. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
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

/** Moves one view after another, as far as they are moved whole. */
async function each(views: readonly Uint8Array[], move: (view: Uint8Array, done: number) => Promise<number>): Promise<number> {
  let done = 0;
  for (const view of views) {
    const count = view.length === 0 ? 0 : await move(view, done);
    done += count;
    if (count < view.length) break;
  }
  return done;
}
