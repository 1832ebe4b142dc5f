import { type Dialect, MIN_MSIZE, VERSION_L, VERSION_LEGACY, VERSION_U } from '../protocol/constants.js';
import { ErrnoError, ProtocolError } from '../protocol/error.js';
import type { Reply } from '../protocol/messages.js';

/** From the newest to the oldest: a server may step down, never up (version(5)). */
const order: readonly Dialect[] = [VERSION_L, VERSION_U, VERSION_LEGACY];

/** The dialects older than `dialect`, newest first. */
export function olderThan(dialect: Dialect): readonly Dialect[] {
  return order.slice(order.indexOf(dialect) + 1);
}

/**
 * What both sides speak after an Rversion to a Tversion with `msize` and `version`. A ProtocolError where the msize is not one that may be
 * answered, EPROTONOSUPPORT where the version is none of ours.
 */
export function agreed(reply: Reply<'Tversion'>, msize: number, version: Dialect): Dialect {
  if (reply.msize > msize) throw new ProtocolError(`msize ${reply.msize}; ${msize} was asked for`, 'Rversion.msize');
  if (reply.msize < MIN_MSIZE) throw new ProtocolError(`msize ${reply.msize}; ${MIN_MSIZE} is the least`, 'Rversion.msize');
  const dialect = [version, ...olderThan(version)].find((one) => one === reply.version);
  if (dialect !== undefined) return dialect;
  throw new ErrnoError('EPROTONOSUPPORT', {
    syscall: 'Tversion',
    path: `${version} (the server answers ${JSON.stringify(reply.version)})`,
  });
}
