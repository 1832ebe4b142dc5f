import {
  L_O_EXCL,
  L_O_RDWR,
  L_O_TRUNC,
  L_O_WRONLY,
  QTDIR,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { octal, refused, same, that, unless } from '../expect.js';
import { STRANGER, type Trial } from '../trial.js';
import { badNames, each, oddNames } from './names.js';

const create_: Check[] = checks(
  'open/create',
  { source: 'open(5), create; 9P2000.L protocol description: lcreate', dialects: ALL },
  {
    'create.file': [
      'A new file is empty and in its directory',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file');
        same(await dir.names(), ['file'], 'what is there');
        same((await (await dir.walk('file')).info()).size, 0, 'the size');
      },
    ],
    'create.moves-fid': [
      'The fid is the new file afterwards, and no directory any more',
      async (t) => {
        const fid = await (await t.dir()).create('file');
        that((fid.qid.type & QTDIR) === 0, `qid.type is ${fid.qid.type}`);
        same(fid.qid.path, (await (await t.dir()).walk('file')).qid.path, 'the path');
        same((await fid.info()).isDirectory, false, 'whether its attributes are a directory’s');
      },
    ],
    'create.open': [
      'The new file is open as asked',
      async (t) => {
        const fid = await (await t.dir()).create('file', L_O_RDWR);
        same(await fid.write(0, 'content'), 7, 'the count written');
        same(await fid.read(), Buffer.from('content'), 'what it reads');
      },
    ],
    'create.open-write-only': [
      'A file created for writing cannot be read',
      async (t) => {
        const fid = await (await t.dir()).create('file', L_O_WRONLY);
        await refused(fid.read());
      },
    ],
    'create.mode': [
      'The permission bits are those asked for',
      async (t) => {
        const dir = await t.dir();
        for (const mode of [0o600, 0o644, 0o751]) {
          const fid = await (await dir.clone()).create(`m${mode}`, L_O_RDWR, mode);
          same(octal((await fid.info()).permissions), octal(mode), 'the mode');
        }
      },
    ],
    'create.mode-read-only': [
      'A file may be created without write permission and be open for writing',
      async (t) => {
        const fid = await (await t.dir()).create('file', L_O_RDWR, 0o444);
        same(await fid.write(0, 'x'), 1, 'the count written');
      },
      { source: 'open(2): the mode applies to later accesses' },
    ],
    'create.exclusive': [
      'With EXCL a name that is taken is refused: EEXIST',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file', 'content');
        await refused((await dir.clone()).create('file', L_O_RDWR | L_O_EXCL), 'EEXIST');
        same(await dir.content('file'), Buffer.from('content'), 'the content');
      },
      { source: '9P2000.L protocol description: lcreate; open(2): O_EXCL', dialects: L },
    ],
    'create.exclusive-new': [
      'With EXCL a new name is created',
      async (t) => void (await (await t.dir()).create('file', L_O_RDWR | L_O_EXCL)),
      { dialects: L },
    ],
    'create.existing': [
      'Without EXCL a file that is there is opened as it is',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file', 'content');
        const fid = await (await dir.clone()).create('file', L_O_RDWR);
        same(await fid.read(), Buffer.from('content'), 'what it reads');
        same(fid.qid.path, (await dir.walk('file')).qid.path, 'the path');
      },
      { source: 'open(2): O_CREAT', dialects: L },
    ],
    'create.existing-truncate': [
      'Without EXCL but with TRUNC a file that is there is emptied',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file', 'content');
        const fid = await (await dir.clone()).create('file', L_O_RDWR | L_O_TRUNC);
        same((await fid.info()).size, 0, 'the size');
      },
      { source: 'open(2): O_TRUNC', dialects: L },
    ],
    'create.over-directory': [
      'A directory of that name is not opened as a file',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d');
        await refused(dir.create('d', L_O_RDWR), 'EISDIR', 'EEXIST', 'EPERM', 'EINVAL');
      },
    ],
    'create.in-file': ['A file holds no files', async (t) => refused((await t.file()).create('x'), 'ENOTDIR', 'EINVAL', 'EPERM')],
    'create.open-fid': ['An open fid cannot create', async (t) => refused((await (await t.dir()).open()).create('file'))],
    'create.failed-kept': [
      'A fid whose create failed still is the directory',
      async (t) => {
        const dir = await t.dir();
        await dir.make('other');
        await refused(dir.create('a/b'));
        await dir.walk('other');
      },
    ],
    'create.unknown-fid': [
      'A fid that is not there cannot create',
      (t) => refused(t.request('Tlcreate', { fid: STRANGER, name: 'file', flags: L_O_RDWR, mode: 0o644, gid: t.gid })),
      { dialects: L },
    ],
    'create.gid': [
      'The file has the group asked for',
      async (t) => {
        const fid = await (await t.dir()).create('file');
        same((await fid.getattr()).gid, t.gid, 'the gid');
      },
      { dialects: L },
    ],
    'create.uid': [
      'The file belongs to whom the attach named',
      async (t) => {
        const fid = await (await t.dir()).create('file');
        same((await fid.getattr()).uid, t.ground.attach.uid, 'the uid');
      },
      { source: 'QEMU: n_uname owns what is created', dialects: L },
    ],
    ...each(badNames, 'create.name-', (name) => [
      'A name that no file can have is refused',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('a');
        await refused((await dir.clone()).create(name));
        same(await dir.names(), ['a'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
    ...each(oddNames, 'create.odd-name-', (name) => [
      'A name is any bytes but NUL and slash, and comes back as it was given',
      async (t) => {
        const dir = await t.dir();
        await dir.make(name, 'content');
        same(await dir.names(), [name], 'what is there');
        same(await dir.content(name), Buffer.from('content'), 'the content');
      },
      { source: 'open(2): a name is a sequence of bytes' },
    ]),
  },
);

const mkdir: Check[] = checks(
  'open/create',
  { source: '9P2000.L protocol description: mkdir; mkdir(2)', dialects: ALL },
  {
    'mkdir.qid': [
      'A new directory has the qid that the answer says',
      async (t) => {
        const dir = await t.dir();
        const qid = await dir.mkdir('d');
        that((qid.type & QTDIR) !== 0, `qid.type is ${qid.type}`);
        same((await dir.walk('d')).qid.path, qid.path, 'the path');
      },
    ],
    'mkdir.empty': [
      'A new directory is empty',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d');
        same(await (await dir.walk('d')).names(), [], 'what is there');
      },
    ],
    'mkdir.mode': [
      'The permission bits are those asked for',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d', 0o751);
        same(octal((await (await dir.walk('d')).info()).permissions), octal(0o751), 'the mode');
      },
    ],
    'mkdir.sticky': [
      'The sticky bit is kept',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d', 0o1777);
        same(octal((await (await dir.walk('d')).getattr()).mode & 0o7777), octal(0o1777), 'the mode');
      },
      { dialects: L },
    ],
    'mkdir.exists': [
      'A name that is taken is refused: EEXIST',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d');
        await dir.make('f');
        await refused(dir.mkdir('d'), 'EEXIST');
        await refused(dir.mkdir('f'), 'EEXIST');
      },
      { dialects: L },
    ],
    'mkdir.in-file': ['A file holds no directories', async (t) => refused((await t.file()).mkdir('d'), 'ENOTDIR', 'EINVAL', 'EPERM')],
    'mkdir.keeps-fid': [
      'The fid stays the directory above, unopened',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d');
        await dir.walk('d');
        await dir.open();
      },
    ],
    'mkdir.links': [
      'A directory has one link more for each directory in it, or always one',
      async (t) => {
        const dir = await t.dir();
        const before = (await dir.getattr()).nlink;
        await dir.mkdir('d');
        const after = (await dir.getattr()).nlink;
        that(after === before + 1 || (before === 1 && after === 1), `nlink went from ${before} to ${after}`);
      },
      { source: 'inode(7); some file systems count no links of directories', dialects: L },
    ],
    'mkdir.unknown-fid': [
      'A fid that is not there makes no directory',
      (t) => refused(t.request('Tmkdir', { dfid: STRANGER, name: 'd', mode: 0o755, gid: t.gid })),
      { dialects: L },
    ],
    ...each(badNames, 'mkdir.name-', (name) => [
      'A name that no directory can have is refused',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('a');
        await refused(dir.mkdir(name));
        same(await dir.names(), ['a'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116', dialects: L },
    ]),
  },
);

