/** truncate, ftruncate (POSIX XSH; truncate(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { type Group, group, notLinks, O, ordinary } from './test.js';

const truncate: PathCall = {
  name: 'truncate',
  subject: 'regular',
  changesParent: false,
  writes: true,
  follows: true,
  call: (sys, at) => sys.truncate(at, 3),
};

const content = 'The quick brown fox jumps over the lazy dog.';

const sizes = ordinary('truncate: content and size', (t) => {
  for (const way of ['truncate', 'ftruncate'] as const) {
    t.under(way, () => {
      for (const length of [0, 1, 17, content.length, content.length + 1, 4095, 4096, 4097, 65536, 1_000_003]) {
        const at = t.file({ content });
        const result = way === 'truncate' ? t.sys.truncate(at, length) : t.sys.ftruncate(t.open(at, O.RDWR), length);
        t.gives(`to ${length}`, result, 'ok');
        t.equal(`size at ${length}`, t.stat(at).size, length);
        const want = Buffer.alloc(length);
        Buffer.from(content).copy(want);
        t.bytes(`content at ${length}`, t.read(at), want);
      }
      const at = t.file({ content });
      const fd = t.open(at, O.RDWR);
      const to = (length: number | bigint): number => (way === 'truncate' ? t.sys.truncate(at, length) : t.sys.ftruncate(fd, length));
      t.gives('shorter', to(5), 'ok');
      t.gives('and longer again', to(20), 'ok');
      const want = Buffer.alloc(20);
      want.write('The q');
      t.bytes('what was cut off does not come back', t.read(at), want);
      t.gives('EINVAL for a negative length', to(-1), 'EINVAL');
      t.gives('EINVAL for the most negative length', to(-(2n ** 63n)), 'EINVAL');
      t.gives('a length beyond what any file may have', to(2n ** 63n - 1n), ['EFBIG', 'EINVAL']);
      t.equal('size after the refusals', t.stat(at).size, 20);
      t.gives('5 GiB', to(5 * 2 ** 30), 'ok');
      t.equal('size of 5 GiB', t.stat(at).size, 5 * 2 ** 30);
      t.true('takes hardly any blocks', t.stat(at).blocks < 1000, String(t.stat(at).blocks));
      const b = Buffer.from('????');
      t.equal('is read at its far end', t.sys.pread(fd, b, 4, 5 * 2 ** 30 - 4), 4);
      t.bytes('as zeros', b, Buffer.alloc(4));
      t.equal('is written at its far end', t.sys.pwrite(fd, Buffer.from('far!'), 4, 5 * 2 ** 30 - 4), 4);
      t.equal('and read again', t.sys.pread(fd, b, 4, 5 * 2 ** 30 - 4), 4);
      t.equal('as written', b.toString(), 'far!');
      t.gives('down to nothing', to(0), 'ok');
      t.equal('size 0', t.stat(at).size, 0);
    });
  }
  const at = t.file({ content });
  const fd = t.open(at, O.RDWR);
  t.must('lseek', t.sys.lseek(fd, 30, 0));
  t.must('ftruncate', t.sys.ftruncate(fd, 10));
  t.equal('the offset does not move', t.sys.lseek(fd, 0, 1), 30);
  t.equal('reading beyond the end gives nothing', t.sys.read(fd, Buffer.alloc(5), 5), 0);
  t.equal('writing beyond the end', t.sys.write(fd, Buffer.from('x'), 1), 1);
  const want = Buffer.alloc(31);
  want.write(`${content.slice(0, 10)}`);
  want.write('x', 30);
  t.bytes('leaves zeros between', t.read(at), want);
  const second = t.fresh();
  t.must('link', t.real.link(at, second));
  t.must('truncate', t.sys.truncate(second, 4));
  t.equal('by one name, seen by the other', t.stat(at).size, 4);
  const link = t.make('symlink', t.fresh(), { content: at });
  t.gives('through a symbolic link', t.sys.truncate(link, 2), 'ok');
  t.equal('the target is cut', t.stat(at).size, 2);
  t.equal('the link is not', t.stat(link).size, at.length);
});

const stamps = group('truncate: time stamps', (t) => {
  for (const [what, length] of [
    ['shorter', 3],
    ['longer', 3000],
    ['to nothing', 0],
  ] as const) {
    const a = t.file({ content });
    t.stamps({ [`a file made ${what}`]: a }, () => t.gives(`truncate ${what}`, t.sys.truncate(a, length), 'ok'), {
      [`a file made ${what}`]: 'mtime ctime',
    });
    const b = t.file({ content });
    const fd = t.open(b, O.RDWR);
    t.stamps({ [`a file made ${what} by ftruncate`]: b }, () => t.gives(`ftruncate ${what}`, t.sys.ftruncate(fd, length), 'ok'), {
      [`a file made ${what} by ftruncate`]: 'mtime ctime',
    });
  }
  const refused = t.file({ content, owner: t.bob, mode: 0o644 });
  t.stamps(
    { 'a refusal': refused },
    () =>
      t.gives(
        'EACCES',
        t.as(t.alice, () => t.sys.truncate(refused, 0)),
        'EACCES',
      ),
    { 'a refusal': '!mtime !ctime' },
  );
  t.content('nothing is cut', refused, content);
});

const refusals = group('truncate: what it refuses', (t) => {
  t.gives('EISDIR', t.sys.truncate(t.dir(), 0), 'EISDIR');
  t.gives(
    'EISDIR by an ordinary user',
    t.as(t.alice, () => t.sys.truncate(t.dir(0o777), 0)),
    'EISDIR',
  );
  for (const type of notLinks.filter((each) => each !== 'regular' && each !== 'directory'))
    t.gives(`EINVAL for a ${type}`, t.sys.truncate(t.make(type, t.fresh()), 0), 'EINVAL');
  for (const [what, mode, uid, gid, want] of [
    ['owner with write', 0o200, t.alice.uid, 0, 'ok'],
    ['owner without write', 0o577, t.alice.uid, t.alice.gid, 'EACCES'],
    ['group with write', 0o020, 0, t.alice.gid, 'ok'],
    ['group without write', 0o757, 0, t.alice.gid, 'EACCES'],
    ['supplementary group with write', 0o020, 0, t.shared, 'ok'],
    ['others with write', 0o002, 0, 0, 'ok'],
    ['others without write', 0o775, 0, 0, 'EACCES'],
  ] as const) {
    const at = t.file({ mode, uid, gid, content });
    t.gives(
      what,
      t.as(t.alice, () => t.sys.truncate(at, 1)),
      want,
    );
    t.equal(`${what}: size`, t.stat(at).size, want === 'ok' ? 1 : content.length);
  }
  t.gives('root on a file without permissions', t.sys.truncate(t.file({ mode: 0, owner: t.alice }), 9), 'ok');
  t.gives('ftruncate EBADF', t.sys.ftruncate(9999, 0), 'EBADF');
  t.gives('ftruncate EINVAL on a descriptor for reading', t.sys.ftruncate(t.open(t.file(), O.RDONLY), 0), ['EINVAL', 'EBADF']);
  t.gives('ftruncate EINVAL on a directory', t.sys.ftruncate(t.open(t.dir(), O.RDONLY), 0), 'EINVAL');
  if (t.special) t.gives('ftruncate EINVAL on a FIFO', t.sys.ftruncate(t.open(t.make('fifo', t.fresh()), O.RDWR), 0), 'EINVAL');
  t.gives('ftruncate EBADF on an O_PATH descriptor', t.sys.ftruncate(t.open(t.file(), O.PATH), 0), 'EBADF');
  const room = t.dir(0o777);
  const at = t.make('regular', path.join(room, 'mine'), { owner: t.alice, mode: 0o600, content });
  const fd = t.open(at, O.RDWR);
  fs.chmodSync(at, 0);
  t.gives(
    'ftruncate on an open descriptor of a file without permissions',
    t.as(t.alice, () => t.sys.ftruncate(fd, 2)),
    'ok',
  );
  t.equal('its size', t.stat(at).size, 2);
  t.gives(
    'truncate of the same file',
    t.as(t.alice, () => t.sys.truncate(at, 1)),
    'EACCES',
  );
});

export const truncateGroups: readonly Group[] = [...pathGroups(truncate), sizes, stamps, refusals];
