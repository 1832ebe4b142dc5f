import { attributes, data, type Field, legacyStatBody, names, qid, qids, size64, str, timespec, u8, u16, u32, u64 } from './fields.js';

/** One message: its type byte and its fields, in the order of the wire. */
export interface MessageSpec {
  readonly type: number;
  readonly fields: Readonly<Record<string, Field<unknown>>>;
}

function message<F extends Readonly<Record<string, Field<unknown>>>>(
  type: number,
  fields: F,
): { readonly type: number; readonly fields: F } {
  return { type, fields };
}

const none = {};

/**
 * Every message of 9P2000.L and those it shares with the base protocol. The field order is the wire order; the names are those of
 * the 9P2000.L protocol description and of intro(5). Types, codec, trace and dispatch all derive from this table.
 */
export const messages = {
  Rlerror: message(7, { ecode: u32 }),
  Tstatfs: message(8, { fid: u32 }),
  Rstatfs: message(9, {
    type: u32,
    bsize: u32,
    blocks: u64,
    bfree: u64,
    bavail: u64,
    files: u64,
    ffree: u64,
    fsid: u64,
    namelen: u32,
  }),
  Tlopen: message(12, { fid: u32, flags: u32 }),
  Rlopen: message(13, { qid, iounit: u32 }),
  Tlcreate: message(14, { fid: u32, name: str, flags: u32, mode: u32, gid: u32 }),
  Rlcreate: message(15, { qid, iounit: u32 }),
  Tsymlink: message(16, { dfid: u32, name: str, symtgt: str, gid: u32 }),
  Rsymlink: message(17, { qid }),
  Tmknod: message(18, { dfid: u32, name: str, mode: u32, major: u32, minor: u32, gid: u32 }),
  Rmknod: message(19, { qid }),
  Trename: message(20, { fid: u32, dfid: u32, name: str }),
  Rrename: message(21, none),
  Treadlink: message(22, { fid: u32 }),
  Rreadlink: message(23, { target: str }),
  Tgetattr: message(24, { fid: u32, requestMask: u64 }),
  Rgetattr: message(25, {
    valid: u64,
    qid,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: size64,
    rdev: u64,
    size: size64,
    blksize: size64,
    blocks: size64,
    atime: timespec,
    mtime: timespec,
    ctime: timespec,
    btime: timespec,
    gen: u64,
    dataVersion: u64,
  }),
  Tsetattr: message(26, {
    fid: u32,
    valid: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    size: size64,
    atime: timespec,
    mtime: timespec,
  }),
  Rsetattr: message(27, none),
  Txattrwalk: message(30, { fid: u32, newfid: u32, name: str }),
  Rxattrwalk: message(31, { size: size64 }),
  Txattrcreate: message(32, { fid: u32, name: str, attrSize: size64, flags: u32 }),
  Rxattrcreate: message(33, none),
  Treaddir: message(40, { fid: u32, offset: u64, count: u32 }),
  Rreaddir: message(41, { data }),
  Tfsync: message(50, { fid: u32, datasync: u32 }),
  Rfsync: message(51, none),
  Tlock: message(52, { fid: u32, type: u8, flags: u32, start: size64, length: size64, procId: u32, clientId: str }),
  Rlock: message(53, { status: u8 }),
  Tgetlock: message(54, { fid: u32, type: u8, start: size64, length: size64, procId: u32, clientId: str }),
  Rgetlock: message(55, { type: u8, start: size64, length: size64, procId: u32, clientId: str }),
  Tlink: message(70, { dfid: u32, fid: u32, name: str }),
  Rlink: message(71, none),
  Tmkdir: message(72, { dfid: u32, name: str, mode: u32, gid: u32 }),
  Rmkdir: message(73, { qid }),
  Trenameat: message(74, { olddirfid: u32, oldname: str, newdirfid: u32, newname: str }),
  Rrenameat: message(75, none),
  Tunlinkat: message(76, { dirfd: u32, name: str, flags: u32 }),
  Runlinkat: message(77, none),
  Tversion: message(100, { msize: u32, version: str }),
  Rversion: message(101, { msize: u32, version: str }),
  Tauth: message(102, { afid: u32, uname: str, aname: str, nUname: u32 }),
  Rauth: message(103, { aqid: qid }),
  Tattach: message(104, { fid: u32, afid: u32, uname: str, aname: str, nUname: u32 }),
  Rattach: message(105, { qid }),
  Tflush: message(108, { oldtag: u16 }),
  Rflush: message(109, none),
  Twalk: message(110, { fid: u32, newfid: u32, wnames: names }),
  Rwalk: message(111, { wqids: qids }),
  Tread: message(116, { fid: u32, offset: size64, count: u32 }),
  Rread: message(117, { data }),
  Twrite: message(118, { fid: u32, offset: size64, data }),
  Rwrite: message(119, { count: u32 }),
  Tclunk: message(120, { fid: u32 }),
  Rclunk: message(121, none),
  Tremove: message(122, { fid: u32 }),
  Rremove: message(123, none),
  /**
   * Between our own two ends only, in a conversation that keeps order (ORDERED_XATTR): makes `newfid` the open file `name` of the directory `dfid`, which stays what
   * it is, and lends its descriptor if `lend` is not 0. What Twalk, Tlcreate, two Tgetattr and a Txattrwalk of DESCRIPTOR_XATTR would do one after another.
   */
  Tcreateat: message(128, { dfid: u32, newfid: u32, lend: u8, name: str, flags: u32, mode: u32, gid: u32 }),
  /** `lent`: not 0 where the descriptor comes along. `attributes` are those of the file, `directory` those of its directory. */
  Rcreateat: message(129, { lent: u8, iounit: u32, attributes, directory: attributes }),
} as const;

