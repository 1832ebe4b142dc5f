import { AT_REMOVEDIR, L_O_RDWR } from '../../protocol/constants.js';
import { ALL, type Check, checks } from '../check.js';
import { refused, same } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';
import { badNames, each } from './names.js';

/** f is a file, d an empty directory, e one with a file x. */
async function tree(t: Trial): Promise<Handle> {
  const dir = await t.dir();
  await dir.make('f', 'content');
  await dir.mkdir('d');
  await dir.mkdir('e');
  await (await dir.walk('e')).make('x');
  return dir;
}

const unlinkat: Check[] = checks(
  'remove',
  { source: '9P2000.L protocol description: unlinkat; unlink(2), rmdir(2)' },
  {
    'unlinkat.file': [
      'A file is removed',
      async (t) => {
        const dir = await tree(t);
        await dir.unlinkat('f');
        same(await dir.names(), ['d', 'e'], 'what is there');
      },
    ],
    'unlinkat.directory': [
      'With AT_REMOVEDIR an empty directory is removed',
      async (t) => {
        const dir = await tree(t);
        await dir.unlinkat('d', AT_REMOVEDIR);
        same(await dir.names(), ['e', 'f'], 'what is there');
      },
    ],
    'unlinkat.directory-no-flag': [
      'Without AT_REMOVEDIR a directory is refused: EISDIR',
      async (t) => {
        const dir = await tree(t);
        await refused(dir.unlinkat('d'), 'EISDIR', 'EPERM');
        same(await dir.names(), ['d', 'e', 'f'], 'what is there');
      },
    ],
    'unlinkat.file-flag': [
      'With AT_REMOVEDIR a file is refused: ENOTDIR',
      async (t) => {
        const dir = await tree(t);
        await refused(dir.unlinkat('f', AT_REMOVEDIR), 'ENOTDIR');
        same(await dir.names(), ['d', 'e', 'f'], 'what is there');
      },
    ],
    'unlinkat.full': [
      'A directory that holds something is refused: ENOTEMPTY',
      async (t) => {
        const dir = await tree(t);
        await refused(dir.unlinkat('e', AT_REMOVEDIR), 'ENOTEMPTY', 'EEXIST');
        same(await (await dir.walk('e')).names(), ['x'], 'what is in it');
      },
    ],
    'unlinkat.missing': [
      'What is not there cannot be removed: ENOENT',
      async (t) => refused((await tree(t)).unlinkat('missing'), 'ENOENT'),
    ],
    'unlinkat.symlink': [
      'A symbolic link is removed, not its target',
      async (t) => {
        const dir = await tree(t);
        await dir.symlink('s', 'f');
        await dir.unlinkat('s');
        same(await dir.names(), ['d', 'e', 'f'], 'what is there');
      },
    ],
    'unlinkat.open-directory': [
      'The fid of the directory may be open',
      async (t) => {
        const dir = await tree(t);
        const open = await (await dir.clone()).open();
        await open.unlinkat('f');
        same(await dir.names(), ['d', 'e'], 'what is there');
      },
      { source: 'Linux v9fs and rm(1) do so' },
    ],
    'unlinkat.open-file': [
      'A file that is open stays readable for who has it open',
      async (t) => {
        const dir = await tree(t);
        const file = await (await dir.walk('f')).open(L_O_RDWR);
        await dir.unlinkat('f');
        same(await file.read(), Buffer.from('content'), 'what it reads');
      },
      { source: 'unlink(2)' },
    ],
    'unlinkat.fid-kept': [
      'The fid of the directory stays as it was',
      async (t) => {
        const dir = await tree(t);
        await dir.unlinkat('f');
        await dir.walk('d');
      },
    ],
    'unlinkat.unknown-fid': [
      'A fid that is not there removes nothing',
      async (t) => {
        await tree(t);
        await refused(t.request('Tunlinkat', { dirfd: STRANGER, name: 'f', flags: 0 }));
      },
    ],
    ...each(badNames, 'unlinkat.name-', (name) => [
      'A name that no file can have is refused',
      async (t) => {
        const dir = await tree(t);
        await dir.mkdir('a');
        await (await dir.walk('a')).make('b');
        const inner = await dir.walk('a');
        await refused(inner.unlinkat(name));
        await refused(inner.unlinkat(name, AT_REMOVEDIR));
        same(await inner.names(), ['b'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

const remove_: Check[] = checks(
  'remove',
  { source: 'remove(5)', dialects: ALL },
  {
    'remove.file': [
      'The fid’s file is removed',
      async (t) => {
        const dir = await tree(t);
        await (await dir.walk('f')).remove();
        same(await dir.names(), ['d', 'e'], 'what is there');
      },
    ],
    'remove.directory': [
      'The fid’s directory is removed, if it is empty',
      async (t) => {
        const dir = await tree(t);
        await (await dir.walk('d')).remove();
        same(await dir.names(), ['e', 'f'], 'what is there');
      },
    ],
    'remove.full': [
      'A directory that holds something is not',
      async (t) => {
        const dir = await tree(t);
        await refused((await dir.walk('e')).remove(), 'ENOTEMPTY', 'EEXIST');
        same(await (await dir.walk('e')).names(), ['x'], 'what is in it');
      },
    ],
    'remove.clunks': [
      'The fid is gone afterwards, and its number free',
      async (t) => {
        const dir = await tree(t);
        const file = await dir.walk('f');
        await file.remove();
        await refused(file.walk());
        await t.request('Twalk', { fid: dir.number, newfid: file.number, wnames: [] });
        await file.clunk();
      },
    ],
    'remove.failed-clunks': [
      'The fid is gone also if nothing was removed',
      async (t) => {
        const dir = await tree(t);
        const full = await dir.walk('e');
        await refused(full.remove());
        await refused(full.walk());
      },
    ],
    'remove.open': [
      'An open file can be removed by its fid',
      async (t) => {
        const dir = await tree(t);
        await (await (await dir.walk('f')).open(L_O_RDWR)).remove();
        same(await dir.names(), ['d', 'e'], 'what is there');
      },
    ],
    'remove.unknown-fid': ['A fid that is not there removes nothing', (t) => refused(t.request('Tremove', { fid: STRANGER }))],
    'remove.others-kept': [
      'Other fids of the file stay',
      async (t) => {
        const dir = await tree(t);
        const open = await (await dir.walk('f')).open();
        await (await dir.walk('f')).remove();
        same(await open.read(), Buffer.from('content'), 'what it reads');
        await open.clunk();
      },
    ],
  },
);

const clunk: Check[] = checks(
  'remove',
  { source: 'clunk(5)', dialects: ALL },
  {
    'clunk.ends': [
      'A clunked fid is gone',
      async (t) => {
        const file = await t.file();
        await file.clunk();
        await refused(file.walk());
      },
    ],
    'clunk.frees': [
      'The number of a clunked fid is free',
      async (t) => {
        const [dir, other] = [await tree(t), await t.root()];
        await other.clunk();
        await t.request('Twalk', { fid: dir.number, newfid: other.number, wnames: ['f'] });
        same(await other.content(), Buffer.from('content'), 'the content');
        await other.clunk();
      },
    ],
    'clunk.twice': [
      'A fid cannot be clunked twice',
      async (t) => {
        const file = await t.file();
        await file.clunk();
        await refused(file.clunk());
      },
    ],
    'clunk.unknown-fid': [
      'A clunk of a fid that never was is refused, and nothing else happens',
      async (t) => {
        await refused(t.request('Tclunk', { fid: STRANGER }));
        await t.alive();
      },
    ],
    'clunk.keeps-data': [
      'What was written is there after the clunk',
      async (t) => {
        const dir = await t.dir();
        const file = await (await dir.clone()).create('f');
        await file.write(0, 'kept');
        await file.clunk();
        same(await dir.content('f'), Buffer.from('kept'), 'the content');
      },
    ],
    'clunk.keeps-file': [
      'A clunk removes nothing',
      async (t) => {
        const dir = await tree(t);
        await (await dir.walk('f')).clunk();
        same(await dir.names(), ['d', 'e', 'f'], 'what is there');
      },
    ],
  },
);

export const remove: Check[] = [...unlinkat, ...remove_, ...clunk];
