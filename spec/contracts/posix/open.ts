/** open, openat, creat (POSIX XSH open; open(2)). */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type PathCall, pathGroups } from './path.js';
import { everyType, type Group, group, notDirectories, O, ordinary, S } from './test.js';

const reading: PathCall = {
  name: 'open',
  subject: 'regular',
  changesParent: false,
  writes: false,
  follows: true,
  opens: true,
  call: (sys, at) => sys.open(at, O.RDONLY, 0),
};
const writing: PathCall = { ...reading, name: 'open for writing', writes: true, call: (sys, at) => sys.open(at, O.WRONLY, 0) };
const creating: PathCall = {
  ...reading,
  name: 'open with O_CREAT',
  subject: undefined,
  changesParent: true,
  writes: true,
  call: (sys, at) => sys.open(at, O.CREAT | O.RDWR, 0o644),
};
const exclusive: PathCall = {
  ...creating,
  name: 'open with O_CREAT and O_EXCL',
  follows: false,
  call: (sys, at) => sys.open(at, O.CREAT | O.EXCL | O.WRONLY, 0o644),
};
const directory: PathCall = {
  ...reading,
  name: 'open with O_DIRECTORY',
  subject: 'directory',
  call: (sys, at) => sys.open(at, O.RDONLY | O.DIRECTORY, 0),
};
const creat: PathCall = { ...creating, name: 'creat', call: (sys, at) => sys.creat(at, 0o644) };

const access = group('open: read and write permission', (t) => {
  const ways = [
    ['O_RDONLY', O.RDONLY, 0o4],
    ['O_WRONLY', O.WRONLY, 0o2],
    ['O_RDWR', O.RDWR, 0o6],
  ] as const;
  const classes: [name: string, shift: number, uid: number, gid: number][] = [
    ['owner', 6, t.alice.uid, 0],
    ['group', 3, 0, t.alice.gid],
    ['supplementary group', 3, 0, t.shared],
    ['others', 0, 0, 0],
  ];
  for (const [name, shift, uid, gid] of classes) {
    for (let bits = 0; bits <= 7; bits++) {
      for (const [way, flags, needed] of ways) {
        // The other classes have what this one lacks: only the first class that fits counts.
        const mode = (bits << shift) | (0o777 & ~(0o7 << shift) & (shift === 6 ? 0o077 : shift === 3 ? 0o707 : 0o770));
        const at = t.file({ uid, gid, mode });
        t.opens(
          `${name} with 0${bits}, ${way}`,
          t.as(t.alice, () => t.sys.open(at, flags, 0)),
          (bits & needed) === needed ? 'ok' : 'EACCES',
        );
        if (flags !== O.RDONLY && bits === 0o5) {
          t.opens(
            `${name} with 0${bits}, ${way} and O_TRUNC`,
            t.as(t.alice, () => t.sys.open(at, flags | O.TRUNC, 0)),
            'EACCES',
          );
        }
      }
    }
  }
  const closed = t.file({ owner: t.alice, mode: 0, content: 'closed' });
  t.opens('root opens a file without permissions', t.sys.open(closed, O.RDWR, 0), 'ok');
  t.opens(
    'O_RDONLY with O_TRUNC needs write permission',
    t.as(t.bob, () => t.sys.open(t.file({ owner: t.alice, mode: 0o444, content: 'x' }), O.RDONLY | O.TRUNC, 0)),
    'EACCES',
  );
  if (t.special) {
    const fifo = t.make('fifo', t.fresh(), { owner: t.alice, mode: 0o200 });
    t.opens(
      'EACCES for a FIFO one may not read',
      t.as(t.alice, () => t.sys.open(fifo, O.RDONLY | O.NONBLOCK, 0)),
      'EACCES',
    );
  }
  t.opens(
    'EACCES for a directory one may not read',
    t.as(t.alice, () => t.sys.open(t.dir(0o711), O.RDONLY | O.DIRECTORY, 0)),
    'EACCES',
  );
  const noatime = t.file({ owner: t.bob, mode: 0o666 });
  t.opens(
    'O_NOATIME EPERM for somebody else’s file',
    t.as(t.alice, () => t.sys.open(noatime, O.RDONLY | O.NOATIME, 0)),
    'EPERM',
  );
  t.opens(
    'O_NOATIME by the owner',
    t.as(t.bob, () => t.sys.open(noatime, O.RDONLY | O.NOATIME, 0)),
    'ok',
  );
});

