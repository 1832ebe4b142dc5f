import { constants } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses } from './errors.js';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

/** What `open` makes of its flags. */
export function opening(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    await place.fs.writeFile(place.path('there'), '0123456789');
    await place.fs.mkdir(place.path('dir'));
    await place.fs.symlink('there', place.path('link'));
    await place.fs.symlink('new', place.path('dangling'));
  });

  // What is in an existing file after "AB" was written through the flags, or the error; and whether a missing one is made.
  test.each<[string | number, string, string]>([
    ['r', 'EBADF', 'ENOENT'],
    ['rs', 'EBADF', 'ENOENT'],
    ['r+', 'AB23456789', 'ENOENT'],
    ['rs+', 'AB23456789', 'ENOENT'],
    ['w', 'AB', 'AB'],
    ['w+', 'AB', 'AB'],
    ['wx', 'EEXIST', 'AB'],
    ['xw', 'EEXIST', 'AB'],
    ['wx+', 'EEXIST', 'AB'],
    ['a', '0123456789AB', 'AB'],
    ['a+', '0123456789AB', 'AB'],
    ['as', '0123456789AB', 'AB'],
    ['ax', 'EEXIST', 'AB'],
    ['ax+', 'EEXIST', 'AB'],
    [O_RDONLY, 'EBADF', 'ENOENT'],
    [O_WRONLY, 'AB23456789', 'ENOENT'],
    [O_RDWR, 'AB23456789', 'ENOENT'],
    [O_WRONLY | O_TRUNC, 'AB', 'ENOENT'],
    [O_WRONLY | O_CREAT, 'AB23456789', 'AB'],
    [O_WRONLY | O_CREAT | O_EXCL, 'EEXIST', 'AB'],
    [O_WRONLY | O_APPEND, '0123456789AB', 'ENOENT'],
    [O_RDWR | O_CREAT | O_TRUNC, 'AB', 'AB'],
  ])('open with %s', async (flags, existing, missing) => {
    const { fs, path } = place;
    for (const [name, outcome] of [
      ['there', existing],
      ['new', missing],
    ] as const) {
      const target = path(name);
      if (outcome === 'EEXIST' || outcome === 'ENOENT') {
        await fails(fs.open(target, flags), outcome, 'open', target);
        continue;
      }
      const handle = await fs.open(target, flags);
      if (outcome === 'EBADF') await fails(handle.write('AB'), 'EBADF', 'write');
      else expect((await handle.write('AB')).bytesWritten).toBe(2);
      await handle.close();
      expect(await fs.readFile(target, 'utf8')).toBe(outcome === 'EBADF' ? '0123456789' : outcome);
    }
  });

  test.each(['w', 'a', O_WRONLY])('what is opened with %s only cannot be read', async (flags) => {
    const handle = await place.fs.open(place.path('there'), flags);
    await fails(handle.read(Buffer.alloc(4)), 'EBADF', 'read');
    await fails(handle.readFile(), 'EBADF', 'read');
    await handle.close();
  });

  test('flags and modes that mean nothing are refused', async () => {
    const { fs, path } = place;
    await refuses(() => fs.open(path('there'), 'zz'), 'ERR_INVALID_ARG_VALUE', TypeError, "The argument 'flags' is invalid. Received 'zz'");
    await refuses(() => fs.open(path('there'), ''), 'ERR_INVALID_ARG_VALUE');
    await refuses(() => fs.open(path('there'), {} as unknown as string), 'ERR_INVALID_ARG_VALUE');
    await refuses(
      () => fs.open(path('new'), 'w', '8'),
      'ERR_INVALID_ARG_VALUE',
      TypeError,
      "The argument 'mode' must be a 32-bit unsigned integer or an octal string. Received '8'",
    );
    await refuses(() => fs.open(path('new'), 'w', -1), 'ERR_OUT_OF_RANGE', RangeError);
    await refuses(() => fs.open(path('new'), 'w', 1.5), 'ERR_OUT_OF_RANGE', RangeError);
    await fails(fs.stat(path('new')), 'ENOENT', 'stat', path('new'));
  });

  test.each<[string, string | number, string]>([
    ['dir', 'w', 'EISDIR'],
    ['dir', 'r+', 'EISDIR'],
    ['dir', 'a', 'EISDIR'],
    ['dir/', 'w', 'EISDIR'],
    ['dir', 'wx', 'EEXIST'],
    ['dir/..', 'w', 'EISDIR'],
    ['there/', 'r', 'ENOTDIR'],
    ['there/', 'w', 'EISDIR'],
    ['there/x', 'w', 'ENOTDIR'],
    ['new/', 'w', 'EISDIR'],
    ['nothing/x', 'w', 'ENOENT'],
    ['there', O_DIRECTORY, 'ENOTDIR'],
    ['link', O_NOFOLLOW, 'ELOOP'],
    ['dangling', 'r', 'ENOENT'],
    ['dangling', 'wx', 'EEXIST'],
    ['link', 'wx', 'EEXIST'],
  ])('open %s with %s: %s', async (name, flags, code) => {
    const path = place.path(name);
    await fails(place.fs.open(path, flags), code, 'open', path);
  });

  test('a symlink is followed to what is to be made', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('dangling'), 'made');
    expect(await fs.readFile(path('new'), 'utf8')).toBe('made');
    expect((await fs.lstat(path('dangling'))).isSymbolicLink()).toBe(true);
    await fs.writeFile(path('link'), 'through');
    expect(await fs.readFile(path('there'), 'utf8')).toBe('through');
  });

  test('a directory can be opened, and not be read', async () => {
    const handle = await place.fs.open(place.path('dir'), O_RDONLY | O_DIRECTORY);
    expect((await handle.stat()).isDirectory()).toBe(true);
    await fails(handle.read(Buffer.alloc(1)), 'EISDIR', 'read');
    await fails(handle.readFile(), 'EISDIR', 'read');
    await handle.close();
    await fails(place.fs.readFile(place.path('dir')), 'EISDIR', 'read');
  });

  test.each<[string | number | undefined, number]>([
    [undefined, 0o666],
    [0o600, 0o600],
    ['640', 0o640],
    [0o777, 0o777],
  ])('mode %s, less the umask', async (mode, bits) => {
    const { fs, path } = place;
    const handle = await fs.open(path('new'), 'w', mode);
    await handle.close();
    expect((await fs.stat(path('new'))).mode).toBe(0o100000 | (bits & ~process.umask()));
  });

  test('a file that is made read-only can be written through what made it', async () => {
    const { fs, path } = place;
    const handle = await fs.open(path('new'), 'w', 0o444);
    await handle.writeFile('still');
    await handle.close();
    expect(await fs.readFile(path('new'), 'utf8')).toBe('still');
  });
}
