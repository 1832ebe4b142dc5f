/** mkdir, mkfifo, mknod, symlink: the calls that make a name (POSIX XSH; mkdir(2), mknod(2), mkfifo(3), symlink(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, makedev, notDirectories, O, ordinary, S, type Test } from './test.js';

const creating = { subject: undefined, changesParent: true, writes: true, follows: false } as const;

const mkdir: PathCall = { ...creating, name: 'mkdir', slashMakes: true, call: (sys, at) => sys.mkdir(at, 0o755) };
const mkdirat: PathCall = { ...creating, name: 'mkdirat', slashMakes: true, call: (sys, at) => sys.mkdirat(AT.FDCWD, at, 0o755) };
const mkfifo: PathCall = { ...creating, name: 'mkfifo', needs: ['special files'], call: (sys, at) => sys.mkfifo(at, 0o644) };
const mknod: PathCall = { ...creating, name: 'mknod', call: (sys, at) => sys.mknod(at, S.IFREG | 0o644, 0) };
const mknodSocket: PathCall = {
  ...creating,
  name: 'mknodat',
  needs: ['special files'],
  call: (sys, at) => sys.mknodat(AT.FDCWD, at, S.IFSOCK | 0o644, 0),
};
const symlink: PathCall = { ...creating, name: 'symlink', call: (sys, at) => sys.symlink('target', at) };
const symlinkat: PathCall = { ...creating, name: 'symlinkat', call: (sys, at) => sys.symlinkat('target', AT.FDCWD, at) };

/** The calls whose mode argument goes through the file mode creation mask. */
const makers: readonly [name: string, type: string, make: (t: Test, at: string, mode: number) => number][] = [
  ['mkdir', 'directory', (t, at, mode) => t.sys.mkdir(at, mode)],
  ['mkfifo', 'fifo', (t, at, mode) => t.sys.mkfifo(at, mode)],
  ['mknod of a regular file', 'regular', (t, at, mode) => t.sys.mknod(at, S.IFREG | mode, 0)],
  ['mknod without a type', 'regular', (t, at, mode) => t.sys.mknod(at, mode, 0)],
  ['mknod of a FIFO', 'fifo', (t, at, mode) => t.sys.mknod(at, S.IFIFO | mode, 0)],
  ['mknod of a socket', 'socket', (t, at, mode) => t.sys.mknod(at, S.IFSOCK | mode, 0)],
  ['mknod of a character device', 'char', (t, at, mode) => t.sys.mknod(at, S.IFCHR | mode, makedev(1, 3))],
  ['mknod of a block device', 'block', (t, at, mode) => t.sys.mknod(at, S.IFBLK | mode, makedev(7, 200))],
];

/** Those of them that the file system has. */
const withMode = () => makers.filter(([, type]) => everyType.some((each) => each === type));

const modes = ordinary('create: mode and file mode creation mask', (t) => {
  for (const [name, type, make] of withMode()) {
    t.under(name, () => {
      for (const mode of [0, 0o151, 0o345, 0o755, 0o777, 0o640]) {
        const at = t.fresh();
        t.gives(`0${mode.toString(8)}`, make(t, at, mode), 'ok');
        t.mode(`mode of 0${mode.toString(8)}`, t.stat(at).mode, mode);
        t.equal(`type of 0${mode.toString(8)}`, t.stat(at).type, type);
      }
      for (const [mask, mode, want] of [
        [0o077, 0o777, 0o700],
        [0o070, 0o151, 0o101],
        [0o501, 0o345, 0o244],
        [0o022, 0o666, 0o644],
        [0o777, 0o777, 0],
      ] as const) {
        const at = t.fresh();
        t.real.umask(mask);
        const result = make(t, at, mode);
        t.real.umask(0);
        t.gives(`0${mode.toString(8)} under the mask 0${mask.toString(8)}`, result, 'ok');
        t.mode(`mode of 0${mode.toString(8)} under the mask 0${mask.toString(8)}`, t.stat(at).mode, want);
      }
    });
  }
  const sticky = t.fresh();
  t.gives('mkdir with the sticky bit', t.sys.mkdir(sticky, 0o1777), 'ok');
  t.mode('the sticky bit is kept', t.stat(sticky).mode, 0o1777);
  const marked = t.fresh();
  t.gives('mkdir with S_ISUID and S_ISGID', t.sys.mkdir(marked, 0o6755), 'ok');
  t.mode('mkdir takes neither', t.stat(marked).mode, 0o755);
});

