import { Buffer } from 'node:buffer';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import glob from 'fast-glob';
import git from 'isomorphic-git';
import http from 'isomorphic-git/http/node';
import { extract, pack } from 'tar-stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { callbackFs, type FileSystem, openFs } from '../../lib/fs/index.js';
import { shell } from '../support/child.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { gitServer } from '../support/servers/git.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { settled } from './settled.js';

interface Server {
  address(): string;
  stop(): Promise<void>;
}

const author = { name: 'A. Writer', email: 'writer@example.org' };

function libraries(name: string, start: (path: string) => Promise<Server>): void {
  describe(`libraries ${name}`, () => {
    let directory: TemporaryDirectory;
    let server: Server;
    let fs: FileSystem;
    let count = 0;
    let root = '';

    beforeAll(async () => {
      directory = new TemporaryDirectory('libraries');
      server = await start(directory.path);
      fs = await openFs(server.address());
    });
    beforeEach(async () => {
      root = `/t${count++}`;
      await fs.mkdir(root);
    });
    afterAll(async () => {
      await settled(fs);
      await fs.close();
      await server.stop();
      directory.remove();
    });

    test('isomorphic-git makes a repository, and git itself agrees with it', async () => {
      const dir = `${root}/repo`;
      await fs.mkdir(`${dir}/src/deep`, { recursive: true });
      await git.init({ fs, dir, defaultBranch: 'main' });
      await fs.writeFile(`${dir}/README`, 'hello\n');
      await fs.writeFile(`${dir}/src/deep/code`, 'code\n');
      await fs.symlink('README', `${dir}/link`);
      for (const filepath of ['README', 'src/deep/code', 'link']) await git.add({ fs, dir, filepath });
      const first = await git.commit({ fs, dir, author, message: 'first' });
      await fs.appendFile(`${dir}/README`, 'more\n');
      await fs.writeFile(`${dir}/new`, 'new\n');
      await fs.rm(`${dir}/src/deep/code`);
      expect((await git.statusMatrix({ fs, dir })).sort()).toEqual([
        ['README', 1, 2, 1],
        ['link', 1, 1, 1],
        ['new', 0, 2, 0],
        ['src/deep/code', 1, 0, 1],
      ]);
      await git.add({ fs, dir, filepath: ['README', 'new'] });
      await git.remove({ fs, dir, filepath: 'src/deep/code' });
      const second = await git.commit({ fs, dir, author, message: 'second' });
      expect((await git.log({ fs, dir })).map(({ oid, commit }) => [oid, commit.message])).toEqual([
        [second, 'second\n'],
        [first, 'first\n'],
      ]);
      await git.branch({ fs, dir, ref: 'old', object: first });
      await git.checkout({ fs, dir, ref: 'old' });
      expect(await fs.readFile(`${dir}/src/deep/code`, 'utf8')).toBe('code\n');
      const { stdout } = await shell('cd "$1"; git -c safe.directory="*" fsck --strict; git -c safe.directory="*" log --format=%s main', [
        directory.join(dir),
      ]);
      expect(stdout).toBe('second\nfirst\n');
    });

    test('isomorphic-git clones', async () => {
      const source = new TemporaryDirectory('git');
      await mkdir(source.join('origin', 'folder'), { recursive: true });
      await writeFile(source.join('origin', 'folder', 'blob'), randomFillSync(Buffer.alloc(300_000)));
      await shell(
        `cd "$1"; git init -q -b main; git config user.name x; git config user.email x@example.org
        for n in $(seq 20); do echo $n > file$n; git add -A; git commit -qm "commit $n"; done`,
        [source.join('origin')],
      );
      const remote = await gitServer(source.path);
      try {
        const dir = `${root}/clone`;
        await git.clone({ fs: callbackFs(fs), http, dir, url: `${remote.url}/origin/.git` });
        expect((await git.log({ fs, dir })).length).toBe(20);
        expect((await git.statusMatrix({ fs, dir })).every(([, head, work, stage]) => head === 1 && work === 1 && stage === 1)).toBe(true);
        expect((await fs.readdir(dir)).length).toBe(22);
        await shell('cd "$1"; git -c safe.directory="*" fsck; test -z "$(git -c safe.directory="*" status --porcelain)"', [
          directory.join(dir),
        ]);
      } finally {
        await remote.stop();
        source.remove();
      }
    });

    test('fast-glob', async () => {
      await fs.mkdir(`${root}/src/a/b`, { recursive: true });
      await fs.mkdir(`${root}/.hidden`);
      const files = ['src/one.ts', 'src/two.js', 'src/a/three.ts', 'src/a/b/four.ts', '.hidden/five.ts', 'six.md'];
      await Promise.all(files.map((name) => fs.writeFile(`${root}/${name}`, name)));
      await fs.symlink('a', `${root}/src/loop`);
      await fs.symlink('../../src', `${root}/src/a/up`);
      const { lstat, stat, readdir } = callbackFs(fs);
      const options = { fs: { lstat, stat, readdir }, cwd: root, followSymbolicLinks: false };
      expect((await glob('**/*.ts', options)).sort()).toEqual(['src/a/b/four.ts', 'src/a/three.ts', 'src/one.ts']);
      expect((await glob(['**/*', '!**/*.ts'], { ...options, onlyFiles: false })).sort()).toEqual([
        'six.md',
        'src',
        'src/a',
        'src/a/b',
        'src/a/up',
        'src/loop',
        'src/two.js',
      ]);
      expect((await glob('**/*.ts', { ...options, dot: true })).length).toBe(4);
      expect((await glob('src/loop/*.ts', { ...options, followSymbolicLinks: true })).sort()).toEqual(['src/loop/three.ts']);
      const stats = await glob('src/*.ts', { ...options, stats: true });
      expect(stats.map(({ name, stats: found }) => [name, found?.size, found?.isFile()])).toEqual([['one.ts', 10, true]]);
      const streamed: string[] = [];
      for await (const entry of glob.stream(`${root}/**/*.md`, { ...options, absolute: true })) streamed.push(String(entry));
      expect(streamed).toEqual([`${root}/six.md`]);
    });

    test('tar-stream and gzip, there and back', async () => {
      const data = randomFillSync(Buffer.alloc(2_500_000));
      const digest = createHash('sha256').update(data).digest('hex');
      await fs.writeFile(`${root}/data`, data);
      const archive = pack();
      const writing = pipeline(archive, createGzip({ level: 1 }), fs.createWriteStream(`${root}/archive.tgz`));
      const entry = archive.entry({ name: 'data', size: data.length });
      await pipeline(fs.createReadStream(`${root}/data`), entry);
      archive.entry({ name: 'note' }, 'a note');
      archive.finalize();
      await writing;

      await fs.mkdir(`${root}/out`);
      const unpack = extract();
      const reading = pipeline(fs.createReadStream(`${root}/archive.tgz`), createGunzip(), unpack);
      for await (const part of unpack) await pipeline(part, fs.createWriteStream(`${root}/out/${part.header.name}`));
      await reading;
      expect(
        createHash('sha256')
          .update(await fs.readFile(`${root}/out/data`))
          .digest('hex'),
      ).toBe(digest);
      expect(await fs.readFile(`${root}/out/note`, 'utf8')).toBe('a note');
      // The host's own tar can read it.
      const { stdout } = await shell('tar tzf "$1"', [directory.join(root, 'archive.tgz')]);
      expect(stdout).toBe('data\nnote\n');
    });

    test('stream/promises: from anything into a file, and errors end both', async () => {
      await pipeline(Readable.from(['a', 'b', 'c']), fs.createWriteStream(`${root}/f`, { flags: 'wx' }));
      expect(await fs.readFile(`${root}/f`, 'utf8')).toBe('abc');
      await expect(pipeline(Readable.from(['x']), fs.createWriteStream(`${root}/f`, { flags: 'wx' }))).rejects.toMatchObject({
        code: 'EEXIST',
        syscall: 'open',
      });
      await expect(pipeline(fs.createReadStream(`${root}/none`), fs.createWriteStream(`${root}/g`))).rejects.toMatchObject({
        code: 'ENOENT',
        message: `ENOENT: no such file or directory, open '${root}/none'`,
      });
      await expect(pipeline(fs.createReadStream(`${root}/f`), fs.createWriteStream(`${root}/no/g`))).rejects.toMatchObject({
        code: 'ENOENT',
      });
      await settled(fs);
    });
  });
}

requires('diod', 'git')('libraries', () => {
  libraries('over diod', (path) => diod(path));
});
requires(
  'linux',
  'root',
  'git',
)('libraries', () => {
  libraries('over ninep serve', (path) => serve(`${path},security_model=passthrough`));
});
