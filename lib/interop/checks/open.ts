import {
  L_O_APPEND,
  L_O_DIRECTORY,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_TRUNC,
  L_O_WRONLY,
  QTDIR,
  S_IFCHR,
  S_IFIFO,
  S_IFSOCK,
  VERSION_L,
} from '../../protocol/constants.js';
import { ALL, type Check, checks, L, U } from '../check.js';
import { refused, same, that, unless } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';
import { each } from './names.js';

const linux = { source: '9P2000.L protocol description: lopen; open(2)', dialects: L };

/** A fifo, socket or device must be answered at once, and not with an open file of the host's. */
async function special(t: Trial, mode: number, flags: number): Promise<void> {
  const dir = await t.dir();
  const made = dir.mknod('special', mode | 0o644, 1, 3);
  await unless(['EPERM', 'EACCES', 'EINVAL', 'ENXIO'], 'cannot be made here', made);
  const attempt = (await dir.walk('special')).open(flags);
  await t.soon(refused(attempt, 'ENXIO', 'EPERM', 'EACCES', 'EINVAL', 'EOPNOTSUPP', 'ENODEV'), 'Tlopen is not answered');
}

async function opened(t: Trial, flags: number, content = 'content'): Promise<Handle> {
  return (await t.file(content)).open(flags);
}

