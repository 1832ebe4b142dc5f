/** read, write, lseek, fsync, fallocate, copy_file_range, mmap and locks (POSIX XSH; the manual pages of the same names). */
import path from 'node:path';
import { FALLOC, SEEK } from '../../support/status.js';
import { mmapShared, peek, poke } from '../../support/syscalls.js';
import { type Group, group, O, ordinary, type Test } from './test.js';

/** Bytes that differ from place to place. */
function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0, x = seed; at < length; at++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    bytes[at] = x >>> 16;
  }
  return bytes;
}

const transfer = ordinary('io: read and write', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDWR);
  const b = Buffer.alloc(200_000);
  t.equal('nothing from an empty file', t.sys.read(fd, b, 10), 0);
  for (const length of [1, 511, 4096, 65536, 65537, 131072, 200_000]) {
    const bytes = pattern(length, length);
    t.equal(`pwrite of ${length}`, t.sys.pwrite(fd, bytes, length, 3), length);
    t.equal(`pread of ${length}`, t.sys.pread(fd, b, length, 3), length);
    t.bytes(`${length} bytes come back`, b.subarray(0, length), bytes);
  }
  t.equal('pread and pwrite leave the offset', t.sys.lseek(fd, 0, SEEK.CUR), 0);
  t.equal('the size is where the farthest write ended', t.stat(at).size, 200_003);
  t.equal('a read across the end is short', t.sys.pread(fd, b, 100, 200_000), 3);
  t.equal('a read at the end gives nothing', t.sys.pread(fd, b, 100, 200_003), 0);
  t.equal('a read beyond the end gives nothing', t.sys.pread(fd, b, 100, 900_000), 0);
  t.equal('a write of nothing', t.sys.write(fd, b, 0), 0);
  t.equal('a read of nothing', t.sys.read(fd, b, 0), 0);
  t.gives('EFAULT for reading into nowhere', t.sys.pread(fd, 8n, 10, 0), 'EFAULT');
  t.gives('EFAULT for writing from nowhere', t.sys.pwrite(fd, 8n, 10, 0), 'EFAULT');
  t.gives('EINVAL for a negative offset to pread', t.sys.pread(fd, b, 10, -1), 'EINVAL');
  t.gives('EINVAL for a negative offset to pwrite', t.sys.pwrite(fd, b, 10, -1), 'EINVAL');
  t.gives('EBADF for read', t.sys.read(9999, b, 1), 'EBADF');
  t.gives('EBADF for write', t.sys.write(9999, b, 1), 'EBADF');
  const other = t.open(at, O.RDONLY);
  t.equal('what one descriptor writes', t.sys.pwrite(fd, Buffer.from('shared'), 6, 100), 6);
  t.equal('another reads', t.sys.pread(other, b, 6, 100), 6);
  t.equal('as written', b.toString('latin1', 0, 6), 'shared');
  const again = t.sys.dup(fd);
  t.must('dup', again);
  t.must('lseek', t.sys.lseek(fd, 50, SEEK.SET));
  t.equal('a duplicate shares the offset', t.sys.lseek(again, 0, SEEK.CUR), 50);
  t.real.close(again);
  t.stamps({ written: at }, () => t.gives('a write', t.sys.pwrite(fd, b, 1, 0), 'ok'), { written: 'mtime ctime' });
  t.stamps({ 'written with nothing': at }, () => t.gives('a write of no bytes', t.sys.pwrite(fd, b, 0, 0), 'ok'), {
    'written with nothing': '!mtime !ctime',
  });
  t.stamps({ read: at }, () => t.gives('a read', t.sys.pread(fd, b, 1, 0), 'ok'), { read: '!mtime !ctime' });
  t.gives('fsync', t.sys.fsync(fd), 'ok');
  t.gives('fdatasync', t.sys.fdatasync(fd), 'ok');
  t.gives('fsync on a descriptor for reading', t.sys.fsync(other), 'ok');
  t.gives('fsync on a directory', t.sys.fsync(t.open(t.dir(), O.RDONLY)), 'ok');
  t.gives('fsync EBADF', t.sys.fsync(9999), 'EBADF');
});

