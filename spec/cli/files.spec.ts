import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureBuilt, main } from '../support/build.js';
import { type RunResult, run } from '../support/child.js';
import { requires } from '../support/requires.js';
import { type Diod, diod } from '../support/servers/diod.js';
import { type NinepServe, ninep, ninepInTurn, serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

const failing = (...args: string[]): Promise<RunResult> => ninep(args, { check: false });

requires('diod')('the file commands', () => {
  let server: Diod;
  let exported: TemporaryDirectory;
  let local: TemporaryDirectory;
  let at: (path?: string) => string;

  beforeAll(async () => {
    await ensureBuilt();
    exported = new TemporaryDirectory('exported');
    local = new TemporaryDirectory('local');
    plant(exported.join('copied'));
    writeFileSync(exported.join('lines'), Array.from({ length: 30_000 }, (_, index) => `line ${index}\n`).join(''));
    writeFileSync(local.join('one.log'), 'one\n');
    server = await diod(exported.path);
    at = (path = '/') => `${server.address()}#${path}`;
  });
  afterAll(async () => {
    await server.stop();
    exported.remove();
    local.remove();
  });

  /** A tree of a few kinds of files. */
  function plant(root: string): void {
    mkdirSync(`${root}/sub/deep`, { recursive: true });
    writeFileSync(`${root}/one.log`, 'one\n');
    writeFileSync(`${root}/two.txt`, 'two\n', { mode: 0o640 });
    writeFileSync(`${root}/sub/large`, Buffer.alloc(1_300_000, 'x'));
    writeFileSync(`${root}/sub/deep/three.log`, 'three\n');
    symlinkSync('one.log', `${root}/link`);
    utimesSync(`${root}/two.txt`, 1000, 2000);
  }

  it('cp takes a tree to a server and back again, whole', async () => {
    plant(local.join('tree'));
    await ninep(['cp', '-rp', local.join('tree'), at('/fresh')]);
    await ninep(['cp', '-rp', at('/fresh'), local.join('back')]);
    await run('diff', ['-r', '--no-dereference', local.join('tree'), local.join('back')]);
    expect(readlinkSync(exported.join('fresh/link'))).toBe('one.log');
    expect(statSync(exported.join('fresh/two.txt')).mtimeMs).toBe(2_000_000);
    expect(statSync(exported.join('fresh/two.txt')).mode & 0o777).toBe(0o640);
    const { stdout, stderr } = await ninep(['cp', '-r', '--json', at('/fresh'), at('/twice')]);
    expect(JSON.parse(stdout)).toMatchObject({ files: 4, bytes: 1_300_014, failed: 0, dryRun: false });
    // A pipe gets no progress.
    expect(stderr).toBe('');
  });

  it('cp into directories, of several, of what matches, of what is not there', async () => {
    mkdirSync(local.join('into'));
    await ninep(['cp', at('/copied/*.log'), at('/copied/two.txt'), local.join('into')]);
    expect(readFileSync(local.join('into/one.log'), 'utf8')).toBe('one\n');
    expect(readFileSync(local.join('into/two.txt'), 'utf8')).toBe('two\n');
    const some = await failing('cp', at('/copied/none'), at('/copied/two.txt'), local.join('into'));
    expect([some.code, some.stderr]).toEqual([1, `ninep: ${at('/copied/none')}: no such file or directory (ENOENT)\n`]);
    const many = await failing('cp', at('/copied/one.log'), at('/copied/two.txt'), local.join('absent'));
    expect([many.code, many.stderr]).toEqual([1, `ninep: ${local.join('absent')}: not a directory (ENOTDIR)\n`]);
    const tree = await failing('cp', at('/copied'), local.join('absent'));
    expect([tree.code, tree.stderr]).toContain(1);
    expect(tree.stderr).toContain('without -r');
    expect((await failing('cp', 'one')).code).toBe(2);
    const { stdout } = await ninep(['cp', '-r', '--dry-run', at('/copied'), local.join('dry')]);
    expect(stdout).toContain(`mkdir ${at('/copied')} -> ${local.join('dry')}\n`);
    expect((await run('ls', [local.join('dry')], { check: false })).code).not.toBe(0);
    // What would fail is told, and nothing else of it.
    await run('sh', ['-euc', 'mkdir -p "$1/copied/one.log" "$1/copied/link"; echo > "$1/copied/sub"', 'sh', local.join('clash')]);
    const clash = await failing('cp', '-r', '--dry-run', at('/copied'), local.join('clash'));
    expect([clash.code, clash.stdout]).toEqual([1, `copy ${at('/copied/two.txt')} -> ${local.join('clash/copied/two.txt')}\n`]);
    const codes = (text: string) =>
      [...text.matchAll(/clash\/copied\/(\S+): .*\((\w+)\)/g)].map(([, name, code]) => `${name} ${code}`).sort();
    expect(codes(clash.stderr)).toEqual(['link EISDIR', 'one.log EISDIR', 'sub EEXIST']);
    expect(codes((await failing('cp', '-r', at('/copied'), local.join('clash'))).stderr)).toEqual(codes(clash.stderr));
  });

  it('get and put', async () => {
    await ninep(['get', at('/copied/one.log')], { cwd: local.path });
    expect(readFileSync(local.join('one.log'), 'utf8')).toBe('one\n');
    writeFileSync(local.join('put.me'), 'put\n');
    await ninep(['put', local.join('put.me'), server.address()]);
    expect(readFileSync(exported.join('put.me'), 'utf8')).toBe('put\n');
  });

  it('ls, in short, in long and as JSON', async () => {
    expect((await ninep(['ls', at('/copied')])).stdout).toBe('link\none.log\nsub\ntwo.txt\n');
    const { stdout } = await ninep(['ls', '-l', at('/copied')]);
    expect(stdout).toMatch(/^lrwxrwxrwx .* link -> one\.log$/m);
    expect(stdout).toMatch(/^drwxr-xr-x .* sub$/m);
    expect(stdout).toMatch(/^-rw-r----- +1 +\d+ +\d+ +4 +1970-01-01 \d\d:\d\d +two\.txt$/m);
    const lines = (await ninep(['ls', '--json', at('/copied')])).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toContainEqual(
      expect.objectContaining({ path: '/copied/two.txt', kind: 'file', mode: '0640', size: 4, mtime: '1970-01-01T00:33:20.000Z' }),
    );
    expect((await ninep(['ls', at('/copied/**/*.log')])).stdout).toBe('/copied/one.log\n/copied/sub/deep/three.log\n');
    const none = await failing('ls', at('/copied/*.none'));
    expect([none.code, none.stderr]).toEqual([1, 'ninep: /copied/*.none: nothing matches (ENOENT)\n']);
  });

  it('cat, tail and stat', async () => {
    expect((await ninep(['cat', at('/copied/one.log'), at('/copied/two.txt')])).stdout).toBe('one\ntwo\n');
    expect((await ninep(['cat', at('/copied/sub/large')])).output.length).toBe(1_300_000);
    expect((await ninep(['tail', '-n', '2', at('/lines')])).stdout).toBe('line 29998\nline 29999\n');
    const stat = JSON.parse((await ninep(['stat', '--json', at('/copied/link')])).stdout);
    expect(stat).toMatchObject({ kind: 'symlink', target: 'one.log', qid: { type: 2 } });
    expect((await ninep(['stat', at('/copied')])).stdout).toMatch(/kind +directory/);
  });

  it('tail -f follows what is added, and a file that takes its place', async () => {
    writeFileSync(exported.join('grows'), 'first\n');
    const script = `
      "$1" "$2" tail -f --interval 0.1 "$3" > "$4" & tail=$!
      until grep -q first "$4"; do sleep 0.05; done
      echo second >> "$5"
      until grep -q second "$4"; do sleep 0.05; done
      mv "$5" "$5.old"; echo third > "$5"
      until grep -q third "$4"; do sleep 0.05; done
      kill -INT $tail; wait $tail || echo $?`;
    const args = [process.execPath, main, at('/grows'), local.join('seen'), exported.join('grows')];
    const { stdout } = await run('/bin/bash', ['-euc', `set -m; ${script}`, 'sh', ...args]);
    expect(stdout).toBe('130\n');
    expect(readFileSync(local.join('seen'), 'utf8')).toBe('first\nsecond\nthird\n');
  });

  it('tree and find', async () => {
    expect((await ninep(['tree', at('/copied')])).stdout).toBe(
      `${at('/copied')}\n├── link -> one.log\n├── one.log\n├── sub\n│   ├── deep\n│   │   └── three.log\n│   └── large\n└── two.txt\n\n2 directories, 5 files\n`,
    );
    const tree = JSON.parse((await ninep(['tree', '--json', '-L', '1', at('/copied')])).stdout);
    expect(tree.children.map(({ path }: { path: string }) => path)).toEqual([
      '/copied/link',
      '/copied/one.log',
      '/copied/sub',
      '/copied/two.txt',
    ]);
    expect((await ninep(['find', at('/copied'), '--name', '*.log'])).stdout).toBe('/copied/one.log\n/copied/sub/deep/three.log\n');
    expect((await ninep(['find', at('/copied'), '--type', 'f', '--size', '+1K', '-0'])).stdout).toBe('/copied/sub/large\0');
    const named = await ninepInTurn(['', '/', 'copied'].map((name) => ['find', at(name === 'copied' ? '/copied/' : '/'), '--name', name]));
    expect(named.map(({ stdout }) => stdout)).toEqual(['', '/\n', '/copied/\n']);
    expect((await ninep(['find', at('/copied'), '--older', '2000-01-01', '--depth', '1'])).stdout).toBe('/copied/two.txt\n');
  });

  it('mkdir, touch, ln, chmod, chown, mv, rm', async () => {
    await ninep(['mkdir', '-p', '-m', '750', at('/made/a/b')]);
    expect(statSync(exported.join('made/a/b')).mode & 0o777).toBe(0o750);
    expect((await failing('mkdir', at('/made'))).code).toBe(1);
    await ninep(['touch', '-d', '2020-01-02T03:04:05Z', at('/made/file')]);
    expect(statSync(exported.join('made/file')).mtime.toISOString()).toBe('2020-01-02T03:04:05.000Z');
    await ninep(['ln', '-s', 'file', at('/made/soft')]);
    await ninep(['ln', at('/made/file'), at('/made/hard')]);
    expect(readlinkSync(exported.join('made/soft'))).toBe('file');
    expect(statSync(exported.join('made/hard')).nlink).toBe(2);
    expect((await failing('ln', local.join('one.log'), at('/made/x'))).code).toBe(2);
    await ninep(['chmod', '-R', 'u=rwX,g=rX,o=', at('/made')]);
    expect(statSync(exported.join('made/file')).mode & 0o777).toBe(0o640);
    expect(statSync(exported.join('made/a')).mode & 0o777).toBe(0o750);
    if (process.geteuid?.() === 0) {
      await ninep(['chown', '12:34', at('/made/file')]);
      expect([statSync(exported.join('made/file')).uid, statSync(exported.join('made/file')).gid]).toEqual([12, 34]);
    }
    expect((await failing('chown', 'root', at('/made/file'))).code).toBe(2);
    await ninep(['mv', at('/made/file'), at('/made/a')]);
    await ninep(['mv', at('/made'), local.join('moved')]);
    expect(statSync(local.join('moved/a/file')).mtime.toISOString()).toBe('2020-01-02T03:04:05.000Z');
    expect((await failing('ls', at('/made'))).code).toBe(1);
    plant(exported.join('gone'));
    const directory = await failing('rm', at('/gone'));
    expect(directory.code).toBe(1);
    expect((await ninep(['rm', '-r', '--dry-run', at('/gone/sub')])).stdout.split('\n')[0]).toBe(`remove ${at('/gone/sub/large')}`);
    expect(await failing('rm', '--dry-run', at('/gone'))).toMatchObject({ code: 1, stdout: '', stderr: directory.stderr });
    await ninep(['rm', '-r', at('/gone')]);
    expect(await ninep(['rm', '-f', '--dry-run', at('/gone')])).toMatchObject({ stdout: '', stderr: '' });
    await ninep(['rm', '-f', at('/gone')]);
    expect((await failing('rm', at('/gone'))).code).toBe(1);
    plant(local.join('kept'));
    // The root stays, and what is in "." too: also before anybody has asked for it.
    for (const [root, code] of [
      [at(), 'EBUSY'],
      [`${local.join('kept')}/.`, 'EINVAL'],
      [`${local.join('kept/sub')}/..`, 'ENOTEMPTY'],
    ] as const) {
      const refused = await failing('rm', '-r', root);
      expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(`(${code})`) });
      expect(await failing('rm', '-r', '--dry-run', root)).toMatchObject({ code: 1, stdout: '', stderr: refused.stderr });
    }
    expect(readFileSync(local.join('kept/one.log'), 'utf8')).toBe('one\n');
  });

  it('sync copies what differs and nothing else', async () => {
    plant(local.join('site'));
    const sync = async (...more: string[]) =>
      JSON.parse((await ninep(['sync', '--json', ...more, local.join('site'), at('/site')])).stdout) as Record<string, number>;
    expect(await sync()).toMatchObject({ copied: 5, unchanged: 0, removed: 0, failed: 0 });
    await run('diff', ['-r', '--no-dereference', local.join('site'), exported.join('site')]);
    expect(await sync()).toMatchObject({ copied: 0, unchanged: 5, removed: 0, bytes: 0 });
    writeFileSync(local.join('site/one.log'), 'ONE\n');
    writeFileSync(exported.join('site/extra'), 'extra');
    mkdirSync(exported.join('site/more/below'), { recursive: true });
    expect(await sync('--dry-run', '--delete')).toMatchObject({ copied: 1, removed: 3 });
    expect(readFileSync(exported.join('site/one.log'), 'utf8')).toBe('one\n');
    expect(await sync()).toMatchObject({ copied: 1, removed: 0 });
    expect(readFileSync(exported.join('site/extra'), 'utf8')).toBe('extra');
    expect(await sync('--delete')).toMatchObject({ copied: 0, removed: 3 });
    await run('diff', ['-r', '--no-dereference', local.join('site'), exported.join('site')]);
    // A file where a directory was, and the other way round.
    await run('sh', ['-c', 'cd "$1"; rm -r sub; echo file > sub; rm two.txt; mkdir two.txt; echo x > two.txt/x', 'sh', local.join('site')]);
    const clash = await failing('sync', local.join('site'), at('/site'));
    expect([clash.code, clash.stderr]).toEqual([
      1,
      `ninep: ${at('/site/sub')}: is a directory where the source has none, and stays without --delete (EISDIR)\n` +
        `ninep: ${at('/site/two.txt')}: is no directory where the source has one, and stays without --delete (ENOTDIR)\n`,
    ]);
    expect((await failing('sync', '--dry-run', local.join('site'), at('/site'))).stderr).toBe(clash.stderr);
    expect(readFileSync(exported.join('site/sub/deep/three.log'), 'utf8')).toBe('three\n');
    expect(readFileSync(exported.join('site/two.txt'), 'utf8')).toBe('two\n');
    expect(statSync(exported.join('site/two.txt')).mode & 0o777).toBe(0o640);
    expect(await sync('--delete')).toMatchObject({ failed: 0 });
    await run('diff', ['-r', '--no-dereference', local.join('site'), exported.join('site')]);
    // A file is not put in the place of a whole tree: who names one beside a directory means a file in it.
    const file = await failing('sync', local.join('site/one.log'), at('/site'));
    expect([file.code, file.stderr]).toEqual([1, `ninep: ${at('/site')}: illegal operation on a directory (EISDIR)\n`]);
    await run('diff', ['-r', '--no-dereference', local.join('site'), exported.join('site')]);
    const tree = await failing('sync', '--delete', local.join('site'), at('/site/one.log'));
    expect([tree.code, tree.stderr]).toEqual([1, `ninep: ${at('/site/one.log')}: not a directory (ENOTDIR)\n`]);
    // Back, onto this host.
    await ninep(['sync', at('/site'), local.join('mirror')]);
    await run('diff', ['-r', '--no-dereference', local.join('site'), local.join('mirror')]);
    expect(statSync(local.join('mirror')).mtimeMs).toBeCloseTo(statSync(local.join('site')).mtimeMs, 0);
  });

  it('sync leaves what is of another kind, whichever side the trees are on', async () => {
    const script = `
      mkdir -p new/a new/b new/c old/f/x old/l/x old/s/x; echo new > new/f; echo new > new/k; ln -s f new/l; mkfifo new/s
      echo new > new/a/x; echo new > new/b/x; echo old > old/a; ln -s f old/b; mkdir old/c; echo old > old/c/x; ln -s f old/k
      for x in f l s; do echo old > old/$x/x/x; done`;
    const places = [
      [local.join('near/new'), at('/far/old')],
      [at('/far/new'), local.join('near/old')],
      [at('/far/new'), at('/far/old')],
    ] as const;
    for (const [from, to] of places) {
      for (const root of [local.join('near'), exported.join('far')]) {
        await run('sh', ['-euc', `rm -rf "$1"; mkdir "$1"; cd "$1"; ${script}`, 'sh', root]);
      }
      const old = to.startsWith('unix:') || to.startsWith('tcp:') ? exported.join('far/old') : local.join('near/old');
      const { code, stderr } = await failing('sync', from, to);
      expect(stderr.match(/old\/\S+(?=: )|\(\w+\)/g)).toEqual(
        ['a', 'b', 'f', 'l'].flatMap((name) => [`old/${name}`, name < 'c' ? '(ENOTDIR)' : '(EISDIR)']),
      );
      expect(code).toBe(1);
      const kept = await run('sh', ['-euc', 'cd "$1"; cat a c/x f/x/x l/x/x s/x/x; readlink b; cat k', 'sh', old]);
      expect(kept.stdout).toBe('old\nold\nold\nold\nold\nf\nnew\n');
      await ninep(['sync', '--delete', from, to]);
      expect((await run('sh', ['-euc', 'cd "$1"; cat a/x b/x f k; readlink l; ls . c', 'sh', old])).stdout).toBe(
        'new\nnew\nnew\nnew\nf\n.:\na\nb\nc\nf\nk\nl\n\nc:\n',
      );
    }
  });

  it('sync makes a copy of the file that a symlink given leads to', async () => {
    await run('sh', ['-euc', 'cd "$1"; echo text > named; ln -s named leads', 'sh', local.path]);
    await ninep(['sync', local.join('leads'), at('/led')]);
    expect(readFileSync(exported.join('led'), 'utf8')).toBe('text\n');
  });

  it('xattr, df and lock', async () => {
    await ninep(['xattr', 'set', at('/lines'), 'user.note', 'hello']);
    expect((await ninep(['xattr', 'get', at('/lines'), 'user.note'])).stdout).toBe('hello\n');
    expect((await ninep(['xattr', 'list', at('/lines')])).stdout).toBe('user.note=hello\n');
    await ninep(['xattr', 'remove', at('/lines'), 'user.note']);
    expect((await ninep(['xattr', 'list', '--json', at('/lines')])).stdout).toBe('{}\n');
    await ninep(['xattr', 'set', '--hex', at('/lines'), 'user.bytes', '00ff80']);
    expect((await ninep(['xattr', 'get', at('/lines'), 'user.bytes'])).output).toEqual(Buffer.from('00ff800a', 'hex'));
    expect((await failing('xattr', 'list', local.join('one.log'))).code).toBe(2);
    expect(JSON.parse((await ninep(['df', '--json', at()])).stdout)).toMatchObject({ path: at() });
    const locked = await failing('lock', at('/lock'), '--', 'sh', '-c', 'echo held; exit 7');
    expect([locked.code, locked.stdout]).toEqual([7, 'held\n']);
  });

  it('names what failed by its address', async () => {
    const none = at('/none');
    const lines: [args: string[], told: string][] = [
      [['tail', at('/copied')], `${at('/copied')}: illegal operation on a directory (EISDIR)`],
      [['tail', none], `${none}: no such file or directory (ENOENT)`],
      [['xattr', 'list', none], `${none}: no such file or directory (ENOENT)`],
      [['xattr', 'get', at('/lines'), 'user.none'], `${at('/lines')}: no data available (ENODATA)`],
      [['lock', at('/none/lock'), 'true'], `${at('/none/lock')}: no such file or directory (ENOENT)`],
      [['ln', none, at('/hard')], `${none} -> ${at('/hard')}: no such file or directory (ENOENT)`],
      [['ln', '-s', 'text', at('/lines')], `text -> ${at('/lines')}: file already exists (EEXIST)`],
      [['ln', '-sf', 'text', at('/copied')], `text -> ${at('/copied')}: illegal operation on a directory (EISDIR)`],
      [['mv', at('/lines'), at('/none/x')], `${at('/lines')} -> ${at('/none/x')}: no such file or directory (ENOENT)`],
    ];
    const results = await ninepInTurn(lines.map(([args]) => args));
    expect(results.map(({ code, stdout, stderr }) => [code, stdout, stderr])).toEqual(lines.map(([, told]) => [1, '', `ninep: ${told}\n`]));
  });

  it('says where it failed, and goes on', async () => {
    const { code, stdout, stderr } = await failing('cat', at('/none'), at('/copied/one.log'));
    expect([code, stdout, stderr]).toEqual([1, 'one\n', `ninep: ${at('/none')}: no such file or directory (ENOENT)\n`]);
    const lost = await failing('ls', 'unix:/nonexistent/socket');
    expect(lost.code).toBe(1);
    expect(lost.stderr).toMatch(/^ninep: .*ENOENT/);
    const { stdout: head } = await run('/bin/bash', [
      '-c',
      '"$@" | head -c 3; echo "|$PIPESTATUS"',
      'sh',
      process.execPath,
      main,
      'cat',
      at('/copied/sub/large'),
    ]);
    expect(head).toBe('xxx|0\n');
  });
});

