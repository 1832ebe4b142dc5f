import { UNTOLD } from '../protocol/attributes.js';
import { GETATTR_ALL, GETATTR_BASIC, L_O_APPEND, L_O_DIRECTORY, NOFID, QTDIR, S_IFMT, S_IFREG } from '../protocol/constants.js';
import { decodeEntries } from '../protocol/directory.js';
import { ErrnoError } from '../protocol/error.js';
import type { Body, Reply, TName } from '../protocol/messages.js';
import { encodeEntriesPlus, untold, wantedOf } from '../protocol/plus.js';
import type { Qid } from '../protocol/types.js';
import type { Session } from '../session/session.js';
import { type Appends, appendOnce } from './appending.js';
import type { Fid } from './fid.js';
import { openAgain } from './revival.js';

/** What the rules need to know of the client. */
export interface Surroundings {
  session: Session;
  /** Whether the server may have done the request already. */
  sent: boolean;
  fid(number: number): Fid | undefined;
  /** A number for a fid of the moment. */
  spare(): number;
  giveBack(number: number): void;
  appends: Appends;
}

type Rule<N extends TName> = (around: Surroundings, body: Body<N>) => Promise<Reply<N>>;

/**
 * What is done with a request that was in flight when the connection was lost. The server may have done it or not. What can be done twice
 * is sent again as it was, and is not in this table; the others are sent again, and an error that says "already" makes the rule
 * look whether it was this very request that had happened. The table of lib/README.md tells the same to readers.
 */
const rules: { readonly [N in TName]?: Rule<N> } = {
  Tmkdir: (around, body) =>
    unless(around, 'Tmkdir', body, 'EEXIST', () =>
      look(around, body.dfid, body.name, async (fid, qid) =>
        (qid.type & QTDIR) !== 0 && (await isEmpty(around.session, fid)) ? { qid } : undefined,
      ),
    ),

  Tsymlink: (around, body) =>
    unless(around, 'Tsymlink', body, 'EEXIST', () =>
      look(around, body.dfid, body.name, async (fid, qid) => {
        const { target } = await around.session.request('Treadlink', { fid });
        return target === body.symtgt ? { qid } : undefined;
      }),
    ),

  Tmknod: (around, body) =>
    unless(around, 'Tmknod', body, 'EEXIST', () =>
      look(around, body.dfid, body.name, async (fid, qid) => {
        const { mode } = await around.session.request('Tgetattr', { fid, requestMask: GETATTR_BASIC });
        return (mode & S_IFMT) === (body.mode & S_IFMT) ? { qid } : undefined;
      }),
    ),

  Tlink: (around, body) =>
    unless(around, 'Tlink', body, 'EEXIST', () =>
      look(around, body.dfid, body.name, async (_fid, qid) => (qid.path === around.fid(body.fid)?.qid.path ? {} : undefined)),
    ),

  Tunlinkat: (around, body) => unless(around, 'Tunlinkat', body, 'ENOENT', async () => ({})),

  Tremove: async (around, body) => {
    const fid = around.fid(body.fid);
    return fid === undefined ? {} : removeByPath(around, fid);
  },

  Trenameat: (around, body) =>
    unless(around, 'Trenameat', body, 'ENOENT', () => look(around, body.newdirfid, body.newname, async () => ({}))),

  Trename: (around, body) =>
    unless(around, 'Trename', body, 'ENOENT', () =>
      look(around, body.dfid, body.name, async (_fid, qid) => (qid.path === around.fid(body.fid)?.qid.path ? {} : undefined)),
    ),

  Tlcreate: (around, body) => unless(around, 'Tlcreate', body, 'EEXIST', () => openCreated(around, body)),

  // The new conversation may be with a server that has it not.
  Tcreateat: async (around, { dfid, newfid, name, flags, mode, gid }) => {
    const { session, sent } = around;
    const create = { fid: newfid, name, flags, mode, gid };
    await session.request('Twalk', { fid: dfid, newfid, wnames: [] });
    try {
      const { iounit } = await (sent ? resend(around, 'Tlcreate', create) : session.request('Tlcreate', create));
      const attributes = await session.request('Tgetattr', { fid: newfid, requestMask: GETATTR_ALL });
      const directory = await session.request('Tgetattr', { fid: dfid, requestMask: GETATTR_ALL }).catch((error: unknown) => {
        // As our server has it: what is done is done, whether or not this can be told.
        if (error instanceof ErrnoError) return UNTOLD;
        throw error;
      });
      return { lent: 0, iounit, attributes, directory };
    } catch (error) {
      if (error instanceof ErrnoError) await session.request('Tclunk', { fid: newfid }).catch(() => undefined);
      throw error;
    }
  },

  Treaddir: async ({ session }, body) => {
    // Attributes along with entries have to be agreed on in each conversation.
    const { count, plus } = wantedOf(body.count);
    const reply = await session.request('Treaddir', { ...body, count: Math.min(count, session.maxPayload) });
    if (!plus) return reply;
    return { data: encodeEntriesPlus(decodeEntries(reply.data).map(untold)) };
  },

  Twrite: async (around, body) => {
    const fid = around.fid(body.fid);
    if (fid !== undefined && ((fid.opened?.flags ?? 0) & L_O_APPEND) !== 0) return appendOnce(around, fid, body);
    const data = body.data.subarray(0, around.session.maxPayload);
    return around.session.request('Twrite', { ...body, data });
  },
};