const seeking = ordinary('io: lseek', (t) => {
  const fd = t.open(t.file({ content: 'x'.repeat(1000) }), O.RDWR);
  t.equal('SEEK_SET', t.sys.lseek(fd, 10, SEEK.SET), 10);
  t.equal('SEEK_CUR', t.sys.lseek(fd, 5, SEEK.CUR), 15);
  t.equal('SEEK_CUR backwards', t.sys.lseek(fd, -15, SEEK.CUR), 0);
  t.equal('SEEK_END', t.sys.lseek(fd, 0, SEEK.END), 1000);
  t.equal('SEEK_END backwards', t.sys.lseek(fd, -1, SEEK.END), 999);
  t.equal('beyond the end', t.sys.lseek(fd, 9000, SEEK.END), 10000);
  t.equal('which does not change the size', t.fstat(fd).size, 1000);
  t.equal('far beyond 4 GiB', t.sys.lseek(fd, 2 ** 40, SEEK.SET), 2 ** 40);
  t.gives('EINVAL before the start', t.sys.lseek(fd, -1, SEEK.SET), 'EINVAL');
  t.gives('EINVAL before the start from the end', t.sys.lseek(fd, -1001, SEEK.END), 'EINVAL');
  t.gives('EINVAL for an unknown whence', t.sys.lseek(fd, 0, 77), 'EINVAL');
  t.gives('EBADF', t.sys.lseek(9999, 0, SEEK.SET), 'EBADF');
  t.equal('the offset after refusals', t.sys.lseek(fd, 0, SEEK.CUR), 2 ** 40);
});

const holes = ordinary('io: sparse files', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDWR);
  t.must('pwrite', t.sys.pwrite(fd, pattern(65536, 1), 65536, 0));
  t.must('pwrite', t.sys.pwrite(fd, pattern(65536, 2), 65536, 1 << 20));
  t.must('ftruncate', t.sys.ftruncate(fd, 2 << 20));
  const b = Buffer.alloc(65536, 1);
  t.equal('a hole is read', t.sys.pread(fd, b, 65536, 300_000), 65536);
  t.bytes('as zeros', b, Buffer.alloc(65536));
  // Where holes are not told apart, everything is data up to the end, which is the one hole.
  const data = t.sys.lseek(fd, 100_000, SEEK.DATA);
  t.true('SEEK_DATA in the hole finds data, at the latest where it is', data >= 100_000 && data <= 1 << 20, String(data));
  t.equal('SEEK_DATA in data stays', t.sys.lseek(fd, 5, SEEK.DATA), 5);
  const hole = t.sys.lseek(fd, 0, SEEK.HOLE);
  t.true('SEEK_HOLE from data finds a hole behind it', hole >= 65536 && hole <= 2 << 20, String(hole));
  t.gives('SEEK_DATA ENXIO beyond the end', t.sys.lseek(fd, 3 << 20, SEEK.DATA), 'ENXIO');
  t.gives('SEEK_HOLE ENXIO beyond the end', t.sys.lseek(fd, 3 << 20, SEEK.HOLE), 'ENXIO');
  const far = t.file();
  const wide = t.open(far, O.RDWR);
  t.equal('a write at 6 GiB', t.sys.pwrite(wide, Buffer.from('far'), 3, 6 * 2 ** 30), 3);
  t.equal('the size', t.stat(far).size, 6 * 2 ** 30 + 3);
  t.true('takes few blocks', t.stat(far).blocks < 1000, String(t.stat(far).blocks));
  t.equal('is read back', t.sys.pread(wide, b, 10, 6 * 2 ** 30), 3);
  t.equal('the start is there', t.sys.pread(wide, b, 10, 0), 10);
});

