import { ATTRIBUTES } from './attributes.js';
import { MAXWELEM } from './constants.js';
import type { Reader, Writer } from './cursor.js';
import { ProtocolError } from './error.js';
import type { Attributes, DirectoryEntry, LegacyStat, Qid, Timespec } from './types.js';

/** How one field of a message is read and written. */
export interface Field<T> {
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

export const u8: Field<number> = { read: (r) => r.u8(), write: (w, v) => w.u8(v) };
export const u16: Field<number> = { read: (r) => r.u16(), write: (w, v) => w.u16(v) };
export const u32: Field<number> = { read: (r) => r.u32(), write: (w, v) => w.u32(v) };
/** 64 opaque bits: qid.path, cookies, masks. */
export const u64: Field<bigint> = { read: (r) => r.u64(), write: (w, v) => w.u64(v) };
/** A size or offset in bytes, or a count, that a number holds. */
export const size64: Field<number> = { read: (r) => r.size64(), write: (w, v) => w.size64(v) };
export const str: Field<string> = { read: (r) => r.str(), write: (w, v) => w.str(v) };

export const qid: Field<Qid> = {
  read: (r) => ({ type: r.u8(), version: r.u32(), path: r.u64() }),
  write(w, { type, version, path }) {
    w.u8(type);
    w.u32(version);
    w.u64(path);
  },
};

export const timespec: Field<Timespec> = {
  read: (r) => ({ sec: r.i64(), nsec: r.size64() }),
  write(w, { sec, nsec }) {
    w.i64(sec);
    w.size64(nsec);
  },
};

/** The fields of an Rgetattr, as one. */
export const attributes: Field<Attributes> = {
  read(r) {
    const end = r.at + ATTRIBUTES;
    try {
      return {
        valid: r.u64(),
        qid: qid.read(r),
        mode: r.u32(),
        uid: r.u32(),
        gid: r.u32(),
        nlink: r.size64(),
        rdev: r.u64(),
        size: r.size64(),
        blksize: r.size64(),
        blocks: r.size64(),
        atime: timespec.read(r),
        mtime: timespec.read(r),
        ctime: timespec.read(r),
        btime: timespec.read(r),
        gen: r.u64(),
        dataVersion: r.u64(),
      };
    } catch (error) {
      // One of them is too large for us, and what follows can be read all the same.
      if (error instanceof ProtocolError && error.answer !== undefined) r.at = end;
      throw error;
    }
  },
  write(w, value) {
    w.u64(value.valid);
    qid.write(w, value.qid);
    w.u32(value.mode);
    w.u32(value.uid);
    w.u32(value.gid);
    w.size64(value.nlink);
    w.u64(value.rdev);
    w.size64(value.size);
    w.size64(value.blksize);
    w.size64(value.blocks);
    timespec.write(w, value.atime);
    timespec.write(w, value.mtime);
    timespec.write(w, value.ctime);
    timespec.write(w, value.btime);
    w.u64(value.gen);
    w.u64(value.dataVersion);
  },
};

function list<T>(item: Field<T>, max: number): Field<T[]> {
  return {
    read(r) {
      const count = r.u16();
      if (count > max) r.fail(`${count} of them; ${max} is the most`, r.at - 2, 22);
      const items: T[] = [];
      for (let index = 0; index < count; index++) items.push(item.read(r));
      return items;
    },
    write(w, items) {
      if (items.length > max) w.fail(`${items.length} of them; ${max} is the most`);
      w.u16(items.length);
      for (const one of items) item.write(w, one);
    },
  };
}

/** The names of a Twalk: 16 at most (walk(5)). */
export const names = list(str, MAXWELEM);
/** The qids of an Rwalk. */
export const qids = list(qid, MAXWELEM);

/** count[4] data[count]: read as a view into the frame. */
export const data: Field<Uint8Array> = {
  read: (r) => r.bytes(r.u32()),
  write(w, bytes) {
    w.u32(bytes.length);
    w.bytes(bytes);
  },
};

/** One entry of the data of an Rreaddir. */
export const directoryEntry: Field<DirectoryEntry> = {
  read: (r) => ({ qid: qid.read(r), offset: r.u64(), type: r.u8(), name: r.str() }),
  write(w, entry) {
    qid.write(w, entry.qid);
    w.u64(entry.offset);
    w.u8(entry.type);
    w.str(entry.name);
  },
};

/** The stat structure of 9P2000 (stat(5)) behind the size field of its own; with 9P2000.u's four fields if `extended`. */
export function legacyStatBody(extended: boolean): Field<LegacyStat> {
  return {
    read(r) {
      const size = r.u16();
      const end = r.at + size;
      const stat: LegacyStat = {
        type: r.u16(),
        dev: r.u32(),
        qid: qid.read(r),
        mode: r.u32(),
        atime: r.u32(),
        mtime: r.u32(),
        length: r.keepOrSize64(),
        name: r.str(),
        uid: r.str(),
        gid: r.str(),
        muid: r.str(),
        extension: extended ? r.str() : '',
        nUid: extended ? r.u32() : 0xffffffff,
        nGid: extended ? r.u32() : 0xffffffff,
        nMuid: extended ? r.u32() : 0xffffffff,
      };
      if (r.at !== end) r.fail(`a stat of ${size} bytes that takes ${size + r.at - end}`);
      return stat;
    },
    write(w, stat) {
      w.sized(() => {
        w.u16(stat.type);
        w.u32(stat.dev);
        qid.write(w, stat.qid);
        w.u32(stat.mode);
        w.u32(stat.atime);
        w.u32(stat.mtime);
        w.keepOrSize64(stat.length);
        w.str(stat.name);
        w.str(stat.uid);
        w.str(stat.gid);
        w.str(stat.muid);
        if (!extended) return;
        w.str(stat.extension);
        w.u32(stat.nUid);
        w.u32(stat.nGid);
        w.u32(stat.nMuid);
      });
    },
  };
}
