import { DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_UNKNOWN, S_IFIFO } from '../../protocol/constants.js';
import type { DirectoryEntry } from '../../protocol/types.js';
import { ALL, type Check, checks } from '../check.js';
import { among, refused, same, that, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';

/** The least that any one entry needs. */
const ENOUGH = 279;

/** A directory of so many files, open, and their names in order. */
async function full(t: Trial, count: number): Promise<{ dir: Handle; names: string[] }> {
  const dir = await t.dir();
  const names = Array.from({ length: count }, (_, index) => `file-${String(index).padStart(3, '0')}`);
  for (const name of names) await dir.make(name);
  return { dir: await (await dir.clone()).open(), names };
}

function plain(entries: readonly DirectoryEntry[]): string[] {
  return entries
    .map(({ name }) => name)
    .filter((name) => name !== '.' && name !== '..')
    .sort();
}

async function entry(dir: Handle, name: string): Promise<DirectoryEntry> {
  const found = (await (await (await dir.clone()).open()).entries()).find((one) => one.name === name);
  that(found !== undefined, `${name} is not listed`);
  return found as DirectoryEntry;
}

export const readdir: Check[] = checks(
  'readdir',
  { source: '9P2000.L protocol description: readdir' },
  {
    'readdir.dots': [
      '"." and ".." are among the entries',
      async (t) => {
        const { dir } = await full(t, 1);
        const names = (await dir.entries()).map(({ name }) => name);
        that(names.includes('.') && names.includes('..'), `the entries are ${names.join(' ')}`);
      },
      { source: 'readdir(3); Linux v9fs makes none of its own' },
    ],
    'readdir.all': [
      'Every file is listed once',
      async (t) => {
        const { dir, names } = await full(t, 60);
        same(plain(await dir.entries()), names, 'the names');
      },
    ],
    'readdir.pieces': [
      'Every file is listed once when little is asked for at a time',
      async (t) => {
        const { dir, names } = await full(t, 40);
        same(plain(await dir.entries(ENOUGH)), names, 'the names');
      },
    ],
    'readdir.empty': [
      'An empty directory lists no files',
      async (t) => same(plain(await (await (await t.dir()).open()).entries()), [], 'the names'),
      { dialects: ALL },
    ],
    'readdir.end': [
      'After the last entry there are no bytes',
      async (t) => {
        const { dir } = await full(t, 3);
        const entries = await dir.entries();
        same((await dir.readdir(entries[entries.length - 1]?.offset ?? 0n, 4096)).length, 0, 'the number of entries');
      },
    ],
    'readdir.resume': [
      'A read from the cookie of any entry goes on after that entry',
      async (t) => {
        const { dir } = await full(t, 12);
        const all = await dir.entries();
        for (let index = all.length - 2; index >= 0; index -= 3) {
          const [next] = await dir.readdir((all[index] as DirectoryEntry).offset, 4096);
          same(next?.name, all[index + 1]?.name, `what follows entry ${index}`);
        }
      },
    ],
    'readdir.rewind': [
      'A read from offset 0 begins again',
      async (t) => {
        const { dir, names } = await full(t, 5);
        await dir.entries();
        same(plain(await dir.entries()), names, 'the names read again');
      },
    ],
    'readdir.cookies': [
      'No two entries have one cookie, and none has 0',
      async (t) => {
        const { dir } = await full(t, 30);
        const cookies = (await dir.entries()).map(({ offset }) => offset);
        same(new Set(cookies).size, cookies.length, 'the number of cookies');
        that(!cookies.includes(0n), 'one is 0');
      },
    ],
    'readdir.count': [
      'No more bytes come than were asked for',
      async (t) => {
        const { dir } = await full(t, 30);
        // The handle complains about more.
        for (const count of [ENOUGH, 300, 512]) that((await dir.readdir(0n, count)).length > 0, `no entries in ${count} bytes`);
      },
    ],
    'readdir.fills': [
      'As many entries come as fit, more or less',
      async (t) => {
        const { dir } = await full(t, 30);
        const entries = await dir.readdir(0n, 600);
        that(entries.length >= 5, `${entries.length} entries in 600 bytes`);
      },
    ],
    'readdir.tiny': [
      'Where not even one entry fits, the answer is empty or an error',
      async (t) => {
        const { dir } = await full(t, 2);
        const some = await unlessRefused(t.request('Treaddir', { fid: dir.number, offset: 0n, count: 20 }));
        that(some === undefined || some.data.length === 0, 'entries came');
      },
    ],
    'readdir.over': [
      'A count of more than a message holds gives an error or what fits',
      async (t) => {
        const { dir } = await full(t, 10);
        const some = await unlessRefused(t.request('Treaddir', { fid: dir.number, offset: 0n, count: 0x7fffffff }));
        that(some === undefined || some.data.length > 0, 'it gave no bytes: the end of the directory');
      },
    ],
    'readdir.qid': [
      'An entry has the qid that a walk there gives',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        await dir.mkdir('d');
        for (const name of ['f', 'd']) {
          const { qid } = await entry(dir, name);
          const walked = (await dir.walk(name)).qid;
          same([qid.type, qid.path], [walked.type, walked.path], `type and path of ${name}`);
        }
      },
    ],
    'readdir.type-known': [
      'An entry says what kind of file it is, or that it does not know',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        await dir.mkdir('d');
        await dir.symlink('l', 'f');
        await dir.mknod('p', S_IFIFO | 0o644);
        for (const [name, type] of [
          ['f', DT_REG],
          ['d', DT_DIR],
          ['l', DT_LNK],
          ['p', DT_FIFO],
        ] as const) {
          among((await entry(dir, name)).type, [type, DT_UNKNOWN], `the type of ${name}`);
        }
      },
      { source: 'readdir(3): d_type' },
    ],
    'readdir.new-seen': [
      'A file made while the directory is open is listed after a rewind',
      async (t) => {
        const { dir, names } = await full(t, 3);
        await dir.entries();
        await (await t.dir()).make('new');
        same(plain(await dir.entries()), [...names, 'new'], 'the names');
      },
      { source: 'readdir(3p)' },
    ],
    'readdir.removed-meanwhile': [
      'Removing what has been listed makes the rest neither vanish nor come twice',
      async (t) => {
        const { dir, names } = await full(t, 40);
        const there = await t.dir();
        const seen: string[] = [];
        for (let offset = 0n; ; ) {
          const some = await dir.readdir(offset, 400);
          if (some.length === 0) break;
          offset = (some[some.length - 1] as DirectoryEntry).offset;
          for (const name of plain(some)) {
            seen.push(name);
            await (await there.walk(name)).remove();
          }
          that(seen.length <= 80, 'the directory has no end');
        }
        same(seen.sort(), names, 'the names seen');
      },
      { source: 'readdir(3p): what is neither added nor removed is returned once' },
    ],
    'readdir.two-fids': [
      'Two fids of one directory do not disturb each other',
      async (t) => {
        const { dir, names } = await full(t, 20);
        const other = await (await t.dir()).open();
        const [first] = await dir.readdir(0n, 300);
        await other.entries(300);
        that(first !== undefined, 'no entries in 300 bytes');
        const rest: DirectoryEntry[] = [first as DirectoryEntry];
        for (;;) {
          const some = await dir.readdir((rest[rest.length - 1] as DirectoryEntry).offset, 300);
          if (some.length === 0) break;
          rest.push(...some);
        }
        same(plain(rest), names, 'the names');
      },
    ],
    'readdir.long-names': [
      'Names of 255 bytes are listed',
      async (t) => {
        const dir = await t.dir();
        const names = ['a', 'b', 'c'].map((letter) => letter.repeat(255));
        for (const name of names) await dir.make(name);
        same(plain(await (await dir.clone().then((fid) => fid.open())).entries(ENOUGH)), names, 'the names');
      },
      { source: 'NAME_MAX' },
    ],
    'readdir.file': ['A file cannot be listed', async (t) => refused((await (await t.file('content')).open()).readdir(0n, 4096))],
    'readdir.unopened': ['A directory that is not open cannot be listed', async (t) => refused((await t.dir()).readdir(0n, 4096))],
    'readdir.unknown-fid': [
      'A fid that is not there cannot be listed',
      (t) => refused(t.request('Treaddir', { fid: STRANGER, offset: 0n, count: 4096 })),
    ],
    'readdir.wild-cookie': [
      'A cookie that was never given out is answered, be it with an error or with entries',
      async (t) => {
        const { dir } = await full(t, 3);
        const answer = await t.wire.post('Treaddir', { fid: dir.number, offset: 0x7edc_ba98_7654_3210n, count: 4096 }).answer;
        that(answer.name === 'Rreaddir' || answer.name === 'Rlerror', `it answered ${answer.name}`);
        await t.alive();
      },
    ],
  },
);
