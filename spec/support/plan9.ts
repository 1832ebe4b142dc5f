import type { Transport } from '../../lib/index.js';

/**
 * A small server of 9P2000.u and 9P2000 in memory, with a reader and writer of its own, written from Plan 9's manual section 5: nothing of
 * what it tests is used in it. It refuses what the manual has it refuse: names that are taken, reads of directories out of order.
 */
export interface Plan9File {
  name: string;
  path: number;
  parent: Plan9File;
  version: number;
  /** Permission bits and DM bits. */
  mode: number;
  mtime: number;
  atime: number;
  data: Buffer;
  extension: string;
  uid: number;
  gid: number;
  children: Map<string, Plan9File> | undefined;
}

interface Open {
  file: Plan9File;
  mode: number | undefined;
  /** Where the next read of a directory has to begin, and at which entry. */
  offset: number;
  at: number;
}

let paths = 0;

const DMDIR = 0x80000000;
const KINDS = 0x82b00000;

class Refusal extends Error {
  readonly errno: number;
  constructor(text: string, errno: number) {
    super(text);
    this.errno = errno;
  }
}

/** One connection. */
export class Plan9Server {
  readonly root: Plan9File;
  readonly extended: boolean;
  readonly fids = new Map<number, Open>();
  /** Every T message that came, by type number. */
  readonly seen: number[] = [];
  readonly #transport: Transport;
  #pending = Buffer.alloc(0);
  #target = Buffer.alloc(65536);
  #msize = 8192;

  constructor(transport: Transport, { extended, root: shared }: { extended: boolean; root?: Plan9File | undefined }) {
    this.#transport = transport;
    this.extended = extended;
    const root = { name: '/', path: 0, version: 1, mode: DMDIR | 0o755, mtime: 1e9, atime: 1e9, data: Buffer.alloc(0), extension: '' };
    this.root = { ...root, mode: root.mode >>> 0, uid: 0, gid: 0, children: new Map(), parent: undefined as unknown as Plan9File };
    this.root.parent = this.root;
    // Several connections to one tree.
    if (shared !== undefined) this.root = shared;
    transport.start({
      target: () => this.#target,
      filled: (count) => this.#take(this.#target.subarray(0, count)),
      push: (chunk) => this.#take(chunk),
      drained: () => {},
      closed: () => this.fids.clear(),
    });
  }

