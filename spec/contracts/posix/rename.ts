/** rename, renameat, renameat2 (POSIX XSH rename; rename(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { RENAME } from '../../support/status.js';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, notDirectories, O, ordinary } from './test.js';

const from: PathCall = {
  name: 'rename, the old name',
  subject: 'regular',
  changesParent: true,
  writes: true,
  follows: false,
  call: (sys, at, another) => sys.rename(at, another),
};
const fromDirectory: PathCall = { ...from, name: 'rename, the old name of a directory', subject: 'directory' };
const to: PathCall = {
  name: 'rename, the new name',
  subject: undefined,
  changesParent: true,
  writes: true,
  follows: false,
  call: (sys, at, another) => {
    const fd = sys.open(another, O.CREAT | O.WRONLY, 0o666);
    if (fd < 0) return fd;
    sys.close(fd);
    return sys.rename(another, at);
  },
};
const toExisting: PathCall = { ...to, name: 'rename, the new name, existing', subject: 'regular', mayMiss: true };

const moves = group('rename: every type of file', (t) => {
  for (const type of everyType) {
    t.under(type, () => {
      const old = t.dir();
      const into = t.dir();
      const at = t.make(type, path.join(old, 'old'), { mode: 0o751, uid: 7, gid: 8, content: 'content' });
      const before = t.stat(at);
      const target = path.join(into, 'new');
      t.stamps(
        { 'the old directory': old, 'the new directory': into },
        () => t.gives('to another directory', t.sys.rename(at, target), 'ok'),
        {
          'the old directory': 'mtime ctime',
          'the new directory': 'mtime ctime',
        },
      );
      const after = t.stat(target);
      t.gone('the old name is gone', at);
      t.equal('it is the same file', after.ino, before.ino);
      t.equal(
        'type, mode, owner, group and links stay',
        [after.type, after.mode, after.uid, after.gid, after.nlink].join(),
        [before.type, before.mode, before.uid, before.gid, before.nlink].join(),
      );
      t.equal('its own mtime stays', after.mtime, before.mtime);
      const beside = path.join(into, 'beside');
      t.stamps({ 'the one directory': into }, () => t.gives('inside a directory', t.sys.rename(target, beside), 'ok'), {
        'the one directory': 'mtime ctime',
      });
      t.gone('the name inside is gone', target);
      t.equal('still the same file', t.stat(beside).ino, before.ino);
      t.gives('to its own name', t.sys.rename(beside, beside), 'ok');
      t.there('it is still there', beside);
      t.gives('ENOENT of the old name', t.sys.rename(target, path.join(into, 'z')), 'ENOENT');
    });
  }
  const file = t.file({ content: 'kept' });
  const fd = t.open(file, O.RDWR);
  const moved = t.fresh();
  t.gives('an open file', t.sys.rename(file, moved), 'ok');
  t.equal('is written through its descriptor', t.sys.pwrite(fd, Buffer.from('K'), 1, 0), 1);
  t.content('and read at its new name', moved, 'Kept');
  t.equal('one file by descriptor and by name', t.fstat(fd).ino, t.stat(moved).ino);
});

const replaces = ordinary('rename: over what exists', (t) => {
  for (const old of notDirectories) {
    for (const existing of notDirectories) {
      const at = t.make(old, t.fresh());
      const target = t.make(existing, t.fresh());
      const { ino } = t.stat(at);
      t.gives(`a ${old} over a ${existing}`, t.sys.rename(at, target), 'ok');
      t.gone(`the old name of a ${old} over a ${existing}`, at);
      t.equal(`a ${old} over a ${existing} is what was moved`, t.stat(target).ino, ino);
    }
    const directory = t.dir();
    const at = t.make(old, t.fresh());
    t.gives(`EISDIR for a ${old} over a directory`, t.sys.rename(at, directory), 'EISDIR');
    t.gives(`ENOTDIR for a directory over a ${old}`, t.sys.rename(directory, at), 'ENOTDIR');
    t.equal(`the ${old} and the directory stay`, `${t.stat(at).type} ${t.stat(directory).type}`, `${old} directory`);
    const full = t.dir();
    t.make(old, path.join(full, 'entry'));
    const empty = t.dir();
    t.gives(`ENOTEMPTY for a directory over one with a ${old}`, t.sys.rename(empty, full), ['ENOTEMPTY', 'EEXIST']);
    t.there(`the ${old} stays`, path.join(full, 'entry'));
    t.there(`the directory that was to replace the one with a ${old} stays`, empty);
    const moved = t.stat(full).ino;
    t.gives(`a directory with a ${old} over an empty one`, t.sys.rename(full, empty), 'ok');
    t.equal(`the directory with a ${old} is the one moved`, t.stat(empty).ino, moved);
    t.there(`the ${old} came along`, path.join(empty, 'entry'));
  }
  const target = t.file({ content: 'old' });
  const fd = t.open(target, O.RDWR);
  const second = t.fresh();
  t.must('link', t.real.link(target, second));
  const at = t.file({ content: 'new' });
  t.stamps({ 'what was replaced': second }, () => t.gives('over a file with another name', t.sys.rename(at, target), 'ok'), {
    'what was replaced': '!mtime ctime',
  });
  t.equal('the other name has one link', t.stat(second).nlink, 1);
  t.content('the name has the new content', target, 'new');
  t.content('the other name has the old content', second, 'old');
  t.must('unlink', t.real.unlink(second));
  t.equal('the replaced file has no links', t.fstat(fd).nlink, 0);
  const b = Buffer.alloc(3);
  t.equal('and is still read by its descriptor', t.sys.pread(fd, b, 3, 0), 3);
  t.equal('what is read there', b.toString(), 'old');
  t.equal('and is written', t.sys.pwrite(fd, Buffer.from('OLD'), 3, 0), 3);
  t.content('which does not show at the name', target, 'new');
  t.gives('and truncated', t.sys.ftruncate(fd, 1), 'ok');
  t.content('which does not show either', target, 'new');
});

const sameFile = ordinary('rename: two names of one file', (t) => {
  for (const type of notDirectories) {
    const a = t.make(type, t.fresh());
    const b = t.fresh();
    t.must('link', t.real.link(a, b));
    const key = `the ${type}`;
    t.stamps({ [key]: a }, () => t.gives(`a ${type} onto its other name`, t.sys.rename(a, b), 'ok'), { [key]: '!mtime !ctime' });
    t.there(`a ${type} keeps the first name`, a);
    t.there(`a ${type} keeps the second name`, b);
    t.equal(`a ${type} keeps two links`, t.stat(a).nlink, 2);
  }
});

const directories = ordinary('rename: directories', (t) => {
  const old = t.dir();
  const into = t.dir();
  const at = t.make('directory', path.join(old, 'moving'));
  t.make('regular', path.join(at, 'file'), { content: 'inside' });
  t.make('directory', path.join(at, 'deep'));
  t.make('regular', path.join(at, 'deep', 'deeper'), { content: 'deep' });
  const [oldLinks, intoLinks] = [t.stat(old).nlink, t.stat(into).nlink];
  const dirfd = t.open(path.join(at, 'deep'), O.RDONLY | O.DIRECTORY);
  const fd = t.open(path.join(at, 'deep', 'deeper'), O.RDWR);
  const target = path.join(into, 'moved');
  t.gives('to another parent', t.sys.rename(at, target), 'ok');
  if (oldLinks >= 3) {
    t.equal('the old parent has a link less', t.stat(old).nlink, oldLinks - 1);
    t.equal('the new parent has a link more', t.stat(into).nlink, intoLinks + 1);
  }
  t.equal('".." is the new parent', t.stat(`${target}/..`).ino, t.stat(into).ino);
  t.content('what it holds came along', path.join(target, 'file'), 'inside');
  t.content('the deep file came along', path.join(target, 'deep', 'deeper'), 'deep');
  t.opens('a descriptor of a directory below still finds names', t.sys.openat(dirfd, 'deeper', O.RDONLY, 0), 'ok');
  t.opens('and makes them', t.sys.openat(dirfd, 'made', O.CREAT | O.WRONLY, 0o644), 'ok');
  t.there('at the new place', path.join(target, 'deep', 'made'));
  t.equal('a descriptor of a file below still writes', t.sys.pwrite(fd, Buffer.from('D'), 1, 0), 1);
  t.content('at the new place too', path.join(target, 'deep', 'deeper'), 'Deep');
  t.gone('the old path is gone', path.join(at, 'file'));
  t.gives('the old name is free', t.sys.mkdir(at, 0o755), 'ok');
  t.gone('and what is there now is empty', path.join(at, 'file'));

  t.gives('EINVAL into itself', t.sys.rename(target, path.join(target, 'inside')), 'EINVAL');
  t.gives('EINVAL far below itself', t.sys.rename(target, path.join(target, 'deep', 'below')), 'EINVAL');
  t.gives('over its own parent', t.sys.rename(path.join(target, 'deep'), target), ['ENOTEMPTY', 'EEXIST']);
  t.gives('the old name "."', t.sys.rename(`${target}/.`, t.fresh()), ['EBUSY', 'EINVAL']);
  t.gives('the old name ".."', t.sys.rename(`${target}/..`, t.fresh()), ['EBUSY', 'EINVAL']);
  t.gives('the new name "."', t.sys.rename(t.dir(), `${target}/.`), ['EBUSY', 'EINVAL']);
  t.gives('the new name ".."', t.sys.rename(t.dir(), `${target}/..`), ['EBUSY', 'EINVAL', 'ENOTEMPTY']);
  t.gives('a trailing slash at the old name of a directory', t.sys.rename(`${t.dir()}/`, t.fresh()), 'ok');
  t.gives('a trailing slash at the new name of a directory', t.sys.rename(t.dir(), `${t.fresh()}/`), 'ok');
  t.gives('ENOTDIR for a trailing slash at the new name of a file', t.sys.rename(t.file(), `${t.fresh()}/`), 'ENOTDIR');
  const emptied = t.dir();
  const open = t.open(emptied, O.RDONLY | O.DIRECTORY);
  t.gives('over an empty directory that is open', t.sys.rename(t.dir(), emptied), 'ok');
  t.equal('which has no links then', t.fstat(open).nlink, 0);
  t.gives('and takes no names', t.sys.mkdirat(open, 'x', 0o755), 'ENOENT');
});

const rights = group('rename: write permission', (t) => {
  const { alice, bob } = t;
  const open = t.dir(0o777);
  const closed = t.dir(0o755);
  const file = t.make('regular', path.join(open, 'file'), { owner: alice });
  t.gives(
    'EACCES into a directory one may not write',
    t.as(alice, () => t.sys.rename(file, path.join(closed, 'x'))),
    'EACCES',
  );
  t.there('the file stays', file);
  const inside = t.make('regular', path.join(closed, 'inside'), { owner: alice });
  t.gives(
    'EACCES out of a directory one may not write',
    t.as(alice, () => t.sys.rename(inside, path.join(open, 'x'))),
    'EACCES',
  );
  t.there('the file inside stays', inside);
  t.gives(
    'EACCES over a file in a directory one may not write',
    t.as(alice, () => t.sys.rename(file, inside)),
    'EACCES',
  );
  const foreign = t.make('regular', path.join(open, 'foreign'), { owner: bob, mode: 0 });
  t.gives(
    'somebody else’s file without permissions',
    t.as(alice, () => t.sys.rename(foreign, path.join(open, 'taken'))),
    'ok',
  );
  const own = t.make('directory', path.join(open, 'own'), { owner: alice });
  const other = t.dir(0o777);
  t.gives(
    'a directory of one’s own to another parent',
    t.as(alice, () => t.sys.rename(own, path.join(other, 'own'))),
    'ok',
  );
  const locked = t.make('directory', path.join(open, 'locked'), { owner: bob, mode: 0o755 });
  t.gives(
    'EACCES for a directory one may not write to another parent, as its ".." changes',
    t.as(alice, () => t.sys.rename(locked, path.join(other, 'locked'))),
    'EACCES',
  );
  t.gives(
    'the same inside its parent',
    t.as(alice, () => t.sys.rename(locked, path.join(open, 'unlocked'))),
    'ok',
  );
  const writable = t.make('directory', path.join(open, 'writable'), { owner: bob, mode: 0o777 });
  t.gives(
    'a directory of somebody else that one may write',
    t.as(alice, () => t.sys.rename(writable, path.join(other, 'writable'))),
    'ok',
  );
});

const flags = ordinary('rename: renameat and renameat2', (t) => {
  const old = t.dir();
  const into = t.dir();
  const a = t.open(old, O.RDONLY | O.DIRECTORY);
  const b = t.open(into, O.RDONLY | O.DIRECTORY);
  t.make('regular', path.join(old, 'one'), { content: 'one' });
  t.gives('renameat', t.sys.renameat(a, 'one', b, 'two'), 'ok');
  t.content('at its new place', path.join(into, 'two'), 'one');
  t.gives('renameat EBADF for the first', t.sys.renameat(9999, 'two', b, 'x'), 'EBADF');
  t.gives('renameat EBADF for the second', t.sys.renameat(b, 'two', 9999, 'x'), 'EBADF');
  const file = t.open(t.file(), O.RDONLY);
  t.gives('renameat ENOTDIR for the first', t.sys.renameat(file, 'two', b, 'x'), 'ENOTDIR');
  t.gives('renameat ENOTDIR for the second', t.sys.renameat(b, 'two', file, 'x'), 'ENOTDIR');
  t.gives('renameat of absolute paths ignores both', t.sys.renameat(9999, path.join(into, 'two'), 9999, path.join(old, 'one')), 'ok');
  t.gives('renameat ENOENT', t.sys.renameat(a, 'missing', b, 'x'), 'ENOENT');

  const first = t.make('regular', path.join(old, 'first'), { content: 'first' });
  const second = t.make('regular', path.join(old, 'second'), { content: 'second' });
  t.gives('NOREPLACE EEXIST', t.sys.renameat2(a, 'first', a, 'second', RENAME.NOREPLACE), 'EEXIST');
  t.content('the existing file is untouched', second, 'second');
  t.there('the old name stays', first);
  t.gives(
    'NOREPLACE EEXIST for a symbolic link to nothing',
    ((at) => t.sys.renameat2(AT.FDCWD, first, AT.FDCWD, at, RENAME.NOREPLACE))(t.make('symlink', t.fresh())),
    'EEXIST',
  );
  t.gives('NOREPLACE EEXIST for itself', t.sys.renameat2(a, 'first', a, 'first', RENAME.NOREPLACE), 'EEXIST');
  t.gives('NOREPLACE to a new name', t.sys.renameat2(a, 'first', b, 'new', RENAME.NOREPLACE), 'ok');
  t.content('the file at its new name', path.join(into, 'new'), 'first');
  t.gives('EINVAL for NOREPLACE with EXCHANGE', t.sys.renameat2(a, 'second', b, 'new', RENAME.NOREPLACE | RENAME.EXCHANGE), 'EINVAL');
  t.gives('EINVAL for an unknown flag', t.sys.renameat2(a, 'second', b, 'new', 0x1000), 'EINVAL');
  t.gives('EXCHANGE ENOENT', t.sys.renameat2(a, 'second', b, 'missing', RENAME.EXCHANGE), 'ENOENT');
  t.gives('no flags', t.sys.renameat2(a, 'second', b, 'third', 0), 'ok');
});

const exchange = ordinary('rename: RENAME_EXCHANGE', (t) => {
  const one = t.file({ content: 'one' });
  const two = t.file({ content: 'two' });
  t.gives('two files', t.sys.renameat2(AT.FDCWD, one, AT.FDCWD, two, RENAME.EXCHANGE), 'ok');
  t.content('the first name has the second’s content', one, 'two');
  t.content('the second name has the first’s content', two, 'one');
  const directory = t.dir();
  t.make('regular', path.join(directory, 'inside'), { content: 'inside' });
  t.gives('a file and a directory', t.sys.renameat2(AT.FDCWD, one, AT.FDCWD, directory, RENAME.EXCHANGE), 'ok');
  t.equal('a directory at the file’s name', t.stat(one).type, 'directory');
  t.equal('a file at the directory’s name', t.stat(directory).type, 'regular');
  if (t.stat(one).type === 'directory') t.content('what the directory held', path.join(one, 'inside'), 'inside');
});

const across = group(
  'rename: across file systems',
  (t) => {
    const elsewhere = t.around.elsewhere;
    if (elsewhere === undefined) return;
    for (const type of everyType) {
      const there = path.join(elsewhere, `ninep-rename-${process.pid}-${type}`);
      const at = t.make(type, t.fresh());
      t.gives(`EXDEV for a ${type} outwards`, t.sys.rename(at, there), 'EXDEV');
      t.there(`the ${type} stays`, at);
      t.equal(`no ${type} elsewhere`, fs.existsSync(there), false);
    }
    const there = path.join(elsewhere, `ninep-rename-${process.pid}`);
    fs.writeFileSync(there, 'there');
    t.gives('EXDEV inwards', t.sys.rename(there, t.fresh()), 'EXDEV');
    fs.unlinkSync(there);
  },
  ['other file system'],
);

export const renameGroups: readonly Group[] = [
  ...[from, fromDirectory, to, toExisting].flatMap(pathGroups),
  moves,
  replaces,
  sameFile,
  directories,
  rights,
  flags,
  exchange,
  across,
];
