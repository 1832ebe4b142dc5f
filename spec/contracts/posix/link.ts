/** link, linkat (POSIX XSH link; link(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, notDirectories, O, ordinary } from './test.js';

const old: PathCall = {
  name: 'link, the existing name',
  subject: 'regular',
  changesParent: false,
  writes: true,
  follows: false,
  call: (sys, at, another) => sys.link(at, another),
};

const made: PathCall = {
  name: 'link, the new name',
  subject: undefined,
  changesParent: true,
  writes: true,
  follows: false,
  call: (sys, at, another) => {
    // The existing file lies beside: where the file system is read-only it cannot be made, and the call must fail for that.
    const fd = sys.open(another, O.CREAT | O.WRONLY, 0o666);
    if (fd < 0) return fd;
    sys.close(fd);
    return sys.link(another, at);
  },
};

const names = group('link: two names of one file', (t) => {
  for (const type of notDirectories) {
    t.under(type, () => {
      const directory = t.dir();
      const first = t.make(type, path.join(directory, 'first'), { mode: 0o640, uid: 3, gid: 4 });
      const other = t.dir();
      const second = path.join(other, 'second');
      t.equal('one name', t.stat(first).nlink, 1);
      t.stamps(
        { file: first, 'the old directory': directory, 'the new directory': other },
        () => t.gives('link', t.sys.link(first, second), 'ok'),
        { file: '!mtime ctime', 'the old directory': '!mtime !ctime', 'the new directory': 'mtime ctime' },
      );
      const a = t.stat(first);
      const b = t.stat(second);
      t.equal('two names counted at the first', a.nlink, 2);
      t.equal('two names counted at the second', b.nlink, 2);
      t.equal('one file', a.ino, b.ino);
      t.equal('one type', b.type, type);
      t.equal('mode, owner and group are shared', `${b.mode} ${b.uid} ${b.gid}`, `${a.mode} ${a.uid} ${a.gid}`);
      const third = path.join(directory, 'third');
      t.gives('a third name', t.sys.link(second, third), 'ok');
      t.equal('three names', t.stat(first).nlink, 3);
      if (type !== 'symlink') t.must('chmod', t.real.chmod(third, 0o421));
      t.equal('a change by one name shows at the others', t.stat(first).mode, t.stat(third).mode);
      t.gives('the first is removed', t.real.unlink(first), 'ok');
      t.equal('two are left', t.stat(second).nlink, 2);
      t.gone('the first is gone', first);
      t.gives('the third is removed', t.real.unlink(third), 'ok');
      t.equal('one is left', t.stat(second).nlink, 1);
      t.equal('it is the file', t.stat(second).ino, a.ino);
    });
  }
  const file = t.file({ content: 'one' });
  const second = t.fresh();
  t.must('link', t.sys.link(file, second));
  fs.writeFileSync(second, 'content through the second name');
  t.content('what is written by one name is read by the other', file, 'content through the second name');
  const many = t.file();
  for (let n = 2; n <= 30; n++) t.must('link', t.sys.link(many, t.fresh('many')));
  t.equal('thirty names', t.stat(many).nlink, 30);
});

const refusals = group('link: what it refuses', (t) => {
  for (const type of everyType) {
    const file = t.file();
    const directory = t.dir();
    const taken = t.make(type, path.join(directory, 'taken'));
    const [theFile, theDirectory] = [`the file, beside a ${type}`, `the directory of a ${type}`];
    t.stamps(
      { [theFile]: file, [theDirectory]: directory },
      () => t.gives(`EEXIST when the new name is a ${type}`, t.sys.link(file, taken), 'EEXIST'),
      {
        [theFile]: '!mtime !ctime',
        [theDirectory]: '!mtime !ctime',
      },
    );
    t.equal(`the ${type} stays`, t.stat(taken).type, type);
    t.equal(`one name still, beside a ${type}`, t.stat(file).nlink, 1);
  }
  t.gives('EEXIST for the same name', ((at) => t.sys.link(at, at))(t.file()), 'EEXIST');
  t.gives(
    'EEXIST when the new name is a symbolic link to nothing',
    t.sys.link(t.file(), t.make('symlink', t.fresh(), { content: 'nothing' })),
    'EEXIST',
  );
  t.gives('EPERM for a directory', t.sys.link(t.dir(), t.fresh()), 'EPERM');
  t.gives(
    'EPERM for a directory, ordinary user',
    ((room) => t.as(t.alice, () => t.sys.link(room, path.join(room, 'x'))))(t.dir(0o777, { owner: t.alice })),
    'EPERM',
  );
  t.gives('ENOENT when the existing name does not exist', t.sys.link(t.fresh(), t.fresh()), 'ENOENT');
  t.gives('ENOENT when the new name has a trailing slash', t.sys.link(t.file(), `${t.fresh()}/`), ['ENOENT', 'ENOTDIR']);
  const restricted = fs.readFileSync('/proc/sys/fs/protected_hardlinks', 'utf8').trim() === '1';
  const room = t.dir(0o777);
  const foreign = t.make('regular', path.join(room, 'foreign'), { owner: t.bob, mode: 0o600 });
  t.gives(
    'a file of somebody else',
    t.as(t.alice, () => t.sys.link(foreign, path.join(room, 'mine'))),
    restricted ? 'EPERM' : 'ok',
  );
  const readable = t.make('regular', path.join(room, 'readable'), { owner: t.bob, mode: 0o666 });
  t.gives(
    'a file of somebody else that one may read and write',
    t.as(t.alice, () => t.sys.link(readable, path.join(room, 'mine too'))),
    'ok',
  );
  const own = t.make('regular', path.join(room, 'own'), { owner: t.alice, mode: 0 });
  t.gives(
    'one’s own file without any permission',
    t.as(t.alice, () => t.sys.link(own, path.join(room, 'own too'))),
    'ok',
  );
});

const across = group(
  'link: across file systems',
  (t) => {
    const elsewhere = t.around.elsewhere;
    if (elsewhere === undefined) return;
    const there = path.join(elsewhere, `ninep-link-${process.pid}`);
    const file = t.file();
    t.gives('EXDEV outwards', t.sys.link(file, there), 'EXDEV');
    fs.writeFileSync(there, '');
    t.gives('EXDEV inwards', t.sys.link(there, t.fresh()), 'EXDEV');
    t.gives('EXDEV by linkat', t.sys.linkat(AT.FDCWD, there, AT.FDCWD, t.fresh(), 0), 'EXDEV');
    fs.unlinkSync(there);
    t.equal('one name', t.stat(file).nlink, 1);
  },
  ['other file system'],
);

const at = ordinary('link: linkat', (t) => {
  const directory = t.dir();
  const other = t.dir();
  const from = t.open(directory, O.RDONLY | O.DIRECTORY);
  const to = t.open(other, O.RDONLY | O.DIRECTORY);
  const inner = t.make('regular', path.join(directory, 'inner'), { content: 'inner' });
  t.gives('between two directories', t.sys.linkat(from, 'inner', to, 'linked', 0), 'ok');
  t.equal('one file', t.stat(path.join(other, 'linked')).ino, t.stat(inner).ino);
  const symbolic = t.make('symlink', path.join(directory, 'symbolic'), { content: 'inner' });
  t.gives('a symbolic link itself', t.sys.linkat(from, 'symbolic', to, 'symbolic', 0), 'ok');
  t.equal('a second name of the link', t.stat(path.join(other, 'symbolic')).ino, t.stat(symbolic).ino);
  t.gives('AT_SYMLINK_FOLLOW', t.sys.linkat(from, 'symbolic', to, 'followed', AT.SYMLINK_FOLLOW), 'ok');
  t.equal('a second name of its target', t.stat(path.join(other, 'followed')).ino, t.stat(inner).ino);
  t.must('symlink', t.real.symlink('nothing', path.join(directory, 'dangling')));
  t.gives('a symbolic link to nothing itself', t.sys.linkat(from, 'dangling', to, 'dangling', 0), 'ok');
  t.gives('AT_SYMLINK_FOLLOW ENOENT for a link to nothing', t.sys.linkat(from, 'dangling', to, 'never', AT.SYMLINK_FOLLOW), 'ENOENT');
  t.gives(
    'AT_SYMLINK_FOLLOW EPERM for a link to a directory',
    t.sys.linkat(AT.FDCWD, t.make('symlink', t.fresh(), { content: directory }), to, 'never', AT.SYMLINK_FOLLOW),
    'EPERM',
  );
  const fd = t.open(inner, O.RDONLY);
  t.gives('AT_EMPTY_PATH: a descriptor gets another name', t.sys.linkat(fd, '', to, 'by descriptor', AT.EMPTY_PATH), 'ok');
  t.equal('one file by descriptor', t.stat(path.join(other, 'by descriptor')).ino, t.fstat(fd).ino);
  t.gives('EBADF for the first descriptor', t.sys.linkat(9999, 'inner', to, 'never', 0), 'EBADF');
  t.gives('EBADF for the second descriptor', t.sys.linkat(from, 'inner', 9999, 'never', 0), 'EBADF');
  t.gives('ENOTDIR for the first descriptor', t.sys.linkat(fd, 'inner', to, 'never', 0), 'ENOTDIR');
  t.gives('ENOTDIR for the second descriptor', t.sys.linkat(from, 'inner', fd, 'never', 0), 'ENOTDIR');
  t.gives('EINVAL for an unknown flag', t.sys.linkat(from, 'inner', to, 'never', 0x40000000), 'EINVAL');
  t.gives('absolute paths ignore both descriptors', t.sys.linkat(9999, inner, 9999, path.join(other, 'absolute'), 0), 'ok');
  const removed = t.file();
  const kept = t.open(removed, O.RDWR);
  t.must('unlink', t.real.unlink(removed));
  t.gives('ENOENT for a file without a name', t.sys.linkat(kept, '', to, 'never', AT.EMPTY_PATH), 'ENOENT');
});

export const linkGroups: readonly Group[] = [...pathGroups(old), ...pathGroups(made), names, refusals, across, at];