  #take(chunk: Uint8Array): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 4 && this.#pending.length >= this.#pending.readUInt32LE(0)) {
      const size = this.#pending.readUInt32LE(0);
      const frame = this.#pending.subarray(0, size);
      this.#pending = this.#pending.subarray(size);
      this.#answer(frame);
    }
  }

  #answer(frame: Buffer): void {
    const type = frame.readUInt8(4);
    const tag = frame.readUInt16LE(5);
    this.seen.push(type);
    let body: Buffer;
    let reply = type + 1;
    try {
      body = this.#handle(type, new Fields(frame.subarray(7)));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      reply = 107;
      body = Buffer.concat([text(error.message), this.extended ? u32(error.errno) : Buffer.alloc(0)]);
    }
    const head = Buffer.concat([u32(7 + body.length), u8(reply), u16(tag)]);
    this.#transport.send([head, body]);
  }

  #handle(type: number, f: Fields): Buffer {
    switch (type) {
      case 100: {
        this.#msize = Math.min(f.u32(), 8192);
        const version = f.text();
        const ours = this.extended ? '9P2000.u' : '9P2000';
        return Buffer.concat([u32(this.#msize), text(version === ours ? ours : 'unknown')]);
      }
      case 104: {
        const fid = f.u32();
        this.fids.set(fid, { file: this.root, mode: undefined, offset: 0, at: 0 });
        return this.#qid(this.root);
      }
      case 108:
        return Buffer.alloc(0);
      case 110:
        return this.#walk(f.u32(), f.u32(), f);
      case 112:
        return this.#open(this.#fid(f.u32()), f.u8());
      case 114:
        return this.#create(this.#fid(f.u32()), f);
      case 116:
        return this.#read(this.#fid(f.u32()), f.u64(), f.u32());
      case 118:
        return this.#write(this.#fid(f.u32()), f.u64(), f.bytes(f.u32()));
      case 120:
        this.#end(f.u32());
        return Buffer.alloc(0);
      case 122:
        this.#remove(this.#end(f.u32()));
        return Buffer.alloc(0);
      case 124: {
        const stat = this.#stat(this.#fid(f.u32()).file);
        return Buffer.concat([u16(stat.length), stat]);
      }
      case 126:
        this.#wstat(this.#fid(f.u32()).file, f);
        return Buffer.alloc(0);
      default:
        throw new Refusal('unknown message', 95);
    }
  }

  #fid(number: number): Open {
    const open = this.fids.get(number);
    if (open === undefined) throw new Refusal('unknown fid', 9);
    return open;
  }

  #end(number: number): Open {
    const open = this.#fid(number);
    this.fids.delete(number);
    return open;
  }

  #walk(from: number, to: number, f: Fields): Buffer {
    let { file } = this.#fid(from);
    if (from !== to && this.fids.has(to)) throw new Refusal('fid in use', 9);
    const count = f.u16();
    const qids: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const name = f.text();
      const next = name === '..' ? file.parent : file.children?.get(name);
      if (next === undefined) {
        if (i === 0) throw new Refusal('file does not exist', 2);
        return Buffer.concat([u16(i), ...qids]);
      }
      qids.push(this.#qid(next));
      file = next;
    }
    this.fids.set(to, { file, mode: undefined, offset: 0, at: 0 });
    return Buffer.concat([u16(count), ...qids]);
  }

  #open(open: Open, mode: number): Buffer {
    if (open.mode !== undefined) throw new Refusal('fid is open', 9);
    if (open.file.children !== undefined && (mode & 3) !== 0) throw new Refusal('is a directory', 21);
    open.mode = mode;
    if ((mode & 0x10) !== 0) open.file.data = Buffer.alloc(0);
    return Buffer.concat([this.#qid(open.file), u32(0)]);
  }

  #create(open: Open, f: Fields): Buffer {
    const [name, perm, mode] = [f.text(), f.u32(), f.u8()];
    const extension = this.extended ? f.text() : '';
    const directory = open.file;
    if (directory.children === undefined) throw new Refusal('not a directory', 20);
    if (directory.children.has(name)) throw new Refusal('file already exists', 17);
    if ((perm & DMDIR) !== 0 && (mode & 3) !== 0) throw new Refusal('bad mode', 22);
    if ((perm & 0x01000000) !== 0) {
      const { file } = this.#fid(Number(extension));
      directory.children.set(name, file);
      open.file = file;
      return Buffer.concat([this.#qid(file), u32(0)]);
    }
    const file: Plan9File = {
      name,
      path: ++paths,
      parent: directory,
      version: 1,
      mode: perm,
      mtime: 1e9,
      atime: 1e9,
      data: Buffer.alloc(0),
      extension,
      uid: 1000,
      gid: 1000,
      children: (perm & DMDIR) === 0 ? undefined : new Map(),
    };
    directory.children.set(name, file);
    Object.assign(open, { file, mode });
    return Buffer.concat([this.#qid(file), u32(0)]);
  }

  #read(open: Open, offset: number, count: number): Buffer {
    if (open.mode === undefined || (open.mode & 3) === 1) throw new Refusal('file not open for reading', 9);
    if (count > this.#msize - 24) throw new Refusal('count too large', 22);
    const { children, data } = open.file;
    if (children === undefined) {
      const piece = data.subarray(offset, offset + count);
      return Buffer.concat([u32(piece.length), piece]);
    }
    if (offset === 0) Object.assign(open, { offset: 0, at: 0 });
    if (offset !== open.offset) throw new Refusal('bad offset in directory read', 22);
    const stats: Buffer[] = [];
    const names = [...children.keys()];
    for (let size = 0; open.at < names.length; open.at++) {
      const stat = this.#stat(children.get(names[open.at] as string) as Plan9File);
      size += stat.length;
      if (size > count) break;
      stats.push(stat);
    }
    const piece = Buffer.concat(stats);
    open.offset += piece.length;
    return Buffer.concat([u32(piece.length), piece]);
  }

  #write(open: Open, offset: number, data: Buffer): Buffer {
    if (open.mode === undefined || (open.mode & 3) === 0) throw new Refusal('file not open for writing', 9);
    const { file } = open;
    const at = this.extended && (open.mode & 0x80) !== 0 ? file.data.length : offset;
    const size = Math.max(file.data.length, at + data.length);
    file.data = Buffer.concat([file.data, Buffer.alloc(size - file.data.length)]);
    data.copy(file.data, at);
    file.version++;
    return u32(data.length);
  }

  #remove({ file }: Open): void {
    if (file === this.root) throw new Refusal('permission denied', 13);
    if ((file.children?.size ?? 0) > 0) throw new Refusal('directory not empty', 39);
    for (const [name, one] of file.parent.children ?? []) if (one === file) file.parent.children?.delete(name);
  }

  #wstat(file: Plan9File, f: Fields): void {
    f.bytes(2 + 2 + 2 + 4 + 13);
    const [mode, atime, mtime] = [f.u32(), f.u32(), f.u32()];
    const lengthKept = f.peekOnes(8);
    const length = f.bytes(8).readUIntLE(0, 6);
    const [name] = [f.text(), f.text(), f.text(), f.text()];
    if (mode !== 0xffffffff) {
      if (((mode ^ file.mode) & KINDS) !== 0) throw new Refusal('mode changes the type', 5);
      file.mode = mode;
    }
    if (atime !== 0xffffffff) file.atime = atime;
    if (mtime !== 0xffffffff) file.mtime = mtime;
    if (!lengthKept) file.data = Buffer.concat([file.data.subarray(0, length), Buffer.alloc(Math.max(0, length - file.data.length))]);
    if (name.includes('/')) throw new Refusal('bad name', 22);
    if (name !== '') {
      if (file.parent.children?.has(name)) throw new Refusal('file already exists', 17);
      file.parent.children?.delete(file.name);
      file.name = name;
      file.parent.children?.set(name, file);
    }
    if (!this.extended) return;
    f.text();
    const [uid, gid] = [f.u32(), f.u32()];
    if (uid !== 0xffffffff) file.uid = uid;
    if (gid !== 0xffffffff) file.gid = gid;
  }

  #qid(file: Plan9File): Buffer {
    const type = ((file.mode >>> 24) & 0xff) === 0x02 ? 0x02 : file.children === undefined ? 0 : 0x80;
    return Buffer.concat([u8(type), u32(file.version), u32(file.path), u32(0)]);
  }

  #stat(file: Plan9File): Buffer {
    const length = Buffer.alloc(8);
    length.writeUIntLE(file.children === undefined ? file.data.length : 0, 0, 6);
    const fixed = [u16(0), u32(0), this.#qid(file), u32(file.mode), u32(file.atime), u32(file.mtime), length];
    const names = [text(file.name), text(this.extended ? '' : String(file.uid)), text(this.extended ? '' : 'glenda'), text('')];
    const extra = this.extended ? [text(file.extension), u32(file.uid), u32(file.gid), u32(0)] : [];
    const body = Buffer.concat([...fixed, ...names, ...extra]);
    return Buffer.concat([u16(body.length), body]);
  }
}

class Fields {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  bytes(count: number): Buffer {
    this.#at += count;
    if (this.#at > this.#bytes.length) throw new RangeError('message too short');
    return this.#bytes.subarray(this.#at - count, this.#at);
  }
  peekOnes(count: number): boolean {
    return this.#bytes.subarray(this.#at, this.#at + count).every((byte) => byte === 0xff);
  }
  u8(): number {
    return this.bytes(1).readUInt8();
  }
  u16(): number {
    return this.bytes(2).readUInt16LE();
  }
  u32(): number {
    return this.bytes(4).readUInt32LE();
  }
  u64(): number {
    return this.bytes(8).readUIntLE(0, 6);
  }
  text(): string {
    return this.bytes(this.u16()).toString();
  }
}

function u8(value: number): Buffer {
  return Buffer.from([value]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u16(bytes.length), bytes]);
}
