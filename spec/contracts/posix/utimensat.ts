/** utimensat, futimens (POSIX XSH futimens; utimensat(2)). */
import path from 'node:path';
import type { Status } from '../../support/status.js';
import type { User } from '../../support/syscalls.js';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, notLinks, O, ordinary, type Test, timespecs, UTIME } from './test.js';

const now: PathCall = {
  name: 'utimensat',
  subject: 'regular',
  changesParent: false,
  writes: true,
  follows: true,
  call: (sys, at) => sys.utimensat(AT.FDCWD, at, null, 0),
};
const nofollow: PathCall = {
  ...now,
  name: 'utimensat without following',
  follows: false,
  call: (sys, at) => sys.utimensat(AT.FDCWD, at, timespecs([1, 2], [3, 4]), AT.SYMLINK_NOFOLLOW),
};

const NOW = [0, UTIME.NOW] as const;
const OMIT = [0, UTIME.OMIT] as const;
const SECOND = 1_000_000_000n;
const shown = (status: Status): string => `${status.atime} ${status.mtime}`;

const values = ordinary('utimensat: values', (t) => {
  for (const type of everyType) {
    t.under(type, () => {
      const at = t.make(type, t.fresh());
      const before = t.stat(at).ctime;
      t.tick();
      t.gives(
        'both',
        t.sys.utimensat(AT.FDCWD, at, timespecs([1_000_000_001, 123456789], [1_000_000_002, 987654321]), AT.SYMLINK_NOFOLLOW),
        'ok',
      );
      t.equal('both are set', shown(t.stat(at)), '1000000001123456789 1000000002987654321');
      t.later('ctime is marked for update', t.stat(at).ctime, before);
      t.gives('atime alone', t.sys.utimensat(AT.FDCWD, at, timespecs([77, 1], OMIT), AT.SYMLINK_NOFOLLOW), 'ok');
      t.equal('mtime is kept', shown(t.stat(at)), '77000000001 1000000002987654321');
      t.gives('mtime alone', t.sys.utimensat(AT.FDCWD, at, timespecs(OMIT, [88, 999999999]), AT.SYMLINK_NOFOLLOW), 'ok');
      t.equal('atime is kept', shown(t.stat(at)), '77000000001 88999999999');
      t.stamps({ it: at }, () => t.gives('neither', t.sys.utimensat(AT.FDCWD, at, timespecs(OMIT, OMIT), AT.SYMLINK_NOFOLLOW), 'ok'), {
        it: '!mtime !ctime',
      });
      t.equal('both are kept', shown(t.stat(at)), '77000000001 88999999999');
      t.gives('atime to now', t.sys.utimensat(AT.FDCWD, at, timespecs(NOW, OMIT), AT.SYMLINK_NOFOLLOW), 'ok');
      t.later('atime is now', t.stat(at).atime, before);
      t.equal('mtime is kept beside now', t.stat(at).mtime, 88999999999n);
      t.gives('mtime to now, atime given', t.sys.utimensat(AT.FDCWD, at, timespecs([5, 5], NOW), AT.SYMLINK_NOFOLLOW), 'ok');
      t.later('mtime is now', t.stat(at).mtime, before);
      t.equal('atime as given beside now', t.stat(at).atime, 5000000005n);
      t.must('utimensat', t.real.utimensat(AT.FDCWD, at, timespecs([1, 0], [1, 0]), AT.SYMLINK_NOFOLLOW));
      t.gives('no times at all: now', t.sys.utimensat(AT.FDCWD, at, null, AT.SYMLINK_NOFOLLOW), 'ok');
      t.later('atime without times', t.stat(at).atime, before);
      t.later('mtime without times', t.stat(at).mtime, before);
      t.true('both within a second of each other', absolute(t.stat(at).atime - t.stat(at).mtime) < SECOND);
    });
  }
  const file = t.file();
  for (const [what, seconds, nanoseconds] of [
    ['the epoch', 0, 0],
    ['one nanosecond after the epoch', 0, 1],
    ['the second before the epoch', -1, 0],
    ['1901', -2_147_483_648, 0],
    ['just under a second', 1, 999_999_999],
    ['2038', 2_147_483_647, 5],
    ['after 2038', 2_147_483_648, 5],
    ['2106', 4_294_967_296, 7],
    ['the year 2400', 13_569_465_600, 1],
  ] as const) {
    t.gives(what, t.sys.utimensat(AT.FDCWD, file, timespecs([seconds, nanoseconds], [seconds, nanoseconds]), 0), 'ok');
    const want = BigInt(seconds) * SECOND + BigInt(nanoseconds);
    t.equal(`${what} by stat`, shown(t.stat(file)), `${want} ${want}`);
  }
  for (const [what, nanoseconds] of [
    ['a whole second of nanoseconds', 1_000_000_000],
    ['negative nanoseconds', -1],
    ['far too many nanoseconds', 0x3ffffffd],
  ] as const) {
    t.gives(`EINVAL for ${what} in atime`, t.sys.utimensat(AT.FDCWD, file, timespecs([1, nanoseconds], [1, 1]), 0), 'EINVAL');
    t.gives(`EINVAL for ${what} in mtime`, t.sys.utimensat(AT.FDCWD, file, timespecs([1, 1], [1, nanoseconds]), 0), 'EINVAL');
  }
  t.gives('EINVAL for an unknown flag', t.sys.utimensat(AT.FDCWD, file, null, 0x40000000), 'EINVAL');
});