const ownership = group('create: owner and group', (t) => {
  for (const [name, type, make] of [...withMode(), ['symlink', 'symlink', (u: Test, at: string) => u.sys.symlink('x', at)] as const]) {
    t.under(name, () => {
      const open = t.dir(0o777, { uid: 5, gid: 6 });
      const device = type === 'char' || type === 'block';
      if (!device) {
        const at = path.join(open, 'alice');
        t.gives(
          'by an ordinary user',
          t.as(t.alice, () => make(t, at, 0o644)),
          'ok',
        );
        t.equal('belongs to the user and its group', `${t.stat(at).uid}:${t.stat(at).gid}`, `${t.alice.uid}:${t.alice.gid}`);
      }
      const roots = path.join(open, 'root');
      t.gives('by root', make(t, roots, 0o644), 'ok');
      t.equal('belongs to root', `${t.stat(roots).uid}:${t.stat(roots).gid}`, '0:0');
      const inheriting = t.dir(0o2777, { uid: 5, gid: t.bob.gid });
      const inherited = path.join(inheriting, 'inherited');
      t.gives('in a set-group-ID directory', device ? make(t, inherited, 0o755) : t.as(t.alice, () => make(t, inherited, 0o755)), 'ok');
      t.equal('has the group of the directory', t.stat(inherited).gid, t.bob.gid);
      t.equal('has its maker as owner', t.stat(inherited).uid, device ? 0 : t.alice.uid);
      if (type === 'directory') t.mode('a directory inherits S_ISGID', t.stat(inherited).mode, 0o2755);
      else if (type !== 'symlink') t.mode('a file does not inherit S_ISGID', t.stat(inherited).mode, 0o755);
    });
  }
});

const times = ordinary('create: time stamps', (t) => {
  for (const [name, , make] of [...withMode(), ['symlink', 'symlink', (u: Test, at: string) => u.sys.symlink('x', at)] as const]) {
    t.under(name, () => {
      const directory = t.dir();
      const before = t.stat(directory).ctime;
      t.stamps({ directory }, () => t.gives('made', make(t, path.join(directory, 'new'), 0o644), 'ok'), { directory: 'mtime ctime' });
      const made = t.stat(path.join(directory, 'new'));
      t.later('atime of the new file', made.atime, before);
      t.later('mtime of the new file', made.mtime, before);
      t.later('ctime of the new file', made.ctime, before);
      t.true('no older than the directory’s own stamp by more than a grain', t.stat(directory).mtime - made.mtime < 1_000_000_000n);
      t.stamps(
        { 'the directory after failures': directory },
        () => {
          t.gives('EEXIST', make(t, path.join(directory, 'new'), 0o644), 'EEXIST');
          t.gives('ENOENT', make(t, path.join(directory, 'no', 'new'), 0o644), 'ENOENT');
        },
        { 'the directory after failures': '!mtime !ctime' },
      );
    });
  }
});

const existing = ordinary('create: EEXIST', (t) => {
  for (const [name, , make] of [...withMode(), ['symlink', 'symlink', (u: Test, at: string) => u.sys.symlink('x', at)] as const]) {
    for (const type of everyType) {
      const at = t.make(type, t.fresh(), { content: 'content' });
      const before = t.stat(at);
      t.gives(`${name} over a ${type}`, make(t, at, 0o611), 'EEXIST');
      t.equal(
        `${name} leaves the ${type} alone`,
        `${t.stat(at).ino} ${t.stat(at).mode} ${t.stat(at).ctime}`,
        `${before.ino} ${before.mode} ${before.ctime}`,
      );
    }
  }
  t.gives('mkdir of "."', t.sys.mkdir(`${t.base}/.`, 0o755), 'EEXIST');
  t.gives('mkdir of ".."', t.sys.mkdir(`${t.base}/..`, 0o755), 'EEXIST');
  t.gives('mkdir of the root', t.sys.mkdir('/', 0o755), 'EEXIST');
  t.gives('mkdir over a file with a trailing slash', t.sys.mkdir(`${t.file()}/`, 0o755), ['EEXIST', 'ENOTDIR']);
  t.gives('mkdir over a symbolic link to a directory', t.sys.mkdir(t.make('symlink', t.fresh(), { content: t.dir() }), 0o755), 'EEXIST');
  t.gives('mkdir over a symbolic link to nothing', t.sys.mkdir(t.make('symlink', t.fresh(), { content: 'nothing' }), 0o755), 'EEXIST');
  t.gives('mkdir of "missing/."', t.sys.mkdir(`${t.base}/missing/.`, 0o755), 'ENOENT');
});

