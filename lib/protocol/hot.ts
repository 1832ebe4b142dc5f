import { ATTRIBUTES, isSize, putAttributes, takeAttributes } from './attributes.js';
import { HEADER_SIZE, MAXWELEM } from './constants.js';
import { numberAt, u16At, u32At, u64At, type Writer } from './cursor.js';
import { data, names, qid, qids } from './fields.js';
import type { Body, MessageName } from './messages.js';
import { decodeText } from './text.js';
import type { Attributes, Qid } from './types.js';

// The messages that nearly all traffic consists of, written out: by the table each field costs a call that nothing can inline. The table says
// what a message is; what is here does the same, by bytes and by errors (hot.spec.ts).

/** Reads the fields of a whole frame. Undefined where there is anything to complain about: reading it by the table then says what. */
type Reads<N extends MessageName> = (frame: Uint8Array) => Body<N> | undefined;
/** Writes the fields of a body. Names a field before writing it if it may be refused. */
type Writes<N extends MessageName> = (writer: Writer, body: Body<N>) => void;

const QID = 13;
/** Where the attributes of an Rcreateat begin. */
const CREATED = HEADER_SIZE + 5;
// A DataView of each frame would cost more than to copy it to where there is one.
const rgetattr = new Uint8Array(HEADER_SIZE + ATTRIBUTES);
const rgetattrView = new DataView(rgetattr.buffer);
const rcreateat = new Uint8Array(CREATED + 2 * ATTRIBUTES);
const rcreateatView = new DataView(rcreateat.buffer);

function qidAt(bytes: Uint8Array, at: number): Qid {
  return { type: bytes[at] as number, version: u32At(bytes, at + 1), path: u64At(bytes, at + 5) };
}

const nothing = (frame: Uint8Array): Body<'Rclunk'> | undefined => (frame.length === HEADER_SIZE ? {} : undefined);
const opened = (frame: Uint8Array): Body<'Rlopen'> | undefined =>
  frame.length === HEADER_SIZE + QID + 4 ? { qid: qidAt(frame, 7), iounit: u32At(frame, 20) } : undefined;
const payload = (frame: Uint8Array): Body<'Rread'> | undefined =>
  frame.length >= 11 && u32At(frame, 7) === frame.length - 11 ? { data: frame.subarray(11) } : undefined;

/** Readers by message. */
export const readers = {
  Rlerror: (frame) => (frame.length === 11 ? { ecode: u32At(frame, 7) } : undefined),
  Tlopen: (frame) => (frame.length === 15 ? { fid: u32At(frame, 7), flags: u32At(frame, 11) } : undefined),
  Rlopen: opened,
  Tlcreate(frame) {
    if (frame.length < 25) return undefined;
    const end = 13 + u16At(frame, 11);
    if (frame.length !== end + 12) return undefined;
    return {
      fid: u32At(frame, 7),
      name: decodeText(frame, 13, end),
      flags: u32At(frame, end),
      mode: u32At(frame, end + 4),
      gid: u32At(frame, end + 8),
    };
  },
  Rlcreate: opened,
  Tgetattr: (frame) => (frame.length === 19 ? { fid: u32At(frame, 7), requestMask: u64At(frame, 11) } : undefined),
  Rgetattr(frame) {
    if (frame.length !== rgetattr.length) return undefined;
    rgetattr.set(frame);
    return takeAttributes(rgetattrView, HEADER_SIZE);
  },
  Rsetattr: nothing,
  Treaddir: (frame) => (frame.length === 23 ? { fid: u32At(frame, 7), offset: u64At(frame, 11), count: u32At(frame, 19) } : undefined),
  Rreaddir: payload,
  Tunlinkat(frame) {
    if (frame.length < 17) return undefined;
    const end = 13 + u16At(frame, 11);
    if (frame.length !== end + 4) return undefined;
    return { dirfd: u32At(frame, 7), name: decodeText(frame, 13, end), flags: u32At(frame, end) };
  },
  Runlinkat: nothing,
  Twalk(frame) {
    const { length } = frame;
    if (length < 17) return undefined;
    const count = u16At(frame, 15);
    if (count > MAXWELEM) return undefined;
    const wnames: string[] = [];
    let at = 17;
    for (let index = 0; index < count; index++) {
      const start = at + 2;
      if (start > length) return undefined;
      at = start + u16At(frame, at);
      if (at > length) return undefined;
      wnames.push(decodeText(frame, start, at));
    }
    return at === length ? { fid: u32At(frame, 7), newfid: u32At(frame, 11), wnames } : undefined;
  },
  Rwalk(frame) {
    if (frame.length < 9) return undefined;
    const count = u16At(frame, 7);
    if (count > MAXWELEM || frame.length !== 9 + count * QID) return undefined;
    const wqids: Qid[] = [];
    for (let at = 9; at < frame.length; at += QID) wqids.push(qidAt(frame, at));
    return { wqids };
  },
  Tread(frame) {
    if (frame.length !== 23) return undefined;
    const offset = numberAt(frame, 11);
    return isSize(offset) ? { fid: u32At(frame, 7), offset, count: u32At(frame, 19) } : undefined;
  },
  Rread: payload,
  Twrite(frame) {
    if (frame.length < 23 || u32At(frame, 19) !== frame.length - 23) return undefined;
    const offset = numberAt(frame, 11);
    return isSize(offset) ? { fid: u32At(frame, 7), offset, data: frame.subarray(23) } : undefined;
  },
  Rwrite: (frame) => (frame.length === 11 ? { count: u32At(frame, 7) } : undefined),
  Tclunk: (frame) => (frame.length === 11 ? { fid: u32At(frame, 7) } : undefined),
  Rclunk: nothing,
  Tcreateat(frame) {
    if (frame.length < 30) return undefined;
    const end = 18 + u16At(frame, 16);
    if (frame.length !== end + 12) return undefined;
    return {
      dfid: u32At(frame, 7),
      newfid: u32At(frame, 11),
      lend: frame[15] as number,
      name: decodeText(frame, 18, end),
      flags: u32At(frame, end),
      mode: u32At(frame, end + 4),
      gid: u32At(frame, end + 8),
    };
  },
  Rcreateat(frame) {
    if (frame.length !== rcreateat.length) return undefined;
    rcreateat.set(frame);
    const attributes = takeAttributes(rcreateatView, CREATED);
    const directory = takeAttributes(rcreateatView, CREATED + ATTRIBUTES);
    if (attributes === undefined || directory === undefined) return undefined;
    return { lent: frame[7] as number, iounit: u32At(frame, 8), attributes, directory };
  },
} satisfies { readonly [N in MessageName]?: Reads<N> };

