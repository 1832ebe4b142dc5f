import { untouched } from '../../client/stat.js';
import { DMDEVICE, DMDIR, DMLINK, DMNAMEDPIPE, DMSETUID, DMSYMLINK, L_O_RDWR, QTDIR, QTSYMLINK } from '../../protocol/constants.js';
import type { LegacyStat } from '../../protocol/types.js';
import { type Check, checks, OLD, U } from '../check.js';
import { octal, refused, same, that, unless } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';

function wstat(fid: Handle, change: Partial<LegacyStat>): Promise<unknown> {
  return fid.request('Twstat', { stat: { ...untouched(), ...change } });
}

/** Tcreate through a clone, which is given back. */
async function create(dir: Handle, name: string, perm: number, extension = ''): Promise<Handle> {
  const fid = await dir.clone();
  fid.qid = (await fid.request('Tcreate', { name, perm: perm >>> 0, mode: 0, extension })).qid;
  return fid;
}

/** A directory with so many files, open, and their names. */
async function full(t: Trial, count: number): Promise<{ dir: Handle; names: string[] }> {
  const dir = await t.dir();
  const names = Array.from({ length: count }, (_, index) => `file-${String(index).padStart(3, '0')}`);
  for (const name of names) await dir.make(name);
  return { dir: await (await dir.clone()).open(), names };
}

const attributes: Check[] = checks(
  'attributes',
  { source: 'stat(5)', dialects: OLD },
  {
    'stat.fields': [
      'A stat has the name, size, qid and permission bits of the file',
      async (t) => {
        const file = await t.file('12345');
        const { name, length, qid, mode } = await file.stat();
        same([name, length, qid.path, octal(mode & 0o777)], ['file', 5, file.qid.path, octal(0o644)], 'name, length, path and mode');
      },
    ],
    'stat.size': [
      'The stat of Rstat stands behind its size in bytes, as its own size stands in it',
      async (t) => {
        const file = await t.file();
        const { frame } = await t.wire.post('Tstat', { fid: file.number }).answer;
        same((frame[7] ?? 0) | ((frame[8] ?? 0) << 8), frame.length - 9, 'the size');
      },
      { source: 'stat(5): stat[n]' },
    ],
    'stat.directory': [
      'The stat of a directory says that it is one',
      async (t) => {
        const { mode, qid } = await (await t.dir()).stat();
        that((mode & DMDIR) !== 0 && (qid.type & QTDIR) !== 0, `mode ${mode.toString(16)}, qid.type ${qid.type}`);
      },
    ],
    'stat.unknown-fid': ['A fid that is not there has no stat', (t) => refused(t.request('Tstat', { fid: STRANGER }))],
    'stat.open': [
      'An open fid has a stat too',
      async (t) => {
        const file = await (await t.file('12345')).open(L_O_RDWR);
        await file.write(5, '67');
        same((await file.stat()).length, 7, 'the length');
      },
    ],
    'stat.numbers': [
      'A stat has the numbers of owner and group',
      async (t) => {
        const { nUid, nGid } = await (await t.file()).stat();
        that(nUid !== 0xffffffff && nGid !== 0xffffffff, `n_uid ${nUid}, n_gid ${nGid}`);
      },
      { source: '9P2000.u: stat', dialects: U },
    ],
    'wstat.nothing': [
      'A stat of nothing but "leave it" changes nothing',
      async (t) => {
        const file = await t.file('12345');
        const before = await file.stat();
        await wstat(file, {});
        const after = await file.stat();
        same([after.name, after.length, after.mode, after.mtime], [before.name, 5, before.mode, before.mtime], 'the stat');
      },
    ],
    'wstat.sync': [
      'For an open file a stat of nothing but "leave it" asks for stable storage, and is answered',
      async (t) => {
        const file = await (await t.file('12345')).open(L_O_RDWR);
        await t.soon(wstat(file, {}), 'Twstat is not answered');
      },
    ],
    'wstat.length': [
      'The length can be changed',
      async (t) => {
        const file = await t.file('0123456789');
        await wstat(file, { length: 4 });
        same(await file.content(), Buffer.from('0123'), 'the content');
      },
    ],
    'wstat.mode': [
      'The permission bits can be changed',
      async (t) => {
        const file = await t.file();
        await wstat(file, { mode: 0o600 });
        same(octal((await file.stat()).mode), octal(0o600), 'the mode');
      },
    ],
    'wstat.kind': [
      'What kind of file it is cannot be changed',
      async (t) => {
        const file = await t.file();
        await refused(wstat(file, { mode: (DMDIR | 0o755) >>> 0 }));
        same((await file.stat()).qid.type & QTDIR, 0, 'the directory bit');
      },
    ],
    'wstat.mtime': [
      'The modification time can be changed',
      async (t) => {
        const file = await t.file();
        await wstat(file, { mtime: 1_234_567_890 });
        same((await file.stat()).mtime, 1_234_567_890, 'mtime');
      },
    ],
    'wstat.name': [
      'The name can be changed',
      async (t) => {
        const file = await t.file('content');
        await wstat(file, { name: 'new' });
        same(await (await t.dir()).names(), ['new'], 'what is there');
        same((await file.stat()).name, 'new', 'what the fid’s stat says');
      },
    ],
    'wstat.name-slash': [
      'A name has no slash',
      async (t) => {
        const file = await t.file();
        await refused(wstat(file, { name: '../x' }));
        same(await (await t.dir()).names(), ['file'], 'what is there');
      },
    ],
    'wstat.owner': [
      'Owner and group can be changed by number',
      async (t) => {
        const file = await t.file();
        await unless('EPERM', 'not allowed', wstat(file, { nUid: 1234, nGid: 2345 }));
        const { nUid, nGid } = await file.stat();
        same([nUid, nGid], [1234, 2345], 'n_uid and n_gid');
      },
      { source: '9P2000.u: stat', dialects: U },
    ],
    'wstat.unknown-fid': [
      'A fid that is not there has nothing to be changed',
      (t) => refused(t.request('Twstat', { fid: STRANGER, stat: untouched() })),
    ],
  },
);