const creation = group('open: O_CREAT', (t) => {
  for (const [mask, mode, want] of [
    [0, 0o755, 0o755],
    [0, 0o151, 0o151],
    [0, 0o777, 0o777],
    [0, 0, 0],
    [0o077, 0o151, 0o100],
    [0o070, 0o345, 0o305],
    [0o501, 0o345, 0o244],
    [0o022, 0o666, 0o644],
    [0, 0o4755, 0o4755],
    [0, 0o1644, 0o1644],
  ] as const) {
    const at = t.fresh();
    t.real.umask(mask);
    const fd = t.sys.open(at, O.CREAT | O.WRONLY, mode);
    t.real.umask(0);
    t.opens(`0${mode.toString(8)} under the mask 0${mask.toString(8)}`, fd, 'ok');
    t.mode(`mode of 0${mode.toString(8)} under the mask 0${mask.toString(8)}`, t.stat(at).mode, want);
    t.equal(
      `0${mode.toString(8)} under the mask 0${mask.toString(8)} is empty and regular`,
      `${t.stat(at).size} ${t.stat(at).type} ${t.stat(at).nlink}`,
      '0 regular 1',
    );
  }
  const parent = t.dir(0o777);
  const before = t.stat(parent).ctime;
  const at = path.join(parent, 'new');
  t.stamps({ 'the directory': parent }, () => t.opens('a new file', t.sys.open(at, O.CREAT | O.WRONLY, 0o600), 'ok'), {
    'the directory': 'mtime ctime',
  });
  const made = t.stat(at);
  for (const stamp of ['atime', 'mtime', 'ctime'] as const) t.later(`${stamp} of the new file`, made[stamp], before);
  t.stamps(
    { 'an existing file': at, 'its directory': parent },
    () => t.opens('an existing file', t.sys.open(at, O.CREAT | O.WRONLY, 0o777), 'ok'),
    {
      'an existing file': '!mtime !ctime',
      'its directory': '!mtime !ctime',
    },
  );
  t.mode('its mode stays', t.stat(at).mode, 0o600);
  for (const [name, mode] of [
    ['a mode without any permission', 0],
    ['a mode without write', 0o400],
    ['a mode without read', 0o200],
  ] as const) {
    const mine = path.join(parent, name);
    const fd = t.as(t.alice, () => t.sys.open(mine, O.CREAT | O.EXCL | O.RDWR, mode));
    t.gives(`${name} still gives a descriptor that writes`, fd < 0 ? fd : t.sys.write(fd, Buffer.from('abc'), 3), 'ok');
    const b = Buffer.alloc(3);
    t.gives(`${name} still gives a descriptor that reads`, fd < 0 ? fd : t.sys.pread(fd, b, 3, 0), 'ok');
    t.equal(`${name}: what was written`, b.toString(), 'abc');
    if (fd >= 0) t.real.close(fd);
    t.opens(
      `${name} keeps its owner from opening it again`,
      t.as(t.alice, () => t.sys.open(mine, O.RDWR, 0)),
      'EACCES',
    );
  }
  t.equal(
    'belongs to its maker',
    `${t.stat(path.join(parent, 'a mode without write')).uid}:${t.stat(path.join(parent, 'a mode without write')).gid}`,
    `${t.alice.uid}:${t.alice.gid}`,
  );
  const inheriting = t.dir(0o2777, { gid: t.bob.gid });
  const inherited = path.join(inheriting, 'x');
  t.opens(
    'in a set-group-ID directory',
    t.as(t.alice, () => t.sys.open(inherited, O.CREAT | O.WRONLY, 0o2755)),
    'ok',
  );
  t.equal('has the group of the directory', t.stat(inherited).gid, t.bob.gid);
  t.mode('S_ISGID is left out for a group one is not in', t.stat(inherited).mode, 0o755);
  const member = t.dir(0o2777, { gid: t.shared });
  t.opens(
    'in a set-group-ID directory of a supplementary group',
    t.as(t.alice, () => t.sys.open(path.join(member, 'x'), O.CREAT | O.WRONLY, 0o2755)),
    'ok',
  );
  t.mode('S_ISGID is kept for a group one is in', t.stat(path.join(member, 'x')).mode, 0o2755);

  const beyond = path.join(t.dir(), 'beyond');
  t.opens(
    'through a symbolic link to nothing',
    t.sys.open(t.make('symlink', t.fresh(), { content: beyond }), O.CREAT | O.WRONLY, 0o640),
    'ok',
  );
  t.mode('makes the target', t.stat(beyond).mode, 0o640);
  t.opens(
    'through a symbolic link into nothing',
    t.sys.open(t.make('symlink', t.fresh(), { content: `${beyond}-no/where` }), O.CREAT | O.WRONLY, 0o640),
    'ENOENT',
  );
  t.opens('EISDIR for a name with a trailing slash', t.sys.open(`${t.fresh()}/`, O.CREAT | O.WRONLY, 0o640), 'EISDIR');
  for (const type of everyType) {
    const taken = t.make(type, t.fresh());
    t.opens(`O_EXCL EEXIST for a ${type}`, t.sys.open(taken, O.CREAT | O.EXCL | O.RDWR | O.NONBLOCK, 0o644), 'EEXIST');
    const to = t.make('symlink', t.fresh(), { content: taken });
    t.opens(`O_EXCL EEXIST for a symbolic link to a ${type}`, t.sys.open(to, O.CREAT | O.EXCL | O.RDWR, 0o644), 'EEXIST');
  }
  t.opens(
    'O_EXCL EEXIST for a symbolic link to nothing',
    t.sys.open(t.make('symlink', t.fresh(), { content: 'nothing' }), O.CREAT | O.EXCL | O.RDWR, 0o644),
    'EEXIST',
  );
  t.opens(
    'O_EXCL EEXIST for a link to itself',
    t.sys.open(((self) => t.make('symlink', self, { content: self }))(t.fresh()), O.CREAT | O.EXCL | O.RDWR, 0o644),
    'EEXIST',
  );
});

