import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses, rejection } from './errors.js';

/** What makes and takes away directories and names: mkdir, mkdtemp, rmdir, unlink, rename. */
export function names(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    await place.fs.writeFile(place.path('file'), 'file');
    await place.fs.mkdir(place.path('dir'));
    await place.fs.mkdir(place.path('full/below'), { recursive: true });
    await place.fs.symlink('file', place.path('link'));
    await place.fs.symlink('dir', place.path('todir'));
    await place.fs.symlink('gone', place.path('dangling'));
  });

  test('mkdir', async () => {
    const { fs, path } = place;
    expect(await fs.mkdir(path('new'))).toBe(undefined);
    expect((await fs.stat(path('new'))).mode & 0o777).toBe(0o777 & ~process.umask());
    await fs.mkdir(path('private'), 0o700);
    expect((await fs.stat(path('private'))).mode & 0o777).toBe(0o700);
    await fs.mkdir(path('octal'), '750');
    expect((await fs.stat(path('octal'))).mode & 0o777).toBe(0o750);
    await fs.mkdir(path('object'), { mode: 0o711 });
    expect((await fs.stat(path('object'))).mode & 0o777).toBe(0o711);
    await fs.mkdir(`${path('slashed')}//`);
    expect((await fs.stat(path('slashed'))).isDirectory()).toBe(true);
    await fs.mkdir(path('todir/inside'));
    expect(await fs.readdir(path('dir'))).toEqual(['inside']);
  });

  test.each([
    ['dir', 'EEXIST'],
    ['dir/', 'EEXIST'],
    ['dir/.', 'EEXIST'],
    ['dir/..', 'EEXIST'],
    ['file', 'EEXIST'],
    ['link', 'EEXIST'],
    ['dangling', 'EEXIST'],
    ['none/x', 'ENOENT'],
    ['none/.', 'ENOENT'],
    ['file/x', 'ENOTDIR'],
  ])('mkdir %s: %s', async (name, code) => {
    const path = place.path(name);
    await fails(place.fs.mkdir(path), code, 'mkdir', path);
  });

  test('mkdir of all that is missing', async () => {
    const { fs, path } = place;
    const { recursive } = { recursive: true } as const;
    expect(await fs.mkdir(path('a/b/c'), { recursive })).toBe(path('a'));
    expect(await fs.mkdir(path('a/b/c'), { recursive })).toBe(undefined);
    expect(await fs.mkdir(path('a/b/d/e/'), { recursive })).toBe(path('a/b/d'));
    expect((await fs.stat(path('a/b/d/e'))).isDirectory()).toBe(true);
    expect(await fs.mkdir(path('todir'), { recursive })).toBe(undefined);
    expect(await fs.mkdir(path('todir/x/y'), { recursive })).toBe(path('todir/x'));
    expect((await fs.stat(path('dir/x/y'))).isDirectory()).toBe(true);
    expect(await fs.mkdir(path('q1/../q2'), { recursive })).toBe(path('q1'));
    expect((await fs.stat(path('q2'))).isDirectory()).toBe(true);
    await fails(fs.mkdir(path('file'), { recursive }), 'EEXIST', 'mkdir', path('file'));
    await fails(fs.mkdir(path('file/a'), { recursive }), 'ENOTDIR', 'mkdir', path('file/a'));
    await fails(fs.mkdir(path('file/a/b'), { recursive }), 'ENOTDIR', 'mkdir', path('file/a/b'));
    await fails(fs.mkdir(path('dangling'), { recursive }), 'ENOENT', 'mkdir', path('dangling'));
    await refuses(() => fs.mkdir(path('x'), { recursive: 1 as unknown as boolean }), 'ERR_INVALID_ARG_TYPE');
  });

  test('mkdir of the same paths from several sides at once', async () => {
    const { fs, path } = place;
    await Promise.all(Array.from({ length: 8 }, (_, index) => fs.mkdir(path('p/q/r/s', String(index)), { recursive: true })));
    expect((await fs.readdir(path('p/q/r/s'))).sort()).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
  });

  test('mkdtemp', async () => {
    const { fs, path } = place;
    const one = await fs.mkdtemp(path('tmp-'));
    const two = await fs.mkdtemp(path('tmp-'));
    expect(one).toMatch(/tmp-[A-Za-z0-9]{6}$/);
    expect(one).not.toBe(two);
    expect((await fs.stat(one)).mode & 0o777).toBe(0o700);
    expect(Buffer.isBuffer(await fs.mkdtemp(path('tmp-'), 'buffer'))).toBe(true);
    const error = await rejection(fs.mkdtemp(path('none/tmp-')));
    expect([error.code, error.syscall]).toEqual(['ENOENT', 'mkdtemp']);
    expect(error.path).toMatch(/none\/tmp-[A-Za-z0-9]{6}$/);
  });

  test('rmdir', async () => {
    const { fs, path } = place;
    await fs.rmdir(path('dir'));
    await fails(fs.stat(path('dir')), 'ENOENT', 'stat', path('dir'));
    await fs.rmdir(`${path('full/below')}/`);
    expect(await fs.readdir(path('full'))).toEqual([]);
  });

  test.each([
    ['none', 'ENOENT'],
    ['file', 'ENOTDIR'],
    ['file/', 'ENOTDIR'],
    ['full', 'ENOTEMPTY'],
    ['todir', 'ENOTDIR'],
    ['todir/', 'ENOTDIR'],
    ['dir/.', 'EINVAL'],
    ['dir/..', 'ENOTEMPTY'],
    ['none/x', 'ENOENT'],
    ['file/x', 'ENOTDIR'],
  ])('rmdir %s: %s', async (name, code) => {
    const path = place.path(name);
    await fails(place.fs.rmdir(path), code, 'rmdir', path);
  });

  test('unlink', async () => {
    const { fs, path } = place;
    await fs.unlink(path('link'));
    expect(await fs.readFile(path('file'), 'utf8')).toBe('file');
    await fs.unlink(path('dangling'));
    await fs.unlink(path('file'));
    await fails(fs.lstat(path('file')), 'ENOENT', 'lstat', path('file'));
  });

  test.each([
    ['none', 'ENOENT'],
    ['file/', 'ENOTDIR'],
    ['link/', 'ENOTDIR'],
    ['todir/', 'ENOTDIR'],
    ['dir', 'EISDIR'],
    ['dir/', 'EISDIR'],
    ['dir/.', 'EISDIR'],
    ['dir/..', 'EISDIR'],
    ['none/x', 'ENOENT'],
    ['file/x', 'ENOTDIR'],
  ])('unlink %s: %s', async (name, code) => {
    const path = place.path(name);
    await fails(place.fs.unlink(path), code, 'unlink', path);
  });

  test('rename', async () => {
    const { fs, path } = place;
    await fs.rename(path('file'), path('dir/moved'));
    expect(await fs.readFile(path('dir/moved'), 'utf8')).toBe('file');
    await fs.rename(path('dir'), path('full/dir'));
    expect(await fs.readFile(path('full/dir/moved'), 'utf8')).toBe('file');
    await fs.writeFile(path('other'), 'other');
    await fs.rename(path('other'), path('full/dir/moved'));
    expect(await fs.readFile(path('full/dir/moved'), 'utf8')).toBe('other');
    await fs.rename(path('dangling'), path('renamed'));
    expect(await fs.readlink(path('renamed'))).toBe('gone');
    await fs.mkdir(path('empty'));
    await fs.rename(path('full/dir'), path('empty'));
    expect(await fs.readdir(path('empty'))).toEqual(['moved']);
    await fs.rename(`${path('empty')}/`, `${path('again')}/`);
    expect(await fs.readdir(path('again'))).toEqual(['moved']);
    await fs.rename(path('again'), path('again'));
    expect(await fs.readdir(path('again'))).toEqual(['moved']);
  });

  test('an open file keeps being the same one when it is renamed', async () => {
    const { fs, path } = place;
    await using handle = await fs.open(path('file'), 'r+');
    await fs.rename(path('file'), path('dir/elsewhere'));
    await handle.write('FI');
    expect(await fs.readFile(path('dir/elsewhere'), 'utf8')).toBe('FIle');
  });

  test.each([
    ['none', 'x', 'ENOENT'],
    ['file', 'none/x', 'ENOENT'],
    ['file', 'dir', 'EISDIR'],
    ['dir', 'file', 'ENOTDIR'],
    ['dir', 'full', 'ENOTEMPTY'],
    ['full', 'full/below/x', 'EINVAL'],
    ['file/', 'x', 'ENOTDIR'],
    ['file', 'x/', 'ENOTDIR'],
    ['file/x', 'x', 'ENOTDIR'],
    ['dir/.', 'x', 'EBUSY'],
    ['dir/..', 'x', 'EBUSY'],
    ['dir', 'full/..', 'EBUSY'],
  ])('rename %s to %s: %s', async (from, to, code) => {
    const { fs, path } = place;
    await fails(fs.rename(path(from), path(to)), code, 'rename', path(from), path(to));
  });
}
