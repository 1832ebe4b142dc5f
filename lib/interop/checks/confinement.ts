import { AT_REMOVEDIR, GETATTR_BASIC, L_O_DIRECTORY, L_O_RDWR, L_O_TRUNC, QTSYMLINK } from '../../protocol/constants.js';
import { ErrnoError } from '../../protocol/error.js';
import type { Qid } from '../../protocol/types.js';
import { ALL, type Check, checks, type Entry } from '../check.js';
import { refused, same, that, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import type { Trial } from '../trial.js';

/** A directory `inside`, and beside it a directory `outside` with a file, to which a link inside points. */
async function scene(t: Trial): Promise<{ inside: Handle; outside: Handle; link: string; fileLink: string }> {
  const dir = await t.dir();
  await dir.mkdir('inside');
  await dir.mkdir('outside');
  const [inside, outside] = [await dir.walk('inside'), await dir.walk('outside')];
  await outside.make('file', 'untouched');
  await inside.symlink('link', '../outside');
  await inside.symlink('file-link', '../outside/file');
  return { inside, outside, link: 'link', fileLink: 'file-link' };
}

/** The qids on the way that the names lead, as far as they lead. To refuse such a walk as a whole leads nowhere. */
async function along(from: Handle, ...wnames: string[]): Promise<readonly Qid[]> {
  const { trial, number: fid } = from;
  return (await unlessRefused(trial.request('Twalk', { fid, newfid: trial.newFid(), wnames })))?.wqids ?? [];
}

async function untouched(outside: Handle): Promise<void> {
  same(await outside.names(), ['file'], 'what is outside');
  same(await outside.content('file'), Buffer.from('untouched'), 'the content outside');
}

/** Whatever is tried at the end of a link, nothing happens to what it points to. */
function stays(attempt: (inside: Handle, fid: Handle) => Promise<unknown>): Entry[1] {
  return async (t) => {
    const { inside, outside, fileLink } = await scene(t);
    const before = await (await outside.walk('file')).getattr();
    await attempt(inside, await inside.walk(fileLink)).catch((error) => {
      if (!(error instanceof ErrnoError)) throw error;
    });
    await untouched(outside);
    const after = await (await outside.walk('file')).getattr();
    same(
      [after.mode, after.uid, after.gid, after.mtime, after.nlink],
      [before.mode, before.uid, before.gid, before.mtime, before.nlink],
      'the attributes',
    );
  };
}

export const confinement: Check[] = checks(
  'confinement',
  { source: 'CVE-2016-7116, CVE-2016-9602: nothing leads out of an export', discreet: true },
  {
    'confinement.root-parent': [
      'There is nothing above the root',
      async (t) => {
        const root = await t.root();
        const wqids = await along(root, '..', '..', '..');
        that(
          wqids.every(({ path }) => path === root.qid.path),
          'another qid',
        );
      },
      { dialects: ALL },
    ],
    'confinement.deep-parent': [
      'However often one goes up, one does not get above the root',
      async (t) => {
        const [root, dir] = [await t.root(), await t.dir()];
        const wqids = await along(dir, ...Array.from({ length: 16 }, () => '..'));
        that(wqids.length < 16 || wqids[15]?.path === root.qid.path, 'another qid');
      },
      { dialects: ALL },
    ],
    'confinement.root-listed-parent': [
      'The entry ".." of the root is not what is above the export',
      async (t) => {
        const root = await t.root();
        const entries = await (await root.clone().then((fid) => fid.open())).entries();
        const parent = entries.find(({ name }) => name === '..');
        that(parent === undefined || parent.qid.path === root.qid.path, 'another qid');
      },
      { source: 'QEMU clamps it' },
    ],
    'confinement.walk-slash': [
      'A name with slashes leads nowhere',
      async (t) => {
        const { inside } = await scene(t);
        for (const name of ['../outside', '../outside/file', '/etc', '/', './']) await refused(inside.walk(name));
      },
    ],
    'confinement.walk-link': [
      'A symbolic link is the link, wherever it points',
      async (t) => {
        const { inside, link } = await scene(t);
        that(((await inside.walk(link)).qid.type & QTSYMLINK) !== 0, 'it is not');
      },
    ],
    'confinement.walk-through-link': [
      'No walk leads through a symbolic link',
      async (t) => {
        const { inside, link } = await scene(t);
        that((await along(inside, link, 'file')).length < 2, 'it does');
      },
    ],
    'confinement.walk-through-link-up': [
      'No walk leads up from what a symbolic link points to',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        const wqids = await along(inside, link, '..', 'outside');
        that(wqids.length < 3 || wqids[2]?.path !== outside.qid.path, 'it does');
      },
    ],
    'confinement.absolute-link': [
      'A link to an absolute path leads nowhere on the server',
      async (t) => {
        const dir = await t.dir();
        await dir.symlink('abs', '/');
        that((await along(dir, 'abs', 'etc')).length < 2, 'it does');
      },
    ],
    'confinement.open-link': [
      'A symbolic link cannot be opened as what it points to',
      async (t) => {
        const { inside, fileLink } = await scene(t);
        const fid = await inside.walk(fileLink);
        // A server that keeps links in files of its own (security_model=mapped-…) may open those.
        const content = await unlessRefused(fid.open().then(() => fid.readAll()));
        that(content?.toString() !== 'untouched', 'it was');
      },
    ],
    'confinement.open-directory-link': [
      'A symbolic link to a directory cannot be listed as what it points to',
      async (t) => {
        const { inside, link } = await scene(t);
        const fid = await inside.walk(link);
        await refused(fid.opened(L_O_DIRECTORY));
      },
    ],
    'confinement.create-in-link': [
      'Nothing is created behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await refused((await inside.walk(link)).create('new'));
        await untouched(outside);
      },
    ],
    'confinement.create-over-link': [
      'Creating by the name of a symbolic link does not open its target',
      async (t) => {
        const { inside, outside, fileLink } = await scene(t);
        const fid = await inside.clone();
        await unlessRefused(fid.create(fileLink, L_O_RDWR | L_O_TRUNC).then(() => fid.write(0, 'through')));
        await untouched(outside);
      },
    ],
    'confinement.create-over-dangling': [
      'Creating by the name of a link to nothing does not make its target',
      async (t) => {
        const { inside, outside } = await scene(t);
        await inside.symlink('dangling', '../outside/new');
        await unlessRefused((await inside.clone()).create('dangling'));
        await untouched(outside);
      },
    ],
    'confinement.mkdir-in-link': [
      'No directory is made behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await refused((await inside.walk(link)).mkdir('new'));
        await untouched(outside);
      },
    ],
    'confinement.symlink-in-link': [
      'No link is made behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await refused((await inside.walk(link)).symlink('new', 'x'));
        await untouched(outside);
      },
    ],
    'confinement.unlink-in-link': [
      'Nothing is removed behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await refused((await inside.walk(link)).unlinkat('file'));
        await untouched(outside);
      },
    ],
    'confinement.rename-into-link': [
      'Nothing is moved behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await inside.make('mine');
        await refused(inside.renameat('mine', await inside.walk(link), 'new'));
        await untouched(outside);
      },
    ],
    'confinement.rename-from-link': [
      'Nothing is fetched from behind a symbolic link',
      async (t) => {
        const { inside, outside, link } = await scene(t);
        await refused((await inside.walk(link)).renameat('file', inside, 'mine'));
        await untouched(outside);
      },
    ],
    'confinement.rename-up': [
      'A rename to a name with slashes moves nothing',
      async (t) => {
        const { inside, outside } = await scene(t);
        await inside.make('mine');
        await refused(inside.renameat('mine', inside, '../outside/new'));
        await refused((await inside.walk('mine')).rename(inside, '../outside/new'));
        await untouched(outside);
      },
    ],
    'confinement.unlink-up': [
      'A name with slashes removes nothing',
      async (t) => {
        const { inside, outside } = await scene(t);
        await refused(inside.unlinkat('../outside/file'));
        await refused(inside.unlinkat('../outside', AT_REMOVEDIR));
        await untouched(outside);
      },
    ],
    'confinement.create-up': [
      'A name with slashes creates nothing',
      async (t) => {
        const { inside, outside } = await scene(t);
        await refused((await inside.clone()).create('../outside/new'));
        await refused(inside.mkdir('../outside/new'));
        await refused(inside.symlink('../outside/new', 'x'));
        await untouched(outside);
      },
    ],
    'confinement.truncate-link': ['A change of size stops at a symbolic link', stays((_, fid) => fid.setattr({ size: 0 }))],
    'confinement.chmod-link': ['A change of mode stops at a symbolic link', stays((_, fid) => fid.setattr({ mode: 0o777 }))],
    'confinement.chown-link': ['A change of owner stops at a symbolic link', stays((_, fid) => fid.setattr({ uid: 1234, gid: 1234 }))],
    'confinement.times-link': [
      'A change of times stops at a symbolic link',
      stays((_, fid) => fid.setattr({ mtime: { sec: 1, nsec: 0 }, atime: { sec: 1, nsec: 0 } })),
    ],
    'confinement.link-link': ['A hard link to a symbolic link is one to the link', stays((inside, fid) => inside.link('hard', fid))],
    'confinement.getattr-link': [
      'The attributes of a symbolic link are its own',
      async (t) => {
        const { inside, outside, fileLink } = await scene(t);
        const { qid, mode } = await (await inside.walk(fileLink)).getattr(GETATTR_BASIC);
        that(qid.path !== (await outside.walk('file')).qid.path && (mode & 0o170000) === 0o120000, 'they are not');
      },
    ],
    'confinement.xattr-link': [
      'Attributes set on a symbolic link are not its target’s',
      async (t) => {
        const { inside, outside, fileLink } = await scene(t);
        const file = await outside.walk('file');
        await file.setxattr('user.own', 'x');
        await (await inside.walk(fileLink)).setxattr('user.through', 'x').catch((error) => {
          if (!(error instanceof ErrnoError)) throw error;
        });
        that(!(await file.listxattr()).includes('user.through'), 'they are');
      },
    ],
    'confinement.swapped-directory': [
      'A fid below a directory that was replaced by a link does not follow the link',
      async (t) => {
        const { inside, outside } = await scene(t);
        await inside.mkdir('d');
        const d = await inside.walk('d');
        await inside.renameat('d', inside, 'old').catch((error) => {
          if (!(error instanceof ErrnoError) || error.code !== 'EOPNOTSUPP') throw error;
          return inside.walk('d').then((fid) => fid.rename(inside, 'old'));
        });
        await inside.symlink('d', '../outside');
        await d.make('new', 'x').catch((error) => {
          if (!(error instanceof ErrnoError)) throw error;
        });
        await untouched(outside);
      },
    ],
  },
);