const truncation = ordinary('open: O_TRUNC', (t) => {
  const at = t.file({ content: 'some content', mode: 0o640 });
  t.stamps({ 'the file': at }, () => t.opens('O_WRONLY', t.sys.open(at, O.WRONLY | O.TRUNC, 0), 'ok'), { 'the file': 'mtime ctime' });
  t.equal('no bytes are left', t.stat(at).size, 0);
  t.mode('the mode stays', t.stat(at).mode, 0o640);
  const second = t.file({ content: 'some content' });
  t.opens('O_RDWR with O_CREAT', t.sys.open(second, O.RDWR | O.CREAT | O.TRUNC, 0o777), 'ok');
  t.equal('no bytes are left then', t.stat(second).size, 0);
  const kept = t.file({ content: 'some content' });
  t.opens('without O_TRUNC', t.sys.open(kept, O.RDWR | O.CREAT, 0o777), 'ok');
  t.content('all bytes are left', kept, 'some content');
  const held = t.file({ content: 'some content' });
  const fd = t.open(held, O.RDWR);
  t.opens('while another descriptor is open', t.sys.open(held, O.WRONLY | O.TRUNC, 0), 'ok');
  t.equal('the other sees no bytes', t.fstat(fd).size, 0);
  t.equal('and reads none', t.sys.read(fd, Buffer.alloc(4), 4), 0);
  t.opens('creat of an existing file', t.sys.creat(kept, 0o600), 'ok');
  t.equal('creat truncates', t.stat(kept).size, 0);
  t.mode('creat keeps the mode', t.stat(kept).mode, 0o644);
  const wfd = t.must('creat', t.sys.creat(t.fresh(), 0o600));
  t.gives('EBADF: creat opens for writing only', t.sys.read(wfd, Buffer.alloc(1), 1), 'EBADF');
  t.real.close(wfd);
});

