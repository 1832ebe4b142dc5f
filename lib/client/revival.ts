import { GETATTR_BASIC, L_O_CREAT, L_O_EXCL, L_O_TRUNC, LOCK_FLAGS_RECLAIM, LOCK_SUCCESS, NOFID } from '../protocol/constants.js';
import { ConnectionLostError, ErrnoError } from '../protocol/error.js';
import type { Body, Reply } from '../protocol/messages.js';
import type { LockRange, Qid } from '../protocol/types.js';
import type { Session } from '../session/session.js';
import type { Attachment } from './client.js';
import type { Fid } from './fid.js';
import { setattrBody } from './linux.js';
import { walkEnd } from './wnames.js';

/** A fid that is not what it was. */
export interface Casualty {
  fid: Fid;
  /** What its requests fail with from now on: ESTALE where the file is another or gone, EIO where a lock went to somebody else. */
  code: 'ESTALE' | 'EIO';
}

/** A rename that was in flight: what lay at or below `from` may lie at `to` now. */
export interface Move {
  from: readonly string[];
  to: readonly string[];
}

/** Fids that are made again at one time. */
const WIDTH = 64;
/** How long a lock may be somebody else's before it counts as lost, in milliseconds. */
const LOCK_PATIENCE = 2000;

/**
 * Makes every fid of a client again in a new session, under its old number: attach, walk by the path it has now, check that this still is the same
 * file (qid.type and qid.path), open as it was open (never creating or truncating again), lock what it had locked. Resolves with those
 * for which that failed; rejects if the new session is lost on the way or an attach is refused.
 */
export async function revive(
  session: Session,
  fids: readonly Fid[],
  moves: readonly Move[],
  spare: () => number,
  giveBack: (number: number) => void,
): Promise<Casualty[]> {
  const casualties: Casualty[] = [];
  for (const group of byAttachment(fids)) {
    const root = spare();
    try {
      await attach(session, root, (group[0] as Fid).attachment);
      await each(group, async (fid) => {
        const code = await reviveOne(session, root, fid, moves);
        if (code !== undefined) casualties.push({ fid, code });
      });
      await session.request('Tclunk', { fid: root });
    } finally {
      giveBack(root);
    }
  }
  return casualties;
}

function byAttachment(fids: readonly Fid[]): Fid[][] {
  const groups = new Map<string, Fid[]>();
  for (const fid of fids) {
    const { uname, aname, uid } = fid.attachment;
    const key = JSON.stringify([uname, aname, uid]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [fid]);
    else group.push(fid);
  }
  return [...groups.values()];
}

async function attach(session: Session, fid: number, { uname, aname, uid }: Attachment): Promise<Qid> {
  return (await session.request('Tattach', { fid, afid: NOFID, uname, aname, nUname: uid })).qid;
}

async function each(fids: readonly Fid[], make: (fid: Fid) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let fid = fids[next++]; fid !== undefined; fid = fids[next++]) await make(fid);
  };
  await Promise.all(Array.from({ length: Math.min(WIDTH, fids.length) }, worker));
}

async function reviveOne(session: Session, root: number, fid: Fid, moves: readonly Move[]): Promise<Casualty['code'] | undefined> {
  const { names } = fid;
  // A file whose name is gone cannot be reached, and what has its name now may have even its inode number.
  if (fid.place.gone) return 'ESTALE';
  let found = await find(session, root, fid, names);
  for (const { from, to } of moves) {
    if (found) break;
    if (from.every((name, index) => name === names[index])) found = await find(session, root, fid, [...to, ...names.slice(from.length)]);
  }
  if (!found) return 'ESTALE';
  if (fid.opened !== undefined) {
    try {
      await openAgain(session, fid.number, fid.opened.flags, fid);
    } catch (error) {
      unlessLost(error);
      await session.request('Tclunk', { fid: fid.number });
      return 'ESTALE';
    }
  }
  if (await lockAgain(session, fid)) return undefined;
  await session.request('Tclunk', { fid: fid.number });
  return 'EIO';
}