const directories = ordinary('mkdir: a new directory', (t) => {
  const parent = t.dir();
  const counts = t.stat(parent).nlink;
  const at = path.join(parent, 'new');
  t.gives('made', t.sys.mkdir(at, 0o755), 'ok');
  t.equal('it is empty', fs.readdirSync(at).length, 0);
  // Some file systems count no links of directories: 1 then, always.
  if (counts >= 2) {
    t.equal('has two links: its name and "."', t.stat(at).nlink, 2);
    t.equal('adds one to its parent’s', t.stat(parent).nlink, counts + 1);
  } else t.equal('has one link where directories’ links are not counted', t.stat(at).nlink, 1);
  t.equal('"." is itself', t.stat(`${at}/.`).ino, t.stat(at).ino);
  t.equal('".." is its parent', t.stat(`${at}/..`).ino, t.stat(parent).ino);
  t.true('has an inode number of its own', t.stat(at).ino !== t.stat(parent).ino);
  t.equal('is on its parent’s file system', t.stat(at).dev, t.stat(parent).dev);
  const dirfd = t.open(parent, O.RDONLY | O.DIRECTORY);
  t.gives('mkdirat', t.sys.mkdirat(dirfd, 'inner', 0o700), 'ok');
  t.mode('mode by mkdirat', t.stat(path.join(parent, 'inner')).mode, 0o700);
  t.gives('mkdirat EBADF', t.sys.mkdirat(9999, 'inner', 0o700), 'EBADF');
  t.gives('mkdirat ENOTDIR', t.sys.mkdirat(t.open(t.file(), O.RDONLY), 'inner', 0o700), 'ENOTDIR');
  t.gives('mkdirat EEXIST', t.sys.mkdirat(dirfd, 'inner', 0o700), 'EEXIST');
  t.gives('mkdirat of an absolute path', t.sys.mkdirat(9999, path.join(parent, 'absolute'), 0o700), 'ok');
  let deep = t.dir();
  for (let level = 1; level <= 50; level++) {
    deep = path.join(deep, `level${level}`);
    t.must('mkdir', t.sys.mkdir(deep, 0o755));
  }
  t.equal('fifty levels', t.stat(deep).type, 'directory');
  const removed = t.dir();
  const gone = t.open(removed, O.RDONLY | O.DIRECTORY);
  t.must('rmdir', t.real.rmdir(removed));
  t.gives('mkdirat ENOENT in a directory that was removed', t.sys.mkdirat(gone, 'inner', 0o755), 'ENOENT');
});

