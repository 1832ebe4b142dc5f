/** stat, access, opendir and readdir, chdir: looking (POSIX XSH; stat(2), statx(2), access(2), getdents(2)). */
import fs from 'node:fs';
import path from 'node:path';
import { DT, type Entry, entriesOf, listing } from '../../support/status.js';
import { type PathCall, pathGroups } from './path.js';
import { AT, everyType, type Group, group, lstat, notLinks, O, ordinary, outcome, stat, type Test } from './test.js';

const looking = { subject: 'regular', changesParent: false, writes: false, follows: true } as const;
const result = (status: unknown): number => (typeof status === 'number' ? status : 0);
const calls: readonly PathCall[] = [
  { ...looking, name: 'stat', call: (sys, at) => result(stat(sys, at)) },
  { ...looking, name: 'lstat', follows: false, call: (sys, at) => result(lstat(sys, at)) },
  { ...looking, name: 'access', call: (sys, at) => sys.access(at, 0) },
  { ...looking, name: 'readlink', subject: 'symlink', follows: false, call: (sys, at) => sys.readlink(at, Buffer.alloc(64), 64) },
  { ...looking, name: 'statfs', call: (sys, at) => sys.statfs(at, Buffer.alloc(256)) },
];

const fields = group('stat: what it says', (t) => {
  for (const type of everyType) {
    const at = t.make(type, t.fresh(), { mode: 0o521, uid: 11, gid: 12, content: 'content' });
    const status = t.stat(at);
    t.equal(`${type}: type`, status.type, type);
    if (type !== 'symlink') t.mode(`${type}: mode`, status.mode, 0o521);
    t.equal(`${type}: owner and group`, `${status.uid}:${status.gid}`, '11:12');
    if (type !== 'directory') t.equal(`${type}: links`, status.nlink, 1);
    t.equal(`${type}: device`, status.dev, t.stat(t.base).dev);
    t.true(`${type}: an inode number`, status.ino > 0n);
    if (type === 'regular' || type === 'symlink') t.equal(`${type}: size`, status.size, 7);
    if (type === 'char' || type === 'block') t.equal(`${type}: numbers`, status.rdev, '1:3');
    t.equal(`${type}: the same again`, t.stat(at).ino, status.ino);
    const link = t.make('symlink', t.fresh(), { content: at });
    if (type !== 'symlink') t.equal(`${type}: through a symbolic link`, t.follow(link).ino, status.ino);
    t.equal(`${type}: lstat of that link`, t.stat(link).type, 'symlink');
    if (type !== 'socket' && type !== 'symlink' && type !== 'char' && type !== 'block') {
      const fd = t.open(at, O.RDONLY | O.NONBLOCK);
      t.equal(`${type}: by descriptor`, `${t.fstat(fd).ino} ${t.fstat(fd).mode}`, `${status.ino} ${status.mode}`);
    }
    t.equal(`${type}: by an O_PATH descriptor`, t.fstat(t.open(at, O.PATH | O.NOFOLLOW)).ino, status.ino);
  }
  const inodes = new Set<bigint>();
  for (let n = 0; n < 100; n++) inodes.add(t.stat(t.file()).ino);
  t.equal('a hundred files have a hundred inode numbers', inodes.size, 100);
  const file = t.file({ content: 'x'.repeat(10000) });
  t.true('10000 bytes take blocks', t.stat(file).blocks * 512 >= 10000, String(t.stat(file).blocks));
  t.true('a block size to read by', t.stat(file).blksize >= 512, String(t.stat(file).blksize));
  const fd = t.open(file, O.RDWR);
  t.must('pwrite', t.sys.pwrite(fd, Buffer.from('y'), 1, 20000));
  t.equal('the size grows with a write', t.stat(file).size, 20001);
  t.equal('the size by descriptor', t.fstat(fd).size, 20001);
});

