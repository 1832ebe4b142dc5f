import { QTSYMLINK } from '../../protocol/constants.js';
import { type Check, checks } from '../check.js';
import { refused, same, that } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';
import { badNames, each } from './names.js';

async function target(t: Trial, text: string): Promise<string> {
  const dir = await t.dir();
  await dir.symlink('s', text);
  return (await dir.walk('s')).readlink();
}

/** A directory with a file `f` and a second name `g` for it. */
async function linked(t: Trial): Promise<{ dir: Handle; file: Handle }> {
  const dir = await t.dir();
  await dir.make('f', 'content');
  const file = await dir.walk('f');
  await dir.link('g', file);
  return { dir, file };
}

const symlink: Check[] = checks(
  'links',
  { source: '9P2000.L protocol description: symlink, readlink; symlink(2)' },
  {
    'symlink.target': ['The target is read as it was given', async (t) => same(await target(t, 'some/where'), 'some/where', 'the target')],
    'symlink.absolute': [
      'An absolute target is read as it was given',
      async (t) => same(await target(t, '/etc/../no/where'), '/etc/../no/where', 'the target'),
    ],
    'symlink.dotdot': ['A target may begin with ".."', async (t) => same(await target(t, '../../x'), '../../x', 'the target')],
    'symlink.bytes': ['A target is any bytes but NUL', async (t) => same(await target(t, 'ö\n \udcff//'), 'ö\n \udcff//', 'the target')],
    'symlink.long': ['A target may have 1000 bytes', async (t) => same(await target(t, 'x/'.repeat(500)), 'x/'.repeat(500), 'the target')],
    'symlink.qid': [
      'The qid says that it is a symbolic link',
      async (t) => {
        const dir = await t.dir();
        const qid = await dir.symlink('s', 'x');
        that((qid.type & QTSYMLINK) !== 0, `qid.type is ${qid.type}`);
        same((await dir.walk('s')).qid.path, qid.path, 'the path');
      },
    ],
    'symlink.empty': ['An empty target is refused', async (t) => refused((await t.dir()).symlink('s', ''), 'ENOENT', 'EINVAL')],
    'symlink.exists': [
      'A name that is taken is refused: EEXIST',
      async (t) => {
        const dir = await t.dir();
        await dir.make('s', 'content');
        await refused(dir.symlink('s', 'x'), 'EEXIST');
        same(await dir.content('s'), Buffer.from('content'), 'the content');
      },
    ],
    'symlink.unlink': [
      'Removing a link leaves its target',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        await dir.symlink('s', 'f');
        await (await dir.walk('s')).remove();
        same(await dir.names(), ['f'], 'what is there');
      },
    ],
    'symlink.unknown-fid': [
      'A fid that is not there holds no link',
      (t) => refused(t.request('Tsymlink', { dfid: STRANGER, name: 's', symtgt: 'x', gid: t.gid })),
    ],
    'readlink.file': ['A file has no target', async (t) => refused((await t.file()).readlink(), 'EINVAL', 'ENXIO')],
    'readlink.directory': ['A directory has no target', async (t) => refused((await t.dir()).readlink(), 'EINVAL', 'ENXIO')],
    'readlink.unknown-fid': ['A fid that is not there has no target', (t) => refused(t.request('Treadlink', { fid: STRANGER }))],
    ...each(badNames, 'symlink.name-', (name) => [
      'A name that no link can have is refused',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('a');
        await refused(dir.symlink(name, 'x'));
        same(await dir.names(), ['a'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

const link: Check[] = checks(
  'links',
  { source: '9P2000.L protocol description: link; link(2)' },
  {
    'link.same-file': [
      'The new name leads to the same file',
      async (t) => {
        const { dir, file } = await linked(t);
        same((await dir.walk('g')).qid.path, file.qid.path, 'the path');
      },
    ],
    'link.content': [
      'What is written by one name is read by the other',
      async (t) => {
        const { dir, file } = await linked(t);
        await (await file.open(2)).write(0, 'CON');
        same(await dir.content('g'), Buffer.from('CONtent'), 'the content');
      },
    ],
    'link.count': [
      'The number of links counts the names',
      async (t) => {
        const { dir, file } = await linked(t);
        same((await file.getattr()).nlink, 2, 'nlink');
        await (await dir.walk('g')).remove();
        same((await file.getattr()).nlink, 1, 'nlink after one was removed');
      },
    ],
    'link.unlink': [
      'The file stays as long as one name does',
      async (t) => {
        const { dir } = await linked(t);
        await (await dir.walk('f')).remove();
        same(await dir.content('g'), Buffer.from('content'), 'the content');
      },
    ],
    'link.exists': [
      'A name that is taken is refused: EEXIST',
      async (t) => {
        const { dir, file } = await linked(t);
        await refused(dir.link('g', file), 'EEXIST');
      },
    ],
    'link.directory': [
      'A directory has one name only',
      async (t) => {
        const dir = await t.dir();
        await dir.mkdir('d');
        await refused(dir.link('e', await dir.walk('d')), 'EPERM', 'EISDIR', 'EACCES', 'EINVAL');
      },
    ],
    'link.symlink': [
      'A link to a symbolic link is that link, not its target',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f');
        await dir.symlink('s', 'f');
        await dir.link('h', await dir.walk('s'));
        same(await (await dir.walk('h')).readlink(), 'f', 'the target');
      },
    ],
    'link.elsewhere': [
      'A name may be in another directory',
      async (t) => {
        const dir = await t.dir();
        await dir.make('f', 'content');
        await dir.mkdir('d');
        const inner = await dir.walk('d');
        await inner.link('g', await dir.walk('f'));
        same(await inner.content('g'), Buffer.from('content'), 'the content');
      },
    ],
    'link.in-file': [
      'A file holds no names',
      async (t) => {
        const { file } = await linked(t);
        await refused(file.link('x', await file.clone()), 'ENOTDIR', 'EINVAL');
      },
    ],
    'link.unknown-fid': [
      'A fid that is not there gets no name',
      async (t) => refused(t.request('Tlink', { dfid: (await t.dir()).number, fid: STRANGER, name: 'x' })),
    ],
    ...each(badNames, 'link.name-', (name) => [
      'A name that no file can have is refused',
      async (t) => {
        const { dir, file } = await linked(t);
        await dir.mkdir('a');
        await refused(dir.link(name, file));
        same(await dir.names(), ['a', 'f', 'g'], 'what is there');
      },
      { source: 'intro(5): a name holds no slash; CVE-2016-7116' },
    ]),
  },
);

export const links: Check[] = [...symlink, ...link];
