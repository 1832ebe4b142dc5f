import type { AttrReply, Decoder, Encoder, EntryReply, FileLock, OpenReply, StatfsReply } from './structs.js';
import { Early, Lent, putAttrReply, putEntry, putOpen, putStatx, takeLock } from './structs.js';

/**
 * One record for each request of the kernel: its number, how its body is read, how its reply is written. Everything
 * else (types of requests and replies, dispatch, names in traces) derives from this table.
 */
interface Opcode<B, R> {
  readonly code: number;
  readonly decode: (from: Decoder) => B;
  readonly encode: (to: Encoder, reply: R) => void;
}

function opcode<B, R>(code: number, decode: (from: Decoder) => B, encode: (to: Encoder, reply: R) => void): Opcode<B, R> {
  return { code, decode, encode };
}

const none = (): void => {};
const name = (from: Decoder) => ({ name: from.string() });
const payload = (to: Encoder, bytes: Uint8Array): void => to.payload(bytes);

/** A READ reply: bytes in one piece or several, which go out without being copied. */
function readReply(to: Encoder, reply: Uint8Array | readonly Uint8Array[] | Lent): void {
  if (reply instanceof Lent) to.payload(reply.bytes);
  else if (reply instanceof Uint8Array) to.payload(reply);
  else for (const part of reply) to.payload(part);
}

const read = (from: Decoder) => {
  const fh = from.u64();
  const offset = from.u64();
  const size = from.u32();
  // read_flags and lock_owner, by which only mandatory locks would go.
  from.unused(12);
  return { fh, offset, size, flags: from.u32() };
};

const write = (from: Decoder) => {
  const fh = from.u64();
  const offset = from.u64();
  const size = from.u32();
  const writeFlags = from.u32();
  // lock_owner, likewise.
  from.unused(8);
  const flags = from.u32();
  from.unused(4);
  return { fh, offset, writeFlags, flags, data: from.payload(size) };
};

const setattr = (from: Decoder) => {
  const valid = from.u32();
  from.unused(4);
  const fh = from.u64();
  const size = from.u64();
  const lockOwner = from.big();
  const atimeSec = from.i64();
  const mtimeSec = from.i64();
  const ctimeSec = from.i64();
  const atime = { sec: atimeSec, nsec: from.u32() };
  const mtime = { sec: mtimeSec, nsec: from.u32() };
  const ctime = { sec: ctimeSec, nsec: from.u32() };
  const mode = from.u32();
  from.unused(4);
  return { valid, fh, size, lockOwner, atime, mtime, ctime, mode, uid: from.u32(), gid: from.u32() };
};

const open = (from: Decoder) => ({ flags: from.u32(), openFlags: from.u32() });
const release = (from: Decoder) => ({ fh: from.u64(), flags: from.u32(), releaseFlags: from.u32(), lockOwner: from.big() });
const fsync = (from: Decoder) => ({ fh: from.u64(), fsyncFlags: from.u32() });

const lock = (from: Decoder) => ({ fh: from.u64(), owner: from.big(), lock: takeLock(from), lkFlags: from.u32() });

/** Size 0 asks how long the value is: the reply is then a number. */
function sizedReply(to: Encoder, reply: Uint8Array | { size: number }): void {
  if (reply instanceof Uint8Array) {
    to.payload(reply);
  } else {
    to.u32(reply.size);
    to.u32(0);
  }
}

