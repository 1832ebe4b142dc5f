import { closeSync } from 'node:fs';
import { DESCRIPTOR_XATTR, NOFID, WATCH_XATTR } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/** The descriptor that may come with a reply, for whoever asks; one that comes after they have given up is closed. */
export class Passed {
  #fd: number | undefined;
  #over = false;

  /** For CallOptions. */
  readonly take = (fd: number): void => {
    if (this.#over) closeSync(fd);
    else this.#fd = fd;
  };

  /** What has come, which is the caller's from here on. */
  get descriptor(): number | undefined {
    return this.#fd;
  }

  /** The request has failed: it may have come all the same, between its being given up and this, and may come yet. */
  drop(): void {
    this.#over = true;
    if (this.#fd !== undefined) closeSync(this.#fd);
  }
}

/** Txattrwalk of one of our own server's attributes whose reply brings a descriptor; `made` is given that, which is its own, and the reply's size. */
function passed<T>(fid: Fid, name: string, options: RequestOptions | undefined, made: (descriptor: number, size: number) => T): Promise<T> {
  const came = new Passed();
  // Not spread: see withLate.
  const all = { signal: options?.signal, timeout: options?.timeout, descriptor: came.take };
  return fid.client.request('Txattrwalk', { fid: fid.number, newfid: NOFID, name }, all).then(
    ({ size }) => {
      const { descriptor } = came;
      if (descriptor === undefined) throw new ErrnoError('EBADF', { syscall: 'Txattrwalk' });
      return made(descriptor, size);
    },
    (error: unknown) => {
      came.drop();
      throw error;
    },
  );
}

/**
 * The descriptor that our own server has this open fid open by, passed over a unix socket: the caller's, who closes it (DESCRIPTOR_XATTR). The client's
 * connection must have been made with `polled` and `descriptors`. EOPNOTSUPP, or whatever another server says of an attribute it does not have, where there is none;
 * EBADF where the fid is not open.
 */
export function descriptorOf(fid: Fid, options?: RequestOptions): Promise<number> {
  return passed(fid, DESCRIPTOR_XATTR, options, (descriptor) => descriptor);
}

/** A watch for names that appear in a directory. */
export interface NameWatch {
  /** The inotify(7) queue that tells of them, the same one for all watches of a conversation: a descriptor of it, the caller's, who closes it. */
  readonly queue: number;
  /** What the directory is called there. */
  readonly watch: number;
}

/**
 * Has our own server watch an open directory for names that appear in it, which are told on this host at once (WATCH_XATTR). What is needed, and the errors, as for `descriptorOf`; EOPNOTSUPP
 * also for a directory on a file system that does not tell.
 */
export function watchOf(fid: Fid, options?: RequestOptions): Promise<NameWatch> {
  return passed(fid, WATCH_XATTR, options, (queue, watch) => ({ queue, watch }));
}

/** Whether the server passes descriptors in this conversation, and they are taken: asked with its root, which is not open. */
export async function passesDescriptors(root: Fid, options?: RequestOptions): Promise<boolean> {
  if (!root.client.session.takesDescriptors) return false;
  try {
    await root.client.request('Txattrwalk', { fid: root.number, newfid: NOFID, name: DESCRIPTOR_XATTR }, options);
    return true;
  } catch {
    return false;
  }
}
