import { textBytes, textToBytes } from '../../protocol/text.js';
import type { Bridge } from '../bridge.js';
import {
  FATTR_ATIME,
  FATTR_FH,
  FATTR_GID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_SIZE,
  FATTR_UID,
  FSYNC_FDATASYNC,
  GETATTR_FH,
  ROOT_ID,
} from '../kernel/constants.js';
import type { Body, OperationName } from '../kernel/opcodes.js';
import { Payload } from '../kernel/payload.js';
import { Early, Lent } from '../kernel/structs.js';
import type { Calls } from './binding.js';
import { type Paths, type Place, REPLACEMENT } from './paths.js';
import { entryWords, statfsWords, statWords } from './stat.js';

const O_RDWR = 2;
const ID_UNCHANGED = 0xffffffff;
const NAME_MAX = 255;
const ERANGE = -34;
const START = { sec: 0, nsec: 0 };

const UNCHANGED: Body<'setattr'> = {
  valid: 0,
  fh: 0,
  size: 0,
  lockOwner: 0n,
  atime: START,
  mtime: START,
  ctime: START,
  mode: 0,
  uid: 0,
  gid: 0,
};

/** libfuse's path operations as requests to a bridge. What they throw is the errno. */
export function nativeCalls(bridge: Bridge, paths: Paths, ready: () => void): Calls {
  /** The nodes of open files, which must outlive their paths. */
  const open = new Map<number, Place>();

  const idOf = (fh: number): number => bridge.files.get(fh).node.id;
  const number = (low: number, high: number): number => low + high * 2 ** 32;

  async function setattr(path: string, change: Partial<Body<'setattr'>>): Promise<void> {
    await paths.with(path, (id) => paths.call('setattr', id, { ...UNCHANGED, ...change }));
  }

  return {
    init: ready,

    async getattr(path) {
      if (path === '/') return statWords((await paths.call('getattr', ROOT_ID, { flags: 0, fh: 0 })).attr);
      return statWords((await paths.look(path)).attr);
    },
    fgetattr: async (_, fh) => statWords((await paths.call('getattr', idOf(fh), { flags: GETATTR_FH, fh })).attr),
    statfs: async (path) => statfsWords(await paths.with(path, (id) => paths.call('statfs', id, undefined))),
    readlink: async (path) => Buffer.from(await paths.with(path, (id) => paths.call('readlink', id, undefined))).toString(),

    readdir: (path) =>
      paths.with(path, async (id) => {
        const names: string[] = [];
        const stats: Uint32Array[] = [];
        const { fh } = await paths.call('opendir', id, { flags: 0, openFlags: 0 });
        try {
          const { node, pin } = bridge.directories.get(fh);
          const count = bridge.client.session.maxPayload;
          for (let cookie = 0n; ; ) {
            const entries = await pin.fid.readdir(cookie, count);
            const last = entries.at(-1);
            if (last === undefined) break;
            cookie = last.offset;
            for (const { name, qid, type } of entries) {
              if (!isFit(name)) continue;
              const known = node.children?.get(name);
              names.push(name);
              stats.push(entryWords(known?.is(qid) ? known.ino : qid.path, type));
            }
          }
        } finally {
          await paths.call('releasedir', id, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
        }
        return { names, stats };
      }),

    mkdir: (path, mode) => made(path, (id, name) => paths.call('mkdir', id, { name, mode, umask: 0 })),
    mknod: (path, mode, rdev) => made(path, (id, name) => paths.call('mknod', id, { name, mode, rdev, umask: 0 })),
    symlink: (target, path) => made(path, (id, name) => paths.call('symlink', id, { name, target })),
    link: (path, another) => paths.with(path, (oldNode) => made(another, (id, name) => paths.call('link', id, { oldNode, name }))),

    async unlink(path) {
      await paths.inDirectory(path, (id, name) => paths.call('unlink', id, { name }));
      paths.forget(path);
    },
    async rmdir(path) {
      await paths.inDirectory(path, (id, name) => paths.call('rmdir', id, { name }));
      paths.forget(path, true);
    },
    async rename(path, another) {
      await paths.inDirectory(path, (id, name) =>
        paths.inDirectory(another, (newDirectory, newName) => paths.call('rename', id, { newDirectory, flags: 0, name, newName })),
      );
      paths.forget(path, true);
      paths.forget(another, true);
    },

    chmod: (path, mode) => setattr(path, { valid: FATTR_MODE, mode }),
    chown: (path, uid, gid) =>
      setattr(path, { valid: (uid === ID_UNCHANGED ? 0 : FATTR_UID) | (gid === ID_UNCHANGED ? 0 : FATTR_GID), uid, gid }),
    utimens: (path, atimeLow, atimeHigh, mtimeLow, mtimeHigh) =>
      setattr(path, {
        valid: FATTR_ATIME | FATTR_MTIME,
        atime: time(number(atimeLow, atimeHigh)),
        mtime: time(number(mtimeLow, mtimeHigh)),
      }),
    truncate: (path, low, high) => setattr(path, { valid: FATTR_SIZE, size: number(low, high) }),
    async ftruncate(_, fh, low, high) {
      await paths.call('setattr', idOf(fh), { ...UNCHANGED, valid: FATTR_SIZE | FATTR_FH, fh, size: number(low, high) });
    },

    open: (path, flags) =>
      paths.with(path, async (id, place) => {
        const { fh } = await paths.call('open', id, { flags, openFlags: 0 });
        open.set(fh, paths.hold(place));
        return fh;
      }),

    // The flags are not told; the kernel checks at each call what the file was opened for.
    create: (path, mode) =>
      paths.inDirectory(path, async (id, name) => {
        const reply = await paths.call('create', id, { flags: O_RDWR, mode, umask: 0, openFlags: 0, name });
        open.set(reply.open.fh, paths.hold(paths.made(path, reply.entry)));
        return reply.open.fh;
      }),

    async read(_, fh, buffer, size, low, high) {
      const reply = await paths.call('read', idOf(fh), { fh, offset: number(low, high), size, flags: 0 });
      // Never straight into libfuse's memory: a late reply would find it in other hands.
      const parts = reply instanceof Lent ? [reply.bytes] : reply instanceof Uint8Array ? [reply] : reply;
      let at = 0;
      for (const part of parts) {
        buffer.set(part, at);
        at += part.length;
      }
      if (reply instanceof Lent) reply.release();
      return at;
    },

    async write(_, fh, buffer, size, low, high) {
      const data = new Payload(Buffer.from(buffer.subarray(0, size)));
      const reply = await paths.call('write', idOf(fh), { fh, offset: number(low, high), writeFlags: 0, flags: 0, data });
      return reply instanceof Early ? reply.count : reply;
    },

    flush: (_, fh) => done('flush', idOf(fh), { fh, lockOwner: 0n }),
    async release(_, fh) {
      const place = open.get(fh);
      open.delete(fh);
      try {
        await paths.call('release', place?.id ?? 0, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
      } finally {
        if (place !== undefined) paths.release(place);
      }
    },
    fsync: (_, datasync, fh) => done('fsync', idOf(fh), { fh, fsyncFlags: datasync === 0 ? 0 : FSYNC_FDATASYNC }),
    fsyncdir: (path, datasync) =>
      paths.with(path, async (id) => {
        const { fh } = await paths.call('opendir', id, { flags: 0, openFlags: 0 });
        try {
          await paths.call('fsyncdir', id, { fh, fsyncFlags: datasync === 0 ? 0 : FSYNC_FDATASYNC });
        } finally {
          await paths.call('releasedir', id, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
        }
      }),

    setxattr: (path, name, value, _, flags) =>
      paths.with(path, (id) => done('setxattr', id, { flags, setxattrFlags: 0, name, value: Buffer.from(value) })),
    getxattr: (path, name, value) =>
      paths.with(path, async (id) => sized(await paths.call('getxattr', id, { size: value.length, name }), value)),
    listxattr: (path, list) => paths.with(path, async (id) => sized(await paths.call('listxattr', id, { size: list.length }), list)),
    removexattr: (path, name) => paths.with(path, (id) => done('removexattr', id, { name })),
  };

  /** A request whose answer is that it is done. */
  async function done<K extends OperationName>(name: K, nodeid: number, body: Body<K>): Promise<void> {
    await paths.call(name, nodeid, body);
  }

  async function made(path: string, make: (directory: number, name: string) => Promise<Parameters<Paths['made']>[1]>): Promise<void> {
    paths.made(path, await paths.inDirectory(path, make));
  }
}

/** Fills the caller's buffer, which may only ask for the size by being empty. */
function sized(reply: Uint8Array | { size: number }, into: Buffer): number {
  if (!(reply instanceof Uint8Array)) return reply.size;
  if (reply.length > into.length) return ERANGE;
  into.set(reply);
  return reply.length;
}

function time(milliseconds: number): { sec: number; nsec: number } {
  const sec = Math.floor(milliseconds / 1000);
  return { sec, nsec: (milliseconds - sec * 1000) * 1_000_000 };
}

/** Names that survive the way through UTF-8 and are names at all; others could not be asked for. */
function isFit(name: string): boolean {
  const bytes = textBytes(name);
  if (bytes === 0 || bytes > NAME_MAX || name.includes('/') || name.includes('\0')) return false;
  return !name.includes(REPLACEMENT) && Buffer.from(textToBytes(name)).toString() === name;
}