const typed = group('open: types of files', (t) => {
  const dir = t.dir();
  t.opens('a directory O_RDONLY', t.sys.open(dir, O.RDONLY, 0), 'ok');
  t.opens('EISDIR for a directory O_WRONLY', t.sys.open(dir, O.WRONLY, 0), 'EISDIR');
  t.opens('EISDIR for a directory O_RDWR', t.sys.open(dir, O.RDWR, 0), 'EISDIR');
  t.opens('EISDIR for a directory with O_TRUNC', t.sys.open(dir, O.RDONLY | O.TRUNC, 0), 'EISDIR');
  t.opens('EISDIR for a directory with O_CREAT', t.sys.open(dir, O.RDONLY | O.CREAT, 0o644), 'EISDIR');
  t.opens(
    'EISDIR for a directory O_WRONLY by an ordinary user',
    t.as(t.alice, () => t.sys.open(t.dir(0o777), O.WRONLY, 0)),
    'EISDIR',
  );
  for (const type of notDirectories) {
    const at = t.make(type, t.fresh(), { content: 'nothing' });
    t.opens(`ENOTDIR for a ${type} with O_DIRECTORY`, t.sys.open(at, O.RDONLY | O.DIRECTORY | O.NOFOLLOW, 0), 'ENOTDIR');
    t.opens(`ENOTDIR for a ${type} with a trailing slash`, t.sys.open(`${at}/`, O.RDONLY, 0), type === 'symlink' ? 'ENOENT' : 'ENOTDIR');
  }
  const link = t.make('symlink', t.fresh(), { content: dir });
  t.opens('O_DIRECTORY through a symbolic link', t.sys.open(link, O.RDONLY | O.DIRECTORY, 0), 'ok');
  for (const type of everyType) {
    const to = t.make('symlink', t.fresh(), { content: t.make(type, t.fresh()) });
    t.opens(`O_NOFOLLOW ELOOP for a symbolic link to a ${type}`, t.sys.open(to, O.RDONLY | O.NOFOLLOW | O.NONBLOCK, 0), 'ELOOP');
  }
  t.opens('O_NOFOLLOW for a regular file', t.sys.open(t.file(), O.RDONLY | O.NOFOLLOW, 0), 'ok');
  t.opens(
    'O_NOFOLLOW follows links in the prefix',
    t.sys.open(path.join(link, path.basename(t.make('regular', path.join(dir, 'in')))), O.RDONLY | O.NOFOLLOW, 0),
    'ok',
  );
  if (t.special) t.opens('ENXIO for a socket', t.sys.open(t.make('socket', t.fresh()), O.RDWR, 0), 'ENXIO');
  if (t.special) t.opens('ENXIO for a FIFO without a reader', t.sys.open(t.make('fifo', t.fresh()), O.WRONLY | O.NONBLOCK, 0), 'ENXIO');
  if (t.special) t.opens('a FIFO for reading without blocking', t.sys.open(t.make('fifo', t.fresh()), O.RDONLY | O.NONBLOCK, 0), 'ok');
  if (t.special) {
    const nothing = t.fresh();
    t.must('mknod', t.real.mknod(nothing, S.IFCHR | 0o600, (250n << 8n) | 77n));
    t.opens('ENXIO for a device that does not exist', t.sys.open(nothing, O.RDWR, 0), ['ENXIO', 'ENODEV', 'EACCES']);
  }
  const pathOnly = t.open(t.file({ content: 'x', mode: 0 }), O.PATH);
  t.gives('EBADF: O_PATH does not read', t.sys.read(pathOnly, Buffer.alloc(1), 1), 'EBADF');
  t.equal('O_PATH answers fstat', t.fstat(pathOnly).size, 1);
  t.equal('O_PATH with O_NOFOLLOW names the link itself', t.fstat(t.open(link, O.PATH | O.NOFOLLOW)).type, 'symlink');
});

