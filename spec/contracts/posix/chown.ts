/** chown, lchown, fchown, fchownat (POSIX XSH chown; chown(2)). */
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, notDirectories, notLinks, O } from './test.js';

const KEEP = 0xffffffff;

const chown: PathCall = {
  name: 'chown',
  subject: 'regular',
  changesParent: false,
  writes: true,
  follows: true,
  call: (sys, at, _another, user) => sys.chown(at, KEEP, user.gid),
};

const lchown: PathCall = { ...chown, name: 'lchown', follows: false, call: (sys, at, _another, user) => sys.lchown(at, KEEP, user.gid) };
const fchownat: PathCall = { ...chown, name: 'fchownat', call: (sys, at, _another, user) => sys.fchownat(AT.FDCWD, at, KEEP, user.gid, 0) };

const byRoot = group('chown: by root', (t) => {
  for (const type of everyType) {
    const at = t.make(type, t.fresh());
    t.gives(`${type}: both`, t.sys.lchown(at, 123, 456), 'ok');
    t.equal(`${type}: the new owner`, t.stat(at).uid, 123);
    t.equal(`${type}: the new group`, t.stat(at).gid, 456);
    t.gives(`${type}: the owner alone`, t.sys.lchown(at, 124, KEEP), 'ok');
    t.equal(`${type}: owner and group then`, `${t.stat(at).uid}:${t.stat(at).gid}`, '124:456');
    t.gives(`${type}: the group alone`, t.sys.lchown(at, KEEP, 457), 'ok');
    t.equal(`${type}: owner and group after that`, `${t.stat(at).uid}:${t.stat(at).gid}`, '124:457');
    t.gives(`${type}: neither`, t.sys.lchown(at, KEEP, KEEP), 'ok');
    t.equal(`${type}: owner and group are kept`, `${t.stat(at).uid}:${t.stat(at).gid}`, '124:457');
    t.equal(`${type}: the type is kept`, t.stat(at).type, type);
    t.stamps({ [type]: at }, () => t.sys.lchown(at, 9, 9), { [type]: '!mtime ctime' });
  }
  for (const type of notLinks) {
    const at = t.make(type, t.fresh());
    const link = t.make('symlink', t.fresh(), { content: at });
    t.gives(`${type} through a symbolic link`, t.sys.chown(link, 21, 22), 'ok');
    t.equal(`${type} behind the link changes`, `${t.stat(at).uid}:${t.stat(at).gid}`, '21:22');
    t.equal(`the link to the ${type} does not`, `${t.stat(link).uid}:${t.stat(link).gid}`, '0:0');
    t.gives(`lchown of a link to a ${type}`, t.sys.lchown(link, 31, 32), 'ok');
    t.equal(`${type} behind the link does not change by lchown`, `${t.stat(at).uid}:${t.stat(at).gid}`, '21:22');
    t.equal(`the link to the ${type} changes by lchown`, `${t.stat(link).uid}:${t.stat(link).gid}`, '31:32');
  }
  const at = t.file();
  for (const id of [1, 65534, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffffe]) {
    t.gives(`the id ${id}`, t.sys.chown(at, id, id), 'ok');
    t.equal(`ids after ${id}`, `${t.stat(at).uid}:${t.stat(at).gid}`, `${id}:${id}`);
  }
});

