/** chmod, fchmod, fchmodat (POSIX XSH chmod; chmod(2)). */
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { AT, type Group, group, notLinks, O, ordinary } from './test.js';

const chmod: PathCall = {
  name: 'chmod',
  subject: 'regular',
  changesParent: false,
  writes: true,
  follows: true,
  call: (sys, at) => sys.chmod(at, 0o640),
};

const fchmodat: PathCall = { ...chmod, name: 'fchmodat', call: (sys, at) => sys.fchmodat(AT.FDCWD, at, 0o640, 0) };

const bits = ordinary('chmod: every bit', (t) => {
  for (const type of ['regular', 'directory'] as const) {
    const at = t.make(type, t.fresh());
    for (let bit = 1; bit <= 0o4000; bit <<= 1) {
      t.gives(`${type} to 0${bit.toString(8)}`, t.sys.chmod(at, bit), 'ok');
      t.mode(`mode of the ${type} after 0${bit.toString(8)}`, t.stat(at).mode, bit);
    }
    for (const mode of [0, 0o111, 0o222, 0o444, 0o555, 0o644, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o6755, 0o7777]) {
      t.gives(`${type} to 0${mode.toString(8)} again`, t.sys.chmod(at, mode), 'ok');
      t.mode(`mode of the ${type} after 0${mode.toString(8)} again`, t.stat(at).mode, mode);
    }
  }
});

const types = ordinary('chmod: every type of file', (t) => {
  for (const type of notLinks) {
    const at = t.make(type, t.fresh());
    t.gives(`a ${type}`, t.sys.chmod(at, 0o531), 'ok');
    t.mode(`mode of the ${type}`, t.stat(at).mode, 0o531);
    t.equal(`a ${type} keeps its type`, t.stat(at).type, type);
    const link = t.make('symlink', t.fresh(), { content: at });
    t.gives(`a ${type} through a symbolic link`, t.sys.chmod(link, 0o713), 'ok');
    t.mode(`mode of the ${type} behind the link`, t.stat(at).mode, 0o713);
    t.equal(`the link to the ${type} stays a link`, t.stat(link).type, 'symlink');
    t.mode(`the link to the ${type} keeps its mode`, t.stat(link).mode, 0o777);
    t.stamps({ [type]: at }, () => t.sys.chmod(at, 0o640), { [type]: '!mtime ctime' });
  }
  const at = t.file();
  t.gives('bits of the type are ignored', t.sys.chmod(at, 0o040644), 'ok');
  t.equal('the type stays', t.stat(at).type, 'regular');
  t.stamps({ file: at }, () => t.sys.chmod(at, t.stat(at).mode), { file: '!mtime ctime' });
  const second = t.fresh();
  t.must('link', t.real.link(at, second));
  t.sys.chmod(at, 0o606);
  t.mode('both names of a file have the new mode', t.stat(second).mode, 0o606);
});

const rights = group('chmod: who may', (t) => {
  for (const type of notLinks) {
    const at = t.make(type, t.fresh(), { owner: t.alice });
    t.gives(
      `${type}: its owner`,
      t.as(t.alice, () => t.sys.chmod(at, 0o700)),
      'ok',
    );
    t.mode(`${type}: mode set by its owner`, t.stat(at).mode, 0o700);
    t.stamps(
      { [type]: at },
      () =>
        t.gives(
          `${type}: EPERM for another user`,
          t.as(t.bob, () => t.sys.chmod(at, 0o777)),
          'EPERM',
        ),
      { [type]: '!mtime !ctime' },
    );
    t.mode(`${type}: mode after the refusal`, t.stat(at).mode, 0o700);
    const link = t.make('symlink', t.fresh(), { content: at, owner: t.bob });
    t.gives(
      `${type}: EPERM through a link of one's own`,
      t.as(t.bob, () => t.sys.chmod(link, 0o777)),
      'EPERM',
    );
  }
  const grouped = t.file({ uid: t.alice.uid, gid: t.shared, mode: 0o770 });
  t.gives(
    'EPERM for a member of the file’s group',
    t.as(t.bob, () => t.sys.chmod(grouped, 0o777)),
    'EPERM',
  );
  const open = t.file({ owner: t.alice, mode: 0o777 });
  t.gives(
    'EPERM although everybody may write',
    t.as(t.bob, () => t.sys.chmod(open, 0o777)),
    'EPERM',
  );
  const closed = t.file({ owner: t.alice, mode: 0 });
  t.gives(
    'the owner of a file without any permission',
    t.as(t.alice, () => t.sys.chmod(closed, 0o400)),
    'ok',
  );
});

