import { inotify } from '../sys/inotify.js';
import { close, duplicate } from '../sys/io.js';
import type { BackendFile } from './backend.js';
import { lending, openFiles } from './descriptors.js';
import { failure } from './errors.js';

/** Queues of all connections at most: a user may have 128 (fs.inotify.max_user_instances), also for what else runs as root. */
const MOST = 32;

/** What a watch is known by, and a descriptor of the queue that tells of it, the caller's (`lending`). */
export interface Watch {
  readonly number: number;
  readonly descriptor: number;
}

/** The queue by which a connection's client hears of new names in directories (WATCH_XATTR): one for all of them, as each user of the host may have few. */
export class Watches {
  static #queues = 0;
  readonly #connection: string;
  #queue = -1;

  /** `connection`: whose share of descriptors it takes. */
  constructor(connection: string) {
    this.#connection = connection;
  }

  /** EOPNOTSUPP where the directory's file system does not tell, EMFILE where there are no more queues to be had. */
  add(directory: BackendFile): Watch {
    if (directory.watch === undefined) throw failure('EOPNOTSUPP');
    const first = this.#queue < 0;
    const queue = this.#made();
    let number: number | undefined;
    let descriptor: number | undefined;
    try {
      // Nothing is watched that the client does not hear of.
      descriptor = lending(this.#connection, () => {
        number = directory.watch?.(queue);
        const fd = number === undefined ? -1 : duplicate(queue);
        return fd < 0 ? undefined : fd;
      });
    } finally {
      if (first && descriptor === undefined) this.end();
    }
    if (number === undefined) throw failure('EOPNOTSUPP');
    if (descriptor === undefined) throw failure('EMFILE');
    return { number, descriptor };
  }

  /** What the client was lent tells it on. */
  end(): void {
    if (this.#queue < 0) return;
    close(this.#queue);
    this.#queue = -1;
    Watches.#queues--;
    openFiles().give(this.#connection, 1);
  }

  #made(): number {
    if (this.#queue >= 0) return this.#queue;
    if (Watches.#queues === MOST || !openFiles().take(this.#connection, 1)) throw failure('EMFILE');
    try {
      this.#queue = inotify();
      Watches.#queues++;
    } catch (error) {
      openFiles().give(this.#connection, 1);
      throw error;
    }
    return this.#queue;
  }
}