const devices = group(
  'mknod: devices, FIFOs, sockets',
  (t) => {
    for (const [major, minor] of [
      [1, 3],
      [1, 255],
      [7, 256],
      [255, 1],
      [256, 3],
      [4095, 1048575],
    ] as const) {
      for (const [type, bits] of [
        ['char', S.IFCHR],
        ['block', S.IFBLK],
      ] as const) {
        const at = t.fresh();
        t.gives(`${type} ${major}:${minor}`, t.sys.mknod(at, bits | 0o600, makedev(major, minor)), 'ok');
        t.equal(`type of ${type} ${major}:${minor}`, t.stat(at).type, type);
        t.equal(`numbers of ${type} ${major}:${minor}`, t.stat(at).rdev, `${major}:${minor}`);
      }
    }
    const room = t.dir(0o777);
    t.gives(
      'EPERM for a character device by an ordinary user',
      t.as(t.alice, () => t.sys.mknod(path.join(room, 'c'), S.IFCHR | 0o600, makedev(1, 3))),
      'EPERM',
    );
    t.gives(
      'EPERM for a block device by an ordinary user',
      t.as(t.alice, () => t.sys.mknod(path.join(room, 'b'), S.IFBLK | 0o600, makedev(1, 3))),
      'EPERM',
    );
    t.gone('no character device', path.join(room, 'c'));
    t.gone('no block device', path.join(room, 'b'));
    for (const [what, bits] of [
      ['FIFO', S.IFIFO],
      ['socket', S.IFSOCK],
      ['regular file', S.IFREG],
    ] as const) {
      t.gives(
        `a ${what} by an ordinary user`,
        t.as(t.alice, () => t.sys.mknod(path.join(room, what), bits | 0o600, 0)),
        'ok',
      );
    }
    t.gives('EPERM for a directory', t.sys.mknod(t.fresh(), S.IFDIR | 0o700, 0), 'EPERM');
    t.gives('EINVAL for a symbolic link', t.sys.mknod(t.fresh(), S.IFLNK | 0o700, 0), 'EINVAL');
    t.gives('EINVAL for no known type', t.sys.mknod(t.fresh(), 0o150000 | 0o700, 0), 'EINVAL');
    const dirfd = t.open(room, O.RDONLY | O.DIRECTORY);
    t.gives('mknodat', t.sys.mknodat(dirfd, 'at', S.IFIFO | 0o600, 0), 'ok');
    t.gives('mknodat EBADF', t.sys.mknodat(9999, 'at', S.IFIFO | 0o600, 0), 'EBADF');
    t.gives('mknodat ENOTDIR', t.sys.mknodat(t.open(t.file(), O.RDONLY), 'at', S.IFIFO | 0o600, 0), 'ENOTDIR');
    t.gives('mkfifoat', t.sys.mkfifoat(dirfd, 'fifo', 0o600), 'ok');
    t.gives('mkfifoat EBADF', t.sys.mkfifoat(9999, 'fifo', 0o600), 'EBADF');
    t.gives('mkfifoat EEXIST', t.sys.mkfifoat(dirfd, 'fifo', 0o600), 'EEXIST');
    const empty = t.fresh();
    t.must('mknod', t.sys.mknod(empty, S.IFREG | 0o600, 0));
    t.equal('a regular file by mknod is empty', t.stat(empty).size, 0);
    t.equal('and has one link', t.stat(empty).nlink, 1);
  },
  ['root', 'special files'],
);

const fifos = group(
  'mkfifo: data passes through',
  (t) => {
    const at = t.fresh();
    t.gives('made', t.sys.mkfifo(at, 0o600), 'ok');
    t.opens('ENXIO: open for writing without blocking while nobody reads', t.sys.open(at, O.WRONLY | O.NONBLOCK, 0), 'ENXIO');
    const reader = t.open(at, O.RDONLY | O.NONBLOCK);
    const b = Buffer.alloc(16);
    t.equal('nothing to read while nobody writes', t.sys.read(reader, b, 16), 0);
    const writer = t.open(at, O.WRONLY | O.NONBLOCK);
    t.gives('EAGAIN while a writer is silent', t.sys.read(reader, b, 16), 'EAGAIN');
    t.equal('write', t.sys.write(writer, Buffer.from('through'), 7), 7);
    t.equal('read', t.sys.read(reader, b, 16), 7);
    t.equal('what was written', b.toString('latin1', 0, 7), 'through');
    t.gives('ESPIPE for lseek', t.sys.lseek(reader, 0, 0), 'ESPIPE');
    t.close(writer);
    t.equal('end of file after the writer left', t.sys.read(reader, b, 16), 0);
    t.equal('size 0', t.stat(at).size, 0);
    const second = t.fresh();
    t.must('link', t.real.link(at, second));
    const other = t.open(second, O.WRONLY | O.NONBLOCK);
    t.equal('a second name leads to the same FIFO', t.sys.write(other, Buffer.from('second'), 6), 6);
    t.equal('read at the first', t.sys.read(reader, b, 16), 6);
  },
  ['special files'],
);

