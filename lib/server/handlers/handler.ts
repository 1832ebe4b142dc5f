import type { ErrnoError } from '../../protocol/error.js';
import type { Body, Reply, TName } from '../../protocol/messages.js';
import type { Awaitable } from '../backend.js';
import type { Connection } from '../connection.js';
import { failure } from '../errors.js';
import type { Fid } from '../fids.js';
import type { Request } from '../request.js';

/**
 * Answers one kind of request: with the body of its reply, at once or later, or by throwing what Rlerror is to carry; an error that is nothing
 * out of the ordinary may be the answer itself. What it uses of `connection.fids` it gets through `request.use`, which keeps it until the answer.
 */
export type Handler<N extends TName> = (connection: Connection, request: Request, body: Body<N>) => Awaitable<Reply<N> | ErrnoError>;

/** The body of every reply without fields. */
export const empty = {};

/** As `empty`, for `then`. */
export function nothing(): typeof empty {
  return empty;
}

/** Refuses a change to a read-only export. */
export function demandWritable(fid: Fid): void {
  if (fid.attached.exported.readonly) throw failure('EROFS');
}

/** Refuses what spans two exports. */
export function demandSameExport(one: Fid, other: Fid): void {
  if (one.attached.exported !== other.attached.exported) throw failure('EXDEV');
}