const allocation = ordinary('io: fallocate', (t) => {
  const at = t.file({ content: 'content' });
  const fd = t.open(at, O.RDWR);
  t.gives('beyond the end', t.sys.fallocate(fd, 0, 0, 100_000), 'ok');
  t.equal('makes the file longer', t.stat(at).size, 100_000);
  const b = Buffer.alloc(100_000);
  t.must('pread', t.sys.pread(fd, b, 100_000, 0));
  t.equal('keeps what was there, and adds zeros', b.toString('latin1').replaceAll('\0', ''), 'content');
  t.gives('KEEP_SIZE', t.sys.fallocate(fd, FALLOC.KEEP_SIZE, 100_000, 100_000), 'ok');
  t.equal('keeps the size', t.stat(at).size, 100_000);
  t.must('pwrite', t.sys.pwrite(fd, pattern(100_000), 100_000, 0));
  t.gives('PUNCH_HOLE', t.sys.fallocate(fd, FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE, 8192, 16384), 'ok');
  const want = pattern(100_000);
  want.fill(0, 8192, 8192 + 16384);
  t.must('pread', t.sys.pread(fd, b, 100_000, 0));
  t.bytes('PUNCH_HOLE makes zeros', b, want);
});

const allocationErrors = ordinary('io: fallocate refuses', (t) => {
  const fd = t.open(t.file(), O.RDWR);
  t.gives('EINVAL for no length', t.sys.fallocate(fd, 0, 0, 0), 'EINVAL');
  t.gives('EINVAL for a negative offset', t.sys.fallocate(fd, 0, -1, 10), 'EINVAL');
  t.gives('EBADF on a descriptor for reading', t.sys.fallocate(t.open(t.file(), O.RDONLY), 0, 0, 10), 'EBADF');
  t.gives('EBADF', t.sys.fallocate(9999, 0, 0, 10), 'EBADF');
  if (t.special) t.gives('ESPIPE on a FIFO', t.sys.fallocate(t.open(t.make('fifo', t.fresh()), O.RDWR), 0, 0, 10), 'ESPIPE');
});

const copying = ordinary('io: copy_file_range', (t) => {
  const bytes = pattern(300_000);
  const from = t.file();
  const source = t.open(from, O.RDWR);
  t.must('write', t.sys.pwrite(source, bytes, bytes.length, 0));
  const to = t.file();
  const sink = t.open(to, O.RDWR);
  let copied = 0;
  let last = 1;
  while (copied < bytes.length && last > 0) {
    last = t.sys.copy_file_range(source, null, sink, null, bytes.length - copied, 0);
    if (last > 0) copied += last;
  }
  // Where the file system does not copy by itself the kernel does, or the call is not supported: wrong data is the one thing that must not be.
  if (copied === 0) t.gives('is refused as a whole', last, ['EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EINVAL']);
  else {
    t.equal('everything is copied', copied, bytes.length);
    t.bytes('byte for byte', t.read(to), bytes);
    t.equal('at the end it copies nothing', t.sys.copy_file_range(source, null, sink, null, 100, 0), 0);
  }
});

const mapping = ordinary('io: mmap, shared', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDWR);
  const bytes = pattern(20_000);
  t.must('pwrite', t.sys.pwrite(fd, bytes, bytes.length, 0));
  const address = mmapShared(fd, 20_480, 0);
  t.gives('mmap', typeof address === 'number' ? address : 0, 'ok');
  if (typeof address === 'number') return;
  t.bytes('the mapping holds the file', peek(address, 20_000), bytes);
  t.bytes('and zeros behind its end', peek(address + 20_000n, 480), Buffer.alloc(480));
  poke(address + 5000n, Buffer.from('through the mapping'));
  const b = Buffer.alloc(19);
  t.equal('what is stored in the mapping', t.sys.pread(fd, b, 19, 5000), 19);
  t.equal('is read by read', b.toString(), 'through the mapping');
  t.equal('what is written by write', t.sys.pwrite(fd, Buffer.from('by write'), 8, 9000), 8);
  t.equal('is seen in the mapping', peek(address + 9000n, 8).toString(), 'by write');
  t.gives('msync', t.sys.msync(address, 20_480, 4), 'ok');
  t.close(fd);
  poke(address, Buffer.from('after close'));
  t.gives('munmap', t.sys.munmap(address, 20_480), 'ok');
  t.equal('a store after the descriptor was closed', t.read(at).toString('latin1', 0, 11), 'after close');
  t.equal('the size stays', t.stat(at).size, 20_000);
});

