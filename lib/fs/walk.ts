import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { walkEnd } from '../client/wnames.js';
import { MAXWELEM, QTDIR, QTSYMLINK } from '../protocol/constants.js';
import { ErrnoError, ProtocolError } from '../protocol/error.js';
import type { Qid } from '../protocol/types.js';
import type { Context } from './context.js';
import { checkLength, type PathParts, splitPath } from './path.js';

/** Symlinks followed in one look-up (path_resolution(7)). */
const MAX_SYMLINKS = 40;
/** Look-ups begun again because the tree changed under them. */
const MAX_RETRIES = 8;

export interface Lookup {
  /** Whether a symlink at the end is followed. */
  follow: boolean;
  request: RequestOptions | undefined;
}

/** Where a path led: a fid of the caller's, or the root itself, and the names from there without symlinks. */
export interface Found {
  fid: Fid;
  names: readonly string[];
}

/** Where a path led but for its last name, which is not there yet. */
export interface Missing {
  fid: undefined;
  names: readonly string[];
}

/** The directory that a name is or will be in. `special` where the path ends in no name of its own: ".", ".." or the root. */
export interface Parent {
  fid: Fid;
  name: string;
  /** A slash follows the name. */
  directory: boolean;
}

/** Either all names were walked, or one of them is a symlink to follow, or one of them could not be walked. */
type Descent =
  | { kind: 'there'; fid: Fid }
  | { kind: 'link'; index: number; fid: Fid | undefined }
  | { kind: 'stopped'; index: number; error: ErrnoError | undefined };

/**
 * Look-up of a path, on this side of the wire: 9P walks names, and neither follows symlinks nor says what ".." above a symlink
 * means. The whole path goes out as one Twalk, and the qids of the reply tell whether that was right; only where they show a symlink
 * is there more to do. ".." never goes out, so a path cannot leave the attached root whatever the server thinks of it, and an
 * absolute symlink begins there too.
 */
export class Walker {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** What a path names. Rejects with an ErrnoError that says nothing of the path. */
  async find(path: string, lookup: Lookup): Promise<Found> {
    const found = await this.#resolve(parts(path), lookup, false);
    if (found.fid === undefined) throw new ErrnoError('ENOENT');
    return found;
  }

  /** What a path names, or where it would be: the names of the directory and its own. */
  findOrMissing(path: string, lookup: Lookup): Promise<Found | Missing> {
    return this.#resolve(parts(path), lookup, true);
  }

  /** A fid for names that hold no symlink; ENOTDIR or ENOENT if that has changed. */
  async reach(names: readonly string[], request: RequestOptions | undefined): Promise<Fid> {
    const { fid } = await this.#resolve({ names, directory: false }, { follow: false, request }, false);
    if (fid === undefined) throw new ErrnoError('ENOENT');
    return fid;
  }

  /** The directory of what a path names, whether that is there or not. `special` gives the error for a path without a name. */
  async parent(path: string, request: RequestOptions | undefined, special: (last: string) => string): Promise<Parent> {
    const { names, directory, last } = parts(path);
    if (last === '.' || last === '..' || last === '') {
      const { fid } = await this.find(path, { follow: true, request });
      this.#context.release(fid);
      throw new ErrnoError(special(last));
    }
    const found = await this.#resolve({ names: names.slice(0, -1), directory: true }, { follow: true, request }, false);
    if (found.fid === undefined) throw new ErrnoError('ENOENT');
    return { fid: found.fid, name: last, directory };
  }

  async #resolve(path: Pick<PathParts, 'names' | 'directory'>, lookup: Lookup, missing: boolean): Promise<Found | Missing> {
    const { request } = lookup;
    let { directory } = path;
    /** Names that were walked and are no symlinks. */
    let done: readonly string[] = [];
    let pending = path.names;
    let links = 0;
    for (let retries = 0; retries < MAX_RETRIES; ) {
      const up = pending.indexOf('..');
      const names = [...done, ...(up < 0 ? pending : pending.slice(0, up))];
      const rest = up < 0 ? [] : pending.slice(up);
      if (up === 0) {
        done = done.slice(0, -1);
        pending = rest.slice(1);
        continue;
      }
      const whole = rest.length === 0;
      const step = await this.#descend(names, lookup.follow || !whole || directory, request);
      if (step.kind === 'there') {
        if ((directory || !whole) && !step.fid.isDirectory) {
          this.#context.release(step.fid);
          throw new ErrnoError('ENOTDIR');
        }
        if (whole) return { fid: step.fid, names };
        this.#context.release(step.fid);
        done = names.slice(0, -1);
        pending = rest.slice(1);
        continue;
      }
      if (step.kind === 'link') {
        const target = await this.#target(names.slice(0, step.index + 1), step.fid, ++links, request);
        if (target === undefined) {
          retries++;
          continue;
        }
        if (whole && step.index === names.length - 1) directory ||= target.directory;
        done = target.absolute ? [] : names.slice(0, step.index);
        pending = [...target.names, ...names.slice(step.index + 1), ...rest];
        continue;
      }
      const atEnd = whole && step.index === names.length - 1;
      if (atEnd && missing && (step.error === undefined || step.error.code === 'ENOENT')) return { fid: undefined, names };
      const error = step.error ?? (await this.#reason(names, step.index, request));
      if (error !== undefined) throw error;
      retries++;
    }
    throw new ErrnoError('EAGAIN');
  }

