import { NOFID } from '../../protocol/constants.js';
import type { Awaitable } from '../backend.js';
import type { Connection } from '../connection.js';
import { failure, isPending } from '../errors.js';
import { type Attached, Fid } from '../fids.js';
import { checkWho } from '../names.js';
import type { Request } from '../request.js';
import { empty, type Handler, nothing } from './handler.js';

/**
 * Who may come in is decided by the socket, so there is nothing to authenticate with. diod's own programs take EOPNOTSUPP for the end of
 * the matter if they have no user name, and go on to Tattach only after ENOENT (libnpclient, auth.c).
 */
export const Tauth: Handler<'Tauth'> = (_connection, _request, { uname }) => {
  throw failure(uname === '' ? 'ENOENT' : 'EOPNOTSUPP');
};

export const Tattach: Handler<'Tattach'> = (connection, request, { fid, afid, uname, aname, nUname }) => {
  // Nobody was ever given an afid.
  if (afid !== NOFID) throw failure('EBADF');
  checkWho(uname);
  const exported = connection.context.exports.find(aname);
  if (exported === undefined) throw failure('ENOENT');
  const { fids } = connection;
  fids.reserve(fid);
  const attached: Attached = { exported, uname, aname, uid: nUname };
  request.uid = nUname;
  try {
    const node = exported.backend.attach({ uname, aname, uid: nUname });
    const done = (root: Awaited<typeof node>) => {
      fids.put(new Fid(fid, root, attached));
      connection.attached(attached);
      return { qid: root.qid };
    };
    if (!isPending(node)) return done(node);
    return node.then(done).catch((error: unknown) => {
      fids.unreserve(fid);
      throw error;
    });
  } catch (error) {
    fids.unreserve(fid);
    throw error;
  }
};

export const Tclunk: Handler<'Tclunk'> = (connection, request, body) => {
  const { fids } = connection;
  const fid = fids.get(body.fid);
  if (fid.xattr?.writing === true) return commit(connection, request, fid);
  fids.take(body.fid);
  if (fid.busy) connection.workload.abortWaits(fid);
  const ending = fid.retire();
  return isPending(ending) ? ending.then(nothing) : empty;
};

/** The end of a Txattrcreate is when the attribute is set; its error is the clunk's (9P2000.L, xattrcreate). */
async function commit(connection: Connection, request: Request, fid: Fid): Promise<typeof empty> {
  const { xattr } = fid;
  connection.fids.take(fid.number);
  try {
    if (xattr?.writing === true) {
      request.uid = fid.attached.uid;
      await store(request, fid, xattr);
    }
  } finally {
    await fid.retire();
  }
  return empty;
}

function store(
  request: Request,
  { node }: Fid,
  { name, value, written, flags }: Extract<Fid['xattr'], { writing: true }>,
): Awaitable<void> {
  if (written !== value.length) throw failure('EINVAL');
  // Linux removes an attribute by setting it to nothing (fs/9p/xattr.c); only XATTR_CREATE can mean an empty value.
  if (value.length === 0 && (flags & 1) === 0) return node.removexattr(name, request);
  return node.setxattr(name, value, flags, request);
}
