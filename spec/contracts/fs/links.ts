import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails } from './errors.js';

/** Symlinks and hard links. */
export function links(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    await place.fs.writeFile(place.path('file'), 'file');
    await place.fs.mkdir(place.path('dir'));
  });

  test.each(['file', '../elsewhere', '/absolute/path', 'with space', 'trailing/', 'ünïcode', 'x'.repeat(1000)])(
    'a symlink keeps its target %s',
    async (target) => {
      const { fs, path } = place;
      await fs.symlink(target, path('link'));
      expect(await fs.readlink(path('link'))).toBe(target);
      expect((await fs.lstat(path('link'))).isSymbolicLink()).toBe(true);
    },
  );

  test('encodings of a target', async () => {
    const { fs, path } = place;
    await fs.symlink('tärget', path('link'), 'file');
    expect(await fs.readlink(path('link'), 'buffer')).toEqual(Buffer.from('tärget'));
    expect(await fs.readlink(path('link'), { encoding: 'base64' })).toBe(Buffer.from('tärget').toString('base64'));
    expect(await fs.readlink(path('link'), { encoding: 'buffer' })).toEqual(Buffer.from('tärget'));
  });

  test('an absolute symlink', async () => {
    const { fs, path } = place;
    await fs.symlink(path('file'), path('dir/link'));
    expect(await fs.readFile(path('dir/link'), 'utf8')).toBe('file');
    await fs.symlink(path('dir'), path('todir'));
    expect(await fs.readFile(path('todir/link'), 'utf8')).toBe('file');
    expect(await fs.realpath(path('todir/link'))).toBe(await fs.realpath(path('file')));
  });

  test('what cannot be a symlink', async () => {
    const { fs, path } = place;
    await fails(fs.symlink('a', path('file')), 'EEXIST', 'symlink', 'a', path('file'));
    await fails(fs.symlink('a', path('dir')), 'EEXIST', 'symlink', 'a', path('dir'));
    await fails(fs.symlink('a', path('none/x')), 'ENOENT', 'symlink', 'a', path('none/x'));
    await fails(fs.symlink('a', `${path('new')}/`), 'ENOENT', 'symlink', 'a', `${path('new')}/`);
    await fails(fs.symlink('a', path('dir/.')), 'EEXIST', 'symlink', 'a', path('dir/.'));
    await fails(fs.symlink('', path('new')), 'ENOENT', 'symlink', '', path('new'));
    await fails(fs.readlink(path('file')), 'EINVAL', 'readlink', path('file'));
    await fails(fs.readlink(path('dir')), 'EINVAL', 'readlink', path('dir'));
    await fails(fs.readlink(path('none')), 'ENOENT', 'readlink', path('none'));
  });

  test('hard links are one file', async () => {
    const { fs, path } = place;
    await fs.link(path('file'), path('dir/second'));
    expect((await fs.stat(path('file'))).nlink).toBe(2);
    expect((await fs.stat(path('dir/second'))).ino).toBe((await fs.stat(path('file'))).ino);
    await fs.appendFile(path('dir/second'), '+');
    expect(await fs.readFile(path('file'), 'utf8')).toBe('file+');
    await fs.unlink(path('file'));
    expect(await fs.readFile(path('dir/second'), 'utf8')).toBe('file+');
    expect((await fs.stat(path('dir/second'))).nlink).toBe(1);
  });

  test('what cannot be linked', async () => {
    const { fs, path } = place;
    await fails(fs.link(path('none'), path('x')), 'ENOENT', 'link', path('none'), path('x'));
    await fails(fs.link(path('file'), path('dir')), 'EEXIST', 'link', path('file'), path('dir'));
    await fails(fs.link(path('file'), path('file')), 'EEXIST', 'link', path('file'), path('file'));
    await fails(fs.link(path('dir'), path('x')), 'EPERM', 'link', path('dir'), path('x'));
    await fails(fs.link(path('file'), path('none/x')), 'ENOENT', 'link', path('file'), path('none/x'));
    await fails(fs.link(path('file'), `${path('x')}/`), 'ENOENT', 'link', path('file'), `${path('x')}/`);
  });
}
