/** Set-user-ID and set-group-ID, cleared when somebody else changes the content (POSIX XSH write, truncate; inode(7)). */

import { FALLOC } from '../../support/status.js';
import type { User } from '../../support/syscalls.js';
import { type Group, group, O, type Test } from './test.js';

const ways: [name: string, change: (t: Test, at: string, fd: number) => number][] = [
  ['write', (t, _at, fd) => t.sys.write(fd, Buffer.from('x'), 1)],
  ['pwrite', (t, _at, fd) => t.sys.pwrite(fd, Buffer.from('x'), 1, 100)],
  ['ftruncate', (t, _at, fd) => t.sys.ftruncate(fd, 2)],
  ['truncate', (t, at) => t.sys.truncate(at, 3)],
  [
    'O_TRUNC',
    (t, at) => {
      const fd = t.sys.open(at, O.WRONLY | O.TRUNC, 0);
      return fd < 0 ? fd : t.sys.close(fd);
    },
  ],
];

const content = group('setid: a change of the content', (t) => {
  const root: User = { name: 'root', uid: 0, gid: 0, groups: [] };
  for (const [way, change] of ways) {
    for (const [mode, user, want] of [
      [0o4777, t.bob, 0o777],
      [0o2777, t.bob, 0o777],
      [0o6777, t.bob, 0o777],
      [0o6777, t.alice, 0o777],
      [0o7777, t.bob, 0o1777],
      [0o4666, t.bob, 0o666],
      [0o0777, t.bob, 0o777],
      [0o6777, root, 0o6777],
    ] as const) {
      const at = t.file({ owner: t.alice, mode, content: 'content' });
      const fd = t.open(at, O.RDWR);
      const what = `${way} on 0${mode.toString(8)} by ${user === t.alice ? 'the owner' : user === root ? 'root' : 'another'}`;
      t.gives(what, user === root ? change(t, at, fd) : t.as(user, () => change(t, at, fd)), 'ok');
      t.mode(`${what}: mode`, t.stat(at).mode, want);
      t.close(fd);
    }
  }
  const read = t.file({ owner: t.alice, mode: 0o6777, content: 'content' });
  const fd = t.open(read, O.RDWR);
  t.gives(
    'a read',
    t.as(t.bob, () => t.sys.read(fd, Buffer.alloc(1), 1)),
    'ok',
  );
  t.mode('a read clears nothing', t.stat(read).mode, 0o6777);
  t.gives(
    'a write of nothing',
    t.as(t.bob, () => t.sys.write(fd, Buffer.alloc(1), 0)),
    'ok',
  );
  t.mode('a write of nothing clears nothing', t.stat(read).mode, 0o6777);
  t.gives('link and unlink', t.real.link(read, t.fresh()), 'ok');
  t.mode('a new link clears nothing', t.stat(read).mode, 0o6777);
  t.gives(
    'new times',
    t.as(t.alice, () => t.sys.utimensat(-100, read, null, 0)),
    'ok',
  );
  t.mode('new times clear nothing', t.stat(read).mode, 0o6777);
});

const allocation = group('setid: fallocate', (t) => {
  for (const [way, mode] of [
    ['fallocate', 0],
    ['punching a hole', FALLOC.KEEP_SIZE | FALLOC.PUNCH_HOLE],
  ] as const) {
    const at = t.file({ owner: t.alice, mode: 0o6777, content: 'x'.repeat(10000) });
    const fd = t.open(at, O.RDWR);
    t.gives(
      `${way} by another`,
      t.as(t.bob, () => t.sys.fallocate(fd, mode, 0, 20000)),
      'ok',
    );
    t.mode(`${way} by another: mode`, t.stat(at).mode, 0o777);
  }
});

export const setidGroups: readonly Group[] = [content, allocation];
