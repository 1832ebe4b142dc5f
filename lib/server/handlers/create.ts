import { UNTOLD } from '../../protocol/attributes.js';
import { GETATTR_ALL, L_O_EXCL } from '../../protocol/constants.js';
import type { Reply } from '../../protocol/messages.js';
import type { Attributes } from '../../protocol/types.js';
import type { Awaitable } from '../backend.js';
import type { Connection } from '../connection.js';
import { lending } from '../descriptors.js';
import { failure, isPending } from '../errors.js';
import { Fid, type FidTable } from '../fids.js';
import type { Request } from '../request.js';
import { demandCreatable, opened, STRIPPED } from './file.js';
import type { Handler } from './handler.js';

export const Tcreateat: Handler<'Tcreateat'> = (connection, request, { dfid, newfid, lend, name, flags, mode, gid }) => {
  // To whoever was not told of it this is a server of 9P2000.L and no more.
  if (!connection.workload.keepsOrder) throw failure('EOPNOTSUPP');
  const { fids } = connection;
  const directory = request.use(fids, dfid);
  if (directory.xattr !== undefined) throw failure('EINVAL');
  demandCreatable(directory, name, flags);
  const wanted = (flags & ~STRIPPED) | (flags & L_O_EXCL);
  fids.reserve(newfid);
  const undo = (error: unknown): never => {
    fids.unreserve(newfid);
    throw error;
  };
  const done = ({ node, file, attributes }: Awaited<ReturnType<typeof directory.node.create>>): Awaitable<Reply<'Tcreateat'>> => {
    const fid = new Fid(newfid, node, directory.attached);
    const { iounit } = opened(connection, fid, file, wanted);
    // The session ended meanwhile: it is over when the file is closed.
    if (fids.ended) return dropped(fids, fid, failure('EINTR'));
    fids.put(fid);
    return created(connection, request, { fid, directory, iounit, lend: lend !== 0 }, attributes);
  };
  let made: ReturnType<typeof directory.node.create>;
  try {
    made = directory.node.create(name, wanted, mode & 0o7777, gid, request);
  } catch (error) {
    return undo(error);
  }
  return isPending(made) ? made.then(done, undo) : done(made);
};

interface Created {
  fid: Fid;
  directory: Fid;
  iounit: number;
  lend: boolean;
}

/** The reply, for a file that is there. It ends with its fid where its attributes cannot be had: they are what the client goes by. */
function created(connection: Connection, request: Request, made: Created, known: Attributes | undefined): Awaitable<Reply<'Tcreateat'>> {
  const { fid, directory } = made;
  const { fids } = connection;
  let attributes: Awaitable<Attributes>;
  try {
    attributes = known ?? (fid.file ?? fid.node).getattr(GETATTR_ALL, request);
  } catch (error) {
    return dropped(fids, fid, error);
  }
  const around = attributesOf(directory, request);
  if (!isPending(attributes) && !isPending(around)) return whole(connection, request, made, attributes, around);
  // The end of the session leaves it open as long as it is asked; and whoever gives up waits for both, as the directory is held no longer than that.
  fid.hold();
  return Promise.allSettled([attributes, around]).then(([one, other]) => {
    fid.letGo();
    if (one.status === 'rejected') return dropped(fids, fid, one.reason);
    return whole(connection, request, made, one.value, other.status === 'fulfilled' ? other.value : UNTOLD);
  });
}

function whole(
  connection: Connection,
  request: Request,
  { fid, iounit, lend }: Created,
  attributes: Attributes,
  directory: Attributes,
): Reply<'Tcreateat'> {
  const lent = lend && lendTo(connection, request, fid) ? 1 : 0;
  return { lent, iounit, attributes, directory };
}

/** Ends a fid that nobody will be told of, and fails. */
function dropped(fids: FidTable, fid: Fid, error: unknown): Promise<never> | never {
  const closing = fids.discard(fid);
  if (closing === undefined) throw error;
  return closing.then(() => {
    throw error;
  });
}

/** Has the reply take the descriptor along, if one may go. None left of the connection's share is no error: the file is there all the same. */
function lendTo({ passes }: Connection, request: Request, { file }: Fid): boolean {
  if (!passes) return false;
  try {
    request.descriptor = lending(request.connection, () => file?.lend?.());
  } catch {
    return false;
  }
  return request.descriptor !== undefined;
}

/** What is done is done, whether or not this can be told; it may turn out later that it cannot. */
function attributesOf({ node }: Fid, request: Request): Awaitable<Attributes> {
  try {
    return node.getattr(GETATTR_ALL, request);
  } catch {
    return UNTOLD;
  }
}
