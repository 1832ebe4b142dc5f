// A FUSE file system that hangs: a file `ok` of five bytes; looking up `hang…` and reading `stuck` are never answered. `full` takes what is
// written to it, and tells of the disk that is full when it is closed, as network file systems do. Argument: where to mount it.

import { openSync, read, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const koffi = createRequire(import.meta.url)('koffi');
const mount = koffi.load(null).func('int mount(const char *, const char *, const char *, unsigned long, const char *)');
const fd = openSync('/dev/fuse', 'r+');
const options = `fd=${fd},rootmode=40000,user_id=${process.getuid()},group_id=${process.getgid()},allow_other`;
if (mount('ninep-hang', process.argv[2], 'fuse', 0, options) !== 0) throw new Error(`mount: errno ${koffi.errno()}`);

const ROOT = 1n;
const FILES = new Map([
  ['ok', 2n],
  ['stuck', 3n],
  ['full', 4n],
]);

function attributes(into, at, nodeid) {
  into.writeBigUInt64LE(nodeid, at);
  into.writeBigUInt64LE(nodeid === ROOT ? 0n : 5n, at + 8);
  into.writeUInt32LE(nodeid === ROOT ? 0o040755 : 0o100644, at + 60);
  into.writeUInt32LE(1, at + 64);
  into.writeUInt32LE(4096, at + 80);
}

function answer(unique, error, body = Buffer.alloc(0)) {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length);
  header.writeInt32LE(error, 4);
  header.writeBigUInt64LE(unique, 8);
  try {
    writeSync(fd, Buffer.concat([header, body]));
  } catch {
    // The asker has been interrupted.
  }
}

const OPCODES = {
  1: (unique, _nodeid, body) => {
    const name = body.toString('utf8', 0, body.indexOf(0));
    if (name.startsWith('hang')) return;
    const nodeid = FILES.get(name);
    if (nodeid === undefined) return answer(unique, -2);
    const entry = Buffer.alloc(128);
    entry.writeBigUInt64LE(nodeid, 0);
    attributes(entry, 40, nodeid);
    answer(unique, 0, entry);
  },
  2: () => {},
  3: (unique, nodeid) => {
    const out = Buffer.alloc(104);
    attributes(out, 16, nodeid);
    answer(unique, 0, out);
  },
  14: (unique) => answer(unique, 0, Buffer.alloc(16)),
  15: (unique, nodeid) => {
    if (nodeid !== 3n) answer(unique, 0, Buffer.from('hello'));
  },
  16: (unique, _nodeid, body) => {
    const out = Buffer.alloc(8);
    out.writeUInt32LE(body.readUInt32LE(16), 0);
    answer(unique, 0, out);
  },
  17: (unique) => answer(unique, 0, Buffer.alloc(80)),
  18: (unique) => answer(unique, 0),
  25: (unique, nodeid) => answer(unique, nodeid === 4n ? -28 : 0),
  26: (unique) => {
    const out = Buffer.alloc(64);
    out.writeUInt32LE(7, 0);
    out.writeUInt32LE(31, 4);
    out.writeUInt32LE(65536, 8);
    // ASYNC_READ and PARALLEL_DIROPS: without, the kernel itself makes requests wait for each other.
    out.writeUInt32LE(1 | (1 << 18), 12);
    out.writeUInt16LE(64, 16);
    out.writeUInt32LE(65536, 20);
    answer(unique, 0, out);
  },
  36: () => {},
  42: () => {},
};

const buffer = Buffer.alloc(1 << 17);
function serve() {
  read(fd, buffer, 0, buffer.length, null, (error, length) => {
    if (error?.code === 'ENODEV') process.exit();
    if (!error) {
      const unique = buffer.readBigUInt64LE(8);
      const handle = OPCODES[buffer.readUInt32LE(4)];
      if (handle === undefined) answer(unique, -38);
      else handle(unique, buffer.readBigUInt64LE(16), buffer.subarray(40, length));
    }
    serve();
  });
}
serve();
console.log('mounted');