describe('a tree that is reached by two ways', () => {
  let directory: TemporaryDirectory;
  let server: NinepServe;
  let at: (path: string) => string;
  let local: (path: string) => string;

  beforeEach(async () => {
    directory = new TemporaryDirectory('ways');
    local = (path) => directory.join(path);
    mkdirSync(local('data'));
    server = await serve(local('data'));
    at = (path) => `${server.address()}#${path}`;
  });
  afterEach(async () => {
    await server.stop();
    directory.remove();
  });

  /** Runs a script in the directory: names that are not UTF-8 are no strings of Node's. */
  const shell = (script: string): Promise<RunResult> => run('bash', ['-euc', script], { cwd: directory.path });
  const same = (one: string, other: string): Promise<RunResult> => run('diff', ['-r', '--no-dereference', local(one), local(other)]);

  describe('names that are not UTF-8', () => {
    beforeEach(() =>
      shell(String.raw`mkdir -p $'loc/d\xfe' keep
        echo 1 > $'loc/bad\xff'; echo 2 > $'loc/d\xfe/r\xfe'; echo 3 > $'loc/d\xfe/r\xff'; ln -s $'to\xff' $'loc/l\xff'
        cp -a loc/. keep`),
    );

    it('are the same names on both sides of a copy', async () => {
      await ninep(['put', '-rp', local('loc'), server.address()]);
      await same('keep', 'data/loc');
      await ninep(['get', '-rp', at('/loc'), local('back')]);
      await same('keep', 'back');
      const { stdout } = await ninep(['sync', '--json', '--delete', local('loc'), at('/loc')]);
      expect(JSON.parse(stdout)).toMatchObject({ copied: 0, unchanged: 4, removed: 0, failed: 0 });
      await same('keep', 'data/loc');
      await shell('rm -r back');
      await ninep(['sync', at('/loc'), local('back')]);
      await same('keep', 'back');
    });

    it('are moved, there and back', async () => {
      // As long as a name can be.
      await shell(`for tree in loc keep; do echo > $tree/${'漢'.repeat(85)}; done; touch -r keep/漢* loc/漢*`);
      await ninep(['mv', local('loc'), at('/')]);
      await same('keep', 'data/loc');
      expect(readdirSync(directory.path).sort()).toEqual(['data', 'keep']);
      await ninep(['mv', at('/loc'), local('back')]);
      await same('keep', 'back');
      expect(readdirSync(local('data'))).toEqual([]);
      await ninep(['rm', '-r', local('back')]);
      expect(readdirSync(directory.path).sort()).toEqual(['data', 'keep']);
    });
  });

  describe('a file that is told to become itself', () => {
    beforeEach(() =>
      shell(
        'cd data; echo content > self; touch -d 2020-01-01 self; ln self hard; ln -s self soft; ln -s . here; mkdir -p empty/e d; echo x > d/x; touch -d 2020-01-01 d/x',
      ),
    );

    /** All there is: names, inodes, times of files, contents. */
    const state = async (): Promise<string> =>
      (await shell(String.raw`cd data; find . -type f -printf '%p %i %n %t\n' -exec cat {} + -o -printf '%p %l\n' | sort`)).stdout;

    it.each([
      [
        'cp',
        [
          ['@/self', '@/self'],
          ['@/self', '@/'],
          ['data/self', '@/self'],
          ['@/self', 'data/self'],
          ['data/self', '@/soft'],
          ['data/self', '@/hard'],
          ['@/self', '@/hard'],
          ['@/self', '@/here/self'],
          ['data/self', 'data/here/hard'],
        ],
      ],
      [
        'cp',
        [
          ['@/soft', '@/soft'],
          ['@/soft', '@/self'],
          ['-r', '@/d', '@/'],
          ['-r', 'data/d', '@/'],
        ],
      ],
      [
        'mv',
        [
          ['@/self', '@/self'],
          ['data/self', '@/self'],
          ['@/self', 'data'],
          ['data/self', '@/here/self'],
          ['data/self', '@/hard'],
          ['data/self', 'data/here/self'],
          ['data/soft', '@/'],
          ['data/d', '@/'],
          ['data/empty', '@/'],
        ],
      ],
      [
        'ln',
        [
          ['-f', '@/self', '@/self'],
          ['-f', '@/self', '@/hard'],
          ['-f', 'data/self', 'data/here/self'],
          ['-sf', 'self', '@/self'],
        ],
      ],
    ])('%s says so, and leaves it as it is', async (command, lines) => {
      const before = await state();
      const places = lines.map((line) =>
        line.map((word) => (word.startsWith('@') ? at(word.slice(1)) : word.replace(/^data/, local('data')))),
      );
      for (const [index, result] of (await ninepInTurn(places.map((line) => [command, ...line]))).entries()) {
        expect([lines[index], result.code, result.stderr]).toEqual([
          lines[index],
          1,
          expect.stringMatching(/^ninep: .* are the same file \(EINVAL\)\n$/),
        ]);
      }
      expect(await state()).toBe(before);
    });

    it('stays when it is moved into itself by another way', async () => {
      expect((await failing('mv', local('data/d'), at('/d'))).code).toBe(1);
      expect((await shell('cat data/d/d/x')).stdout).toBe('x\n');
    });

    it('stays when it is the source of a sync to where it lies', async () => {
      const before = await state();
      for (const from of [local('data/d'), at('/d')]) {
        const { code, stderr } = await failing('sync', '--delete', from, at('/'));
        expect([code, stderr]).toEqual([1, `ninep: ${at('/d')}: is the source, and would be removed (EINVAL)\n`]);
      }
      expect(await state()).toBe(before);
      await shell('echo y > data/d/d');
      expect((await failing('sync', local('data/d'), at('/'))).code).toBe(1);
      expect((await shell('cat data/d/*')).stdout).toBe('y\nx\n');
    });

    it('is written over in its place, and cut off, where it is another file', async () => {
      await shell('echo longer than content > longer; cp -p data/self twin; ln -s ../longer data/out');
      await ninep(['cp', at('/self'), local('longer')]);
      await ninep(['cp', local('twin'), at('/soft')]);
      expect(readFileSync(local('longer'), 'utf8')).toBe('content\n');
      // Both names of it.
      expect((await shell('echo new > new; stat -c %h data/self')).stdout).toBe('2\n');
      await ninep(['cp', local('new'), at('/hard')]);
      expect(readFileSync(local('data/self'), 'utf8')).toBe('new\n');
      await shell(': > nothing');
      await ninep(['cp', local('nothing'), at('/self')]);
      expect(readFileSync(local('data/hard'), 'utf8')).toBe('');
    });

    it('keeps what it holds where what is to be written over it turns out to be unreadable', async () => {
      const before = await state();
      // Opened like any file, and EIO at its first byte: no process has one at address 0.
      const { code, stderr } = await failing('cp', '/proc/self/mem', at('/self'));
      // It is told of what could not be read, and not of where it was to go.
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^ninep: \/proc\/self\/mem: .*\(EIO\)\n$/)]);
      expect(await state()).toBe(before);
    });

    it('tells of what it could not take by its own name and address', async () => {
      await shell('mkdir to; mkfifo data/d/pipe');
      const pipe = await failing('cp', '-r', at('/d'), local('to'));
      expect([pipe.code, pipe.stderr]).toEqual([1, `ninep: ${at('/d/pipe')}: a FIFO is not copied (EINVAL)\n`]);
    });

    it('ln -f puts links where something else is, and leaves it where it cannot', async () => {
      await ninep(['ln', '-f', at('/self'), at('/d/x')]);
      await ninep(['ln', '-sf', 'v2', at('/soft')]);
      expect([statSync(local('data/d/x')).nlink, readlinkSync(local('data/soft'))]).toEqual([3, 'v2']);
      expect((await failing('ln', '-f', at('/none'), at('/self'))).code).toBe(1);
      expect((await failing('ln', '-f', at('/self'), at('/empty'))).code).toBe(1);
      expect(readdirSync(local('data')).sort()).toEqual(['d', 'empty', 'hard', 'here', 'self', 'soft']);
      expect(readFileSync(local('data/self'), 'utf8')).toBe('content\n');
    });
  });
});
