import { L_O_RDONLY, L_O_RDWR, L_O_WRONLY } from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { octal, refused, same, that, unless, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';

/** Bytes of which no two stretches are alike. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0, x = seed; index < length; index++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    bytes[index] = x >>> 16;
  }
  return bytes;
}

async function reading(t: Trial, content: string | Uint8Array = '0123456789'): Promise<Handle> {
  return (await t.file(content)).open(L_O_RDONLY);
}

async function both(t: Trial, content: string | Uint8Array = '0123456789'): Promise<Handle> {
  return (await t.file(content)).open(L_O_RDWR);
}

const far = 5 * 2 ** 30 + 7;

const read: Check[] = checks(
  'read/write',
  { source: 'read(5)', dialects: ALL },
  {
    'read.all': [
      'A read gives the bytes of the file',
      async (t) => same(await (await reading(t)).read(), Buffer.from('0123456789'), 'the data'),
    ],
    'read.offset': ['A read begins at its offset', async (t) => same(await (await reading(t)).read(3, 4), Buffer.from('3456'), 'the data')],
    'read.any-order': [
      'Offsets may come in any order',
      async (t) => {
        const file = await reading(t);
        for (const [offset, data] of [
          [8, '89'],
          [0, '01'],
          [4, '45'],
          [4, '45'],
        ] as const)
          same(await file.read(offset, 2), Buffer.from(data), `bytes at ${offset}`);
      },
    ],
    'read.short': [
      'A read past the end gives what there is',
      async (t) => same(await (await reading(t)).read(7, 100), Buffer.from('789'), 'the data'),
    ],
    'read.end': [
      'A read at the end gives no bytes, and no error',
      async (t) => same((await (await reading(t)).read(10, 10)).length, 0, 'the count'),
    ],
    'read.beyond': [
      'A read beyond the end gives no bytes, and no error',
      async (t) => same((await (await reading(t)).read(1000, 10)).length, 0, 'the count'),
    ],
    'read.empty': ['An empty file gives no bytes', async (t) => same((await (await reading(t, '')).read()).length, 0, 'the count')],
    'read.count-0': ['A read of no bytes gives none', async (t) => same((await (await reading(t)).read(2, 0)).length, 0, 'the count')],
    'read.full': [
      'A read of msize-24 bytes is answered in full',
      async (t) => {
        const file = await reading(t, pattern(t.payload + 10));
        same(await file.read(5, t.payload), pattern(t.payload + 10).subarray(5, 5 + t.payload), 'the data');
      },
      { source: 'Linux v9fs asks for msize-24 bytes (P9_IOHDRSZ)' },
    ],
    'read.over': [
      'A read of more than a message holds gives an error or fewer bytes',
      async (t) => {
        const file = await reading(t, pattern(2 * t.payload));
        const read = await unlessRefused(t.request('Tread', { fid: file.number, offset: 0, count: 2 * t.payload }));
        if (read === undefined) return;
        const { data } = read;
        that(data.length > 0, 'it gave no bytes: the end of the file');
        same(data, pattern(2 * t.payload).subarray(0, data.length), 'the data');
      },
    ],
    'read.hole': [
      'A hole reads as zeros',
      async (t) => {
        const file = await both(t, '');
        await file.write(5000, 'x');
        same(await file.readAll(), Buffer.concat([Buffer.alloc(5000), Buffer.from('x')]), 'the data');
      },
      { source: 'lseek(2)' },
    ],
    'read.far': [
      'Offsets have 64 bits',
      async (t) => {
        const file = await both(t, 'near');
        await unless(['EFBIG', 'ENOSPC'], 'no such large files', file.write(far, 'far'));
        same(await file.read(far, 10), Buffer.from('far'), 'the data there');
        same(await file.read(0, 4), Buffer.from('near'), 'the data at 0');
      },
    ],
    'read.far-empty': [
      'A read at an offset of 2^53-1 gives no bytes or an error',
      async (t) => {
        const file = await reading(t);
        const read = await unlessRefused(t.request('Tread', { fid: file.number, offset: Number.MAX_SAFE_INTEGER, count: 10 }));
        if (read !== undefined) same(read.data.length, 0, 'the count');
      },
    ],
    'read.unopened': ['A fid that is not open cannot be read', async (t) => refused((await t.file('x')).read())],
    'read.unknown-fid': [
      'A fid that is not there cannot be read',
      (t) => refused(t.request('Tread', { fid: STRANGER, offset: 0, count: 1 })),
    ],
    'read.clunked': [
      'A fid that was clunked cannot be read',
      async (t) => {
        const file = await reading(t);
        await file.clunk();
        await refused(file.read());
      },
    ],
    'read.directory': [
      'A directory is read with Treaddir and not with Tread',
      async (t) => refused((await (await t.dir()).open()).read()),
      { source: '9P2000.L protocol description: readdir; read(2): EISDIR', dialects: L },
    ],
  },
);

const write: Check[] = checks(
  'read/write',
  { source: 'read(5), write', dialects: ALL },
  {
    'write.count': ['The count is that of the bytes written', async (t) => same(await (await both(t)).write(0, 'abc'), 3, 'the count')],
    'write.offset': [
      'A write changes its bytes and no others',
      async (t) => {
        const file = await both(t);
        await file.write(3, 'XY');
        same(await file.read(), Buffer.from('012XY56789'), 'the content');
      },
    ],
    'write.extends': [
      'A write past the end makes the file longer',
      async (t) => {
        const file = await both(t);
        await file.write(8, 'abcd');
        same(await file.read(), Buffer.from('01234567abcd'), 'the content');
        same((await file.info()).size, 12, 'the size');
      },
    ],
    'write.hole': [
      'A write beyond the end leaves a hole',
      async (t) => {
        const file = await both(t);
        await file.write(20, 'x');
        same((await file.info()).size, 21, 'the size');
      },
      { source: 'lseek(2)' },
    ],
    'write.nothing': [
      'A write of no bytes does nothing',
      async (t) => {
        const file = await both(t);
        same(await file.write(100, ''), 0, 'the count');
        same((await file.info()).size, 10, 'the size');
      },
    ],
    'write.full': [
      'A write of msize-24 bytes is taken in full',
      async (t) => {
        const file = await both(t, '');
        same(await file.write(0, pattern(t.payload)), t.payload, 'the count');
        same(await (await t.dir()).content('file'), pattern(t.payload), 'the content');
      },
      { source: 'Linux v9fs sends msize-24 bytes (P9_IOHDRSZ)' },
    ],
    'write.large': [
      'A file of many messages is what was written',
      async (t) => {
        const content = pattern(5 * t.payload + 1234);
        same(await (await t.file(content)).content(), content, 'the content');
      },
    ],
    'write.far': [
      'The size has 64 bits',
      async (t) => {
        const file = await both(t, '');
        await unless(['EFBIG', 'ENOSPC'], 'no such large files', file.write(far, 'far'));
        same((await file.info()).size, far + 3, 'the size');
      },
    ],
    'write.seen': [
      'What one fid has written another reads',
      async (t) => {
        const writer = await both(t);
        const reader = await (await (await t.dir()).walk('file')).open();
        await writer.write(0, 'new');
        same(await reader.read(0, 3), Buffer.from('new'), 'what the other reads');
      },
    ],
    'write.seen-elsewhere': [
      'What one connection has written another reads',
      async (t) => {
        const writer = await both(t);
        await writer.write(0, 'new');
        const other = await t.other();
        same((await (await other.dir()).content('file')).subarray(0, 3), Buffer.from('new'), 'what it reads');
      },
    ],
    'write.mtime': [
      'A write brings the modification time up to date',
      async (t) => {
        const file = await both(t);
        await file.setattr({ mtime: { sec: 1_000_000, nsec: 0 } });
        await file.write(0, 'x');
        const { mtime } = await file.getattr();
        that(mtime.sec > 1_000_000, `mtime is still ${mtime.sec}`);
      },
      { source: 'inode(7)', dialects: L },
    ],
    'write.version': [
      'qid.version changes with the content, or is 0',
      async (t) => {
        const file = await both(t);
        const before = (await file.getattr()).qid.version;
        await file.setattr({ mtime: { sec: 1_000_000, nsec: 0 } });
        await file.writeAll('longer than it was');
        const after = (await file.getattr()).qid.version;
        that(before !== after || after === 0, `version is ${after} before and after`);
      },
      { source: 'intro(5): qid.version', dialects: L },
    ],
    'write.clears-setuid': [
      'A write takes the set-user-ID and set-group-ID bits away',
      async (t) => {
        const file = await both(t);
        await unless('EPERM', 'chmod is not allowed', file.setattr({ mode: 0o6755 }));
        that(((await file.getattr()).mode & 0o6000) === 0o6000, 'the bits cannot be set');
        await file.write(0, 'x');
        same(octal((await file.getattr()).mode & 0o7777), octal(0o755), 'the mode');
      },
      { source: 'CVE-2023-1386; inode(7)', dialects: L },
    ],
    'write.unopened': ['A fid that is not open cannot be written', async (t) => refused((await t.file('x')).write(0, 'y'))],
    'write.unknown-fid': [
      'A fid that is not there cannot be written',
      (t) => refused(t.request('Twrite', { fid: STRANGER, offset: 0, data: Buffer.from('x') })),
    ],
    'write.directory': ['A directory cannot be written', async (t) => refused((await (await t.dir()).open()).write(0, 'x'))],
  },
);

const fsync: Check[] = checks(
  'read/write',
  { source: '9P2000.L protocol description: fsync; fsync(2)' },
  {
    'fsync.file': [
      'An open file can be synchronised',
      async (t) => {
        const file = await both(t);
        await file.write(0, 'x');
        await file.fsync(0);
      },
    ],
    'fsync.data': ['The data of an open file can be synchronised alone', async (t) => (await both(t)).fsync(1)],
    'fsync.directory': ['An open directory can be synchronised', async (t) => (await (await t.dir()).open()).fsync(0)],
    'fsync.unopened': ['A fid that is not open cannot be synchronised', async (t) => refused((await t.file()).fsync())],
    'fsync.unknown-fid': [
      'A fid that is not there cannot be synchronised',
      (t) => refused(t.request('Tfsync', { fid: STRANGER, datasync: 0 })),
    ],
    'fsync.read-only': [
      'A file open for reading can be synchronised',
      async (t) => (await reading(t)).fsync(0),
      { source: 'fsync(2): any descriptor' },
    ],
    'fsync.write-only': [
      'A file open for writing can be synchronised and stays writable',
      async (t) => {
        const file = await (await t.file()).open(L_O_WRONLY);
        await file.fsync(0);
        same(await file.write(0, 'x'), 1, 'the count');
      },
    ],
  },
);

export const io: Check[] = [...read, ...write, ...fsync];