export const opcodes = {
  lookup: opcode<ReturnType<typeof name>, EntryReply>(1, name, putEntry),
  getattr: opcode(
    3,
    (from) => {
      const flags = from.u32();
      from.unused(4);
      return { flags, fh: from.u64() };
    },
    (to, reply: AttrReply) => putAttrReply(to, reply),
  ),
  setattr: opcode<ReturnType<typeof setattr>, AttrReply>(4, setattr, putAttrReply),
  readlink: opcode<void, Uint8Array>(5, none, payload),
  symlink: opcode(
    6,
    (from) => ({ name: from.string(), target: from.string() }),
    (to, reply: EntryReply) => putEntry(to, reply),
  ),
  mknod: opcode(
    8,
    (from) => {
      const body = { mode: from.u32(), rdev: from.u32(), umask: from.u32() };
      from.unused(4);
      return { ...body, name: from.string() };
    },
    (to, reply: EntryReply) => putEntry(to, reply),
  ),
  mkdir: opcode(
    9,
    (from) => ({ mode: from.u32(), umask: from.u32(), name: from.string() }),
    (to, reply: EntryReply) => putEntry(to, reply),
  ),
  unlink: opcode<ReturnType<typeof name>, void>(10, name, none),
  rmdir: opcode<ReturnType<typeof name>, void>(11, name, none),
  rename: opcode(12, (from) => ({ newDirectory: from.u64(), flags: 0, name: from.string(), newName: from.string() }), none),
  link: opcode(
    13,
    (from) => ({ oldNode: from.u64(), name: from.string() }),
    (to, reply: EntryReply) => putEntry(to, reply),
  ),
  open: opcode<ReturnType<typeof open>, OpenReply>(14, open, putOpen),
  read: opcode<ReturnType<typeof read>, Uint8Array | readonly Uint8Array[] | Lent>(15, read, readReply),
  write: opcode<ReturnType<typeof write>, number | Early>(16, write, (to, reply) => {
    to.u32(reply instanceof Early ? reply.count : reply);
    to.u32(0);
  }),
  statfs: opcode<void, StatfsReply>(17, none, (to, reply) => {
    to.big(reply.blocks);
    to.big(reply.bfree);
    to.big(reply.bavail);
    to.big(reply.files);
    to.big(reply.ffree);
    to.u32(reply.bsize);
    to.u32(reply.namelen);
    to.u32(reply.frsize);
    to.zeros(28);
  }),
  release: opcode<ReturnType<typeof release>, void>(18, release, none),
  fsync: opcode<ReturnType<typeof fsync>, void>(20, fsync, none),
  setxattr: opcode(
    21,
    (from) => {
      const size = from.u32();
      const flags = from.u32();
      const setxattrFlags = from.u32();
      from.unused(4);
      return { flags, setxattrFlags, name: from.string(), value: from.copy(size) };
    },
    none,
  ),
  getxattr: opcode(
    22,
    (from) => {
      const size = from.u32();
      from.unused(4);
      return { size, name: from.string() };
    },
    sizedReply,
  ),
  listxattr: opcode(23, (from) => ({ size: from.u32() }), sizedReply),
  removexattr: opcode<ReturnType<typeof name>, void>(24, name, none),
  flush: opcode(
    25,
    (from) => {
      const fh = from.u64();
      from.unused(8);
      return { fh, lockOwner: from.big() };
    },
    none,
  ),
  opendir: opcode<ReturnType<typeof open>, OpenReply>(27, open, putOpen),
  readdir: opcode(
    28,
    (from) => ({ fh: from.u64(), offset: from.big(), size: from.u32() }),
    (to, bytes: Uint8Array) => to.payload(bytes),
  ),
  releasedir: opcode<ReturnType<typeof release>, void>(29, release, none),
  fsyncdir: opcode<ReturnType<typeof fsync>, void>(30, fsync, none),
  getlk: opcode<ReturnType<typeof lock>, FileLock>(31, lock, (to, reply) => {
    to.u64(reply.start);
    // OFFSET_MAX is the largest signed number, which a double cannot hold.
    if (reply.end >= 2 ** 53) to.big(0x7fffffffffffffffn);
    else to.u64(reply.end);
    to.u32(reply.type);
    to.u32(reply.pid);
  }),
  setlk: opcode<ReturnType<typeof lock>, void>(32, lock, none),
  setlkw: opcode<ReturnType<typeof lock>, void>(33, lock, none),
  access: opcode(34, (from) => ({ mask: from.u32() }), none),
  create: opcode(
    35,
    (from) => ({ flags: from.u32(), mode: from.u32(), umask: from.u32(), openFlags: from.u32(), name: from.string() }),
    (to, reply: { entry: EntryReply; open: OpenReply }) => {
      putEntry(to, reply.entry);
      putOpen(to, reply.open);
    },
  ),
  ioctl: opcode(
    39,
    (from) => {
      const body = { fh: from.u64(), flags: from.u32(), command: from.u32(), argument: from.big() };
      const size = from.u32();
      return { ...body, outSize: from.u32(), data: from.copy(size) };
    },
    (to, reply: { result: number; data: Uint8Array }) => {
      to.u32(reply.result >>> 0);
      to.zeros(12);
      to.payload(reply.data);
    },
  ),
  poll: opcode(
    40,
    (from) => ({ fh: from.u64(), kernelHandle: from.big(), flags: from.u32(), events: from.u32() }),
    (to, reply: { revents: number }) => {
      to.u32(reply.revents);
      to.u32(0);
    },
  ),
  fallocate: opcode(43, (from) => ({ fh: from.u64(), offset: from.u64(), length: from.u64(), mode: from.u32() }), none),
  readdirplus: opcode(
    44,
    (from) => ({ fh: from.u64(), offset: from.big(), size: from.u32() }),
    (to, bytes: Uint8Array) => to.payload(bytes),
  ),
  rename2: opcode(
    45,
    (from) => {
      const newDirectory = from.u64();
      const flags = from.u32();
      from.unused(4);
      return { newDirectory, flags, name: from.string(), newName: from.string() };
    },
    none,
  ),
  lseek: opcode(
    46,
    (from) => ({ fh: from.u64(), offset: from.u64(), whence: from.u32() }),
    (to, reply: { offset: number }) => to.u64(reply.offset),
  ),
  copyFileRange: opcode(
    47,
    (from) => ({
      fhIn: from.u64(),
      offsetIn: from.u64(),
      nodeOut: from.u64(),
      fhOut: from.u64(),
      offsetOut: from.u64(),
      length: from.u64(),
      flags: from.u64(),
    }),
    (to, count: number) => {
      to.u32(count);
      to.u32(0);
    },
  ),
  syncfs: opcode<void, void>(50, none, none),
  statx: opcode(
    52,
    (from) => {
      const flags = from.u32();
      from.unused(4);
      return { flags, fh: from.u64(), statxFlags: from.u32(), mask: from.u32() };
    },
    putStatx,
  ),
};

/** Requests that the connection itself deals with. */
export const FORGET = 2;
export const INIT = 26;
export const INTERRUPT = 36;
export const DESTROY = 38;
export const NOTIFY_REPLY = 41;
export const BATCH_FORGET = 42;

/** The operations by name. */
export type OperationName = keyof typeof opcodes;
/** What a request of that name asks for, beside what every request has (`Request`). */
export type Body<K extends OperationName> = ReturnType<(typeof opcodes)[K]['decode']>;
/** What its reply says. */
export type Reply<K extends OperationName> = Parameters<(typeof opcodes)[K]['encode']>[1];

/** The same table by number, for the reader of the device. */
export interface Entry {
  readonly name: OperationName;
  readonly decode: (from: Decoder) => unknown;
  readonly encode: (to: Encoder, reply: never) => void;
}

export const byCode: readonly (Entry | undefined)[] = (() => {
  const table: (Entry | undefined)[] = [];
  for (const [key, { code, decode, encode }] of Object.entries(opcodes)) {
    if (table[code] !== undefined) throw new Error(`opcode ${code} is in the table twice`);
    table[code] = { name: key as OperationName, decode, encode };
  }
  return Array.from(table);
})();