const symlinks = ordinary('symlink: content', (t) => {
  const text = (at: string): string => {
    const b = Buffer.alloc(5000);
    const size = t.must('readlink', t.real.readlink(at, b, b.length));
    return b.toString('utf8', 0, size);
  };
  for (const target of [
    'x',
    'target',
    '/absolute/target',
    '.',
    '..',
    'with space',
    'ünïcödé',
    'a//b',
    'trailing/',
    'new\nline',
    'n'.repeat(255),
    'p/'.repeat(511),
    'p/'.repeat(2047),
  ]) {
    const at = t.fresh();
    const shown = target.length > 40 ? `${target.length} bytes` : JSON.stringify(target);
    t.gives(`to ${shown}`, t.sys.symlink(target, at), 'ok');
    t.equal(`content of the link to ${shown}`, text(at), target);
    t.equal(`size of the link to ${shown}`, t.stat(at).size, Buffer.byteLength(target));
  }
  const longest = t.fresh();
  t.gives('a target of 4095 bytes', t.sys.symlink('l'.repeat(4095), longest), 'ok');
  t.equal('its content', text(longest).length, 4095);
  t.gives('ENAMETOOLONG for a target of 4096 bytes', t.sys.symlink('l'.repeat(4096), t.fresh()), 'ENAMETOOLONG');
  t.gives('ENOENT for an empty target', t.sys.symlink('', t.fresh()), 'ENOENT');
  t.gives('EFAULT for a target outside the process', t.sys.symlink(1n, t.fresh()), 'EFAULT');
  const at = t.fresh();
  t.must('symlink', t.sys.symlink('nowhere', at));
  t.equal('type', t.stat(at).type, 'symlink');
  t.mode('mode', t.stat(at).mode, 0o777);
  t.equal('one link', t.stat(at).nlink, 1);
  t.real.umask(0o777);
  const masked = t.fresh();
  t.must('symlink', t.sys.symlink('nowhere', masked));
  t.real.umask(0);
  t.mode('the mask does not count', t.stat(masked).mode, 0o777);
  const file = t.file({ content: 'behind' });
  const link = t.fresh();
  t.must('symlink', t.sys.symlink(file, link));
  t.content('reading goes to the target', link, 'behind');
  fs.writeFileSync(link, 'written');
  t.content('writing goes to the target', file, 'written');
  t.equal('stat goes to the target', t.follow(link).ino, t.stat(file).ino);
  const short = Buffer.alloc(3);
  t.equal('readlink into a short buffer cuts', t.sys.readlink(at, short, 3), 3);
  t.equal('what it cut', short.toString(), 'now');
  for (const type of everyType) {
    if (type !== 'symlink') t.gives(`readlink EINVAL for a ${type}`, t.sys.readlink(t.make(type, t.fresh()), Buffer.alloc(9), 9), 'EINVAL');
  }
  t.gives('readlink EINVAL for a buffer of no bytes', t.sys.readlink(at, Buffer.alloc(1), 0), 'EINVAL');
  const directory = t.dir();
  const dirfd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.gives('symlinkat', t.sys.symlinkat('to', dirfd, 'inner'), 'ok');
  t.equal('readlinkat', t.sys.readlinkat(dirfd, 'inner', Buffer.alloc(9), 9), 2);
  t.gives('symlinkat EBADF', t.sys.symlinkat('to', 9999, 'inner'), 'EBADF');
  t.gives('symlinkat ENOTDIR', t.sys.symlinkat('to', t.open(t.file(), O.RDONLY), 'inner'), 'ENOTDIR');
  t.gives('readlinkat EBADF', t.sys.readlinkat(9999, 'inner', Buffer.alloc(9), 9), 'EBADF');
  t.gives('ENOENT with a trailing slash', t.sys.symlink('to', `${t.fresh()}/`), ['ENOENT', 'ENOTDIR']);
  for (const type of notDirectories) {
    if (type === 'symlink') continue;
    const to = t.make('symlink', t.fresh(), { content: t.make(type, t.fresh()) });
    t.equal(`a link to a ${type} resolves`, t.follow(to).type, type);
  }
});

export const createGroups: readonly Group[] = [
  ...[mkdir, mkdirat, mkfifo, mknod, mknodSocket, symlink, symlinkat].flatMap(pathGroups),
  modes,
  ownership,
  times,
  existing,
  directories,
  devices,
  fifos,
  symlinks,
];