const setgid = group('chmod: S_ISGID of a file of a foreign group', (t) => {
  const foreign = t.file({ uid: t.alice.uid, gid: t.bob.gid });
  t.gives(
    'an owner outside the group',
    t.as(t.alice, () => t.sys.chmod(foreign, 0o2755)),
    'ok',
  );
  t.mode('S_ISGID is left out', t.stat(foreign).mode, 0o755);
  t.gives(
    'with S_ISUID and the sticky bit',
    t.as(t.alice, () => t.sys.chmod(foreign, 0o7755)),
    'ok',
  );
  t.mode('only S_ISGID is left out', t.stat(foreign).mode, 0o5755);
  const own = t.file({ owner: t.alice });
  t.gives(
    'an owner in the group',
    t.as(t.alice, () => t.sys.chmod(own, 0o2755)),
    'ok',
  );
  t.mode('S_ISGID is set', t.stat(own).mode, 0o2755);
  const supplementary = t.file({ uid: t.alice.uid, gid: t.shared });
  t.gives(
    'an owner with the group as a supplementary one',
    t.as(t.alice, () => t.sys.chmod(supplementary, 0o2755)),
    'ok',
  );
  t.mode('S_ISGID is set by way of the supplementary group', t.stat(supplementary).mode, 0o2755);
  const roots = t.file({ uid: t.alice.uid, gid: t.bob.gid });
  t.gives('root', t.sys.chmod(roots, 0o2755), 'ok');
  t.mode('S_ISGID is set by root', t.stat(roots).mode, 0o2755);
  const sticky = t.file({ owner: t.alice });
  t.gives(
    'the sticky bit on a regular file by its owner',
    t.as(t.alice, () => t.sys.chmod(sticky, 0o1644)),
    'ok',
  );
  t.mode('the sticky bit is kept', t.stat(sticky).mode, 0o1644);
});

const descriptors = group('chmod: fchmod and fchmodat', (t) => {
  const at = t.file();
  const fd = t.open(at, O.RDWR);
  t.gives('fchmod', t.sys.fchmod(fd, 0o617), 'ok');
  t.mode('mode by path after fchmod', t.stat(at).mode, 0o617);
  t.mode('mode by descriptor after fchmod', t.fstat(fd).mode, 0o617);
  t.stamps({ file: at }, () => t.sys.fchmod(fd, 0o600), { file: '!mtime ctime' });
  t.gives('chmod of an open file', t.sys.chmod(at, 0), 'ok');
  t.gives('a descriptor open for writing still writes after chmod 0', t.sys.write(fd, Buffer.from('x'), 1), 'ok');
  t.gives('and reads', t.sys.pread(fd, Buffer.alloc(1), 1, 0), 'ok');
  const readOnly = t.open(t.file(), O.RDONLY);
  t.gives('fchmod on a descriptor open for reading only', t.sys.fchmod(readOnly, 0o600), 'ok');
  const directory = t.dir();
  const dirfd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.gives('fchmod on a directory', t.sys.fchmod(dirfd, 0o1770), 'ok');
  t.mode('mode of the directory', t.stat(directory).mode, 0o1770);
  const removed = t.file();
  const kept = t.open(removed, O.RDWR);
  t.must('unlink', t.real.unlink(removed));
  t.gives('fchmod of a file without a name', t.sys.fchmod(kept, 0o321), 'ok');
  t.mode('its mode by descriptor', t.fstat(kept).mode, 0o321);
  const owned = t.open(t.file({ owner: t.alice }), O.RDWR);
  t.gives(
    'fchmod EPERM for another user with an open descriptor',
    t.as(t.bob, () => t.sys.fchmod(owned, 0o777)),
    'EPERM',
  );
  t.gives(
    'fchmod by the owner',
    t.as(t.alice, () => t.sys.fchmod(owned, 0o777)),
    'ok',
  );
  t.gives('fchmod EBADF for a closed descriptor', t.sys.fchmod(9999, 0o600), 'EBADF');
  t.gives('fchmod EBADF for -1', t.sys.fchmod(-1, 0o600), 'EBADF');
  t.gives('fchmod EBADF for an O_PATH descriptor', t.sys.fchmod(t.open(t.file(), O.PATH), 0o600), 'EBADF');

  t.make('regular', path.join(directory, 'inner'));
  t.gives('fchmodat relative to a directory', t.sys.fchmodat(dirfd, 'inner', 0o640, 0), 'ok');
  t.mode('mode of the inner file', t.stat(path.join(directory, 'inner')).mode, 0o640);
  t.gives('fchmodat of an absolute path ignores the descriptor', t.sys.fchmodat(9999, path.join(directory, 'inner'), 0o604, 0), 'ok');
  t.gives('fchmodat EBADF for a relative path and a closed descriptor', t.sys.fchmodat(9999, 'inner', 0o604, 0), 'EBADF');
  t.gives('fchmodat ENOTDIR for a descriptor of a file', t.sys.fchmodat(fd, 'inner', 0o604, 0), 'ENOTDIR');
  t.gives('fchmodat EINVAL for an unknown flag', t.sys.fchmodat(dirfd, 'inner', 0o604, 0x40000000), 'EINVAL');
  t.gives('fchmodat ENOENT', t.sys.fchmodat(dirfd, 'missing', 0o604, 0), 'ENOENT');
  t.must('symlink', t.real.symlink('inner', path.join(directory, 'link')));
  t.gives('fchmodat EOPNOTSUPP for a symbolic link itself', t.sys.fchmodat(dirfd, 'link', 0o600, AT.SYMLINK_NOFOLLOW), 'EOPNOTSUPP');
  t.mode('the target of the link is not touched', t.stat(path.join(directory, 'inner')).mode, 0o604);
  t.gives('fchmodat of a regular file without following', t.sys.fchmodat(dirfd, 'inner', 0o600, AT.SYMLINK_NOFOLLOW), 'ok');
  t.mode('mode of the inner file again', t.stat(path.join(directory, 'inner')).mode, 0o600);
});

export const chmodGroups: readonly Group[] = [...pathGroups(chmod), ...pathGroups(fchmodat), bits, types, rights, setgid, descriptors];