const reach = group('access: read, write, execute', (t) => {
  const classes: [name: string, shift: number, uid: number, gid: number][] = [
    ['owner', 6, t.alice.uid, 0],
    ['group', 3, 0, t.alice.gid],
    ['supplementary group', 3, 0, t.shared],
    ['others', 0, 0, 0],
  ];
  for (const type of ['regular', 'directory'] as const) {
    for (const [name, shift, uid, gid] of classes) {
      for (let bits = 0; bits <= 7; bits++) {
        const at = t.make(type, t.fresh(), { uid, gid, mode: bits << shift });
        for (let wanted = 1; wanted <= 7; wanted++) {
          t.gives(
            `${type}: ${name} with ${bits}, asked for ${wanted}`,
            t.as(t.alice, () => t.sys.access(at, wanted)),
            (bits & wanted) === wanted ? 'ok' : 'EACCES',
          );
        }
        t.gives(
          `${type}: ${name} with ${bits}, asked for its being there`,
          t.as(t.alice, () => t.sys.access(at, 0)),
          'ok',
        );
      }
    }
  }
  const plain = t.file({ mode: 0o644 });
  t.gives('root reads and writes', t.sys.access(plain, 6), 'ok');
  t.gives('EACCES: root does not execute what nobody may', t.sys.access(plain, 1), 'EACCES');
  t.gives('root executes what somebody may', t.sys.access(t.file({ mode: 0o001 }), 1), 'ok');
  t.gives('root searches any directory', t.sys.access(t.dir(0), 7), 'ok');
  t.gives('EINVAL for other bits', t.sys.access(plain, 8), 'EINVAL');
  t.gives(
    'faccessat by the effective ids',
    t.as(t.alice, () => t.sys.faccessat(AT.FDCWD, plain, 4, AT.EACCESS)),
    'ok',
  );
  t.gives(
    'faccessat EACCES by the effective ids',
    t.as(t.alice, () => t.sys.faccessat(AT.FDCWD, plain, 2, AT.EACCESS)),
    'EACCES',
  );
});

function entries(t: Test, at: string, size?: number): Entry[] {
  const fd = t.open(at, O.RDONLY | O.DIRECTORY);
  const all = listing(t.sys, fd, size);
  t.close(fd);
  if (typeof all === 'number') {
    t.gives(`getdents of ${path.basename(at)}`, all, 'ok');
    return [];
  }
  return all;
}

const names = (list: readonly Entry[]): string[] =>
  list
    .map(({ name }) => name)
    .filter((name) => name !== '.' && name !== '..')
    .sort();

const reading = group('readdir: entries', (t) => {
  const directory = t.dir();
  for (const type of everyType) t.make(type, path.join(directory, `a ${type}`));
  const all = entries(t, directory);
  t.equal(
    'every name once',
    names(all).join(),
    everyType
      .map((type) => `a ${type}`)
      .sort()
      .join(),
  );
  t.equal('"." and ".." once each', all.filter(({ name }) => name === '.' || name === '..').length, 2);
  for (const type of everyType) {
    const entry = all.find(({ name }) => name === `a ${type}`);
    t.true(`d_type of a ${type}, or unknown`, entry?.type === DT[type] || entry?.type === 0, String(entry?.type));
    t.equal(`d_ino of a ${type}`, entry?.ino ?? 0n, t.stat(path.join(directory, `a ${type}`)).ino);
  }
  t.equal('d_ino of "."', all.find(({ name }) => name === '.')?.ino ?? 0n, t.stat(directory).ino);
  t.equal('a new directory holds nothing', names(entries(t, t.dir())).length, 0);
  const fd = t.open(directory, O.RDONLY | O.DIRECTORY);
  t.must('getdents', result(listing(t.sys, fd)));
  t.equal('after the end comes nothing', t.sys.getdents64(fd, Buffer.alloc(1024), 1024), 0);
  t.make('regular', path.join(directory, 'late'));
  t.gives('rewound', t.sys.lseek(fd, 0, 0), 'ok');
  const again = listing(t.sys, fd);
  t.true('a name made since is seen after rewinding', typeof again !== 'number' && names(again).includes('late'));
  t.must('unlink', t.real.unlink(path.join(directory, 'late')));
  t.must('lseek', t.sys.lseek(fd, 0, 0));
  const third = listing(t.sys, fd);
  t.true('a name removed since is not', typeof third !== 'number' && !names(third).includes('late'));
  for (const [what, change, there] of [
    ['made', () => t.sys.mkdir(path.join(directory, 'since'), 0o755), true],
    ['moved there', () => t.sys.rename(t.file(), path.join(directory, 'moved')), true],
    ['linked', () => t.sys.link(path.join(directory, 'moved'), path.join(directory, 'linked')), true],
    ['removed', () => t.sys.unlink(path.join(directory, 'moved')), false],
  ] as const) {
    const kept = t.open(directory, O.RDONLY | O.DIRECTORY);
    t.gives(`what is ${what} after the directory was opened`, change(), 'ok');
    const name = what === 'made' ? 'since' : what === 'linked' ? 'linked' : 'moved';
    const list = listing(t.sys, kept);
    t.equal(`what is ${what} is so when it is first listed`, typeof list !== 'number' && names(list).includes(name), there);
    t.close(kept);
  }
  t.gives('ENOTDIR for a file', t.sys.getdents64(t.open(t.file(), O.RDONLY), Buffer.alloc(1024), 1024), 'ENOTDIR');
  t.gives('EBADF', t.sys.getdents64(9999, Buffer.alloc(1024), 1024), 'EBADF');
  t.gives('EINVAL for a buffer too small for any entry', t.sys.getdents64(t.open(directory, O.RDONLY), Buffer.alloc(8), 8), 'EINVAL');
  const removed = t.dir();
  const gone = t.open(removed, O.RDONLY);
  t.must('rmdir', t.real.rmdir(removed));
  t.equal(
    'ENOENT, or nothing, in a directory that was removed',
    ['ENOENT', 'ok'].includes(outcome(t.sys.getdents64(gone, Buffer.alloc(1024), 1024))),
    true,
  );
  t.opens(
    'EACCES without read permission',
    t.as(t.alice, () => t.sys.open(t.dir(0o711), O.RDONLY | O.DIRECTORY, 0)),
    'EACCES',
  );
});

