import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { copyTree } from '../../cli/files/copy.js';
import { expand, matcher } from '../../cli/files/glob.js';
import { modeText, printable } from '../../cli/files/listing.js';
import { localFs } from '../../cli/files/local.js';
import { modeChange, ownerOf } from '../../cli/files/mode.js';
import { baseName, splitLocation } from '../../cli/files/place.js';
import { Problems } from '../../cli/files/problems.js';
import { duration, Progress } from '../../cli/files/progress.js';
import { fileSystem } from '../../lib/index.js';
import { MemoryBackend } from '../../lib/server/index.js';
import { connectMemory } from '../fs/memory.js';
import { TemporaryDirectory } from '../support/temporary.js';

describe('locations', () => {
  it.each([
    ['file', undefined, 'file'],
    ['./unix:x', undefined, './unix:x'],
    ['tcp://h/srv', 'tcp://h/srv', '/'],
    ['tcp://h/srv#/a/b', 'tcp://h/srv', '/a/b'],
    ['unix:/s?aname=/x#rel', 'unix:/s?aname=/x', '/rel'],
    ['exec:cmd # x#/p', 'exec:cmd # x', '/p'],
    ['tcp://h/srv#/backup#1/', 'tcp://h/srv', '/backup#1/'],
    ['tcp://h/srv#/a#/b', 'tcp://h/srv', '/a#/b'],
    ['unix:/s#backup#1', 'unix:/s', '/backup#1'],
    ['unix:/a#b#/c#d', 'unix:/a#b', '/c#d'],
    ['vsock+unix:/s:5#', 'vsock+unix:/s:5', '/'],
  ])('%s', (text, address, path) => {
    expect(splitLocation(text)).toEqual({ address, path });
  });

  it('have a last name', () => {
    expect(baseName({ path: 'a/b/', remote: undefined })).toBe('b');
    expect(baseName({ path: '.', remote: undefined })).toBe(process.cwd().split('/').pop());
  });
});

describe('patterns', () => {
  it.each([
    ['*.log', 'a.log', true],
    ['*.log', '.log', false],
    ['.*', '.log', true],
    ['?', 'ab', false],
    ['[a-c]x', 'bx', true],
    ['[!a-c]x', 'bx', false],
    ['[]]', ']', true],
    ['a[', 'a[', true],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['a+b(c)', 'a+b(c)', true],
    ['*', 'new\nline', true],
  ])('%s and %s', (pattern, name, matches) => {
    expect(matcher(pattern).test(name)).toBe(matches);
  });

  it('are expanded, unless a file has that very name', async () => {
    const { client, server } = await connectMemory(new MemoryBackend());
    const fs = fileSystem(client);
    for (const name of ['/a/x.c', '/a/y.c', '/b/c/z.c', '/*.c']) {
      await fs.mkdir(name.slice(0, name.lastIndexOf('/')) || '/', { recursive: true });
      await fs.writeFile(name, '');
    }
    expect(await expand(fs, '/a/*.c')).toEqual(['/a/x.c', '/a/y.c']);
    expect(await expand(fs, '/**/[xz].c')).toEqual(['/a/x.c', '/b/c/z.c']);
    expect(await expand(fs, '/*.c')).toEqual(['/*.c']);
    expect(await expand(fs, '/none')).toEqual(['/none']);
    await expect(expand(fs, '/none*')).rejects.toMatchObject({ code: 'ENOENT' });
    await client.close();
    await server.close();
  });
});

describe('a copy of a file onto itself', () => {
  it('loses nothing where nobody can tell that it is the same', async () => {
    const { client, server } = await connectMemory(new MemoryBackend());
    await using directory = new TemporaryDirectory('same');
    const path = directory.join('file');
    const content = Array.from({ length: 300_000 }, (_, index) => `line ${index}\n`).join('');
    writeFileSync(path, content);
    const refuse = async (): Promise<never> => {
      throw Object.assign(new Error('EPERM: operation not permitted, utime'), { code: 'EPERM' });
    };
    const problems = new Problems();
    const from = { fs: localFs, remote: undefined, path, show: () => path };
    const to = { ...from, fs: { ...localFs, utimes: refuse }, remote: fileSystem(client) };
    await copyTree(from, to, { recursive: false, preserve: false, dryRun: false }, new Progress(false), problems);
    expect([problems.count, readFileSync(path, 'utf8') === content]).toEqual([0, true]);
    await client.close();
    await server.close();
  });
});

describe('modes and owners', () => {
  it.each([
    ['644', 0o777, 0o644],
    ['u+x', 0o644, 0o744],
    ['go-rw', 0o666, 0o600],
    ['a=rX', 0o755, 0o555],
    ['a=rX', 0o644, 0o444],
    ['u+s', 0o755, 0o4755],
    ['u=rw,g=r,o=', 0o777, 0o640],
    ['+t', 0o755, 0o1755],
  ])('%s of %o', (text, old, result) => {
    expect(modeChange(text)(old, false).toString(8)).toBe(result.toString(8));
  });

  it('are shown as ls does', () => {
    expect(modeText(0o100644)).toBe('-rw-r--r--');
    expect(modeText(0o041777)).toBe('drwxrwxrwt');
    expect(modeText(0o104755)).toBe('-rwsr-xr-x');
    expect(modeText(0o102644)).toBe('-rw-r-Sr--');
    expect(modeText(0o120777)).toBe('lrwxrwxrwx');
    expect(modeText(0o020666)).toBe('crw-rw-rw-');
  });

  it('are refused where they are none', () => {
    for (const text of ['9', '77777', 'u+q', '', 'x']) expect(() => modeChange(text)).toThrow();
    expect(ownerOf('1:2')).toEqual({ uid: 1, gid: 2 });
    expect(ownerOf(':2')).toEqual({ uid: -1, gid: 2 });
    for (const text of ['', ':', 'root', '1:x']) expect(() => ownerOf(text)).toThrow();
  });
});

describe('progress', () => {
  it('tells files, bytes, rate and time left', () => {
    using progress = new Progress(false);
    progress.totalFiles = 10;
    progress.totalBytes = 10 * 2 ** 20;
    progress.line(1000);
    progress.files = 2;
    progress.bytes = 2 * 2 ** 20;
    progress.current = 'na\x1bme';
    expect(progress.line(2000)).toBe('2/10 files  2.0 MiB of 10.0 MiB  2.0 MiB/s  0:04 left  na?me');
    expect([duration(5), duration(61), duration(3725)]).toEqual(['0:05', '1:01', '1:02:05']);
    expect(printable('\x1b[2J', { isTTY: true })).toBe('?[2J');
    expect(printable('\x1b[2J', { isTTY: false })).toBe('\x1b[2J');
  });
});
