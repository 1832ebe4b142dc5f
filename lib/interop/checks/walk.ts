import { NOFID, QTSYMLINK } from '../../protocol/constants.js';
import { ALL, type Check, checks, L } from '../check.js';
import { refused, same, that, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import { Unsupported } from '../outcome.js';
import { STRANGER, type Trial } from '../trial.js';
import { replyOf } from '../wire.js';
import { badNames, each } from './names.js';

/** A directory that holds a/b/c, and a file f. */
async function tree(t: Trial): Promise<Handle> {
  const dir = await t.dir();
  await dir.mkdir('a');
  const a = await dir.walk('a');
  await a.mkdir('b');
  await (await a.walk('b')).make('c', 'content');
  await dir.make('f', 'file');
  return dir;
}

/** Twalk, whatever comes of it. */
function twalk(from: Handle, newfid: number, ...wnames: string[]) {
  return from.trial.request('Twalk', { fid: from.number, newfid, wnames });
}

/** The number must not be known to the server. */
async function unallocated(t: Trial, fid: number): Promise<void> {
  await refused(t.request('Twalk', { fid, newfid: t.newFid(), wnames: [] }));
}

/** A chain of so many directories below the check's own, and its names. */
async function chain(t: Trial, length: number): Promise<{ dir: Handle; names: string[] }> {
  const dir = await t.dir();
  const names = Array.from({ length }, (_, index) => `d${index}`);
  let at = dir;
  for (const name of names) {
    await at.mkdir(name);
    at = await at.walk(name);
  }
  return { dir, names };
}

export const walk: Check[] = checks(
  'walk',
  { source: 'walk(5)', dialects: ALL },
  {
    'walk.clone': [
      'A walk of no names makes newfid a second fid for the same file and answers no qids',
      async (t) => {
        const dir = await t.dir();
        const newfid = t.newFid();
        same((await twalk(dir, newfid)).wqids.length, 0, 'the number of qids');
        await t.request('Tclunk', { fid: dir.number });
        t.ended(dir.number);
        await t.request('Twalk', { fid: newfid, newfid: t.newFid(), wnames: [] });
      },
    ],
    'walk.clone-same-file': [
      'A clone is the same file',
      async (t) => {
        const file = await t.file('content');
        const clone = await file.clone();
        same(await clone.content(), Buffer.from('content'), 'the content');
      },
    ],
    'walk.one': [
      'A walk of one name answers its qid, which is that of its attributes',
      async (t) => {
        const dir = await tree(t);
        const file = await dir.walk('f');
        const qid = file.isL ? (await file.getattr()).qid : (await file.stat()).qid;
        same([file.qid.type, file.qid.path], [qid.type, qid.path], 'type and path');
      },
    ],
    'walk.several': [
      'A walk of several names answers the qid of each',
      async (t) => {
        const dir = await tree(t);
        const { wqids } = await twalk(dir, t.newFid(), 'a', 'b', 'c');
        const each = [await dir.walk('a'), await dir.walk('a', 'b'), await dir.walk('a', 'b', 'c')];
        same(
          wqids.map(({ path }) => path),
          each.map(({ qid }) => qid.path),
          'the paths',
        );
      },
    ],
    'walk.partial': [
      'A walk that fails after its first name answers the qids up to there, and no error',
      async (t) => {
        const dir = await tree(t);
        const { wqids } = await twalk(dir, t.newFid(), 'a', 'b', 'missing', 'd');
        same(wqids.length, 2, 'the number of qids');
      },
    ],
    'walk.partial-newfid': [
      'After a walk that went only part of the way there is no newfid',
      async (t) => {
        const dir = await tree(t);
        const newfid = t.newFid();
        that((await twalk(dir, newfid, 'a', 'missing')).wqids.length === 1, 'the walk was not partial');
        await unallocated(t, newfid);
      },
    ],
    'walk.partial-again': [
      'After a walk that went only part of the way newfid may be used again',
      async (t) => {
        const dir = await tree(t);
        const newfid = t.newFid();
        await twalk(dir, newfid, 'a', 'missing');
        same((await twalk(dir, newfid, 'a', 'b')).wqids.length, 2, 'the number of qids');
      },
    ],
    'walk.missing': [
      'A walk that fails at its first name is an error: ENOENT, in Rlerror (or, in the older dialects, Rerror)',
      async (t) => {
        const dir = await tree(t);
        const { answer } = t.wire.post('Twalk', { fid: dir.number, newfid: t.newFid(), wnames: ['missing'] });
        await refused(
          answer.then((reply) => replyOf('Twalk', reply)),
          'ENOENT',
        );
        const { frame } = await answer;
        same(frame[4], dir.isL ? 7 : 107, 'the type of the answer');
      },
    ],
    'walk.missing-newfid': [
      'A walk that fails at its first name makes no newfid',
      async (t) => {
        const dir = await tree(t);
        const newfid = t.newFid();
        await refused(twalk(dir, newfid, 'missing'));
        await unallocated(t, newfid);
      },
    ],
    'walk.missing-kept': [
      'A walk that fails leaves the fid where it was',
      async (t) => {
        const dir = await tree(t);
        await refused(twalk(dir, t.newFid(), 'missing'));
        await dir.walk('f');
      },
    ],
    'walk.16': [
      'Sixteen names are taken in one walk',
      async (t) => {
        const { dir, names } = await chain(t, 16);
        same((await twalk(dir, t.newFid(), ...names)).wqids.length, 16, 'the number of qids');
      },
    ],
    'walk.17': [
      'Seventeen names are refused with an error',
      async (t) => {
        const dir = await t.dir();
        const body = Buffer.alloc(10 + 17 * 3);
        body.writeUInt32LE(dir.number, 0);
        body.writeUInt32LE(t.newFid(), 4);
        body.writeUInt16LE(17, 8);
        for (let at = 10; at < body.length; at += 3) body.write('\x01\0.', at, 'latin1');
        const tag = t.wire.newTag();
        const head = Buffer.alloc(7);
        head.writeUInt32LE(7 + body.length);
        head.writeUInt8(110, 4);
        head.writeUInt16LE(tag, 5);
        const answer = await t.wire.postRaw(Buffer.concat([head, body]), tag, 'Twalk');
        that(answer.name === 'Rlerror' || answer.name === 'Rerror', `it answered ${answer.name}`);
      },
    ],
    'walk.unknown-fid': [
      'A walk from a fid that is not there is refused',
      (t) => refused(t.request('Twalk', { fid: STRANGER, newfid: t.newFid(), wnames: [] })),
    ],
    'walk.newfid-in-use': [
      'A newfid that is in use is refused',
      async (t) => {
        const [dir, other] = [await tree(t), await t.root()];
        await refused(twalk(dir, other.number, 'f'));
      },
    ],
    'walk.newfid-in-use-kept': [
      'A newfid that is in use stays what it was',
      async (t) => {
        const dir = await tree(t);
        const file = await dir.walk('f');
        await refused(twalk(dir, file.number, 'a'));
        same(await file.content(), Buffer.from('file'), 'its content');
      },
    ],
    'walk.nofid': [
      'NOFID is no newfid',
      async (t) => refused(twalk(await t.dir(), t.claim(NOFID))),
      { source: 'intro(5): NOFID stands for no fid' },
    ],
    'walk.same-fid': [
      'newfid may be the fid itself, which then is the file reached',
      async (t) => {
        const dir = await tree(t);
        await twalk(dir, dir.number, 'a', 'b');
        same(await dir.names(), ['c'], 'what is there');
      },
    ],
    'walk.same-fid-missing': [
      'If newfid is the fid itself and the walk fails, the fid stays where it was',
      async (t) => {
        const dir = await tree(t);
        await refused(twalk(dir, dir.number, 'missing'));
        await dir.walk('f');
      },
    ],
    'walk.same-fid-partial': [
      'If newfid is the fid itself and the walk goes part of the way, the fid stays where it was',
      async (t) => {
        const dir = await tree(t);
        same((await twalk(dir, dir.number, 'a', 'missing')).wqids.length, 1, 'the number of qids');
        await dir.walk('f');
      },
    ],
    'walk.same-fid-open': [
      'An open fid cannot walk itself elsewhere',
      async (t) => {
        const dir = await (await tree(t)).open();
        await refused(twalk(dir, dir.number, 'a'));
      },
    ],
    'walk.dotdot': [
      '".." is the directory above',
      async (t) => {
        const dir = await tree(t);
        const b = await dir.walk('a', 'b');
        same((await b.walk('..')).qid.path, (await dir.walk('a')).qid.path, 'the path');
      },
    ],
    'walk.dotdot-between': [
      '".." may stand between names',
      async (t) => {
        const dir = await tree(t);
        same((await dir.walk('a', '..', 'f')).qid.path, (await dir.walk('f')).qid.path, 'the path');
      },
    ],
    'walk.dotdot-root': [
      '".." of the root is the root',
      async (t) => {
        const root = await t.root();
        same((await root.walk('..')).qid.path, root.qid.path, 'the path');
      },
    ],
    'walk.from-file': [
      'Nothing can be walked to from a file',
      async (t) => refused(twalk(await t.file(), t.newFid(), 'x'), 'ENOTDIR', 'ENOENT'),
    ],
    'walk.through-file': [
      'A walk through a file ends there',
      async (t) => same((await twalk(await tree(t), t.newFid(), 'f', 'x')).wqids.length, 1, 'the number of qids'),
    ],
    'walk.symlink': [
      'A walk to a symbolic link ends at the link',
      async (t) => {
        const dir = await tree(t);
        await dir.symlink('s', 'f');
        const link = await dir.walk('s');
        that((link.qid.type & QTSYMLINK) !== 0, `qid.type is ${link.qid.type}`);
      },
      { source: '9P2000.L protocol description: qid types', dialects: L },
    ],
    'walk.stable': [
      'A file has one qid.path, whoever walks there',
      async (t) => {
        const dir = await tree(t);
        same((await dir.walk('f')).qid.path, (await dir.walk('a', '..', 'f')).qid.path, 'the path');
        same((await dir.walk('f')).qid.path, (await dir.walk('f')).qid.path, 'the path');
      },
    ],
    'walk.distinct': [
      'Two files have two qid.paths',
      async (t) => {
        const dir = await tree(t);
        await dir.make('g');
        const paths = [dir, await dir.walk('f'), await dir.walk('g'), await dir.walk('a')].map(({ qid }) => qid.path);
        same(new Set(paths).size, paths.length, 'the number of paths');
      },
      { source: 'intro(5): qid.path is unique' },
    ],
    'walk.clone-open': [
      'An open fid can be cloned',
      async (t) => {
        const file = await (await t.file('content')).open();
        same(await file.content(), Buffer.from('content'), 'what the clone reads');
      },
      { source: 'Linux v9fs clones open fids; walk(5) has it otherwise', dialects: L },
    ],
    'walk.clone-unopened': [
      'The clone of an open fid is not open',
      async (t) => {
        const file = await (await t.file('content')).open();
        const clone = await unlessRefused(file.clone());
        if (clone === undefined) throw new Unsupported('an open fid cannot be cloned here');
        await refused(clone.read());
      },
    ],
    'walk.clone-outlives': [
      'A clone outlives the fid it was made from',
      async (t) => {
        const file = await t.file('content');
        const clone = await file.clone();
        await file.clunk();
        same(await clone.content(), Buffer.from('content'), 'what it reads');
      },
    ],
    'walk.deep': [
      'Fids may lie forty directories deep',
      async (t) => {
        const { dir, names } = await chain(t, 40);
        let at = dir;
        for (const name of names) at = await at.walk(name);
        await at.make('file', 'deep');
        same(await at.content('file'), Buffer.from('deep'), 'the content');
      },
      { source: 'walk(5): no limit but sixteen names in one message' },
    ],
    ...each(
      badNames.filter(([id]) => id !== 'dot' && id !== 'dotdot'),
      'walk.name-',
      (name) => [
        'A name that no file can have leads nowhere',
        async (t) => {
          const dir = await t.dir();
          await dir.mkdir('a');
          await (await dir.walk('a')).make('b');
          await refused(twalk(dir, t.newFid(), name));
        },
        { source: 'intro(5): a name holds no slash; open(2): nor NUL, nor more than 255 bytes' },
      ],
    ),
  },
);