async function made(t: Trial, mode: number, major = 0, minor = 0) {
  const dir = await t.dir();
  await unless(['EPERM', 'EACCES', 'EINVAL'], 'it cannot be made here', dir.mknod('node', mode | 0o640, major, minor));
  return (await dir.walk('node')).getattr();
}

const mknod: Check[] = checks(
  'open/create',
  { source: '9P2000.L protocol description: mknod; mknod(2)' },
  {
    ...each<[kind: number]>(
      [
        ['fifo', S_IFIFO],
        ['socket', S_IFSOCK],
        ['file', S_IFREG],
        ['char', S_IFCHR],
        ['block', S_IFBLK],
      ],
      'mknod.',
      (kind) => [
        'What is made is of the kind and has the permission bits asked for',
        async (t) => {
          const { mode } = await made(t, kind, 7, 3);
          same(octal(mode & S_IFMT), octal(kind), 'the kind');
          same(octal(mode & 0o7777), octal(0o640), 'the permission bits');
        },
      ],
    ),
    'mknod.rdev': [
      'A device has the numbers it was made with, in Linux’s encoding',
      async (t) => same((await made(t, S_IFCHR, 5, 300)).rdev, 0x10052cn, 'rdev'),
      { source: 'makedev(3)' },
    ],
    'mknod.exists': [
      'A name that is taken is refused: EEXIST',
      async (t) => {
        const dir = await t.dir();
        await dir.make('node');
        await refused(dir.mknod('node', S_IFIFO | 0o644), 'EEXIST');
      },
    ],
    'mknod.directory': [
      'A directory is not made by mknod',
      async (t) => refused((await t.dir()).mknod('node', 0o040755), 'EINVAL', 'EPERM', 'EOPNOTSUPP', 'EIO'),
    ],
    ...each(badNames, 'mknod.name-', (name) => [
      'A name that nothing can have is refused',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('a');
        await refused(dir.mknod(name, S_IFIFO | 0o644));
        same(await dir.names(), ['a'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

export const create: Check[] = [...create_, ...mkdir, ...mknod];
