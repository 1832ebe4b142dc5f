import type { Dirent } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses, rejection } from './errors.js';

/** readdir, opendir, watch. */
export function directories(at: () => Place): void {
  let place: Place;
  beforeEach(async () => {
    place = at();
    const { fs, path } = place;
    await fs.mkdir(path('a/b/c'), { recursive: true });
    await fs.writeFile(path('file'), '');
    await fs.writeFile(path('a/one'), '');
    await fs.writeFile(path('a/b/two'), '');
    await fs.symlink('a', path('link'));
  });

  const kind = (entry: Dirent<string | Buffer>): string =>
    entry.isDirectory() ? 'dir' : entry.isSymbolicLink() ? 'link' : entry.isFile() ? 'file' : '?';

  test('names', async () => {
    const { fs, path } = place;
    expect((await fs.readdir(path())).sort()).toEqual(['a', 'file', 'link']);
    expect((await fs.readdir(`${path('a')}/`)).sort()).toEqual(['b', 'one']);
    expect((await fs.readdir(path('link'))).sort()).toEqual(['b', 'one']);
    expect(await fs.readdir(path('a/b/c'))).toEqual([]);
    expect((await fs.readdir(path(), 'buffer')).map(String).sort()).toEqual(['a', 'file', 'link']);
    expect((await fs.readdir(path('a'), { encoding: 'hex' })).sort()).toEqual([
      Buffer.from('b').toString('hex'),
      Buffer.from('one').toString('hex'),
    ]);
  });

  test('entries', async () => {
    const { fs, path } = place;
    const entries = await fs.readdir(path(), { withFileTypes: true });
    expect(entries.map((entry) => `${kind(entry)} ${entry.name}`).sort()).toEqual(['dir a', 'file file', 'link link']);
    for (const entry of entries) {
      expect(entry.parentPath).toBe(path());
      expect([entry.isFIFO(), entry.isSocket(), entry.isBlockDevice(), entry.isCharacterDevice()]).toEqual([false, false, false, false]);
    }
    const [buffer] = await fs.readdir(path('a/b'), { withFileTypes: true, encoding: 'buffer' });
    expect(Buffer.isBuffer(buffer?.name)).toBe(true);
  });

  test('all below', async () => {
    const { fs, path } = place;
    const all = ['a', 'a/b', 'a/b/c', 'a/b/two', 'a/one', 'file', 'link'];
    // Node 20 goes through symlinks here, and not with file types; later ones never do.
    const names = (await fs.readdir(path(), { recursive: true })).filter((name) => !name.startsWith('link/'));
    expect(names.sort()).toEqual(all);
    const entries = await fs.readdir(path(), { recursive: true, withFileTypes: true });
    expect(entries.map(({ parentPath, name }) => `${parentPath}/${name}`).sort()).toEqual(all.map((name) => path(name)));
    expect(entries.filter((entry) => entry.isDirectory()).length).toBe(3);
  });

  test('what is no directory', async () => {
    const { fs, path } = place;
    await fails(fs.readdir(path('file')), 'ENOTDIR', 'scandir', path('file'));
    await fails(fs.readdir(path('none')), 'ENOENT', 'scandir', path('none'));
    await fails(fs.readdir(path('none'), { recursive: true }), 'ENOENT', 'scandir', path('none'));
    await fails(fs.readdir(path('file'), { withFileTypes: true }), 'ENOTDIR', 'scandir', path('file'));
    await fails(fs.opendir(path('file')), 'ENOTDIR', 'opendir', path('file'));
    await fails(fs.opendir(path('none')), 'ENOENT', 'opendir', path('none'));
    await refuses(() => fs.readdir(path(), 'nope' as BufferEncoding), 'ERR_INVALID_ARG_VALUE');
  });

  test('more names than one message holds', async () => {
    const { fs, path } = place;
    const names = Array.from({ length: 600 }, (_, index) => `${index}-${'n'.repeat(40 + (index % 100))}`);
    for (let from = 0; from < names.length; from += 100) {
      await Promise.all(names.slice(from, from + 100).map((name) => fs.writeFile(path('a/b/c', name), '')));
    }
    expect((await fs.readdir(path('a/b/c'))).sort()).toEqual(names.sort());
    let count = 0;
    for await (const entry of await fs.opendir(path('a/b/c'))) if (entry.isFile()) count++;
    expect(count).toBe(names.length);
  });

  test('opendir', async () => {
    const { fs, path } = place;
    const seen: string[] = [];
    const directory = await fs.opendir(path());
    expect(directory.path).toBe(path());
    for await (const entry of directory) seen.push(`${kind(entry)} ${entry.name}`);
    expect(seen.sort()).toEqual(['dir a', 'file file', 'link link']);
    const error = await rejection((async () => directory.read())());
    expect([error.code, error.message]).toEqual(['ERR_DIR_CLOSED', 'Directory handle was closed']);
    expect((await rejection((async () => directory.close())())).code).toBe('ERR_DIR_CLOSED');
  });

  test('opendir, one by one', async () => {
    const { fs, path } = place;
    const directory = await fs.opendir(path('a'));
    const names = [(await directory.read())?.name, (await directory.read())?.name];
    expect(names.sort()).toEqual(['b', 'one']);
    expect(await directory.read()).toBe(null);
    await directory.close();
    for await (const _ of await fs.opendir(path())) break;
    const names2: string[] = [];
    for await (const { parentPath, name } of await fs.opendir(path(), { recursive: true })) names2.push(`${parentPath}/${name}`);
    expect(names2.length).toBe(7);
    expect(names2).toContain(path('a/b/two'));
  });

  test('opendir of a tree that is removed meanwhile', async () => {
    for (const name of ['a', 'b', 'c']) await place.fs.mkdir(place.path('wide', name), { recursive: true });
    const found: string[] = [];
    for await (const { name } of await place.fs.opendir(place.path('wide'), { recursive: true })) {
      found.push(name);
      await place.fs.rmdir(place.path('wide', name));
    }
    expect(found.sort()).toEqual(['a', 'b', 'c']);
  });

  test('watch ends with its signal', async () => {
    const { fs, path } = place;
    const controller = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { filename } of fs.watch(path(), { signal: controller.signal, interval: 20 } as object)) {
        seen.push(String(filename));
        if (seen.includes('fresh')) controller.abort();
      }
    })();
    // Node's own begins to watch when it is first asked, and says nothing of when that is done.
    let done = false;
    watching
      .catch(() => {})
      .finally(() => {
        done = true;
      });
    for (let n = 0; !done; n++) {
      await fs.writeFile(path('fresh'), String(n));
      await fs.rm(path('fresh'));
      await new Promise((resolve) => setTimeout(resolve, 5 + (n % 40)));
    }
    expect((await rejection(watching)).name).toBe('AbortError');
    expect(seen).toContain('fresh');
    const error = await rejection(
      (async () => {
        for await (const _ of fs.watch(path('none'))) break;
      })(),
    );
    expect([error.code, error.syscall]).toEqual(['ENOENT', 'watch']);
  });
}
