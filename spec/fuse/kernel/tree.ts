import { FATTR_MODE, FATTR_SIZE, FOPEN_DIRECT_IO } from '../../../lib/fuse/kernel/constants.js';
import { Dirents } from '../../../lib/fuse/kernel/dirents.js';
import type { Operations } from '../../../lib/fuse/kernel/request.js';
import type { Attr, EntryReply } from '../../../lib/fuse/kernel/structs.js';
import { negativeEntry } from '../../../lib/fuse/kernel/structs.js';

interface File {
  id: number;
  mode: number;
  nlink: number;
  data: Buffer;
  children: Map<string, File> | undefined;
  lookups: number;
}

const ENOENT = -2;
const EINTR = -4;

/** A file system of a few operations, kept in memory: enough to see every kind of request and reply pass through the device. */
export function memoryTree(): { operations: Operations; lookups: () => number } {
  const files = new Map<number, File>();
  const time = { sec: 1_000_000_000, nsec: 123_456_789 };
  const make = (mode: number): File => {
    const file: File = {
      id: files.size + 1,
      mode,
      nlink: 1,
      data: Buffer.alloc(0),
      children: (mode & 0o170000) === 0o040000 ? new Map() : undefined,
      lookups: 0,
    };
    files.set(file.id, file);
    return file;
  };
  make(0o040777).lookups = 1;
  const at = (nodeid: number): File => {
    const file = files.get(nodeid);
    if (file === undefined) throw Object.assign(new Error('stale'), { code: 'ESTALE' });
    return file;
  };
  const attr = (file: File): Attr => ({
    ino: BigInt(file.id),
    size: file.data.length,
    blocks: Math.ceil(file.data.length / 512),
    atime: time,
    mtime: time,
    ctime: time,
    mode: file.mode,
    nlink: file.nlink,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    rdev: 0,
    blksize: 4096,
  });
  const entry = (file: File): EntryReply => {
    file.lookups++;
    return { nodeid: file.id, generation: 0, entryValid: 1000, attrValid: 1000, attr: attr(file) };
  };
  const child = (nodeid: number, name: string): File | undefined => at(nodeid).children?.get(name);
  const resize = (file: File, size: number): void => {
    const grown = Buffer.alloc(size);
    file.data.copy(grown);
    file.data = grown;
  };
  const list = (nodeid: number, offset: bigint, size: number, plus: boolean): Uint8Array => {
    const dirents = new Dirents(size, plus);
    const names = [...(at(nodeid).children ?? [])];
    for (let index = Number(offset); index < names.length; index++) {
      const [name, file] = names[index] as [string, File];
      const dirent = { ino: BigInt(file.id), offset: BigInt(index + 1), type: file.mode >> 12, name };
      if (!dirents.fits(name)) break;
      dirents.add(dirent, plus ? entry(file) : undefined);
    }
    return dirents.bytes;
  };
  const add = (nodeid: number, name: string, mode: number): File => {
    const children = at(nodeid).children;
    if (children?.has(name)) throw Object.assign(new Error('exists'), { code: 'EEXIST' });
    const file = make(mode);
    children?.set(name, file);
    return file;
  };
  const operations: Operations = {
    lookup: ({ name }, { nodeid }) => {
      const file = child(nodeid, name);
      return file === undefined ? negativeEntry(1000) : entry(file);
    },
    forget: (nodeid, count) => {
      at(nodeid).lookups -= count;
    },
    getattr: (_, { nodeid }) => ({ attrValid: 1000, attr: attr(at(nodeid)) }),
    setattr: ({ valid, size, mode }, { nodeid }) => {
      const file = at(nodeid);
      if ((valid & FATTR_SIZE) !== 0) resize(file, size);
      if ((valid & FATTR_MODE) !== 0) file.mode = (file.mode & ~0o7777) | (mode & 0o7777);
      return { attrValid: 1000, attr: attr(file) };
    },
    mkdir: ({ name, mode }, { nodeid }) => entry(add(nodeid, name, mode | 0o040000)),
    create: ({ name, mode }, { nodeid }) => {
      const file = add(nodeid, name, mode);
      return { entry: entry(file), open: { fh: file.id, flags: 0 } };
    },
    symlink: ({ name, target }, { nodeid }) => {
      const file = add(nodeid, name, 0o120777);
      file.data = Buffer.from(target);
      return entry(file);
    },
    readlink: (_, { nodeid }) => at(nodeid).data,
    unlink: ({ name }, { nodeid }) => {
      at(nodeid).children?.delete(name);
    },
    rmdir: ({ name }, { nodeid }) => {
      if ((child(nodeid, name)?.children?.size ?? 0) > 0) return -39;
      at(nodeid).children?.delete(name);
      return 0;
    },
    rename2: ({ name, newDirectory, newName }, { nodeid }) => {
      const file = child(nodeid, name);
      if (file === undefined) return ENOENT;
      at(nodeid).children?.delete(name);
      at(newDirectory).children?.set(newName, file);
      return 0;
    },
    open: (_, { nodeid }) => ({ fh: nodeid, flags: at(nodeid).data.length === 0 ? FOPEN_DIRECT_IO : 0 }),
    read: async ({ offset, size }, request) => {
      const file = at(request.nodeid);
      if (file.data.toString('latin1', 0, 5) === 'hang\n') {
        return new Promise<number>((resolve) => request.signal.addEventListener('abort', () => resolve(EINTR)));
      }
      await null;
      const half = offset + (size >> 1);
      return [file.data.subarray(offset, half), file.data.subarray(half, offset + size)];
    },
    write: async ({ offset, data }, { nodeid }) => {
      const file = at(nodeid);
      const bytes = data.keep();
      // The payload must stay what it is until the answer, whatever else is read from the device meanwhile.
      await new Promise((resolve) => setImmediate(resolve));
      if (file.data.length < offset + bytes.length) resize(file, offset + bytes.length);
      file.data.set(bytes, offset);
      return bytes.length;
    },
    opendir: () => ({ fh: 0, flags: 0 }),
    readdir: ({ offset, size }, { nodeid }) => list(nodeid, offset, size, false),
    readdirplus: ({ offset, size }, { nodeid }) => list(nodeid, offset, size, true),
    statx: (_, { nodeid }) => ({ attrValid: 1000, attr: attr(at(nodeid)), btime: { sec: 999_999_999, nsec: 1 } }),
    statfs: () => ({ blocks: 1000n, bfree: 500n, bavail: 400n, files: 10n, ffree: 5n, bsize: 4096, namelen: 255, frsize: 4096 }),
    getxattr: ({ name, size }) => {
      const value = Buffer.from(`value of ${name}`);
      if (!name.startsWith('user.')) return -61;
      return size === 0 ? { size: value.length } : value;
    },
    release: () => {},
    releasedir: () => {},
    flush: () => {},
    fsync: () => {},
  };
  return { operations, lookups: () => [...files.values()].reduce((sum, file) => sum + file.lookups, 0) };
}
