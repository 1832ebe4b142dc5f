import { L_O_DIRECT } from '../protocol/constants.js';
import type { Attributes, Qid } from '../protocol/types.js';
import { Passed } from './descriptor.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

const UNKNOWN: Qid = { type: 0, version: 0, path: 0n };

/** What Tcreateat gives. */
export interface Created {
  /** The open file; whoever asked for it ends it. */
  readonly fid: Fid;
  readonly attributes: Attributes;
  /** Those of the directory, with the file in it; undefined where the server cannot tell. */
  readonly directory: Attributes | undefined;
  /** What the server has the file open by: the caller's, who closes it. */
  readonly descriptor: number | undefined;
}

function told(attributes: Attributes): Attributes | undefined {
  return attributes.valid === 0n ? undefined : attributes;
}

/**
 * Tcreateat, which only our own server has, in a conversation that keeps order (ORDERED_XATTR): creates `name` in a directory, whose fid stays what it is, and opens it with
 * `flags` (L_O_*). `lend`: its descriptor is wanted, too (DESCRIPTOR_XATTR); that it is not to be had is no error. Errors as of `Fid.create`; EOPNOTSUPP from any other server.
 */
export function createAt(
  directory: Fid,
  name: string,
  flags: number,
  mode: number,
  gid: number,
  lend: boolean,
  options?: RequestOptions,
): Promise<Created> {
  const { client } = directory;
  const fid = client.newFid(UNKNOWN, directory.attachment, directory.place.descend([name]));
  const came = new Passed();
  const body = { dfid: directory.number, newfid: fid.number, lend: lend ? 1 : 0, name, flags: flags & ~L_O_DIRECT, mode, gid };
  const all = { signal: options?.signal, timeout: options?.timeout, descriptor: came.take };
  return client.requestNewFid(fid, 'Tcreateat', body, all).then(
    (reply) => {
      fid.openedAs(directory, name, reply.attributes.qid, flags, reply.iounit);
      return { fid, attributes: reply.attributes, directory: told(reply.directory), descriptor: came.descriptor };
    },
    (error: unknown) => {
      came.drop();
      throw client.located(error, directory.pathOf(name));
    },
  );
}