  /** Where a symlink points; undefined if it is none any more. */
  async #target(names: readonly string[], own: Fid | undefined, links: number, request: RequestOptions | undefined) {
    let fid = own;
    if (fid === undefined) {
      const step = await this.#descend(names, false, request);
      if (step.kind !== 'there') return undefined;
      fid = step.fid;
    }
    const text = await this.#context.using(fid, async (link) => {
      if (links > MAX_SYMLINKS) throw new ErrnoError('ELOOP');
      return (link.qid.type & QTSYMLINK) === 0 ? undefined : link.readlink(request);
    });
    return text === undefined ? undefined : parts(text);
  }

  /** Why a walk ended before `names[index]`: only a walk whose first name fails is told why (walk(5)). Undefined: it is there now. */
  async #reason(names: readonly string[], index: number, request: RequestOptions | undefined): Promise<ErrnoError | undefined> {
    const step = await this.#descend(names.slice(0, index), false, request);
    if (step.kind !== 'there') return undefined;
    const { fid } = step;
    const { error, next } = await this.#context.using(fid, () =>
      this.#twalk(fid, names.slice(index, index + 1), names.slice(0, index + 1), request),
    );
    this.#context.release(next);
    return error;
  }

  async #descend(names: readonly string[], follow: boolean, request: RequestOptions | undefined): Promise<Descent> {
    const { root } = this.#context;
    if (names.length === 0) return { kind: 'there', fid: root };
    let at = root;
    let size = MAXWELEM;
    for (let reached = 0; reached < names.length; ) {
      const wnames = names.slice(reached, Math.min(reached + size, walkEnd(names, reached, this.#context.client.session.msize)));
      const from = at;
      const { qids, next, error } = await this.#context.using(from, () =>
        this.#twalk(from, wnames, names.slice(0, reached + wnames.length), request),
      );
      const link = qids.findIndex(({ type }, index) => (type & QTSYMLINK) !== 0 && (follow || reached + index < names.length - 1));
      if (link >= 0) {
        const own = next !== undefined && link === wnames.length - 1;
        if (!own) this.#context.release(next);
        return { kind: 'link', index: reached + link, fid: own ? next : undefined };
      }
      if (next === undefined) {
        if (error !== undefined && size > 1 && wnames.length > 1) {
          // Some servers answer an error to any walk that does not reach its end (nfs-ganesha; interop: walk.partial). Name by name it shows
          // where, and whether a symlink is why.
          size = 1;
          at = root;
          reached = 0;
          continue;
        }
        const { type } = qids[qids.length - 1] ?? from.qid;
        const notDirectory = (type & QTDIR) === 0 ? new ErrnoError('ENOTDIR') : undefined;
        return { kind: 'stopped', index: reached + qids.length, error: notDirectory ?? error };
      }
      at = next;
      reached += wnames.length;
    }
    return { kind: 'there', fid: at };
  }

  /** One Twalk. `next` is there if all of `wnames` were walked; `error` if the first of them was not, or any in some servers. */
  async #twalk(
    from: Fid,
    wnames: readonly string[],
    names: readonly string[],
    request: RequestOptions | undefined,
  ): Promise<{ qids: readonly Qid[]; next?: Fid; error?: ErrnoError }> {
    const { client, root } = this.#context;
    const next = client.newFid(from.qid, from.attachment, [...root.names, ...names]);
    try {
      const body = { fid: from.number, newfid: next.number, wnames: [...wnames] };
      const { wqids } = await client.requestNewFid(next, 'Twalk', body, request);
      if (wqids.length > wnames.length) {
        this.#context.release(next);
        throw new ProtocolError(`${wqids.length} qids for ${wnames.length} names`, 'Rwalk.wqids');
      }
      const last = wqids[wqids.length - 1];
      if (wqids.length === wnames.length) {
        if (last !== undefined) next.qid = last;
        return { qids: wqids, next };
      }
      // Some servers leave newfid where the walk got to, others nowhere (interop: walk.partial-newfid): the clunk suits both.
      this.#context.release(next);
      return { qids: wqids };
    } catch (error) {
      if (!(error instanceof ErrnoError) || isOurs(error)) throw error;
      return { qids: [], error };
    }
  }
}

/** Not an answer of the server's, but this side's patience at an end. */
function isOurs({ code }: ErrnoError): boolean {
  return code === 'ETIMEDOUT' || code === 'ENOBUFS';
}

/** Nothing has no name: ENOENT (POSIX 4.16). */
function parts(path: string): PathParts {
  if (path === '') throw new ErrnoError('ENOENT');
  return splitPath(checkLength(path));
}