/** What 9P2000.u (Plan 9 from User Space's extension for Unix) has in place of and beside the base messages. */
export const messagesU = {
  Rerror: message(107, { ename: str, errno: u32 }),
  Topen: message(112, { fid: u32, mode: u8 }),
  Ropen: message(113, { qid, iounit: u32 }),
  Tcreate: message(114, { fid: u32, name: str, perm: u32, mode: u8, extension: str }),
  Rcreate: message(115, { qid, iounit: u32 }),
  Tstat: message(124, { fid: u32 }),
  Rstat: message(125, { stat: sizedStat(true) }),
  Twstat: message(126, { fid: u32, stat: sizedStat(true) }),
  Rwstat: message(127, none),
} as const;

/** What 9P2000 (Plan 9's fourth edition, section 5 of its manual) has there. */
export const messagesLegacy = {
  Rerror: message(107, { ename: str }),
  Tauth: message(102, { afid: u32, uname: str, aname: str }),
  Tattach: message(104, { fid: u32, afid: u32, uname: str, aname: str }),
  Topen: messagesU.Topen,
  Ropen: messagesU.Ropen,
  Tcreate: message(114, { fid: u32, name: str, perm: u32, mode: u8 }),
  Rcreate: messagesU.Rcreate,
  Tstat: messagesU.Tstat,
  Rstat: message(125, { stat: sizedStat(false) }),
  Twstat: message(126, { fid: u32, stat: sizedStat(false) }),
  Rwstat: messagesU.Rwstat,
} as const;

/** Rstat and Twstat carry the stat behind one more size field (stat(5), "the notation stat[n]"). */
function sizedStat(extended: boolean): ReturnType<typeof legacyStatBody> {
  const stat = legacyStatBody(extended);
  return {
    read(r) {
      const size = r.u16();
      const end = r.at + size;
      const value = stat.read(r);
      // QEMU leaves this outer size 0 (interop: stat.size), and Linux does not look at it.
      if (size !== 0 && r.at !== end) r.fail(`a stat of ${size} bytes that takes ${size + r.at - end}`);
      return value;
    },
    write(w, value) {
      w.sized(() => stat.write(w, value));
    },
  };
}

type FieldValue<F> = F extends Field<infer T> ? T : never;
type BodyOf<M> = M extends { readonly fields: infer F } ? { [K in keyof F]: FieldValue<F[K]> } : never;

/** All messages of all dialects by name; where dialects differ, 9P2000.u's form, of which the older one is a part. */
export type Messages = typeof messages & typeof messagesU;
/** The name of a message: `Twalk`. */
export type MessageName = keyof Messages;
/** The fields of a message, by name. */
export type Body<N extends MessageName> = BodyOf<Messages[N]>;
/** The names of requests. */
export type TName = Extract<MessageName, `T${string}`>;
/** The names of replies. */
export type RName = Extract<MessageName, `R${string}`>;
/** The reply to a request: `Rwalk` to `Twalk`. */
export type ReplyName<N extends TName> = N extends `T${infer Rest}` ? Extract<RName, `R${Rest}`> : never;
/** The fields of the reply to a request. */
export type Reply<N extends TName> = Body<ReplyName<N>>;

const tables = Object.keys({ ...messages, ...messagesU });
/** Names as the tables have them, not made anew: two strings that are one object are compared without a look at their letters, reply for reply. */
const replyNames = new Map(tables.map((name) => [name, tables.find((reply) => reply === `R${name.slice(1)}`)]));

/** The name of the message that grants a request. */
export function replyName(name: TName): RName {
  return replyNames.get(name) as RName;
}