/** Makes `fid` again as what `names` lead to, if that is the same file. */
async function find(session: Session, root: number, fid: Fid, names: readonly string[]): Promise<boolean> {
  let qid: Qid | undefined;
  try {
    qid = await walk(session, root, fid.number, names);
  } catch (error) {
    unlessLost(error);
    return false;
  }
  if (qid === undefined || (qid.path === fid.qid.path && qid.type === fid.qid.type)) return true;
  await session.request('Tclunk', { fid: fid.number });
  return false;
}

/** The qid at the end of `names`; undefined for none of them: the root is the root. A name that fails leaves no fid behind. */
async function walk(session: Session, root: number, newfid: number, names: readonly string[]): Promise<Qid | undefined> {
  let from = root;
  let last: Qid | undefined;
  let at = 0;
  do {
    const end = walkEnd(names, at, session.msize);
    const wnames = names.slice(at, end);
    const { wqids } = await session.request('Twalk', { fid: from, newfid, wnames }).catch(async (error: unknown) => {
      if (at > 0) await session.request('Tclunk', { fid: newfid }).catch(unlessLost);
      throw error;
    });
    if (wqids.length < wnames.length) {
      // Whether the server keeps newfid after a partial walk depends on the server.
      await session.request('Tclunk', { fid: newfid }).catch(unlessLost);
      throw new ErrnoError('ENOENT', { syscall: 'Twalk' });
    }
    last = wqids[wqids.length - 1];
    from = newfid;
    at = end;
  } while (at < names.length);
  return last;
}

/** What is kept of a file's mode while another is in its place. */
export interface Aside {
  modeAside: number | undefined;
}

/** Who puts a mode aside does it alone: a second fid of that file would take what is there meanwhile for its mode. */
const turns = new WeakMap<Session, Promise<unknown>>();

/**
 * Opens again what was open, never creating or truncating. Its mode need not allow that: whoever makes a file that nobody may write, or changes the mode of an open one, goes on
 * writing to it. The owner may then put the mode aside for a moment; where the connection is lost in that moment, the file gets it back in the next conversation.
 */
export async function openAgain(session: Session, fid: number, flags: number, aside: Aside): Promise<Reply<'Tlopen'>> {
  const again = { fid, flags: flags & ~(L_O_CREAT | L_O_EXCL | L_O_TRUNC) };
  if (aside.modeAside === undefined) {
    try {
      return await session.request('Tlopen', again);
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.code !== 'EACCES') throw error;
    }
  }
  const before = turns.get(session) ?? Promise.resolve();
  const opened = before.then(() => openAside(session, again, aside));
  turns.set(
    session,
    opened.catch(() => undefined),
  );
  return opened;
}

async function openAside(session: Session, again: Body<'Tlopen'>, aside: Aside): Promise<Reply<'Tlopen'>> {
  const { fid } = again;
  const mode = aside.modeAside ?? (await session.request('Tgetattr', { fid, requestMask: GETATTR_BASIC })).mode;
  aside.modeAside = mode;
  // With the kind of file in it, as linux.ts sends it.
  const set = (changed: number) => session.request('Tsetattr', { ...setattrBody({ mode: changed }), fid });
  try {
    await set(mode | 0o600);
    return await session.request('Tlopen', again);
  } finally {
    await set(mode);
    aside.modeAside = undefined;
  }
}

function unlessLost(error: unknown): void {
  if (error instanceof ConnectionLostError) throw error;
}

async function lockAgain(session: Session, fid: Fid): Promise<boolean> {
  for (const range of fid.locks.held) if (!(await takeAgain(session, fid.number, range))) return false;
  return true;
}

/** A server that has not yet seen the end of the old connection still keeps the lock for it: so a little patience is in place. */
async function takeAgain(session: Session, fid: number, range: LockRange): Promise<boolean> {
  const deadline = performance.now() + LOCK_PATIENCE;
  for (let pause = 10; ; pause = Math.min(pause * 2, 250)) {
    // A server with a grace period wants to hear RECLAIM; one without may not know the flag.
    for (const flags of [LOCK_FLAGS_RECLAIM, 0]) {
      const status = await session.request('Tlock', { fid, flags, ...range }).then(
        (reply) => reply.status,
        (error: unknown) => {
          unlessLost(error);
          return undefined;
        },
      );
      if (status === LOCK_SUCCESS) return true;
    }
    if (performance.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
