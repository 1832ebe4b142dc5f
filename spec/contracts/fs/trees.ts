import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses, rejection } from './errors.js';

/** What goes through trees: rm and cp. */
export function trees(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    const { fs, path } = place;
    await fs.mkdir(path('tree/sub/deep'), { recursive: true });
    await fs.writeFile(path('tree/file'), 'file', { mode: 0o640 });
    await fs.writeFile(path('tree/sub/other'), 'other');
    await fs.symlink('file', path('tree/link'));
    await fs.symlink('../outside', path('tree/sub/out'));
    await fs.mkdir(path('outside'));
    await fs.writeFile(path('outside/kept'), 'kept');
  });

  test('rm', async () => {
    const { fs, path } = place;
    await fs.rm(path('tree/link'));
    expect(await fs.readFile(path('tree/file'), 'utf8')).toBe('file');
    await fs.rm(path('tree'), { recursive: true });
    await fails(fs.stat(path('tree')), 'ENOENT', 'stat', path('tree'));
    expect(await fs.readFile(path('outside/kept'), 'utf8')).toBe('kept');
    await fs.rm(path('none'), { force: true });
    await fs.rm(path('none'), { force: true, recursive: true });
    await fails(fs.rm(path('none')), 'ENOENT', 'lstat', path('none'));
    await fails(fs.rm(path('none'), { recursive: true }), 'ENOENT', 'lstat', path('none'));
    await fails(fs.rm(path('outside/kept/x'), { force: true }), 'ENOTDIR', 'lstat', path('outside/kept/x'));
    const error = await rejection(fs.rm(path('outside')));
    expect(error.name).toBe('SystemError');
    expect([error.code, error.syscall, error.errno, error.path]).toEqual(['ERR_FS_EISDIR', 'rm', 21, path('outside')]);
    expect(error.message).toBe(`Path is a directory: rm returned EISDIR (is a directory) ${path('outside')}`);
    await refuses(() => fs.rm(path('outside'), { recursive: true, maxRetries: -1 }), 'ERR_OUT_OF_RANGE', RangeError);
  });

  test('rmdir of a whole tree', async () => {
    const { fs, path } = place;
    await fails(fs.rmdir(path('tree')), 'ENOTEMPTY', 'rmdir', path('tree'));
    await fs.rmdir(path('tree'), { recursive: true });
    await fails(fs.stat(path('tree')), 'ENOENT', 'stat', path('tree'));
    expect(await fs.readFile(path('outside/kept'), 'utf8')).toBe('kept');
    await fails(fs.rmdir(path('none'), { recursive: true }), 'ENOENT', 'stat', path('none'));
    await fails(fs.rmdir(path('outside/kept'), { recursive: true }), 'ENOTDIR', 'rmdir', path('outside/kept'));
    await refuses(() => fs.rmdir(path('outside'), { recursive: 1 as unknown as boolean }), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => fs.rmdir(path('outside'), { maxRetries: -1 }), 'ERR_OUT_OF_RANGE', RangeError);
    await fs.symlink('outside', path('toward'));
    await fs.rmdir(path('toward'), { recursive: true });
    expect(await fs.readdir(path())).toEqual(['outside']);
  });

  test('rm of many and deep', async () => {
    const { fs, path } = place;
    const deep = Array.from({ length: 60 }, () => 'd').join('/');
    await fs.mkdir(path('tree', deep), { recursive: true });
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        await fs.mkdir(path('tree', `x${index}`));
        await Promise.all(Array.from({ length: 15 }, (_, file) => fs.writeFile(path('tree', `x${index}`, `f${file}`), 'x')));
      }),
    );
    await fs.rm(path('tree'), { recursive: true, maxRetries: 2 });
    expect(await fs.readdir(path())).toEqual(['outside']);
  });

  test('cp of a tree', async () => {
    const { fs, path } = place;
    await fs.chmod(path('tree/sub'), 0o750);
    await fs.cp(path('tree'), path('made/copy'), { recursive: true });
    expect((await fs.readdir(path('made/copy'), { recursive: true })).sort()).toEqual([
      'file',
      'link',
      'sub',
      'sub/deep',
      'sub/other',
      'sub/out',
    ]);
    expect(await fs.readFile(path('made/copy/sub/other'), 'utf8')).toBe('other');
    expect((await fs.stat(path('made/copy/file'))).mode & 0o777).toBe(0o640);
    expect((await fs.stat(path('made/copy/sub'))).mode & 0o777).toBe(0o750);
    // Node makes relative targets absolute unless it is told not to.
    expect(await fs.readlink(path('made/copy/link'))).toBe(path('tree/file'));
    await fs.cp(path('tree'), path('verbatim'), { recursive: true, verbatimSymlinks: true });
    expect(await fs.readlink(path('verbatim/link'))).toBe('file');
    expect(await fs.readlink(path('verbatim/sub/out'))).toBe('../outside');
    // Onto itself it changes nothing but what differs.
    await fs.writeFile(path('made/copy/file'), 'changed');
    await fs.writeFile(path('made/copy/extra'), 'extra');
    await fs.cp(path('tree/file'), path('made/copy/file'), { force: false });
    expect(await fs.readFile(path('made/copy/file'), 'utf8')).toBe('changed');
    await fs.cp(path('tree/file'), path('made/copy/file'));
    expect(await fs.readFile(path('made/copy/file'), 'utf8')).toBe('file');
    expect(await fs.readFile(path('made/copy/extra'), 'utf8')).toBe('extra');
  });

  test('cp with its options', async () => {
    const { fs, path } = place;
    await fs.cp(path('tree'), path('filtered'), { recursive: true, filter: (source) => !source.endsWith('other') });
    expect((await fs.readdir(path('filtered/sub'))).sort()).toEqual(['deep', 'out']);
    await fs.cp(path('tree'), path('slow'), { recursive: true, filter: async (source) => !source.endsWith('file') });
    expect((await fs.readdir(path('slow'))).sort()).toEqual(['link', 'sub']);
    await fs.cp(path('tree/link'), path('followed'), { dereference: true });
    expect((await fs.lstat(path('followed'))).isFile()).toBe(true);
    await fs.utimes(path('tree/file'), 1000, 2000);
    await fs.cp(path('tree/file'), path('dated'), { preserveTimestamps: true });
    expect((await fs.stat(path('dated'))).mtimeMs).toBe(2_000_000);
    await fs.cp(path('tree'), path('linked'), { recursive: true, dereference: true, filter: (source) => !source.endsWith('out') });
    expect((await fs.lstat(path('linked/link'))).isFile()).toBe(true);
  });

  test('cp of what cannot be', async () => {
    const { fs, path } = place;
    await fails(fs.cp(path('none'), path('x')), 'ENOENT', 'lstat', path('none'));
    const cases: [string, string, object, string, string][] = [
      ['tree', 'x', {}, 'ERR_FS_EISDIR', `${path('tree')} is a directory (not copied)`],
      [
        'tree',
        'tree/sub/x',
        { recursive: true },
        'ERR_FS_CP_EINVAL',
        `cannot copy ${path('tree')} to a subdirectory of self ${path('tree/sub/x')}`,
      ],
      ['tree/file', 'tree/file', {}, 'ERR_FS_CP_EINVAL', 'src and dest cannot be the same'],
      [
        'tree',
        'outside/kept',
        { recursive: true },
        'ERR_FS_CP_DIR_TO_NON_DIR',
        `cannot overwrite non-directory ${path('outside/kept')} with directory ${path('tree')}`,
      ],
      [
        'tree/file',
        'outside',
        {},
        'ERR_FS_CP_NON_DIR_TO_DIR',
        `cannot overwrite directory ${path('outside')} with non-directory ${path('tree/file')}`,
      ],
      ['tree/file', 'outside/kept', { force: false, errorOnExist: true }, 'ERR_FS_CP_EEXIST', `${path('outside/kept')} already exists`],
    ];
    for (const [from, to, options, code, text] of cases) {
      const error = await rejection(fs.cp(path(from), path(to), options));
      expect([error.name, error.code, error.syscall]).toEqual(['SystemError', code, 'cp']);
      expect(error.message).toContain(`(${text})`);
    }
  });

  test('cp of a directory into itself, by another name', async () => {
    const { fs, path } = place;
    await fs.symlink('tree', path('alias'));
    for (const to of ['alias/x', 'alias/sub/x']) {
      const error = await rejection(fs.cp(path('tree'), path(to), { recursive: true }));
      expect(error.code).toBe('ERR_FS_CP_EINVAL');
      expect(error.message).toContain(`(cannot copy ${path('tree')} to a subdirectory of self `);
    }
    expect(await fs.readdir(path('tree'))).not.toContain('x');
  });
}