function putSize(w: Writer, field: string, value: number): void {
  w.field = field;
  w.size64(value);
}

function checkSize(w: Writer, field: string, value: number): void {
  w.field = field;
  w.checkSize64(value);
}

/** Of attributes that are one field. */
function checkSizes(w: Writer, field: string, { nlink, size, blksize, blocks, atime, mtime, ctime, btime }: Attributes): void {
  w.field = field;
  w.checkSize64(nlink);
  w.checkSize64(size);
  w.checkSize64(blksize);
  w.checkSize64(blocks);
  w.checkSize64(atime.nsec);
  w.checkSize64(mtime.nsec);
  w.checkSize64(ctime.nsec);
  w.checkSize64(btime.nsec);
}

function putOpened(w: Writer, body: Body<'Rlopen'>): void {
  qid.write(w, body.qid);
  w.u32(body.iounit);
}

function putNothing(): void {}

/** Writers by message. */
export const writers = {
  Rlerror: (w, { ecode }) => w.u32(ecode),
  Tlopen(w, { fid, flags }) {
    w.u32(fid);
    w.u32(flags);
  },
  Rlopen: putOpened,
  Tlcreate(w, { fid, name, flags, mode, gid }) {
    w.u32(fid);
    w.field = 'name';
    w.str(name);
    w.u32(flags);
    w.u32(mode);
    w.u32(gid);
  },
  Rlcreate: putOpened,
  Tgetattr(w, { fid, requestMask }) {
    w.u32(fid);
    w.u64(requestMask);
  },
  Rgetattr(w, body) {
    checkSize(w, 'nlink', body.nlink);
    checkSize(w, 'size', body.size);
    checkSize(w, 'blksize', body.blksize);
    checkSize(w, 'blocks', body.blocks);
    checkSize(w, 'atime', body.atime.nsec);
    checkSize(w, 'mtime', body.mtime.nsec);
    checkSize(w, 'ctime', body.ctime.nsec);
    checkSize(w, 'btime', body.btime.nsec);
    const at = w.reserve(ATTRIBUTES);
    putAttributes(w.view, at, body);
  },
  Rsetattr: putNothing,
  Treaddir(w, { fid, offset, count }) {
    w.u32(fid);
    w.u64(offset);
    w.u32(count);
  },
  Tunlinkat(w, { dirfd, name, flags }) {
    w.u32(dirfd);
    w.field = 'name';
    w.str(name);
    w.u32(flags);
  },
  Runlinkat: putNothing,
  Twalk(w, { fid, newfid, wnames }) {
    w.u32(fid);
    w.u32(newfid);
    w.field = 'wnames';
    // The table's own field refuses them.
    if (wnames.length > MAXWELEM) return names.write(w, wnames);
    w.u16(wnames.length);
    for (const name of wnames) w.str(name);
  },
  Rwalk(w, { wqids }) {
    w.field = 'wqids';
    if (wqids.length > MAXWELEM) return qids.write(w, wqids);
    w.u16(wqids.length);
    for (const wqid of wqids) qid.write(w, wqid);
  },
  Tread(w, { fid, offset, count }) {
    w.u32(fid);
    putSize(w, 'offset', offset);
    w.u32(count);
  },
  Twrite(w, { fid, offset, data: bytes }) {
    w.u32(fid);
    putSize(w, 'offset', offset);
    data.write(w, bytes);
  },
  Rwrite: (w, { count }) => w.u32(count),
  Tclunk: (w, { fid }) => w.u32(fid),
  Rclunk: putNothing,
  Tcreateat(w, { dfid, newfid, lend, name, flags, mode, gid }) {
    w.u32(dfid);
    w.u32(newfid);
    w.u8(lend);
    w.field = 'name';
    w.str(name);
    w.u32(flags);
    w.u32(mode);
    w.u32(gid);
  },
  Rcreateat(w, { lent, iounit, attributes, directory }) {
    w.u8(lent);
    w.u32(iounit);
    checkSizes(w, 'attributes', attributes);
    checkSizes(w, 'directory', directory);
    const at = w.reserve(2 * ATTRIBUTES);
    putAttributes(w.view, at, attributes);
    putAttributes(w.view, at + ATTRIBUTES, directory);
  },
} satisfies { readonly [N in MessageName]?: Writes<N> };