const many = ordinary('readdir: many entries', (t) => {
  const directory = t.dir();
  const made: string[] = [];
  for (let n = 0; n < 1500; n++) made.push(path.basename(t.make('regular', path.join(directory, `${'entry'.repeat(1 + (n % 40))}${n}`))));
  made.sort();
  for (const size of [512, 1024, 4096, 32768, 1 << 20])
    t.equal(`every name once in pieces of ${size}`, names(entries(t, directory, size)).join(), made.join());
  const fd = t.open(directory, O.RDONLY | O.DIRECTORY);
  const places: { at: bigint; next: string }[] = [];
  const all = listing(t.sys, fd, 2048);
  if (typeof all === 'number') return t.gives('getdents', all, 'ok');
  for (let n = 0; n + 1 < all.length; n += 97) places.push({ at: all[n]?.offset ?? 0n, next: all[n + 1]?.name ?? '' });
  let right = 0;
  for (const place of places.reverse()) {
    t.must('lseek', t.sys.lseek(fd, place.at, 0));
    const some = entriesOf(t.sys, fd, 2048);
    if (typeof some !== 'number' && some[0]?.name === place.next) right++;
  }
  t.equal('seeking to an entry’s offset goes on behind it', right, places.length);
  // Everything that stays must be seen once, whatever comes and goes meanwhile.
  t.must('lseek', t.sys.lseek(fd, 0, 0));
  const seen: string[] = [];
  for (let round = 0; ; round++) {
    const some = entriesOf(t.sys, fd, 1024);
    if (typeof some === 'number') return t.gives('getdents while it changes', some, 'ok');
    if (some.length === 0) break;
    seen.push(...names(some));
    if (round < 20) {
      t.make('regular', path.join(directory, `new${round}`));
      const victim = made[made.length - 1 - round];
      if (victim !== undefined) t.must('unlink', t.real.unlink(path.join(directory, victim)));
    }
  }
  const stayed = made.slice(0, made.length - 20);
  const counts = new Map<string, number>();
  for (const name of seen) counts.set(name, (counts.get(name) ?? 0) + 1);
  t.equal('nothing that stayed is missing', stayed.filter((name) => !counts.has(name)).length, 0);
  t.equal('nothing is seen twice', [...counts.values()].filter((count) => count > 1).length, 0);
});

