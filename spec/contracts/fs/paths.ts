import { pathToFileURL } from 'node:url';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses } from './errors.js';

/** How a path leads to a file: kinds of paths, slashes, dots and symlinks. */
export function paths(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    const { fs, path } = place;
    await fs.mkdir(path('dir/sub'), { recursive: true });
    await fs.writeFile(path('file'), 'file');
    await fs.writeFile(path('dir/inner'), 'inner');
    await fs.symlink('file', path('tofile'));
    await fs.symlink('dir', path('todir'));
    await fs.symlink('dir/', path('todirslash'));
    await fs.symlink('file/', path('tofileslash'));
    await fs.symlink('nowhere', path('dangling'));
    await fs.symlink('loop', path('loop'));
    await fs.symlink('ping', path('pong'));
    await fs.symlink('pong', path('ping'));
  });

  test('text, bytes and a URL name the same file', async () => {
    const { fs, path } = place;
    expect(await fs.readFile(path('file'), 'utf8')).toBe('file');
    expect(await fs.readFile(Buffer.from(path('file')), 'utf8')).toBe('file');
    expect(await fs.readFile(pathToFileURL(path('file')), 'utf8')).toBe('file');
  });

  test('other things name none', async () => {
    const { fs } = place;
    await refuses(
      () => fs.stat(3 as unknown as string),
      'ERR_INVALID_ARG_TYPE',
      TypeError,
      'The "path" argument must be of type string or an instance of Buffer or URL. Received type number (3)',
    );
    await refuses(() => fs.stat(undefined as unknown as string), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => fs.readFile({} as unknown as string), 'ERR_INVALID_ARG_TYPE');
    await refuses(
      () => fs.stat('a\0b'),
      'ERR_INVALID_ARG_VALUE',
      TypeError,
      "The argument 'path' must be a string, Uint8Array, or URL without null bytes. Received 'a\\x00b'",
    );
    await refuses(() => fs.stat(new URL('http://localhost/x')), 'ERR_INVALID_URL_SCHEME');
    await refuses(() => fs.stat(new URL('file:///a%2Fb')), 'ERR_INVALID_FILE_URL_PATH');
    await refuses(() => fs.rename(1 as unknown as string, 'x'), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => fs.symlink('x', null as unknown as string), 'ERR_INVALID_ARG_TYPE');
  });

  test('nothing is no path', async () => {
    const { fs } = place;
    await fails(fs.stat(''), 'ENOENT', 'stat', '');
    await fails(fs.readFile(''), 'ENOENT', 'open', '');
    await fails(fs.mkdir(''), 'ENOENT', 'mkdir', '');
    await fails(fs.rename('', 'x'), 'ENOENT', 'rename', '', 'x');
  });

  test.each([
    ['//file', 'file'],
    ['/./file', 'file'],
    ['/dir/../file', 'file'],
    ['/dir/sub/../../file', 'file'],
    ['/dir//sub/.././inner', 'inner'],
    ['/todir/inner', 'inner'],
    ['/todir/../file', 'file'],
    ['/todir/sub/../inner', 'inner'],
    ['/todirslash/inner', 'inner'],
    ['/tofile', 'file'],
  ])('%s leads to %s', async (tail, text) => {
    expect(await place.fs.readFile(`${place.path()}${tail}`, 'utf8')).toBe(text);
  });

  test.each([
    ['file/', 'ENOTDIR'],
    ['file/.', 'ENOTDIR'],
    ['file/..', 'ENOTDIR'],
    ['file/x', 'ENOTDIR'],
    ['file/../file', 'ENOTDIR'],
    ['tofile/', 'ENOTDIR'],
    ['tofile/x', 'ENOTDIR'],
    ['tofileslash', 'ENOTDIR'],
    ['nothing', 'ENOENT'],
    ['nothing/x', 'ENOENT'],
    ['nothing/..', 'ENOENT'],
    ['nothing/../file', 'ENOENT'],
    ['dir/nothing', 'ENOENT'],
    ['dir/sub/nothing/x/y', 'ENOENT'],
    ['dangling', 'ENOENT'],
    ['dangling/', 'ENOENT'],
    ['dangling/x', 'ENOENT'],
    ['loop', 'ELOOP'],
    ['loop/x', 'ELOOP'],
    ['ping', 'ELOOP'],
  ])('stat %s: %s', async (name, code) => {
    const path = place.path(name);
    await fails(place.fs.stat(path), code, 'stat', path);
  });

  test.each([
    ['dir/', true],
    ['dir/.', true],
    ['dir/sub/..', true],
    ['todir', false],
    ['todir/', true],
    ['todir/.', true],
    ['todir/sub', true],
    ['tofile', false],
    ['dangling', false],
    ['loop', false],
  ])('lstat %s follows the last symlink if a slash asks for it', async (name, directory) => {
    const stats = await place.fs.lstat(place.path(name));
    expect(stats.isDirectory()).toBe(directory);
    expect(stats.isSymbolicLink()).toBe(!directory);
  });

  test('lstat of a symlink to nothing with a slash behind it', async () => {
    const path = `${place.path('dangling')}/`;
    await fails(place.fs.lstat(path), 'ENOENT', 'lstat', path);
  });

  test('names of all bytes, long ones and too long ones', async () => {
    const { fs, path } = place;
    for (const name of ['ünïcödé', '\u{1f600}', ' ', 'a b', '-', '...', 'x'.repeat(255), 'new\nline', '"\'\\', '*?[]']) {
      await fs.writeFile(path('dir/sub', name), name);
      expect(await fs.readFile(path('dir/sub', name), 'utf8')).toBe(name);
      await fs.unlink(path('dir/sub', name));
    }
    const long = path('x'.repeat(256));
    await fails(fs.writeFile(long, ''), 'ENAMETOOLONG', 'open', long);
    await fails(fs.stat(long), 'ENAMETOOLONG', 'stat', long);
  });

  test('deeper than one Twalk goes', async () => {
    const { fs, path } = place;
    const names = Array.from({ length: 40 }, (_, index) => `d${index}`);
    await fs.mkdir(path(...names), { recursive: true });
    await fs.writeFile(path(...names, 'end'), 'deep');
    expect(await fs.readFile(path(...names, 'end'), 'utf8')).toBe('deep');
    expect(await fs.realpath(path(...names, ...names.map(() => '..')))).toBe(await fs.realpath(path()));
    await fs.symlink('../file', path(...names.slice(0, 1), 'up'));
    expect(await fs.readFile(path(...names, ...names.slice(1).map(() => '..'), 'up'), 'utf8')).toBe('file');
    await fails(fs.stat(path(...names, 'nothing')), 'ENOENT', 'stat', path(...names, 'nothing'));
    await fails(fs.stat(path(...names, 'end', 'x')), 'ENOTDIR', 'stat', path(...names, 'end', 'x'));
  });

  test('forty symlinks in a row, not forty-one', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('s0'), 'there');
    for (let index = 1; index <= 41; index++) await fs.symlink(`s${index - 1}`, path(`s${index}`));
    expect(await fs.readFile(path('s40'), 'utf8')).toBe('there');
    await fails(fs.readFile(path('s41')), 'ELOOP', 'open', path('s41'));
  });

  test('realpath', async () => {
    const { fs, path } = place;
    const base = await fs.realpath(path());
    expect(await fs.realpath(path('todir/sub/../inner'))).toBe(`${base}/dir/inner`);
    expect(await fs.realpath(path('tofile'))).toBe(`${base}/file`);
    expect(await fs.realpath(`${path('dir')}//.//sub/`)).toBe(`${base}/dir/sub`);
    expect(await fs.realpath(path('file'), 'buffer')).toEqual(Buffer.from(`${base}/file`));
    expect(await fs.realpath(path('file'), { encoding: 'hex' })).toBe(Buffer.from(`${base}/file`).toString('hex'));
    await fails(fs.realpath(path('dangling')), 'ENOENT', 'realpath', path('dangling'));
    await fails(fs.realpath(path('loop')), 'ELOOP', 'realpath', path('loop'));
  });
}
