import { GETATTR_BASIC, L_O_RDONLY } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Body, Reply } from '../protocol/messages.js';
import type { Fid } from './fid.js';
import type { Place } from './place.js';
import type { Surroundings } from './resend.js';

/** Bytes that others may have appended since and that are looked through at most, beside what is looked for. */
const LOOK = 1024 * 1024;

/** What is known of a file, from which appends are looked for one after another. */
interface Seen {
  /** Where it ended before any of them was sent again. */
  readonly size: number;
  /** Where those that were found are: no byte was appended by two. */
  readonly taken: { readonly begin: number; readonly end: number }[];
}

/** The files that were being appended to when the connection was lost. */
export type Appends = Map<string, Promise<Seen>>;

/** An append that is under way. */
interface Flight {
  readonly data: Uint8Array;
  /** Connections lost before it began. */
  readonly losses: number;
  /** How often its data is in what was appended, and answered, beside it in the same conversation. */
  alike: number;
}

const flights = new WeakMap<Place, Set<Flight>>();

/** Appends, and lets the others that are under way to the same file know of it. */
export async function besideOthers(fid: Fid, data: Uint8Array, write: () => Promise<number>): Promise<number> {
  const losses = (): number => fid.client.recovery?.losses ?? 0;
  const own: Flight = { data, losses: losses(), alike: 0 };
  const { place } = fid;
  const all = flights.get(place) ?? new Set();
  flights.set(place, all.add(own));
  try {
    const count = await write();
    for (const other of all) {
      if (other !== own && own.losses === losses() && other.losses === own.losses) other.alike += occurrences(data, other.data);
    }
    return count;
  } finally {
    all.delete(own);
  }
}

function occurrences(data: Uint8Array, wanted: Uint8Array): number {
  const [where, what] = [bufferOf(data), bufferOf(wanted)];
  let count = 0;
  for (let at = what.length === 0 ? -1 : where.indexOf(what); at >= 0; at = where.indexOf(what, at + what.length)) count++;
  return count;
}

function bufferOf({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

/** Appends unless that had happened: one after another for each file, whichever fids they went through. */
export async function appendOnce(around: Surroundings, fid: Fid, body: Body<'Twrite'>): Promise<Reply<'Twrite'>> {
  const file = JSON.stringify([fid.attachment.aname, ...fid.names, `${fid.qid.path}`]);
  const before = around.appends.get(file) ?? look(around, body.fid);
  const { alike = 0 } = [...(flights.get(fid.place) ?? [])].find(({ data }) => data === body.data) ?? {};
  const turn = before.then(async (seen) => ({ seen, reply: await append(around, body, seen, alike) }));
  const next = turn.then(
    ({ seen }) => seen,
    () => before,
  );
  next.catch(() => undefined);
  around.appends.set(file, next);
  return (await turn).reply;
}

async function look({ session }: Surroundings, fid: number): Promise<Seen> {
  const { size } = await session.request('Tgetattr', { fid, requestMask: GETATTR_BASIC });
  return { size, taken: [] };
}

async function append(around: Surroundings, body: Body<'Twrite'>, seen: Seen, alike: number): Promise<Reply<'Twrite'>> {
  const { offset, data } = body;
  // It has been cut off since its end was known: what is there now may be this append, or have been there before it.
  const cutOff = seen.size < offset;
  if (await isAppended(around, cutOff ? { ...body, offset: 0 } : body, seen, alike)) {
    if (cutOff) throw new ErrnoError('EIO', { syscall: 'Twrite' });
    return { count: data.length };
  }
  return around.session.request('Twrite', { ...body, data: data.subarray(0, around.session.maxPayload) });
}

/**
 * Whether data that was to be appended is there: `offset` is where the file ended before, or earlier if others append too. The same
 * line may well have been there before that, and `alike` times beside it.
 */
async function isAppended(
  { session, spare, giveBack }: Surroundings,
  { fid, offset, data }: Body<'Twrite'>,
  seen: Seen,
  alike: number,
): Promise<boolean> {
  const { size, taken } = seen;
  if (size < offset + data.length) return false;
  const reader = spare();
  let known = false;
  try {
    await session.request('Twalk', { fid, newfid: reader, wnames: [] });
    known = true;
    await session.request('Tlopen', { fid: reader, flags: L_O_RDONLY });
    const first = Math.max(offset, size - LOOK - data.length);
    const there = Buffer.alloc(size - first);
    for (let at = 0; at < there.length; ) {
      const count = Math.min(there.length - at, session.maxPayload);
      const reply = await session.request('Tread', { fid: reader, offset: first + at, count });
      if (reply.data.length === 0) break;
      there.set(reply.data, at);
      at += reply.data.length;
    }
    const wanted = bufferOf(data);
    let others = alike;
    for (let at = there.indexOf(wanted); at >= 0; ) {
      const begin = first + at;
      const end = begin + data.length;
      const other = taken.find((span) => span.begin < end && begin < span.end);
      if (other === undefined && others-- <= 0) {
        taken.push({ begin, end });
        return true;
      }
      at = there.indexOf(wanted, Math.max((other?.end ?? end) - first, at + 1));
    }
    return false;
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    // Nobody may read it: that it has grown by as much has to do.
    const begin = Math.max(offset + alike * data.length, ...taken.map(({ end }) => end));
    if (begin + data.length > size) return false;
    taken.push({ begin, end: begin + data.length });
    return true;
  } finally {
    if (known) await session.request('Tclunk', { fid: reader }).catch(() => undefined);
    giveBack(reader);
  }
}