export const open: Check[] = checks(
  'open/create',
  { source: 'open(5)', dialects: ALL },
  {
    'open.qid': [
      'The qid of Ropen or Rlopen is that of the walk',
      async (t) => {
        const file = await t.file();
        const { qid } = await file.opened();
        same([qid.type, qid.path], [file.qid.type, file.qid.path], 'type and path');
      },
    ],
    'open.iounit': [
      'iounit is 0 or a count that one message can carry',
      async (t) => {
        const { iounit } = await (await t.file()).opened(L_O_RDWR);
        that(iounit <= t.payload, `iounit is ${iounit}, msize ${t.wire.msize}`);
      },
    ],
    'open.twice': [
      'An open fid cannot be opened again',
      async (t) => {
        const file = await opened(t, L_O_RDONLY);
        await refused(file.opened());
      },
    ],
    'open.twice-kept': [
      'A refused second open leaves the fid open as it was',
      async (t) => {
        const file = await opened(t, L_O_RDONLY);
        await refused(file.opened(L_O_RDWR));
        same(await file.read(), Buffer.from('content'), 'what it reads');
        await refused(file.write(0, 'x'));
      },
    ],
    'open.unknown-fid': [
      'A fid that is not there cannot be opened',
      async (t) => {
        const isL = t.wire.dialect === VERSION_L;
        await refused(isL ? t.request('Tlopen', { fid: STRANGER, flags: 0 }) : t.request('Topen', { fid: STRANGER, mode: 0 }));
      },
    ],
    'open.directory': ['A directory can be opened for reading', async (t) => void (await (await t.dir()).open())],
    'open.directory-write': [
      'A directory cannot be opened for writing',
      async (t) => {
        const dir = await t.dir();
        await refused(dir.opened(L_O_WRONLY), 'EISDIR', 'EPERM', 'EACCES', 'EINVAL');
        await refused((await t.dir()).opened(L_O_RDWR), 'EISDIR', 'EPERM', 'EACCES', 'EINVAL');
      },
    ],
    'open.read-only': [
      'A fid that is open for reading cannot be written',
      async (t) => {
        const file = await opened(t, L_O_RDONLY);
        await refused(file.write(0, 'x'));
        same(await (await t.dir()).content('file'), Buffer.from('content'), 'the content');
      },
    ],
    'open.write-only': ['A fid that is open for writing cannot be read', async (t) => refused((await opened(t, L_O_WRONLY)).read())],
    'open.read-write': [
      'A fid that is open for both can be read and written',
      async (t) => {
        const file = await opened(t, L_O_RDWR);
        await file.write(3, 'TENT');
        same(await file.read(), Buffer.from('conTENT'), 'the content');
      },
    ],
    'open.truncate': [
      'TRUNC empties the file',
      async (t) => {
        const file = await opened(t, L_O_WRONLY | L_O_TRUNC);
        same((await file.info()).size, 0, 'the size');
      },
    ],
    'open.truncate-writable': [
      'What is opened with TRUNC can be written from the start',
      async (t) => {
        const file = await opened(t, L_O_RDWR | L_O_TRUNC, 'long content');
        await file.write(0, 'short');
        same(await file.read(), Buffer.from('short'), 'the content');
      },
    ],
    'open.no-truncate': [
      'Without TRUNC the file stays as it is',
      async (t) => same((await (await opened(t, L_O_RDWR)).info()).size, 7, 'the size'),
    ],
    'open.append': [
      'With APPEND every write goes to the end, whatever its offset',
      async (t) => {
        const file = await opened(t, L_O_WRONLY | L_O_APPEND, 'one');
        await file.write(0, 'two');
        await file.write(1, 'three');
        same(await (await t.dir()).content('file'), Buffer.from('onetwothree'), 'the content');
      },
      { source: 'open(2): O_APPEND', dialects: [...L, ...U] },
    ],
    'open.failed-kept': [
      'A fid whose open failed is as it was',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file');
        await refused(dir.opened(L_O_WRONLY));
        await dir.walk('file');
        await dir.open();
      },
    ],
    'open.two-fids': [
      'One file may be open by several fids, each in its own way',
      async (t) => {
        const file = await t.file();
        const writer = await (await file.clone()).open(L_O_WRONLY);
        const reader = await file.open(L_O_RDONLY);
        await writer.write(0, 'seen');
        same(await reader.read(), Buffer.from('seen'), 'what the other reads');
        await refused(reader.write(0, 'x'));
      },
    ],
    'open.qid-type': [
      'The qid of an open directory says that it is one',
      async (t) => {
        const { qid } = await (await t.dir()).opened();
        that((qid.type & QTDIR) !== 0, `qid.type is ${qid.type}`);
      },
    ],
    'open.directory-flag': [
      'O_DIRECTORY refuses what is no directory',
      async (t) => refused((await t.file()).opened(L_O_DIRECTORY), 'ENOTDIR'),
      linux,
    ],
    'open.directory-flag-directory': [
      'O_DIRECTORY opens a directory',
      async (t) => {
        const dir = await (await t.dir()).open(L_O_DIRECTORY);
        await dir.readdir(0n, 4096);
      },
      linux,
    ],
    'open.unknown-flags': [
      'Flags that mean nothing here (LARGEFILE, CLOEXEC, NOATIME, NONBLOCK, NOFOLLOW) do not keep a file from being opened',
      async (t) => {
        const file = await opened(t, L_O_RDWR | 0o100000 | 0o2000000 | 0o1000000 | 0o4000 | 0o400000);
        same(await file.read(), Buffer.from('content'), 'the content');
      },
      { source: 'Linux v9fs passes the flags of open(2) on', dialects: L },
    ],
    'open.direct': [
      'O_DIRECT asks for no cache at the client, and the file is opened',
      async (t) => {
        const file = await opened(t, L_O_RDWR | 0o40000);
        same(await file.read(0, 7), Buffer.from('content'), 'the content');
      },
      { source: 'QEMU takes O_DIRECT out: how the server caches is not the client’s to say', dialects: L },
    ],
    'open.sync': [
      'O_SYNC and O_DSYNC open a file that can be written',
      async (t) => {
        const file = await opened(t, L_O_RDWR | 0o4000000 | 0o10000);
        same(await file.write(0, 'CONTENT'), 7, 'the count written');
      },
      linux,
    ],
    'open.symlink': [
      'A symbolic link cannot be opened, for the client follows it',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file', 'content');
        await dir.symlink('link', 'file');
        await refused((await dir.walk('link')).opened(), 'ELOOP', 'EINVAL', 'EPERM', 'EACCES', 'ENXIO');
      },
      { source: 'QEMU opens with O_NOFOLLOW; open(2)', dialects: L },
    ],
    'open.unlinked': [
      'An open file that was unlinked can be read and written as before',
      async (t) => {
        const dir = await t.dir();
        await dir.make('file', 'content');
        const file = await (await dir.walk('file')).open(L_O_RDWR);
        await (await dir.walk('file')).remove();
        same(await file.read(), Buffer.from('content'), 'what it reads');
        await file.write(7, '!');
        same(await file.read(), Buffer.from('content!'), 'what it reads after a write');
      },
      { source: 'unlink(2): it stays as long as it is open' },
    ],
    ...each<[flags: number, mode: number]>(
      [
        ['fifo-read', S_IFIFO, L_O_RDONLY],
        ['fifo-write', S_IFIFO, L_O_WRONLY],
        ['socket', S_IFSOCK, L_O_RDWR],
        ['device', S_IFCHR, L_O_RDWR],
      ],
      'open.',
      (mode, flags) => [
        'What is neither file nor directory is not opened on the server, and the refusal comes at once',
        (t) => special(t, mode, flags),
        { source: 'CVE-2023-2861: special files are the client’s to open', dialects: L },
      ],
    ),
  },
);
