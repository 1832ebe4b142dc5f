import { type Client, type Fid, passesDescriptors, type RequestOptions } from '../client/index.js';
import { ORDERED_CREATES, ORDERED_XATTR } from '../protocol/constants.js';
import { answeredError } from '../protocol/error.js';
import { decodeEntriesPlus, type EntryPlus, READDIR_BARE, READDIR_PLUS, untold } from '../protocol/plus.js';
import type { Attributes, Qid } from '../protocol/types.js';
import { WANTED } from './attributes.js';

/** What a look-up found. */
export interface Found {
  fid: Fid;
  attributes: Attributes;
}

/** A fid that a Twalk is making. */
export interface Walking {
  readonly fid: Fid;
  /** Resolves when it is made; the fid is void after a rejection. */
  readonly done: Promise<void>;
}

const UNKNOWN: Qid = { type: 0, version: 0, path: 0n };

/**
 * Requests of which one needs what another makes. Our own server can be asked to do them in order (ORDERED_XATTR); then they leave
 * together and cost one round trip. With any other server, which may do them in any order, each waits for the one before.
 */
export class Ordered {
  readonly #client: Client;
  /** The conversation that was asked. A new one after a loss must be asked anew. */
  #session: Client['session'] | undefined;
  #kept = false;
  #lends = false;
  #creates = false;
  #asking = false;

  constructor(client: Client) {
    this.#client = client;
  }

  get kept(): boolean {
    if (this.#session === this.#client.session) return this.#kept;
    if (!this.#asking) void this.ask();
    return false;
  }

  /** Whether the server passes the descriptors of open files in this conversation (DESCRIPTOR_XATTR), and they come. */
  get lends(): boolean {
    return this.kept && this.#lends && this.#client.session.takesDescriptors;
  }

  /** Whether the server has Tcreateat. */
  get creates(): boolean {
    return this.kept && this.#creates;
  }

  /** Asks the server. Never rejects. */
  async ask(): Promise<boolean> {
    const { session } = this.#client;
    this.#asking = true;
    try {
      const { fid, size } = await this.#client.root.xattrwalk(ORDERED_XATTR);
      this.#kept = true;
      this.#creates = size >= ORDERED_CREATES;
      await fid.clunk();
      this.#lends = await passesDescriptors(this.#client.root);
    } catch {
      // No such attribute, or no connection: the next one is asked anew.
      this.#kept = false;
    }
    this.#session = session;
    this.#asking = false;
    return this.#kept;
  }

  /** The second after the first, together where order is kept. The first one's error is the one that counts. */
  async both<A, B>(first: Promise<A>, second: () => Promise<B>): Promise<[A, B]> {
    if (!this.kept) return [await first, await second()];
    const later = second();
    // Of no interest where the first one fails.
    later.catch(() => {});
    const one = await first;
    try {
      return [one, await later];
    } catch (error) {
      // A conversation that was lost in between is followed by one that keeps no order yet.
      if ((error as NodeJS.ErrnoException).code === 'EBADF') return [one, await second()];
      throw error;
    }
  }

  /** Twalk of one name, or of none for a clone; the fid is given at once. Where order is kept it may be used at once, too. */
  walk(from: Fid, name: string | undefined, options: RequestOptions | undefined): Walking {
    const { client } = from;
    const wnames = name === undefined ? [] : [name];
    // What it is, is not known before the reply: the directory's own qid would have it refused to be written to.
    const qid = name === undefined ? from.qid : UNKNOWN;
    const fid = client.newFid(qid, from.attachment, from.place.descend(wnames));
    const done = client.requestNewFid(fid, 'Twalk', { fid: from.number, newfid: fid.number, wnames }, options).then(({ wqids }) => {
      if (wqids.length < wnames.length) {
        fid.clunk().catch(() => {});
        throw answeredError('ENOENT', { syscall: 'Twalk' });
      }
      const last = wqids[wqids.length - 1];
      if (last !== undefined) fid.qid = last;
    });
    return { fid, done };
  }

  /** Entries of an open directory with their attributes, as far as the server has them at once, and with `bare`, which of them have no xattr. */
  async readdirPlus(fid: Fid, offset: bigint, count: number, bare: boolean, options?: RequestOptions): Promise<EntryPlus[]> {
    // After a loss, nothing of that is agreed on.
    if (!this.kept) return this.readdir(fid, offset, count, options);
    const wanted = READDIR_PLUS + (bare ? READDIR_BARE : 0) + count;
    const { data } = await fid.client.request('Treaddir', { fid: fid.number, offset, count: wanted }, options);
    return decodeEntriesPlus(data);
  }

  /** Entries of an open directory, as any server lists them. */
  async readdir(fid: Fid, offset: bigint, count: number, options?: RequestOptions): Promise<EntryPlus[]> {
    return (await fid.readdir(offset, count, options)).map(untold);
  }

  /** Twalk and Tgetattr. ENOENT where the name leads nowhere. Who gets the fid ends it. */
  async look(from: Fid, name: string, options: RequestOptions | undefined): Promise<Found> {
    const { fid, done } = this.walk(from, name, options);
    let walked = false;
    const walking = done.then(() => {
      walked = true;
    });
    try {
      const [, attributes] = await this.both(walking, () => this.#client.verbs.getattr(fid, WANTED, options));
      return { fid, attributes };
    } catch (error) {
      if (walked) fid.clunk().catch(() => {});
      throw error;
    }
  }
}