const rights = group('chown: who may', (t) => {
  const { alice, bob } = t;
  for (const type of notLinks) {
    t.under(type, () => {
      const at = t.make(type, t.fresh(), { owner: alice, mode: 0o755 });
      t.gives(
        'the owner gives it to its own group',
        t.as(alice, () => t.sys.chown(at, KEEP, alice.gid)),
        'ok',
      );
      t.gives(
        'the owner gives it to a supplementary group',
        t.as(alice, () => t.sys.chown(at, KEEP, t.shared)),
        'ok',
      );
      t.equal('the supplementary group is set', t.stat(at).gid, t.shared);
      t.gives(
        'the owner names itself as owner',
        t.as(alice, () => t.sys.chown(at, alice.uid, alice.gid)),
        'ok',
      );
      t.gives(
        'the owner changes nothing',
        t.as(alice, () => t.sys.chown(at, KEEP, KEEP)),
        'ok',
      );
      t.stamps(
        { file: at },
        () => {
          t.gives(
            'EPERM when the owner gives it to a foreign group',
            t.as(alice, () => t.sys.chown(at, KEEP, bob.gid)),
            'EPERM',
          );
          t.gives(
            'EPERM when the owner gives it to group 0',
            t.as(alice, () => t.sys.chown(at, KEEP, 0)),
            'EPERM',
          );
          t.gives(
            'EPERM when the owner gives it away',
            t.as(alice, () => t.sys.chown(at, bob.uid, KEEP)),
            'EPERM',
          );
          t.gives(
            'EPERM when the owner gives it to root',
            t.as(alice, () => t.sys.chown(at, 0, KEEP)),
            'EPERM',
          );
          t.gives(
            'EPERM when another takes it',
            t.as(bob, () => t.sys.chown(at, bob.uid, KEEP)),
            'EPERM',
          );
          t.gives(
            'EPERM when another gives it to its own group',
            t.as(bob, () => t.sys.chown(at, KEEP, bob.gid)),
            'EPERM',
          );
          t.gives(
            'EPERM when another gives it to a group of both',
            t.as(bob, () => t.sys.chown(at, KEEP, t.shared)),
            'EPERM',
          );
          t.gives(
            'EPERM when another names the owner it has',
            t.as(bob, () => t.sys.chown(at, alice.uid, KEEP)),
            'EPERM',
          );
        },
        { file: '!mtime !ctime' },
      );
      t.equal('owner and group after the refusals', `${t.stat(at).uid}:${t.stat(at).gid}`, `${alice.uid}:${alice.gid}`);
    });
  }
  const link = t.make('symlink', t.fresh(), { owner: alice });
  t.gives(
    'lchown by the owner of a link',
    t.as(alice, () => t.sys.lchown(link, KEEP, t.shared)),
    'ok',
  );
  t.gives(
    'lchown EPERM for another',
    t.as(bob, () => t.sys.lchown(link, KEEP, t.shared)),
    'EPERM',
  );
  t.gives(
    'lchown EPERM for a foreign group',
    t.as(alice, () => t.sys.lchown(link, KEEP, bob.gid)),
    'EPERM',
  );
});

const clearing = group('chown: set-user-ID and set-group-ID of executables', (t) => {
  const { alice } = t;
  const cases: [what: string, before: number, after: number][] = [
    ['both, all may execute', 0o6777, 0o777],
    ['set-user-ID', 0o4755, 0o755],
    ['set-group-ID with group execution', 0o2755, 0o755],
    ['the sticky bit stays', 0o7777, 0o1777],
    ['set-user-ID without execution', 0o4644, 0o644],
  ];
  for (const [what, before, after] of cases) {
    const at = t.file({ owner: alice, mode: before });
    t.gives(
      `${what}: by the owner`,
      t.as(alice, () => t.sys.chown(at, KEEP, t.shared)),
      'ok',
    );
    t.mode(`${what}: mode after the owner`, t.stat(at).mode, after);
    const again = t.file({ owner: alice, mode: before });
    t.gives(`${what}: by root`, t.sys.chown(again, 5, 5), 'ok');
    t.mode(`${what}: mode after root`, t.stat(again).mode, after);
    const fd = t.open(t.file({ owner: alice, mode: before }), O.RDWR);
    t.gives(
      `${what}: by descriptor`,
      t.as(alice, () => t.sys.fchown(fd, KEEP, t.shared)),
      'ok',
    );
    t.mode(`${what}: mode by descriptor`, t.fstat(fd).mode, after);
  }
  const marked = t.file({ owner: alice, mode: 0o2744 });
  t.gives('set-group-ID without group execution, by root', t.sys.chown(marked, KEEP, 5), 'ok');
  t.mode('it is kept: it is no executable of the group', t.stat(marked).mode, 0o2744);
  for (const type of notDirectories.filter((each) => each !== 'symlink')) {
    const at = t.make(type, t.fresh(), { owner: alice, mode: 0o6555 });
    t.gives(
      `${type}: by the owner`,
      t.as(alice, () => t.sys.chown(at, KEEP, t.shared)),
      'ok',
    );
    t.mode(`${type}: mode after the owner`, t.stat(at).mode, 0o555);
    t.must('chmod', t.real.chmod(at, 0o6555));
    t.gives(
      `${type}: the owner changes nothing`,
      t.as(alice, () => t.sys.chown(at, KEEP, KEEP)),
      'ok',
    );
    t.equal(`${type}: owner and group stay`, `${t.stat(at).uid}:${t.stat(at).gid}`, `${alice.uid}:${t.shared}`);
  }
  const directory = t.dir(0o6775, { owner: alice });
  t.gives(
    'a directory',
    t.as(alice, () => t.sys.chown(directory, KEEP, t.shared)),
    'ok',
  );
  t.mode('a directory keeps both', t.stat(directory).mode, 0o6775);
  const refused = t.file({ owner: alice, mode: 0o6755 });
  t.gives(
    'a refused change',
    t.as(t.bob, () => t.sys.chown(refused, KEEP, t.shared)),
    'EPERM',
  );
  t.mode('clears nothing', t.stat(refused).mode, 0o6755);
});

