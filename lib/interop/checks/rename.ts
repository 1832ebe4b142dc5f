import { L_O_RDWR } from '../../protocol/constants.js';
import { type Check, checks } from '../check.js';
import { refused, same } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';
import { badNames, each } from './names.js';

/** f and g are files, d and e directories, d/x is a file. */
async function tree(t: Trial): Promise<{ dir: Handle; d: Handle; e: Handle }> {
  const dir = await t.dir();
  await dir.make('f', 'of f');
  await dir.make('g', 'of g');
  await dir.mkdir('d');
  await dir.mkdir('e');
  const d = await dir.walk('d');
  await d.make('x', 'of x');
  return { dir, d, e: await dir.walk('e') };
}

const renameat: Check[] = checks(
  'rename',
  { source: '9P2000.L protocol description: renameat; rename(2)' },
  {
    'renameat.file': [
      'A file gets a new name and loses the old one',
      async (t) => {
        const { dir } = await tree(t);
        await dir.renameat('f', dir, 'h');
        same(await dir.names(), ['d', 'e', 'g', 'h'], 'what is there');
        same(await dir.content('h'), Buffer.from('of f'), 'the content');
      },
    ],
    'renameat.elsewhere': [
      'A file moves to another directory',
      async (t) => {
        const { dir, e } = await tree(t);
        await dir.renameat('f', e, 'h');
        same(await e.content('h'), Buffer.from('of f'), 'the content');
        await refused(dir.walk('f'), 'ENOENT');
      },
    ],
    'renameat.replace': [
      'A file that has the new name is replaced',
      async (t) => {
        const { dir } = await tree(t);
        await dir.renameat('f', dir, 'g');
        same(await dir.content('g'), Buffer.from('of f'), 'the content');
        same(await dir.names(), ['d', 'e', 'g'], 'what is there');
      },
    ],
    'renameat.replace-open': [
      'An open file that was replaced stays what it was for who has it open',
      async (t) => {
        const { dir } = await tree(t);
        const g = await (await dir.walk('g')).open(L_O_RDWR);
        await dir.renameat('f', dir, 'g');
        same(await g.read(), Buffer.from('of g'), 'what it reads');
      },
    ],
    'renameat.directory': [
      'A directory moves with what is in it',
      async (t) => {
        const { dir, e } = await tree(t);
        await dir.renameat('d', e, 'moved');
        same(await (await e.walk('moved')).content('x'), Buffer.from('of x'), 'the content');
      },
    ],
    'renameat.directory-over-empty': [
      'A directory takes the place of an empty one',
      async (t) => {
        const { dir } = await tree(t);
        await dir.renameat('d', dir, 'e');
        same(await (await dir.walk('e')).names(), ['x'], 'what is in it');
      },
    ],
    'renameat.directory-over-full': [
      'A directory does not take the place of one that holds something: ENOTEMPTY',
      async (t) => {
        const { dir, d } = await tree(t);
        await refused(dir.renameat('e', dir, 'd'), 'ENOTEMPTY', 'EEXIST');
        same(await d.names(), ['x'], 'what is in it');
      },
    ],
    'renameat.file-over-directory': [
      'A file does not take the place of a directory: EISDIR',
      async (t) => {
        const { dir } = await tree(t);
        await refused(dir.renameat('f', dir, 'e'), 'EISDIR', 'EEXIST', 'ENOTEMPTY');
      },
    ],
    'renameat.directory-over-file': [
      'A directory does not take the place of a file: ENOTDIR',
      async (t) => {
        const { dir } = await tree(t);
        await refused(dir.renameat('e', dir, 'f'), 'ENOTDIR', 'EEXIST');
        same(await dir.content('f'), Buffer.from('of f'), 'the content');
      },
    ],
    'renameat.into-itself': [
      'A directory does not move into itself: EINVAL',
      async (t) => {
        const { dir, d } = await tree(t);
        await refused(dir.renameat('d', d, 'inner'), 'EINVAL');
        same(await d.names(), ['x'], 'what is in it');
      },
    ],
    'renameat.missing': [
      'What is not there cannot be renamed: ENOENT',
      async (t) => {
        const { dir } = await tree(t);
        await refused(dir.renameat('missing', dir, 'h'), 'ENOENT');
      },
    ],
    'renameat.same': [
      'A rename to its own name does nothing',
      async (t) => {
        const { dir } = await tree(t);
        await dir.renameat('f', dir, 'f');
        same(await dir.content('f'), Buffer.from('of f'), 'the content');
      },
    ],
    'renameat.hard-links': [
      'A rename from one name of a file to another does nothing',
      async (t) => {
        const { dir } = await tree(t);
        await dir.link('h', await dir.walk('f'));
        await dir.renameat('f', dir, 'h');
        same(await dir.names(), ['d', 'e', 'f', 'g', 'h'], 'what is there');
      },
    ],
    'renameat.symlink': [
      'A symbolic link is renamed itself',
      async (t) => {
        const { dir } = await tree(t);
        await dir.symlink('s', 'f');
        await dir.renameat('s', dir, 't');
        same(await (await dir.walk('t')).readlink(), 'f', 'the target');
      },
    ],
    'renameat.over-symlink': [
      'A symbolic link is replaced, not what it points to',
      async (t) => {
        const { dir } = await tree(t);
        await dir.symlink('s', 'g');
        await dir.renameat('f', dir, 's');
        same(await dir.content('s'), Buffer.from('of f'), 'the content');
        same(await dir.content('g'), Buffer.from('of g'), 'the content of the target');
      },
    ],
    'renameat.fid': [
      'A fid goes on being the file that was renamed',
      async (t) => {
        const { dir } = await tree(t);
        const f = await dir.walk('f');
        await dir.renameat('f', dir, 'h');
        same(await f.content(), Buffer.from('of f'), 'the content');
      },
    ],
    'renameat.fid-open': [
      'An open fid goes on being the file that was renamed',
      async (t) => {
        const { dir, e } = await tree(t);
        const f = await (await dir.walk('f')).open(L_O_RDWR);
        await dir.renameat('f', e, 'h');
        await f.write(0, 'OF');
        same(await e.content('h'), Buffer.from('OF f'), 'the content');
      },
    ],
    'renameat.fid-below': [
      'A fid below a directory that was renamed goes on being its file',
      async (t) => {
        const { dir, d } = await tree(t);
        const x = await d.walk('x');
        await dir.renameat('d', dir, 'moved');
        same(await x.content(), Buffer.from('of x'), 'the content');
        same(await d.names(), ['x'], 'what the directory’s own fid lists');
      },
      { source: 'v9fs keeps fids below what it renames' },
    ],
    'renameat.dotdot': [
      'After a directory was moved, ".." of it is the new one above',
      async (t) => {
        const { dir, d, e } = await tree(t);
        await dir.renameat('d', e, 'd');
        same((await d.walk('..')).qid.path, e.qid.path, 'the path');
      },
    ],
    'renameat.open-directory': [
      'The fids of the directories may be open',
      async (t) => {
        const { dir } = await tree(t);
        const open = await (await dir.clone()).open();
        await open.renameat('f', open, 'h');
        await dir.walk('h');
      },
      { source: 'renameat(2) takes open directories' },
    ],
    'renameat.unknown-fid': [
      'Both fids have to be there',
      async (t) => {
        const { dir } = await tree(t);
        await refused(t.request('Trenameat', { olddirfid: STRANGER, oldname: 'f', newdirfid: dir.number, newname: 'h' }));
        await refused(t.request('Trenameat', { olddirfid: dir.number, oldname: 'f', newdirfid: STRANGER, newname: 'h' }));
        await dir.walk('f');
      },
    ],
    ...each(badNames, 'renameat.new-name-', (name) => [
      'A name that no file can have is refused as the new one',
      async (t) => {
        const { dir } = await tree(t);
        await dir.mkdir('a');
        await refused(dir.renameat('f', dir, name));
        same(await dir.names(), ['a', 'd', 'e', 'f', 'g'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
    ...each(badNames, 'renameat.old-name-', (name) => [
      'A name that no file can have is refused as the old one',
      async (t) => {
        const { dir } = await tree(t);
        await dir.mkdir('a');
        await (await dir.walk('a')).make('b');
        await refused(dir.renameat(name, dir, 'h'));
        same(await dir.names(), ['a', 'd', 'e', 'f', 'g'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

const trename: Check[] = checks(
  'rename',
  { source: '9P2000.L protocol description: rename' },
  {
    'rename.file': [
      'A fid’s file gets a new name',
      async (t) => {
        const { dir } = await tree(t);
        await (await dir.walk('f')).rename(dir, 'h');
        same(await dir.names(), ['d', 'e', 'g', 'h'], 'what is there');
      },
    ],
    'rename.elsewhere': [
      'A fid’s file moves to another directory',
      async (t) => {
        const { dir, e } = await tree(t);
        await (await dir.walk('f')).rename(e, 'h');
        same(await e.content('h'), Buffer.from('of f'), 'the content');
      },
    ],
    'rename.replace': [
      'A file that has the new name is replaced',
      async (t) => {
        const { dir } = await tree(t);
        await (await dir.walk('f')).rename(dir, 'g');
        same(await dir.content('g'), Buffer.from('of f'), 'the content');
      },
    ],
    'rename.fid': [
      'The fid goes on being that file, and can be renamed again',
      async (t) => {
        const { dir, e } = await tree(t);
        const f = await dir.walk('f');
        await f.rename(e, 'h');
        same(await f.content(), Buffer.from('of f'), 'the content');
        await f.rename(dir, 'i');
        same(await dir.names(), ['d', 'e', 'g', 'i'], 'what is there');
      },
    ],
    'rename.directory': [
      'A directory moves with what is in it',
      async (t) => {
        const { d, e } = await tree(t);
        await d.rename(e, 'moved');
        same(await (await e.walk('moved')).names(), ['x'], 'what is in it');
        same(await d.content('x'), Buffer.from('of x'), 'what its fid leads to');
      },
    ],
    'rename.root': [
      'The root cannot be renamed',
      async (t) => {
        const { dir } = await tree(t);
        await refused((await t.root()).rename(dir, 'h'));
        same(await dir.names(), ['d', 'e', 'f', 'g'], 'what is there');
      },
    ],
    'rename.unknown-fid': [
      'A fid that is not there cannot be renamed',
      async (t) => refused(t.request('Trename', { fid: STRANGER, dfid: (await t.dir()).number, name: 'h' })),
    ],
    'rename.to-file': [
      'Nothing moves into a file',
      async (t) => {
        const { dir } = await tree(t);
        await refused((await dir.walk('f')).rename(await dir.walk('g'), 'h'), 'ENOTDIR', 'EINVAL');
      },
    ],
    ...each(badNames, 'rename.name-', (name) => [
      'A name that no file can have is refused',
      async (t) => {
        const { dir } = await tree(t);
        await dir.mkdir('a');
        await refused((await dir.walk('f')).rename(dir, name));
        same(await dir.names(), ['a', 'd', 'e', 'f', 'g'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

export const rename: Check[] = [...renameat, ...trename];
