import { L_O_APPEND, L_O_EXCL, L_O_RDWR, L_O_WRONLY, LOCK_FLAGS_BLOCK, LOCK_SUCCESS, LOCK_TYPE_WRLCK } from '../../protocol/constants.js';
import { ErrnoError } from '../../protocol/error.js';
import { ALL, type Check, checks, L } from '../check.js';
import { same, that } from '../expect.js';
import { Unsupported } from '../outcome.js';
import { STRANGER } from '../trial.js';
import { replyOf } from '../wire.js';
import { pattern } from './io.js';
import { atOnce } from './locks.js';

function times<T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => make(index)));
}

export const concurrency: Check[] = checks(
  'concurrency',
  { source: 'intro(5): requests may be outstanding in any number', dialects: ALL },
  {
    'concurrency.reads': [
      'Sixty-four reads in flight each give their own bytes',
      async (t) => {
        const content = pattern(64 * 512);
        const file = await (await t.file(content)).open();
        const data = await times(64, (index) => file.read(index * 512, 512));
        same(Buffer.concat(data), content, 'the content');
      },
    ],
    'concurrency.writes': [
      'Sixty-four writes in flight each land in their own place',
      async (t) => {
        const content = pattern(64 * 512);
        const file = await (await t.file()).open(L_O_RDWR);
        await times(64, (index) => file.write(index * 512, content.subarray(index * 512, (index + 1) * 512)));
        same(await (await t.dir()).content('file'), content, 'the content');
      },
    ],
    'concurrency.reads-and-writes': [
      'Reads and writes of different places do not disturb each other',
      async (t) => {
        const content = pattern(32 * 1024);
        const file = await (await t.file(content)).open(L_O_RDWR);
        const half = 16 * 1024;
        const data = await times(32, async (index) => {
          if (index % 2 === 0) await file.write(half + index * 512, Buffer.alloc(512, index));
          return file.read((index % 32) * 512, 512);
        });
        same(Buffer.concat(data), content.subarray(0, half), 'the half that was only read');
      },
    ],
    'concurrency.walks': [
      'Walks in flight each reach their own file',
      async (t) => {
        const dir = await t.dir();
        for (let index = 0; index < 16; index++) await dir.make(`f${index}`, `content ${index}`);
        const contents = await times(48, async (index) => (await dir.content(`f${index % 16}`)).toString());
        same(
          contents,
          Array.from({ length: 48 }, (_, index) => `content ${index % 16}`),
          'the contents',
        );
      },
    ],
    'concurrency.creates': [
      'Creates in flight all come about',
      async (t) => {
        const dir = await t.dir();
        await times(32, (index) => dir.make(`f${String(index).padStart(2, '0')}`, `${index}`));
        same(
          await dir.names(),
          Array.from({ length: 32 }, (_, index) => `f${String(index).padStart(2, '0')}`),
          'what is there',
        );
      },
    ],
    'concurrency.exclusive': [
      'Of several exclusive creates of one name one comes about',
      async (t) => {
        const dir = await t.dir();
        const clones = await times(12, () => dir.clone());
        const made = await Promise.all(
          clones.map((fid) =>
            fid.create('one', L_O_RDWR | L_O_EXCL).then(
              () => 1,
              (error) => {
                if (!(error instanceof ErrnoError) || error.code !== 'EEXIST') throw error;
                return 0;
              },
            ),
          ),
        );
        same(made.filter(Boolean).length, 1, 'the number of creates that succeeded');
      },
      { source: 'open(2): O_EXCL', dialects: L },
    ],
    'concurrency.appends': [
      'Appends in flight are all there, each in one piece',
      async (t) => {
        const file = await t.file();
        const fids = await times(8, async () => (await file.clone()).open(L_O_WRONLY | L_O_APPEND));
        await Promise.all(fids.flatMap((fid, index) => [1, 2, 3].map(() => fid.write(0, Buffer.alloc(100, 65 + index)))));
        const content = await file.content();
        same(content.length, 2400, 'the size');
        for (let at = 0; at < content.length; at += 100) {
          that(new Set(content.subarray(at, at + 100)).size === 1, 'one append is torn by another');
        }
      },
      { source: 'open(2): O_APPEND', dialects: L },
    ],
    'concurrency.removes': [
      'Of several removes of one file one succeeds',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        const fids = await times(6, () => dir.walk('f'));
        const done = await Promise.all(
          fids.map((fid) =>
            fid.remove().then(
              () => 1,
              (error) => {
                if (!(error instanceof ErrnoError)) throw error;
                return 0;
              },
            ),
          ),
        );
        same(done.filter(Boolean).length, 1, 'the number of removes that succeeded');
        same(await dir.names(), [], 'what is there');
      },
    ],
    'concurrency.two-connections': [
      'Two connections may use the same fid numbers and tags',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'of f');
        await dir.make('g', 'of g');
        const other = await t.other();
        const there = await other.dir();
        const fid = other.claim(t.claim(STRANGER));
        await t.request('Twalk', { fid: dir.number, newfid: fid, wnames: ['f'] });
        await other.request('Twalk', { fid: there.number, newfid: fid, wnames: ['g'] });
        for (const [trial, content] of [
          [t, 'of f'],
          [other, 'of g'],
        ] as const) {
          if (dir.isL) await trial.request('Tlopen', { fid, flags: 0 });
          else await trial.request('Topen', { fid, mode: 0 });
          const { data } = await trial.request('Tread', { fid, offset: 0, count: 100 });
          same(Buffer.from(data), Buffer.from(content), 'what it reads');
          await trial.request('Tclunk', { fid });
        }
      },
      { source: 'intro(5): fids and tags are a connection’s own' },
    ],
    'concurrency.waiting-lock': [
      'A lock that waits holds up nothing else',
      async (t) => {
        const file = await t.file('content');
        const other = await (await file.clone()).open(L_O_RDWR);
        const one = await file.open(L_O_RDWR);
        const range = { type: LOCK_TYPE_WRLCK, start: 0, length: 0 };
        same(await one.lock(range), LOCK_SUCCESS, 'the status');
        const waiting = t.wire.post('Tlock', { fid: other.number, flags: LOCK_FLAGS_BLOCK, ...range, procId: 2, clientId: 'other' }).answer;
        const reads = t.soon(
          times(40, () => one.read(0, 7)),
          'reads wait for the lock',
        );
        for (const data of await reads) same(data, Buffer.from('content'), 'what it reads');
        const early = await atOnce(waiting, one);
        if (early !== undefined) {
          const { status } = replyOf('Tlock', early);
          throw new Unsupported(status === LOCK_SUCCESS ? 'locks do not conflict here' : 'a lock does not wait here');
        }
        await one.clunk();
        const { status } = replyOf('Tlock', await t.soon(waiting, 'the lock is not answered'));
        if (status !== LOCK_SUCCESS) throw new Unsupported('a lock does not wait here');
      },
      { source: 'flush(5), intro(5)', dialects: L },
    ],
    'concurrency.list-and-change': [
      'A directory can be listed while files come and go; those that stay are listed once',
      async (t) => {
        const dir = await t.dir();
        const names = Array.from({ length: 20 }, (_, index) => `stays-${String(index).padStart(2, '0')}`);
        for (const name of names) await dir.make(name);
        const churn = times(4, async (lane) => {
          for (let round = 0; round < 10; round++) {
            await dir.make(`goes-${lane}-${round}`);
            await (await dir.walk(`goes-${lane}-${round}`)).remove();
          }
        });
        churn.catch(() => undefined);
        const lists = await times(6, async () => {
          const fid = await (await dir.clone()).open();
          return (await fid.entries(400)).map(({ name }) => name);
        });
        await churn;
        for (const list of lists) same(list.filter((name) => name.startsWith('stays')).sort(), names, 'the names that stay');
      },
      { source: 'readdir(3p)' },
    ],
    'concurrency.rename-and-walk': [
      'Whoever walks while a name is replaced finds the old file or the new one, never none',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        const replace = (async () => {
          for (let round = 0; round < 20; round++) {
            await dir.make('next', 'content');
            await dir.renameat('next', dir, 'f');
          }
        })();
        const readers = times(4, async () => {
          for (let round = 0; round < 20; round++) same(await dir.content('f'), Buffer.from('content'), 'the content');
        });
        await Promise.all([replace, readers]);
      },
      { source: 'rename(2): there is no moment without it', dialects: L },
    ],
    'concurrency.clunk-while-reading': [
      'A fid clunked while reads of it are in flight: each is answered',
      async (t) => {
        const file = await (await t.file(pattern(30000))).open();
        const count = Math.min(30000, t.payload);
        const reads = Array.from({ length: 8 }, () => t.wire.post('Tread', { fid: file.number, offset: 0, count }).answer);
        await file.clunk();
        const names = (await t.soon(Promise.all(reads), 'not all reads are answered')).map(({ name }) => name);
        that(
          names.every((name) => name === 'Rread' || name === 'Rlerror' || name === 'Rerror'),
          `the answers are ${names.join(' ')}`,
        );
        await t.alive();
      },
    ],
  },
);