const appendedMapping = ordinary('io: mmap, shared, through a descriptor that appends', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDWR | O.APPEND);
  const bytes = pattern(20_000);
  t.must('write', t.sys.pwrite(fd, bytes, bytes.length, 0));
  const address = mmapShared(fd, 20_480, 0);
  t.gives('mmap', typeof address === 'number' ? address : 0, 'ok');
  if (typeof address === 'number') return;
  poke(address + 5000n, Buffer.from('through the mapping'));
  t.gives('msync', t.sys.msync(address, 20_480, 4), 'ok');
  t.equal('the size stays', t.stat(at).size, 20_000);
  t.equal('what is written by write', t.sys.pwrite(fd, Buffer.from('by write'), 8, 9000), 8);
  t.equal('is at the end', t.stat(at).size, 20_008);
  poke(address + 100n, Buffer.from('and again'));
  t.close(fd);
  t.gives('munmap', t.sys.munmap(address, 20_480), 'ok');
  bytes.write('through the mapping', 5000);
  bytes.write('and again', 100);
  t.bytes('what is stored in the mapping is where it was stored', t.read(at), Buffer.concat([bytes, Buffer.from('by write')]));
});

const pointless = ordinary('io: poll and ioctl', (t) => {
  const fd = t.open(t.file({ content: 'x' }), O.RDWR);
  const b = Buffer.alloc(8);
  b.writeInt32LE(fd, 0);
  b.writeInt16LE(1 | 4, 4);
  t.equal('a regular file is always ready', t.sys.poll(b, 1, 0), 1);
  t.equal('for reading and writing', b.readInt16LE(6) & 5, 5);
  t.gives('TCGETS ENOTTY', t.sys.ioctl(fd, 0x5401, Buffer.alloc(64)), 'ENOTTY');
  t.gives('an unknown request ENOTTY', t.sys.ioctl(fd, 0x12345678, Buffer.alloc(64)), 'ENOTTY');
  t.gives('EBADF', t.sys.ioctl(9999, 0x5401, Buffer.alloc(64)), 'EBADF');
});

const [SH, EX, UN, NB] = [1, 2, 8, 4];

const flocks = group('locks: flock', lockAgainst, ['locks']);

function lockAgainst(t: Test): void {
  const at = t.file();
  const a = t.open(at, O.RDWR);
  const b = t.open(at, O.RDONLY);
  t.gives('exclusive', t.sys.flock(a, EX | NB), 'ok');
  t.gives('EAGAIN for another', t.sys.flock(b, EX | NB), 'EAGAIN');
  t.gives('EAGAIN for a shared one', t.sys.flock(b, SH | NB), 'EAGAIN');
  t.gives('to shared', t.sys.flock(a, SH | NB), 'ok');
  t.gives('shared beside shared', t.sys.flock(b, SH | NB), 'ok');
  t.gives('EAGAIN to exclusive beside shared', t.sys.flock(a, EX | NB), 'EAGAIN');
  t.gives('unlocked', t.sys.flock(a, UN), 'ok');
  t.gives('exclusive once alone', t.sys.flock(b, EX | NB), 'ok');
  t.close(b);
  t.gives('free after close', t.sys.flock(a, EX | NB), 'ok');
  t.gives('EINVAL for no operation', t.sys.flock(a, 0), 'EINVAL');
  t.gives('EBADF', t.sys.flock(9999, EX), 'EBADF');
}

const [RDLCK, WRLCK, UNLCK] = [0, 1, 2];
const [OFD_GETLK, OFD_SETLK] = [36, 37];