/** What a server takes as it is only where that has been agreed on in the conversation. */
const agreed: ReadonlySet<TName> = new Set<TName>(['Treaddir', 'Tcreateat']);

/** Whether a request needs more than being sent again, or sent at all; `sent`: the server may have done it already. */
export function hasRule(name: TName, sent: boolean): boolean {
  return rules[name] !== undefined && (sent || agreed.has(name));
}

/** Sends a request of such a kind again, in the new session. */
export function resend<N extends TName>(around: Surroundings, name: N, body: Body<N>): Promise<Reply<N>> {
  const rule: Rule<N> | undefined = rules[name];
  return rule === undefined ? around.session.request(name, body) : rule(around, body);
}

/** Sends it; for the error `already`, asks whether it had happened, and lets the error stand if it had not. */
async function unless<N extends TName>(
  { session }: Surroundings,
  name: N,
  body: Body<N>,
  already: string,
  happened: () => Promise<Reply<N> | undefined>,
): Promise<Reply<N>> {
  try {
    return await session.request(name, body);
  } catch (error) {
    if (!(error instanceof ErrnoError) || error.code !== already) throw error;
    const reply = await happened();
    if (reply === undefined) throw error;
    return reply;
  }
}

/** Looks at what has that name now; undefined where nothing has, or what has it cannot even be looked at as what was to be made. */
async function look<T>(
  { session, spare, giveBack }: Surroundings,
  directory: number,
  name: string,
  judge: (fid: number, qid: Qid) => Promise<T | undefined>,
): Promise<T | undefined> {
  const newfid = spare();
  try {
    const { wqids } = await session.request('Twalk', { fid: directory, newfid, wnames: [name] });
    const [qid] = wqids;
    if (qid === undefined) return undefined;
    try {
      return await judge(newfid, qid);
    } finally {
      await session.request('Tclunk', { fid: newfid });
    }
  } catch (error) {
    if (error instanceof ErrnoError) return undefined;
    throw error;
  } finally {
    giveBack(newfid);
  }
}

async function isEmpty(session: Session, fid: number): Promise<boolean> {
  await session.request('Tlopen', { fid, flags: L_O_DIRECTORY });
  const { data } = await session.request('Treaddir', { fid, offset: 0n, count: Math.min(session.maxPayload, 4096) });
  return decodeEntries(data).every(({ name }) => name === '.' || name === '..');
}

/** An exclusive create that is refused as existing had happened if what exists is an empty file, as it left it. */
async function openCreated(around: Surroundings, { fid, name, flags }: Body<'Tlcreate'>): Promise<Reply<'Tlcreate'> | undefined> {
  const { session } = around;
  // Looked at with another fid: if it is not the one, this fid stays the directory.
  const own = await look(around, fid, name, async (newfid, qid) => {
    const { size, mode } = await session.request('Tgetattr', { fid: newfid, requestMask: GETATTR_BASIC });
    return size === 0 && (mode & S_IFMT) === S_IFREG ? qid : undefined;
  });
  if (own === undefined) return undefined;
  const { wqids } = await session.request('Twalk', { fid, newfid: fid, wnames: [name] });
  if (wqids.length === 0) return undefined;
  return openAgain(session, fid, flags, around.fid(fid) ?? { modeAside: undefined });
}

/** Removes what `fid` was: by its path, for the fid itself ended with the request. */
async function removeByPath({ session, spare, giveBack }: Surroundings, { attachment, names, qid }: Fid): Promise<Reply<'Tremove'>> {
  const { uname, aname, uid } = attachment;
  const fid = spare();
  try {
    await session.request('Tattach', { fid, afid: NOFID, uname, aname, nUname: uid });
    const there = await walkTo(session, fid, names, qid).catch(async (error: unknown) => {
      await session.request('Tclunk', { fid }).catch(() => undefined);
      throw error;
    });
    if (there) return await session.request('Tremove', { fid });
    await session.request('Tclunk', { fid });
    return {};
  } finally {
    giveBack(fid);
  }
}

/** Moves `fid` along `names`, unless what is there is not the file of `qid` any more. */
async function walkTo(session: Session, fid: number, names: readonly string[], qid: Qid): Promise<boolean> {
  let last: Qid | undefined;
  try {
    for (const name of names) [last] = (await session.request('Twalk', { fid, newfid: fid, wnames: [name] })).wqids;
  } catch (error) {
    if (error instanceof ErrnoError && error.code === 'ENOENT') return false;
    throw error;
  }
  return last?.path === qid.path;
}
