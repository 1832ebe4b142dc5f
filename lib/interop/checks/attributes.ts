import type { AttributeChange } from '../../client/verbs.js';
import {
  GETATTR_BASIC,
  GETATTR_MODE,
  GETATTR_SIZE,
  L_O_RDWR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from '../../protocol/constants.js';
import type { Timespec } from '../../protocol/types.js';
import { type Check, checks } from '../check.js';
import { octal, refused, same, that, unless } from '../expect.js';
import { STRANGER, type Trial } from '../trial.js';
import { each } from './names.js';

const past: Timespec = { sec: 1_234_567_890, nsec: 0 };

/** Sets attributes of a new file and gives it back. */
async function changed(t: Trial, change: AttributeChange, content = '0123456789') {
  const file = await t.file(content);
  await unless('EPERM', 'not allowed', file.setattr(change));
  return file;
}

const getattr: Check[] = checks(
  'attributes',
  { source: '9P2000.L protocol description: getattr' },
  {
    'getattr.valid': [
      'The basic attributes are valid',
      async (t) => {
        const { valid } = await (await t.file()).getattr(GETATTR_BASIC);
        same(valid & GETATTR_BASIC, GETATTR_BASIC, 'the basic bits of valid');
      },
    ],
    'getattr.some': [
      'Who asks for some attributes gets those',
      async (t) => {
        const { valid, size, mode } = await (await t.file('12345')).getattr(GETATTR_MODE | GETATTR_SIZE);
        same(valid & (GETATTR_MODE | GETATTR_SIZE), GETATTR_MODE | GETATTR_SIZE, 'the bits asked for');
        same([size, octal(mode & S_IFMT)], [5, octal(S_IFREG)], 'size and kind');
      },
    ],
    'getattr.none': [
      'Who asks for nothing gets an answer with the qid',
      async (t) => {
        const file = await t.file();
        same((await file.getattr(0n)).qid.path, file.qid.path, 'the path');
      },
    ],
    ...each<[kind: number]>(
      [
        ['file', S_IFREG],
        ['directory', S_IFDIR],
        ['symlink', S_IFLNK],
        ['fifo', S_IFIFO],
      ],
      'getattr.kind-',
      (kind) => [
        'The mode says what kind of file it is',
        async (t) => {
          const dir = await t.dir();
          if (kind === S_IFREG) await dir.make('x');
          else if (kind === S_IFDIR) await dir.mkdir('x');
          else if (kind === S_IFLNK) await dir.symlink('x', 'target');
          else await dir.mknod('x', S_IFIFO | 0o644);
          same(octal((await (await dir.walk('x')).getattr()).mode & S_IFMT), octal(kind), 'the kind');
        },
        { source: 'inode(7)' },
      ],
    ),
    'getattr.size': ['The size is that of the content', async (t) => same((await (await t.file('12345')).getattr()).size, 5, 'the size')],
    'getattr.nlink': ['A new file has one link', async (t) => same((await (await t.file()).getattr()).nlink, 1, 'nlink')],
    'getattr.blocks': [
      'A file with content has blocks, of 512 bytes, and says how much to move at a time',
      async (t) => {
        const { blocks, blksize } = await (await t.file(Buffer.alloc(9000, 'x'))).getattr();
        that(blocks >= 1 && blocks * 512 <= 9000 + 1024 * 1024, `${blocks} blocks for 9000 bytes`);
        that(blksize >= 512, `blksize is ${blksize}`);
      },
      { source: 'stat(2)' },
    ],
    'getattr.times': [
      'The times of a new file are alike, and nanoseconds are fewer than a second’s',
      async (t) => {
        const { atime, mtime, ctime } = await (await t.file('x')).getattr();
        for (const { nsec } of [atime, mtime, ctime]) that(nsec < 1e9, `${nsec} nanoseconds`);
        that(
          Math.abs(mtime.sec - ctime.sec) <= 120 && Math.abs(atime.sec - mtime.sec) <= 120,
          `atime ${atime.sec}, mtime ${mtime.sec}, ctime ${ctime.sec}`,
        );
      },
    ],
    'getattr.open': [
      'An open fid has the attributes of its file',
      async (t) => {
        const file = await (await t.file()).open(L_O_RDWR);
        await file.write(0, '1234567');
        same((await file.getattr()).size, 7, 'the size');
      },
    ],
    'getattr.unlinked': [
      'An open file that was unlinked still has attributes, and no links',
      async (t) => {
        const file = await (await t.file('12345')).open(L_O_RDWR);
        await (await (await t.dir()).walk('file')).remove();
        const { size, nlink } = await file.getattr();
        same([size, nlink], [5, 0], 'size and nlink');
      },
      { source: 'fstat(2)' },
    ],
    'getattr.symlink-size': [
      'The size of a symbolic link is that of its target',
      async (t) => {
        const dir = await t.dir();
        await dir.symlink('s', 'twelve bytes');
        same((await (await dir.walk('s')).getattr()).size, 12, 'the size');
      },
      { source: 'lstat(2)' },
    ],
    'getattr.unknown-fid': [
      'A fid that is not there has no attributes',
      (t) => refused(t.request('Tgetattr', { fid: STRANGER, requestMask: GETATTR_BASIC })),
    ],
  },
);

const setattr: Check[] = checks(
  'attributes',
  { source: '9P2000.L protocol description: setattr' },
  {
    'setattr.mode': [
      'The permission bits become those given, and the kind of file stays',
      async (t) => {
        const file = await t.file();
        for (const mode of [0o600, 0o755, 0o444, 0]) {
          await file.setattr({ mode });
          same(octal((await file.getattr()).mode), octal(S_IFREG | mode), 'the mode');
        }
        await file.setattr({ mode: 0o644 });
      },
      { source: 'chmod(2)' },
    ],
    'setattr.mode-with-kind': [
      'Bits of the kind of file in the mode are taken as well',
      async (t) => same(octal((await (await changed(t, { mode: S_IFREG | 0o640 })).getattr()).mode), octal(S_IFREG | 0o640), 'the mode'),
      { source: 'Linux v9fs sends the whole of st_mode' },
    ],
    'setattr.mode-special': [
      'The set-user-ID, set-group-ID and sticky bits can be set',
      async (t) => same(octal((await (await changed(t, { mode: 0o7755 })).getattr()).mode & 0o7777), octal(0o7755), 'the mode'),
      { source: 'chmod(2)' },
    ],
    'setattr.mode-directory': [
      'The permission bits of a directory become those given, and it stays a directory',
      async (t) => {
        const dir = await t.dir();
        await dir.setattr({ mode: 0o1700 });
        same(octal((await dir.getattr()).mode), octal(S_IFDIR | 0o1700), 'the mode');
      },
      { source: 'chmod(2)' },
    ],
    'setattr.truncate': [
      'A smaller size cuts the file',
      async (t) => same(await (await changed(t, { size: 4 })).content(), Buffer.from('0123'), 'the content'),
      { source: 'truncate(2)' },
    ],
    'setattr.extend': [
      'A larger size makes it longer, with zeros',
      async (t) => same(await (await changed(t, { size: 13 })).content(), Buffer.from('0123456789\0\0\0'), 'the content'),
      { source: 'truncate(2)' },
    ],
    'setattr.extend-zeros': [
      'What was cut does not come back when the file grows again',
      async (t) => {
        const file = await changed(t, { size: 2 });
        await file.setattr({ size: 6 });
        same(await file.content(), Buffer.from('01\0\0\0\0'), 'the content');
      },
      { source: 'truncate(2)' },
    ],
    'setattr.truncate-open': [
      'The size can be changed through an open fid',
      async (t) => {
        const file = await (await t.file('0123456789')).open(L_O_RDWR);
        await file.setattr({ size: 3 });
        same(await file.read(), Buffer.from('012'), 'what it reads');
      },
      { source: 'ftruncate(2)' },
    ],
    'setattr.truncate-unlinked': [
      'The size of an open file can be changed after it was unlinked',
      async (t) => {
        const file = await (await t.file('0123456789')).open(L_O_RDWR);
        await (await (await t.dir()).walk('file')).remove();
        await file.setattr({ size: 3 });
        same(await file.read(), Buffer.from('012'), 'what it reads');
      },
      { source: 'ftruncate(2)' },
    ],
    'setattr.truncate-directory': [
      'A directory has no size to be set',
      async (t) => refused((await t.dir()).setattr({ size: 0 }), 'EISDIR', 'EINVAL', 'EPERM', 'EACCES', 'EBADF'),
      { source: 'truncate(2)' },
    ],
    'setattr.large-size': [
      'Sizes have 64 bits',
      async (t) => {
        const file = await t.file('x');
        await unless(['EFBIG', 'EINVAL', 'ENOSPC'], 'no such large files', file.setattr({ size: 5 * 2 ** 30 }));
        same((await file.getattr()).size, 5 * 2 ** 30, 'the size');
      },
    ],
    'setattr.mtime': [
      'The modification time becomes the one given',
      async (t) => same((await (await changed(t, { mtime: past })).getattr()).mtime.sec, past.sec, 'mtime'),
      { source: 'utimensat(2)' },
    ],
    'setattr.mtime-nsec': [
      'Times have nanoseconds, or at least a part of them',
      async (t) => {
        const { nsec } = (await (await changed(t, { mtime: { ...past, nsec: 123_456_789 } })).getattr()).mtime;
        that(nsec > 0 && nsec <= 123_456_789 && nsec >= 120_000_000, `${nsec} nanoseconds`);
      },
      { source: 'utimensat(2)' },
    ],
    'setattr.atime': [
      'The access time becomes the one given, and the modification time stays',
      async (t) => {
        const file = await t.file('x');
        await file.setattr({ mtime: { sec: 777_777_777, nsec: 0 } });
        await file.setattr({ atime: past });
        const { atime, mtime } = await file.getattr();
        same([atime.sec, mtime.sec], [past.sec, 777_777_777], 'atime and mtime');
      },
      { source: 'utimensat(2)' },
    ],
    'setattr.both-times': [
      'Both times can be set at once',
      async (t) => {
        const { atime, mtime } = await (await changed(t, { atime: past, mtime: { sec: 5, nsec: 0 } })).getattr();
        same([atime.sec, mtime.sec], [past.sec, 5], 'atime and mtime');
      },
    ],
    'setattr.mtime-now': [
      'A time without its SET bit means the server’s now',
      async (t) => {
        const file = await changed(t, { mtime: past });
        await file.setattr({ mtime: 'now' });
        const { mtime, ctime } = await file.getattr();
        that(mtime.sec > past.sec && Math.abs(mtime.sec - ctime.sec) <= 120, `mtime ${mtime.sec}, ctime ${ctime.sec}`);
      },
    ],
    'setattr.atime-now': [
      'An access time without its SET bit means the server’s now',
      async (t) => {
        const file = await changed(t, { atime: past });
        await file.setattr({ atime: 'now' });
        that((await file.getattr()).atime.sec > past.sec, 'atime is still the one set before');
      },
    ],
    'setattr.ctime': [
      'A change brings the change time up to date',
      async (t) => {
        const file = await changed(t, { mtime: past });
        that((await file.getattr()).ctime.sec > past.sec, 'ctime is the time that was set');
      },
      { source: 'inode(7)' },
    ],
    'setattr.ctime-alone': [
      'CTIME alone changes nothing else',
      async (t) => {
        const file = await t.file('x');
        const { mode, size, mtime, uid } = await file.getattr();
        await file.setattr({ ctime: true });
        const after = await file.getattr();
        same([after.mode, after.size, after.mtime, after.uid], [mode, size, mtime, uid], 'the attributes');
      },
    ],
    'setattr.nothing': [
      'Nothing valid is a change of nothing',
      async (t) => {
        const file = await t.file('x');
        const { mode, size, mtime } = await file.getattr();
        await file.setattr({});
        const after = await file.getattr();
        same([after.mode, after.size, after.mtime], [mode, size, mtime], 'the attributes');
      },
    ],
    'setattr.only-valid': [
      'Fields that are not valid are not looked at',
      async (t) => {
        const file = await t.file('0123456789');
        const zero = { sec: 0, nsec: 0 };
        await file.request('Tsetattr', { valid: 0x1, mode: 0o600, uid: 12345, gid: 12345, size: 0, atime: zero, mtime: zero });
        const { mode, size, uid, gid, atime, mtime } = await file.getattr();
        same(octal(mode & 0o7777), octal(0o600), 'the mode, which is valid,');
        that(
          size === 10 && uid !== 12345 && gid !== 12345 && atime.sec !== 0 && mtime.sec !== 0,
          `size ${size}, uid ${uid}, gid ${gid}, atime ${atime.sec}, mtime ${mtime.sec}`,
        );
      },
    ],
    'setattr.owner': [
      'Owner and group become those given',
      async (t) => {
        const { uid, gid } = await (await changed(t, { uid: 1234, gid: 2345 })).getattr();
        same([uid, gid], [1234, 2345], 'uid and gid');
      },
      { source: 'chown(2)' },
    ],
    'setattr.group-alone': [
      'The group alone can be changed',
      async (t) => {
        const file = await t.file();
        const { uid } = await file.getattr();
        await unless('EPERM', 'not allowed', file.setattr({ gid: 2345 }));
        const after = await file.getattr();
        same([after.uid, after.gid], [uid, 2345], 'uid and gid');
      },
      { source: 'chown(2)' },
    ],
    'setattr.owner-setuid': [
      'A change of owner takes the set-user-ID bit away',
      async (t) => {
        const file = await changed(t, { mode: 0o4755 });
        await unless('EPERM', 'not allowed', file.setattr({ uid: 1234 }));
        same(octal((await file.getattr()).mode & 0o7777), octal(0o755), 'the mode');
      },
      { source: 'chown(2)' },
    ],
    'setattr.several': [
      'Several attributes can be changed at once',
      async (t) => {
        const { mode, size, mtime } = await (await changed(t, { mode: 0o600, size: 3, mtime: past })).getattr();
        same([octal(mode & 0o7777), size, mtime.sec], [octal(0o600), 3, past.sec], 'mode, size and mtime');
      },
    ],
    'setattr.symlink-times': [
      'The times of a symbolic link are its own',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        await dir.symlink('s', 'f');
        const link = await dir.walk('s');
        await link.setattr({ mtime: past });
        same((await link.getattr()).mtime.sec, past.sec, 'mtime of the link');
        that((await (await dir.walk('f')).getattr()).mtime.sec !== past.sec, 'the target’s time was set');
      },
      { source: 'utimensat(2): AT_SYMLINK_NOFOLLOW' },
    ],
    'setattr.symlink-owner': [
      'The owner of a symbolic link is its own',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        await dir.symlink('s', 'f');
        const link = await dir.walk('s');
        await unless('EPERM', 'not allowed', link.setattr({ uid: 1234 }));
        same((await link.getattr()).uid, 1234, 'uid of the link');
        that((await (await dir.walk('f')).getattr()).uid !== 1234, 'the target’s owner was set');
      },
      { source: 'lchown(2)' },
    ],
    'setattr.unknown-fid': [
      'A fid that is not there has nothing to be changed',
      (t) => refused(t.request('Tsetattr', { fid: STRANGER, valid: 0, mode: 0, uid: 0, gid: 0, size: 0, atime: past, mtime: past })),
    ],
  },
);

export const attributes: Check[] = [...getattr, ...setattr];