/** struct flock of the 64-bit ABIs. */
function range(type: number, start: number, length: number, whence = 0): Buffer {
  const b = Buffer.alloc(32);
  b.writeInt16LE(type, 0);
  b.writeInt16LE(whence, 2);
  b.writeBigInt64LE(BigInt(start), 8);
  b.writeBigInt64LE(BigInt(length), 16);
  return b;
}

const ranges = group('locks: ranges of bytes', lockRanges, ['locks']);

function lockRanges(t: Test): void {
  const at = t.file({ content: 'x'.repeat(100) });
  const a = t.open(at, O.RDWR);
  const b = t.open(at, O.RDWR);
  const set = (u: Test, fd: number, type: number, start: number, length: number): number =>
    u.sys.fcntlLock(fd, OFD_SETLK, range(type, start, length));
  t.gives('a write lock', set(t, a, WRLCK, 0, 10), 'ok');
  t.gives('EAGAIN for the same range', set(t, b, WRLCK, 0, 10), 'EAGAIN');
  t.gives('EAGAIN for a byte of it', set(t, b, RDLCK, 9, 1), 'EAGAIN');
  t.gives('the range behind it', set(t, b, WRLCK, 10, 10), 'ok');
  t.gives('EAGAIN for that, by the first', set(t, a, WRLCK, 15, 1), 'EAGAIN');
  const asked = range(WRLCK, 5, 1);
  t.gives('F_OFD_GETLK', t.sys.fcntlLock(b, OFD_GETLK, asked), 'ok');
  t.equal('tells the type', asked.readInt16LE(0), WRLCK);
  t.equal('and the range', `${asked.readBigInt64LE(8)}+${asked.readBigInt64LE(16)}`, '0+10');
  const free = range(WRLCK, 50, 1);
  t.gives('F_OFD_GETLK of a free range', t.sys.fcntlLock(b, OFD_GETLK, free), 'ok');
  t.equal('is unlocked', free.readInt16LE(0), UNLCK);
  t.gives('part of it unlocked', set(t, a, UNLCK, 3, 4), 'ok');
  t.gives('is free', set(t, b, WRLCK, 3, 4), 'ok');
  t.gives('EAGAIN before it', set(t, b, WRLCK, 2, 1), 'EAGAIN');
  t.gives('EAGAIN behind it', set(t, b, WRLCK, 7, 1), 'EAGAIN');
  t.gives('to the end of the file and beyond', set(t, a, WRLCK, 60, 0), 'ok');
  t.gives('EAGAIN far beyond', set(t, b, RDLCK, 1_000_000, 1), 'EAGAIN');
  t.gives('read locks', set(t, a, RDLCK, 30, 5), 'ok');
  t.gives('side by side', set(t, b, RDLCK, 30, 5), 'ok');
  t.gives('EAGAIN for a write lock beside a read lock', set(t, a, WRLCK, 30, 5), 'EAGAIN');
  t.gives(
    'EBADF for a write lock on a descriptor for reading',
    t.sys.fcntlLock(t.open(at, O.RDONLY), OFD_SETLK, range(WRLCK, 90, 1)),
    'EBADF',
  );
  t.gives('EINVAL for a negative start', set(t, a, WRLCK, -1, 1), 'EINVAL');
  t.close(a);
  t.gives('free after close', set(t, b, WRLCK, 0, 0), 'ok');
}

const exhaustion = ordinary('io: a long append by many small writes', (t) => {
  const at = path.join(t.dir(), 'log');
  const fd = t.open(at, O.CREAT | O.WRONLY | O.APPEND);
  for (let line = 0; line < 500; line++) t.must('write', t.sys.write(fd, Buffer.from(`line ${line}\n`), `line ${line}\n`.length));
  t.content('every line in its place', at, Array.from({ length: 500 }, (_, line) => `line ${line}\n`).join(''));
});

export const ioGroups: readonly Group[] = [
  transfer,
  seeking,
  holes,
  allocation,
  allocationErrors,
  copying,
  mapping,
  appendedMapping,
  pointless,
  flocks,
  ranges,
  exhaustion,
];