const descriptors = ordinary('open: what a descriptor may do', (t) => {
  const at = t.file({ content: 'content' });
  const b = Buffer.alloc(4);
  const r = t.open(at, O.RDONLY);
  const w = t.open(at, O.WRONLY);
  t.gives('EBADF for writing to O_RDONLY', t.sys.write(r, b, 1), 'EBADF');
  t.gives('EBADF for reading from O_WRONLY', t.sys.read(w, b, 1), 'EBADF');
  t.gives('reading from O_RDONLY', t.sys.read(r, b, 4), 'ok');
  t.gives('writing to O_WRONLY', t.sys.write(w, Buffer.from('C'), 1), 'ok');
  t.gives('ftruncate EINVAL on O_RDONLY', t.sys.ftruncate(r, 0), 'EINVAL');
  t.gives('EISDIR for reading a directory', t.sys.read(t.open(t.dir(), O.RDONLY), b, 4), 'EISDIR');
  t.equal('offsets start at 0', t.sys.lseek(t.open(at, O.RDONLY), 0, 1), 0);
  const closing = t.must('open', t.sys.open(at, O.RDONLY, 0));
  t.gives('close', t.sys.close(closing), 'ok');
  t.gives('EBADF for closing again', t.sys.close(closing), 'EBADF');
  t.gives('EBADF for reading from a closed descriptor', t.sys.read(closing, b, 1), 'EBADF');
  const dirfd = t.open(t.dir(), O.RDONLY | O.DIRECTORY);
  t.opens('openat makes', t.sys.openat(dirfd, 'inner', O.CREAT | O.EXCL | O.WRONLY, 0o600), 'ok');
  t.opens('openat opens', t.sys.openat(dirfd, 'inner', O.RDONLY, 0), 'ok');
  t.opens('openat of "."', t.sys.openat(dirfd, '.', O.RDONLY | O.DIRECTORY, 0), 'ok');
  t.opens('openat of ".."', t.sys.openat(dirfd, '..', O.RDONLY | O.DIRECTORY, 0), 'ok');
  t.opens('openat of an absolute path ignores the descriptor', t.sys.openat(9999, at, O.RDONLY, 0), 'ok');
  t.opens('openat EBADF', t.sys.openat(9999, 'inner', O.RDONLY, 0), 'EBADF');
  t.opens('openat ENOTDIR', t.sys.openat(r, 'inner', O.RDONLY, 0), 'ENOTDIR');
  t.opens('O_SYNC', t.sys.open(at, O.RDWR | O.SYNC, 0), 'ok');
  t.opens('O_DSYNC', t.sys.open(at, O.RDWR | O.DSYNC, 0), 'ok');
  t.opens('O_NONBLOCK is of no matter to a regular file', t.sys.open(at, O.RDWR | O.NONBLOCK, 0), 'ok');
  const cloexec = t.open(at, O.RDONLY | O.CLOEXEC);
  t.equal('O_CLOEXEC sets FD_CLOEXEC', t.sys.fcntl(cloexec, 1, 0), 1);
  t.equal('without it FD_CLOEXEC is clear', t.sys.fcntl(r, 1, 0), 0);
  t.equal('F_GETFL of O_APPEND and O_RDWR', t.sys.fcntl(t.open(at, O.RDWR | O.APPEND), 3, 0) & (O.APPEND | 3), O.APPEND | O.RDWR);
  const many: number[] = [];
  for (let n = 0; n < 200; n++) many.push(t.must('open', t.sys.open(at, O.RDONLY, 0)));
  t.equal('two hundred descriptors of one file differ', new Set(many).size, 200);
  for (const fd of many) t.real.close(fd);
});