const descriptors = group('chown: fchown and fchownat', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDONLY);
  t.gives('fchown', t.sys.fchown(fd, 12, 13), 'ok');
  t.equal('owner and group by path', `${t.stat(at).uid}:${t.stat(at).gid}`, '12:13');
  t.equal('owner and group by descriptor', `${t.fstat(fd).uid}:${t.fstat(fd).gid}`, '12:13');
  t.stamps({ file: at }, () => t.sys.fchown(fd, 14, 15), { file: '!mtime ctime' });
  t.gives('fchown EBADF for a closed descriptor', t.sys.fchown(9999, 1, 1), 'EBADF');
  t.gives('fchown EBADF for an O_PATH descriptor', t.sys.fchown(t.open(at, O.PATH), 1, 1), 'EBADF');
  t.gives(
    'fchown EPERM',
    t.as(t.alice, () => t.sys.fchown(fd, t.alice.uid, KEEP)),
    'EPERM',
  );
  const removed = t.file();
  const kept = t.open(removed, O.RDWR);
  t.must('unlink', t.real.unlink(removed));
  t.gives('fchown of a file without a name', t.sys.fchown(kept, 41, 42), 'ok');
  t.equal('its owner and group', `${t.fstat(kept).uid}:${t.fstat(kept).gid}`, '41:42');

  const directory = t.dir();
  const dirfd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.make('regular', path.join(directory, 'inner'));
  t.must('symlink', t.real.symlink('inner', path.join(directory, 'link')));
  const inner = () => `${t.stat(path.join(directory, 'inner')).uid}`;
  const link = () => `${t.stat(path.join(directory, 'link')).uid}`;
  t.gives('fchownat relative to a directory', t.sys.fchownat(dirfd, 'inner', 51, KEEP, 0), 'ok');
  t.equal('the inner file', inner(), '51');
  t.gives('fchownat follows a link', t.sys.fchownat(dirfd, 'link', 52, KEEP, 0), 'ok');
  t.equal('file and link', `${inner()} ${link()}`, '52 0');
  t.gives('fchownat without following', t.sys.fchownat(dirfd, 'link', 53, KEEP, AT.SYMLINK_NOFOLLOW), 'ok');
  t.equal('file and link then', `${inner()} ${link()}`, '52 53');
  t.gives('fchownat of the descriptor itself', t.sys.fchownat(dirfd, '', 54, KEEP, AT.EMPTY_PATH), 'ok');
  t.equal('the directory', t.stat(directory).uid, 54);
  t.gives('fchownat of an absolute path ignores the descriptor', t.sys.fchownat(9999, at, 55, KEEP, 0), 'ok');
  t.gives('fchownat EBADF', t.sys.fchownat(9999, 'inner', 1, 1, 0), 'EBADF');
  t.gives('fchownat ENOTDIR', t.sys.fchownat(fd, 'inner', 1, 1, 0), 'ENOTDIR');
  t.gives('fchownat EINVAL for an unknown flag', t.sys.fchownat(dirfd, 'inner', 1, 1, 0x40000000), 'EINVAL');
  t.gives('fchownat ENOENT', t.sys.fchownat(dirfd, 'missing', 1, 1, 0), 'ENOENT');
  const second = t.fresh();
  t.must('link', t.real.link(at, second));
  t.sys.chown(at, 77, 78);
  t.equal('both names of a file have the new owner', `${t.stat(second).uid}:${t.stat(second).gid}`, '77:78');
});

export const chownGroups: readonly Group[] = [
  ...pathGroups(chown),
  ...pathGroups(lchown),
  ...pathGroups(fchownat),
  byRoot,
  rights,
  clearing,
  descriptors,
];