const absolute = (n: bigint): bigint => (n < 0n ? -n : n);

const links = ordinary('utimensat: symbolic links and descriptors', (t) => {
  for (const type of notLinks) {
    const at = t.make(type, t.fresh());
    const link = t.make('symlink', t.fresh(), { content: at });
    const before = t.stat(link).mtime;
    t.gives(`a ${type} through a link`, t.sys.utimensat(AT.FDCWD, link, timespecs([11, 12], [13, 14]), 0), 'ok');
    t.equal(`the ${type} has the times`, shown(t.stat(at)), '11000000012 13000000014');
    t.equal(`the link to the ${type} keeps its mtime`, t.stat(link).mtime, before);
    t.gives(`a link to a ${type} itself`, t.sys.utimensat(AT.FDCWD, link, timespecs([21, 22], [23, 24]), AT.SYMLINK_NOFOLLOW), 'ok');
    t.equal(`the link to the ${type} has the times`, t.stat(link).mtime, 23000000024n);
    t.equal(`the ${type} keeps its own`, t.stat(at).mtime, 13000000014n);
  }
  const at = t.file();
  const fd = t.open(at, O.RDONLY);
  t.gives('futimens on a descriptor for reading', t.sys.futimens(fd, timespecs([31, 32], [33, 34])), 'ok');
  t.equal('times by futimens', shown(t.stat(at)), '31000000032 33000000034');
  t.gives('futimens without times', t.sys.futimens(fd, null), 'ok');
  t.later('mtime by futimens without times', t.stat(at).mtime, 33000000034n);
  t.gives('futimens EBADF', t.sys.futimens(9999, null), 'EBADF');
  const directory = t.dir();
  const dirfd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.gives('futimens on a directory', t.sys.futimens(dirfd, timespecs([41, 42], [43, 44])), 'ok');
  t.equal('times of the directory', t.stat(directory).mtime, 43000000044n);
  const inner = t.make('regular', path.join(directory, 'inner'));
  t.gives('relative to a directory', t.sys.utimensat(dirfd, 'inner', timespecs([51, 52], [53, 54]), 0), 'ok');
  t.equal('times of the inner file', shown(t.stat(inner)), '51000000052 53000000054');
  t.gives('EBADF', t.sys.utimensat(9999, 'inner', null, 0), 'EBADF');
  t.gives('ENOTDIR', t.sys.utimensat(fd, 'inner', null, 0), 'ENOTDIR');
  t.gives('an absolute path ignores the descriptor', t.sys.utimensat(9999, inner, null, 0), 'ok');
  const removed = t.file();
  const kept = t.open(removed, O.RDWR);
  t.must('unlink', t.real.unlink(removed));
  t.gives('a file without a name', t.sys.futimens(kept, timespecs([61, 62], [63, 64])), 'ok');
  t.equal('its times', shown(t.fstat(kept)), '61000000062 63000000064');
});

const rights = group('utimensat: who may', (t) => {
  const given = timespecs([1, 1], [1, 1]);
  const ways: [what: string, times: Buffer | null][] = [
    ['times given', given],
    ['no times', null],
    ['both to now', timespecs(NOW, NOW)],
    ['atime to now alone', timespecs(NOW, OMIT)],
    ['mtime to now alone', timespecs(OMIT, NOW)],
    ['atime given alone', timespecs([1, 1], OMIT)],
    ['neither', timespecs(OMIT, OMIT)],
  ];
  const set = (u: Test, user: User, at: string, times: Buffer | null): number => u.as(user, () => u.sys.utimensat(AT.FDCWD, at, times, 0));
  for (const type of notLinks) {
    const own = t.make(type, t.fresh(), { owner: t.alice, mode: 0 });
    const writable = t.make(type, t.fresh(), { owner: t.bob, mode: 0o666 });
    const closed = t.make(type, t.fresh(), { owner: t.bob, mode: 0o644 });
    for (const [what, times] of ways) {
      t.gives(`${type}, ${what}: the owner, without any permission`, set(t, t.alice, own, times), 'ok');
      const toNow = what === 'no times' || what === 'both to now';
      const nothing = what === 'neither';
      t.gives(`${type}, ${what}: another who may write`, set(t, t.alice, writable, times), toNow || nothing ? 'ok' : 'EPERM');
      t.gives(`${type}, ${what}: another who may not write`, set(t, t.alice, closed, times), nothing ? 'ok' : toNow ? 'EACCES' : 'EPERM');
    }
    t.gives(`${type}: root`, t.sys.utimensat(AT.FDCWD, closed, given, 0), 'ok');
  }
  const refused = t.file({ owner: t.bob, mode: 0o644 });
  t.stamps(
    { it: refused },
    () => {
      set(t, t.alice, refused, given);
      set(t, t.alice, refused, null);
    },
    { it: '!mtime !ctime' },
  );
  const grouped = t.file({ uid: t.bob.uid, gid: t.shared, mode: 0o664 });
  t.gives('no times: a member of a supplementary group that may write', set(t, t.alice, grouped, null), 'ok');
});

export const utimensatGroups: readonly Group[] = [...pathGroups(now), ...pathGroups(nofollow), values, links, rights];