const appending = ordinary('open: O_APPEND', (t) => {
  const at = t.file({ content: 'start.' });
  const a = t.open(at, O.WRONLY | O.APPEND);
  const b = t.open(at, O.RDWR | O.APPEND);
  t.equal('the first writes', t.sys.write(a, Buffer.from('one.'), 4), 4);
  t.equal('the second writes', t.sys.write(b, Buffer.from('two.'), 4), 4);
  t.equal('the first writes again', t.sys.write(a, Buffer.from('three.'), 6), 6);
  t.content('each at the end', at, 'start.one.two.three.');
  t.must('lseek', t.sys.lseek(b, 0, 0));
  t.equal('after lseek to the start', t.sys.write(b, Buffer.from('four.'), 5), 5);
  t.content('still at the end', at, 'start.one.two.three.four.');
  t.equal('the offset is the end then', t.sys.lseek(b, 0, 1), 25);
  t.must('lseek', t.sys.lseek(b, 0, 0));
  const bytes = Buffer.alloc(5);
  t.equal('reading follows the offset', t.sys.read(b, bytes, 5), 5);
  t.equal('what was read', bytes.toString(), 'start');
  t.gives('truncated by another', t.sys.truncate(at, 2), 'ok');
  t.equal('a write after that', t.sys.write(a, Buffer.from('!'), 1), 1);
  t.content('goes to the new end', at, 'st!');
  const plain = t.open(at, O.WRONLY);
  t.gives('F_SETFL O_APPEND', t.sys.fcntl(plain, 4, O.APPEND), 'ok');
  t.equal('a write after F_SETFL', t.sys.write(plain, Buffer.from('?'), 1), 1);
  t.content('goes to the end as well', at, 'st!?');
});

const busy = group(
  'open: ETXTBSY',
  async (t) => {
    const program = path.join(t.base, 'program');
    fs.copyFileSync('/bin/sleep', program);
    fs.chmodSync(program, 0o755);
    const child = spawn(program, ['600'], { stdio: 'ignore' });
    const exit = new Promise((resolve) => child.once('exit', resolve));
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    try {
      t.opens('for writing while the program runs', t.sys.open(program, O.WRONLY, 0), 'ETXTBSY');
      t.opens('for reading and writing', t.sys.open(program, O.RDWR, 0), 'ETXTBSY');
      t.opens('with O_TRUNC', t.sys.open(program, O.WRONLY | O.TRUNC, 0), 'ETXTBSY');
      t.gives('truncate', t.sys.truncate(program, 0), 'ETXTBSY');
      t.opens('for reading', t.sys.open(program, O.RDONLY, 0), 'ok');
      t.gives('chmod', t.sys.chmod(program, 0o700), 'ok');
      t.gives('rename', t.sys.rename(program, `${program}-moved`), 'ok');
      t.gives('unlink', t.sys.unlink(`${program}-moved`), 'ok');
    } finally {
      child.kill('SIGKILL');
      await exit;
    }
    fs.copyFileSync('/bin/true', program);
    fs.chmodSync(program, 0o755);
    const writer = t.open(program, O.WRONLY);
    const refused = await outcomeOf(program);
    t.equal('a program somebody has open for writing does not start', refused, 'ETXTBSY');
    t.close(writer);
    t.equal('it starts once that is closed', await outcomeOf(program), '0');
    fs.chmodSync(program, 0o644);
    t.equal('EACCES without execute permission, for root as well', await outcomeOf(program), 'EACCES');
  },
  ['program'],
);

function outcomeOf(program: string): Promise<string> {
  return new Promise((resolve) => {
    try {
      const child = spawn(program, [], { stdio: 'ignore' });
      child.once('exit', (code) => resolve(String(code)));
      child.once('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    } catch (error) {
      resolve(error instanceof Error && 'code' in error ? String(error.code) : String(error));
    }
  });
}

const temporary = ordinary('open: O_TMPFILE', (t) => {
  const parent = t.dir();
  const fd = t.sys.open(parent, O.TMPFILE | O.RDWR, 0o640);
  t.gives('a file without a name', fd, 'ok');
  if (fd < 0) return;
  t.equal('it has no links', t.fstat(fd).nlink, 0);
  t.equal('it holds what is written', t.sys.write(fd, Buffer.from('abc'), 3), 3);
  t.gives('it can be given a name', t.sys.linkat(fd, '', -100, path.join(parent, 'named'), 0x1000), 'ok');
  t.content('under which it is found', path.join(parent, 'named'), 'abc');
  t.real.close(fd);
});

export const openGroups: readonly Group[] = [
  ...[reading, writing, creating, exclusive, directory, creat].flatMap(pathGroups),
  access,
  creation,
  truncation,
  typed,
  descriptors,
  appending,
  busy,
  temporary,
];