const directories: Check[] = checks(
  'readdir',
  { source: 'read(5): directories', dialects: OLD },
  {
    'dirread.all': [
      'Every file is listed once, as a stat',
      async (t) => {
        const { dir, names } = await full(t, 30);
        same(
          (await dir.entries())
            .map(({ name }) => name)
            .filter((name) => !/^\.\.?$/.test(name))
            .sort(),
          names,
          'the names',
        );
      },
    ],
    'dirread.whole': [
      'A read gives whole stats only, and no more than was asked for',
      async (t) => {
        const { dir, names } = await full(t, 30);
        // Decoding complains about a stat that is cut, the handle about too many bytes.
        same(
          (await dir.entries(500))
            .map(({ name }) => name)
            .filter((name) => !/^\.\.?$/.test(name))
            .sort(),
          names,
          'the names',
        );
      },
    ],
    'dirread.rewind': [
      'A read at offset 0 begins again',
      async (t) => {
        const { dir } = await full(t, 3);
        const first = await dir.entries();
        same(
          (await dir.entries()).map(({ name }) => name),
          first.map(({ name }) => name),
          'the names',
        );
      },
    ],
    'dirread.end': [
      'After the last stat there are no bytes',
      async (t) => {
        const { dir } = await full(t, 2);
        const { bytes } = await dir.readStats(0, 8000);
        same((await dir.readStats(bytes, 8000)).bytes, 0, 'the count');
      },
    ],
  },
);

const special: Check[] = checks(
  'links',
  { source: '9P2000.u: extensions', dialects: U },
  {
    'u.symlink': [
      'DMSYMLINK makes a link to what the extension says',
      async (t) => {
        const dir = await t.dir();
        await create(dir, 's', DMSYMLINK | 0o777, 'some/where');
        const link = await dir.walk('s');
        const { extension, mode } = await link.stat();
        same(extension, 'some/where', 'the extension');
        that((mode & DMSYMLINK) !== 0 && (link.qid.type & QTSYMLINK) !== 0, `mode ${mode.toString(16)}, qid.type ${link.qid.type}`);
      },
    ],
    'u.fifo': [
      'DMNAMEDPIPE makes a pipe',
      async (t) => {
        const dir = await t.dir();
        await create(dir, 'p', DMNAMEDPIPE | 0o640);
        const { mode } = await (await dir.walk('p')).stat();
        that((mode & DMNAMEDPIPE) !== 0, `mode is ${mode.toString(16)}`);
      },
    ],
    'u.device': [
      'DMDEVICE makes a device of the numbers in the extension',
      async (t) => {
        const dir = await t.dir();
        await unless(['EPERM', 'EACCES'], 'it cannot be made here', create(dir, 'c', DMDEVICE | 0o640, 'c 5 3'));
        const { mode, extension } = await (await dir.walk('c')).stat();
        that((mode & DMDEVICE) !== 0, `mode is ${mode.toString(16)}`);
        same(extension, 'c 5 3', 'the extension');
      },
    ],
    'u.link': [
      'DMLINK makes a name for the fid in the extension',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        const file = await dir.walk('f');
        await create(dir, 'g', DMLINK, String(file.number));
        same((await dir.walk('g')).qid.path, file.qid.path, 'the path');
      },
    ],
    'u.setuid': [
      'DMSETUID is kept',
      async (t) => {
        const file = await t.file();
        await wstat(file, { mode: DMSETUID | 0o755 });
        that(((await file.stat()).mode & DMSETUID) !== 0, 'it is not');
      },
    ],
    'u.error': [
      'An error has a text and a number',
      async (t) => {
        const dir = await t.dir();
        const { answer } = t.wire.post('Twalk', { fid: dir.number, newfid: t.newFid(), wnames: ['missing'] });
        const reply = await answer;
        if (reply.name !== 'Rerror') return that(false, `the answer is ${reply.name}`);
        that(reply.body.ename !== '', 'there is no text');
        return same(reply.body.errno, 2, 'the number');
      },
      { source: '9P2000.u: error' },
    ],
  },
);

export const stat: Check[] = [...attributes, ...directories, ...special];