const directories = group('chdir and permissions of directories', (t) => {
  const here = process.cwd();
  try {
    const directory = t.dir();
    t.make('regular', path.join(directory, 'inside'));
    t.gives('chdir', t.sys.chdir(directory), 'ok');
    t.equal('relative names are found there', t.lstatOutcome('inside'), 'ok');
    t.equal('getcwd', fs.readlinkSync('/proc/self/cwd'), fs.realpathSync(directory));
    const moved = t.fresh();
    t.must('rename', t.real.rename(directory, moved));
    t.equal('after the directory was renamed as well', t.lstatOutcome('inside'), 'ok');
    t.equal('getcwd follows', fs.readlinkSync('/proc/self/cwd'), fs.realpathSync(moved));
    t.gives('ENOTDIR', t.sys.chdir(t.file()), 'ENOTDIR');
    t.gives('ENOENT', t.sys.chdir(t.fresh()), 'ENOENT');
    t.gives(
      'EACCES without search permission',
      t.as(t.alice, () => t.sys.chdir(t.dir(0o766))),
      'EACCES',
    );
    t.gives(
      'with search permission alone',
      t.as(t.alice, () => t.sys.chdir(t.dir(0o711))),
      'ok',
    );
    const fd = t.open(moved, O.RDONLY | O.DIRECTORY);
    t.gives('fchdir', t.sys.fchdir(fd), 'ok');
    t.gives('fchdir ENOTDIR', t.sys.fchdir(t.open(path.join(moved, 'inside'), O.RDONLY)), 'ENOTDIR');
    t.gives('fchdir EBADF', t.sys.fchdir(9999), 'EBADF');
    const removed = t.dir();
    t.must('chdir', t.sys.chdir(removed));
    t.must('rmdir', t.real.rmdir(removed));
    t.equal('in a directory that was removed nothing is found', t.lstatOutcome('inside'), 'ENOENT');
    t.opens('and nothing made', t.sys.open('new', O.CREAT | O.WRONLY, 0o644), 'ENOENT');
    t.gives('"." is still there', result(stat(t.sys, '.')), 'ok');
  } finally {
    process.chdir(here);
  }
  for (const [what, mode, list, find, make] of [
    ['r', 0o744, 'ok', 'EACCES', 'EACCES'],
    ['w', 0o722, 'EACCES', 'EACCES', 'EACCES'],
    ['x', 0o711, 'EACCES', 'ok', 'EACCES'],
    ['rx', 0o755, 'ok', 'ok', 'EACCES'],
    ['wx', 0o733, 'EACCES', 'ok', 'ok'],
    ['rw', 0o766, 'ok', 'EACCES', 'EACCES'],
    ['rwx', 0o777, 'ok', 'ok', 'ok'],
    ['none', 0o700, 'EACCES', 'EACCES', 'EACCES'],
  ] as const) {
    const directory = t.dir(0o755);
    t.make('regular', path.join(directory, 'inside'));
    t.must('chmod', t.real.chmod(directory, mode));
    t.opens(
      `${what}: listing`,
      t.as(t.alice, () => t.sys.open(directory, O.RDONLY | O.DIRECTORY, 0)),
      list,
    );
    t.gives(
      `${what}: finding`,
      t.as(t.alice, () => result(lstat(t.sys, path.join(directory, 'inside')))),
      find,
    );
    t.gives(
      `${what}: making`,
      t.as(t.alice, () => t.sys.mkdir(path.join(directory, 'new'), 0o755)),
      make,
    );
    t.gives(
      `${what}: renaming`,
      t.as(t.alice, () => t.sys.rename(path.join(directory, 'inside'), path.join(directory, 'moved'))),
      make,
    );
    t.gives(
      `${what}: removing`,
      t.as(t.alice, () => t.sys.unlink(path.join(directory, make === 'ok' ? 'moved' : 'inside'))),
      make,
    );
  }
  for (const type of notLinks)
    t.equal(
      `stat needs no permission on a ${type} itself`,
      t.as(t.alice, () => outcome(result(lstat(t.sys, t.make(type, t.fresh(), { mode: 0 }))))),
      'ok',
    );
});

export const statusGroups: readonly Group[] = [...calls.flatMap(pathGroups), fields, reach, reading, many, directories];
