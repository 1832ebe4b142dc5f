/** unlink, rmdir, unlinkat (POSIX XSH; unlink(2), rmdir(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { listing } from '../../support/status.js';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, notDirectories, O, ordinary } from './test.js';

const removing = { changesParent: true, writes: true, follows: false } as const;
const unlink: PathCall = { ...removing, name: 'unlink', subject: 'regular', call: (sys, at) => sys.unlink(at) };
const unlinkat: PathCall = { ...removing, name: 'unlinkat', subject: 'regular', call: (sys, at) => sys.unlinkat(AT.FDCWD, at, 0) };
const unlinkLink: PathCall = { ...removing, name: 'unlink of a symbolic link', subject: 'symlink', call: (sys, at) => sys.unlink(at) };
const rmdir: PathCall = { ...removing, name: 'rmdir', subject: 'directory', call: (sys, at) => sys.rmdir(at) };
const rmdirat: PathCall = {
  ...removing,
  name: 'unlinkat with AT_REMOVEDIR',
  subject: 'directory',
  call: (sys, at) => sys.unlinkat(AT.FDCWD, at, AT.REMOVEDIR),
};

const unlinks = group('unlink: every type of file', (t) => {
  for (const type of notDirectories) {
    t.under(type, () => {
      const directory = t.dir();
      const at = t.make(type, path.join(directory, 'name'));
      const second = t.fresh();
      t.must('link', t.real.link(at, second));
      t.stamps({ directory, file: second }, () => t.gives('unlink', t.sys.unlink(at), 'ok'), {
        directory: 'mtime ctime',
        file: '!mtime ctime',
      });
      t.gone('it is gone', at);
      t.equal('the other name has one link', t.stat(second).nlink, 1);
      t.gives('ENOENT the second time', t.sys.unlink(at), 'ENOENT');
      t.gives('the other name', t.sys.unlink(second), 'ok');
      t.gone('that is gone too', second);
      t.make('directory', at);
      t.equal('the name is free for a directory', t.stat(at).type, 'directory');
    });
  }
  const directory = t.dir();
  t.stamps({ directory }, () => t.gives('EISDIR for a directory', t.sys.unlink(directory), ['EISDIR', 'EPERM']), {
    directory: '!mtime !ctime',
  });
  t.there('the directory stays', directory);
  t.gives(
    'EISDIR for a directory of one’s own',
    ((at) => t.as(t.alice, () => t.sys.unlink(at)))(t.make('directory', path.join(t.dir(0o777), 'x'), { owner: t.alice })),
    ['EISDIR', 'EPERM'],
  );
  t.gives('a directory with a trailing slash', t.sys.unlink(`${t.dir()}/`), ['EISDIR', 'EPERM']);
  t.gives('"."', t.sys.unlink(`${t.dir()}/.`), ['EISDIR', 'EINVAL', 'EPERM']);
  t.gives('".."', t.sys.unlink(`${t.dir()}/..`), ['EISDIR', 'EINVAL', 'EPERM', 'ENOTEMPTY']);
  const target = t.file({ content: 'target' });
  const link = t.make('symlink', t.fresh(), { content: target });
  t.gives('a symbolic link', t.sys.unlink(link), 'ok');
  t.content('its target stays', target, 'target');
  const kept = t.dir();
  const toDirectory = t.make('symlink', t.fresh(), { content: kept });
  t.gives('a symbolic link to a directory', t.sys.unlink(toDirectory), 'ok');
  t.there('the directory behind it stays', kept);
  const closed = t.make('regular', path.join(t.dir(0o777), 'closed'), { owner: t.bob, mode: 0 });
  t.gives(
    'somebody else’s file without permissions, in a directory one may write',
    t.as(t.alice, () => t.sys.unlink(closed)),
    'ok',
  );
});

const open = group('unlink: a file still open', (t) => {
  const at = t.file({ content: 'still here' });
  const fd = t.open(at, O.RDWR);
  const reader = t.open(at, O.RDONLY);
  t.gives('unlink', t.sys.unlink(at), 'ok');
  t.gone('the name is gone', at);
  t.equal('no links by fstat', t.fstat(fd).nlink, 0);
  const b = Buffer.alloc(10);
  t.equal('still read', t.sys.pread(fd, b, 10, 0), 10);
  t.equal('what is read', b.toString(), 'still here');
  t.equal('still written', t.sys.pwrite(fd, Buffer.from('!!'), 2, 10), 2);
  t.equal('size by fstat', t.fstat(fd).size, 12);
  t.equal('read by the other descriptor', t.sys.pread(reader, b, 10, 2), 10);
  t.equal('what the other descriptor reads', b.toString(), 'ill here!!');
  t.gives('ftruncate', t.sys.ftruncate(fd, 5), 'ok');
  t.equal('size after ftruncate', t.fstat(fd).size, 5);
  t.gives('fchmod', t.sys.fchmod(fd, 0o600), 'ok');
  t.mode('mode after fchmod', t.fstat(fd).mode, 0o600);
  t.gives('fchown', t.sys.fchown(fd, 8, 9), 'ok');
  t.equal('owner after fchown', t.fstat(fd).uid, 8);
  t.gives('futimens', t.sys.futimens(fd, null), 'ok');
  t.gives('fsync', t.sys.fsync(fd), 'ok');
  t.gives('fdatasync', t.sys.fdatasync(fd), 'ok');
  t.make('regular', at, { content: 'another' });
  t.true('a new file of the same name is another', t.stat(at).ino !== t.fstat(fd).ino);
  t.equal('the old one is untouched', t.fstat(fd).size, 5);
  t.gives('append to the old one', t.sys.pwrite(fd, Buffer.alloc(100), 100, 5), 'ok');
  t.content('the new one is untouched', at, 'another');
  t.close(fd);
  t.equal('the last descriptor still reads', t.sys.pread(reader, b, 5, 0), 5);
});

const rmdirs = group('rmdir: a directory', (t) => {
  const parent = t.dir();
  const at = t.make('directory', path.join(parent, 'gone'));
  const links = t.stat(parent).nlink;
  t.stamps({ parent }, () => t.gives('an empty one', t.sys.rmdir(at), 'ok'), { parent: 'mtime ctime' });
  t.gone('it is gone', at);
  if (links >= 3) t.equal('its parent has a link less', t.stat(parent).nlink, links - 1);
  t.gives('ENOENT the second time', t.sys.rmdir(at), 'ENOENT');
  for (const type of everyType) {
    const full = t.dir();
    t.make(type, path.join(full, 'entry'));
    const key = `the directory with a ${type}`;
    t.stamps({ [key]: full }, () => t.gives(`ENOTEMPTY with a ${type} in it`, t.sys.rmdir(full), ['ENOTEMPTY', 'EEXIST']), {
      [key]: '!mtime !ctime',
    });
    t.there(`the ${type} stays`, path.join(full, 'entry'));
    if (type === 'directory') t.must('rmdir', t.real.rmdir(path.join(full, 'entry')));
    else t.must('unlink', t.real.unlink(path.join(full, 'entry')));
    t.gives(`once the ${type} has left`, t.sys.rmdir(full), 'ok');
  }
  for (const type of notDirectories) {
    const file = t.make(type, t.fresh());
    t.gives(`ENOTDIR for a ${type}`, t.sys.rmdir(file), 'ENOTDIR');
    t.there(`the ${type} is still there`, file);
  }
  const room = t.dir();
  t.gives('ENOTDIR for a symbolic link to a directory', t.sys.rmdir(t.make('symlink', t.fresh(), { content: room })), 'ENOTDIR');
  t.gives(
    'ENOTDIR for a symbolic link to a directory with a trailing slash',
    t.sys.rmdir(`${t.make('symlink', t.fresh(), { content: room })}/`),
    'ENOTDIR',
  );
  t.gives('EINVAL for "."', t.sys.rmdir(`${room}/.`), 'EINVAL');
  t.gives('ENOTEMPTY for ".."', t.sys.rmdir(`${t.make('directory', path.join(room, 'in'))}/..`), ['ENOTEMPTY', 'EEXIST']);
  t.gives('EBUSY for a mount point', t.sys.rmdir('/proc'), 'EBUSY');
  const closed = t.make('directory', path.join(t.dir(0o777), 'closed'), { owner: t.bob, mode: 0 });
  t.gives(
    'somebody else’s directory without permissions',
    t.as(t.alice, () => t.sys.rmdir(closed)),
    'ok',
  );
  const full = t.make('directory', path.join(t.dir(0o777), 'full'), { owner: t.bob, mode: 0o700 });
  t.make('regular', path.join(full, 'x'));
  t.gives(
    'somebody else’s full directory that one may not read',
    t.as(t.alice, () => t.sys.rmdir(full)),
    'ENOTEMPTY',
  );
});

const openDirectory = ordinary('rmdir: a directory still open', (t) => {
  const at = t.dir();
  const inner = t.make('directory', path.join(at, 'inner'));
  const fd = t.open(inner, O.RDONLY | O.DIRECTORY);
  t.gives('rmdir', t.sys.rmdir(inner), 'ok');
  t.equal('no links by fstat', t.fstat(fd).nlink, 0);
  t.equal('still a directory', t.fstat(fd).type, 'directory');
  t.gives('mkdirat ENOENT', t.sys.mkdirat(fd, 'x', 0o755), 'ENOENT');
  t.opens('openat with O_CREAT ENOENT', t.sys.openat(fd, 'x', O.CREAT | O.WRONLY, 0o644), 'ENOENT');
  t.gives('symlinkat ENOENT', t.sys.symlinkat('x', fd, 'x'), 'ENOENT');
  t.gives('mknodat ENOENT', t.sys.mkfifoat(fd, 'x', 0o644), 'ENOENT');
  const left = listing(t.real, fd);
  t.true('its listing has nothing but "." and ".."', typeof left === 'number' || left.every(({ name }) => name === '.' || name === '..'));
  t.gives('fchmod', t.sys.fchmod(fd, 0o700), 'ok');
  t.mode('mode by fstat', t.fstat(fd).mode, 0o700);
  t.gives('the name is free', t.sys.mkdir(inner, 0o755), 'ok');
  t.true('another directory of the same name', t.stat(inner).ino !== t.fstat(fd).ino);
});

const at = ordinary('unlink: unlinkat', (t) => {
  const directory = t.dir();
  const fd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.make('regular', path.join(directory, 'file'));
  t.make('directory', path.join(directory, 'inner'));
  t.gives('EISDIR for a directory without AT_REMOVEDIR', t.sys.unlinkat(fd, 'inner', 0), ['EISDIR', 'EPERM']);
  t.gives('ENOTDIR for a file with AT_REMOVEDIR', t.sys.unlinkat(fd, 'file', AT.REMOVEDIR), 'ENOTDIR');
  t.gives('EINVAL for an unknown flag', t.sys.unlinkat(fd, 'file', 0x40000000), 'EINVAL');
  t.gives('EBADF', t.sys.unlinkat(9999, 'file', 0), 'EBADF');
  t.gives('ENOTDIR for a descriptor of a file', t.sys.unlinkat(t.open(t.file(), O.RDONLY), 'file', 0), 'ENOTDIR');
  t.gives('ENOENT', t.sys.unlinkat(fd, 'missing', 0), 'ENOENT');
  t.gives('EINVAL for "."', t.sys.unlinkat(fd, '.', AT.REMOVEDIR), 'EINVAL');
  t.gives('a file', t.sys.unlinkat(fd, 'file', 0), 'ok');
  t.gives('a directory', t.sys.unlinkat(fd, 'inner', AT.REMOVEDIR), 'ok');
  t.equal('nothing is left', fs.readdirSync(directory).length, 0);
  t.gives('an absolute path ignores the descriptor', t.sys.unlinkat(9999, t.file(), 0), 'ok');
  // What rm -r does: names are removed from a directory while it is read.
  for (let n = 0; n < 200; n++) t.make('regular', path.join(directory, `entry${n}`));
  const reader = t.open(directory, O.RDONLY | O.DIRECTORY);
  const entries = listing(t.real, reader, 1024);
  if (typeof entries !== 'number')
    for (const { name } of entries) if (name !== '.' && name !== '..') t.must('unlinkat', t.sys.unlinkat(reader, name, 0));
  t.equal('two hundred names through the descriptor that listed them', fs.readdirSync(directory).length, 0);
});

export const removeGroups: readonly Group[] = [
  ...[unlink, unlinkat, unlinkLink, rmdir, rmdirat].flatMap(pathGroups),
  unlinks,
  open,
  rmdirs,
  openDirectory,
  at,
];
