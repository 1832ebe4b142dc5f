import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failureLine } from '../../cli/failure.js';
import { fromMountHelper } from '../../cli/mount-helper.js';
import { ErrnoError } from '../../lib/index.js';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { type NinepServe, ninep, ninepInTurn, serve } from '../support/servers/ninep.js';
import { inFull } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** What `ninep …` writes on a terminal. */
async function onTerminal(line: string, env: Record<string, string> = {}): Promise<string> {
  await ensureBuilt();
  return (await run('script', ['-qec', `'${process.execPath}' '${main}' ${line}`, '/dev/null'], { env: { TERM: 'xterm', ...env } })).stdout;
}

describe('ninep', () => {
  const wrong: [args: string[], line: string][] = [
    [['info'], 'info: too few arguments (0 of 1); ninep info --help tells how'],
    [['info', 'tcp://127.0.0.1:1/', '--nonsense'], 'info: unknown argument: nonsense; ninep info --help tells how'],
    [['nonsense'], 'nonsense: no such command; ninep --help lists them'],
    [['fnd'], 'fnd: no such command. Did you mean find?'],
    [['ls', 'nonsense://x'], 'nonsense://x: no such kind of address'],
    [[], 'a command, please'],
    [['serve', '--export', '/,security_model=strange'], 'security_model=strange: it is one of'],
    [['serve'], 'serve what?'],
    [['mount', 'tcp://127.0.0.1:1/', '/mnt', '-o', 'nonsense'], '-o nonsense: no such option'],
    [['mount', 'tcp://127.0.0.1:1/', '/mnt', '--cache', 'much'], 'cache=much'],
    [['bridge', 'unix:/nowhere'], 'bridge what?'],
    [['info', 'nonsense:/x'], "'nonsense:/x'"],
    [['interop'], 'interop with whom?'],
    [['interop', 'unix:/nowhere', '--check', 'nope.*'], '--check nope.*: there is no such check'],
    [['interop', 'unix:/nowhere', '--check', 'walk.*', '--suite', 'version'], 'no check of --check'],
    [['tail', '-n', 'x', 'file'], 'tail: --lines takes a number; ninep tail --help tells how'],
    [['tail', '-n', '1', '-n', '2', 'file'], '--lines takes a number'],
    [['tree', '-L', 'x'], '--depth takes a number'],
    [['ls', '--uid', 'abc'], '--uid takes a number'],
    [['find', '.', '--depth', 'Infinity'], '--depth takes a number'],
    [['serve', '-e', '/', '--max-connections', 'x'], '--max-connections takes a number'],
    [['ls', 'unix:/nowhere', '--uid', ''], 'ls: --uid takes a number; ninep ls --help tells how'],
    [['ls', 'unix:/nowhere', '--timeout='], '--timeout takes a number'],
    [['tail', '-n', '', 'file'], 'tail: -n takes a number; ninep tail --help tells how'],
    [['ls', 'unix:/nowhere', '--uid', '-1'], '--uid takes a number from 0 on'],
    [['ls', 'unix:/nowhere', '--uid', '1.5'], '--uid takes a whole number'],
    [['ls', 'unix:/nowhere', '--uid', '4294967296'], '--uid takes a number up to 4294967295'],
    [['ls', 'unix:/nowhere', '--connect-timeout', '-1'], '--connect-timeout takes a number from 0 on'],
    [['ls', 'unix:/nowhere', '--aname', 'a', '--aname', 'b'], 'ls: --aname is given more than once; ninep ls --help tells how'],
    [['mkdir', '-m', '700', '-m', '755', 'x'], 'mkdir: --mode is given more than once'],
    [['--', 'mount', 'tcp://127.0.0.1:1/', '/mnt', '--retry', '1', '--retry', '2'], 'mount: --retry is given more than once'],
    [['--'], 'a command, please'],
    [['--', 'nonsense'], 'nonsense: no such command; ninep --help lists them'],
    [['--', '--', 'ls'], 'Did you mean ls?'],
    [['find', '.', '--type', 'z'], 'find: no such value: type is "z", and not one of "f", "d", "l", "p", "s", "b", "c"; ninep find --help'],
    [['xattr', '--', 'nope', 'file'], 'xattr: no such value: action is "nope", and not one of "list"'],
    [['serve', '-e', '/', '--', '--log'], 'serve: unknown argument: --log'],
    [
      ['info', 'unix:/nowhere?version=foo'],
      `no dialect is called "foo" (9P2000.L, 9P2000.u or 9P2000 is) in address 'unix:/nowhere?version=foo'`,
    ],
    [['ls', 'unix:/nowhere', '--dialect', 'foo'], 'no dialect is called "foo"'],
    [['interop', 'unix:/nowhere', '--dialect', 'foo'], 'no dialect is called "foo"'],
    [['interop', 'unix:/nowhere?version=foo'], 'no dialect is called "foo"'],
  ];
  const failing: [args: string[], line: string][] = [
    [['info', 'tcp://127.0.0.1:1/'], 'ninep: tcp://127.0.0.1:1: connection refused (ECONNREFUSED)\n'],
    [['info', 'unix:/no/such/socket'], 'ninep: unix:/no/such/socket: no such file or directory (ENOENT)\n'],
    [['serve', '-e', '/no/such/directory'], 'ninep: /no/such/directory: no such file or directory (ENOENT)\n'],
    [['unmount', '/no/such/mountpoint'], 'ninep: /no/such/mountpoint: no such file or directory (ENOENT)\n'],
  ];
  let ended: Awaited<ReturnType<typeof ninepInTurn>>;
  beforeAll(async () => {
    ended = await ninepInTurn([...wrong, ...failing].map(([args]) => args));
  });

  it.each(wrong.map(([args, line], index) => [args, line, index] as const))(
    '%j is a wrong command line: one line, exit 2',
    (_, line, index) => {
      const { code, stderr = '', stdout } = ended[index] ?? {};
      expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ code: 2, stdout: '', lines: 1 });
      expect(stderr).toContain(line);
      expect(stderr).toMatch(/^ninep: /);
    },
  );

  it.each(failing.map(([args, line], index) => [args, line, wrong.length + index] as const))(
    '%j fails: one line, exit 1',
    (_, line, index) => {
      expect(ended[index]).toMatchObject({ code: 1, stdout: '', stderr: line });
    },
  );

  it('takes what stands behind -- as it is', async () => {
    await using directory = new TemporaryDirectory('dashes');
    for (const name of ['-dash', '--help', '1']) writeFileSync(directory.join(name), `${name}\n`);
    const here = (...args: string[]) => ninep(args, { cwd: directory.path });
    expect((await here('cat', '1', '--', '-dash', '--help')).stdout).toBe('1\n-dash\n--help\n');
    expect((await here('--', 'cat', '--', '-dash')).stdout).toBe('-dash\n');
    await here('cp', '--', '--help', '-copy');
    await here('rm', '-f', '--', '-dash', '--help');
    expect(readdirSync(directory.path).sort()).toEqual(['-copy', '1']);
    await using server = await serve(`${directory.path},aname=data`);
    const { stdout } = await here('lock', `${server.address('data')}#/lock`, '--', 'echo', '--', '-n', '7');
    expect(stdout).toBe('-- -n 7\n');
  });

  it('has help with an example for every command', { timeout: 240_000 }, async () => {
    const { stdout } = await ninep(['--help']);
    const names = [...stdout.matchAll(/^ {2}ninep (\w+)/gm)].map(([, name]) => name as string).filter((name) => name !== 'completion');
    expect(names).toEqual(expect.arrayContaining(['mount', 'unmount', 'serve', 'bridge', 'info', 'interop', 'demo']));
    // spec/docs looks into that of every command, without a process for each.
    const asked = inFull(names, ['mount', 'chown']);
    const helps = await Promise.all(asked.map(async (name) => (await ninep([name, '--help'])).stdout));
    for (const [index, help] of helps.entries()) expect(help, asked[index]).toContain('Examples:');
  });

  it('speaks English whatever the locale, and colours nothing where NO_COLOR is set', async () => {
    expect((await ninep(['--help'], { env: { LC_ALL: 'de_DE.UTF-8' } })).stdout).toContain('Commands:');
    await using directory = new TemporaryDirectory('colours');
    await using server = await serve(`${directory.path},aname=data`);
    const traced = (env: Record<string, string>) => onTerminal(`ls '${server.address('data')}'`, env);
    expect(await traced({ DEBUG: 'ninep:*' })).toContain('\x1b[');
    expect(await traced({ DEBUG: 'ninep:*', NO_COLOR: '1' })).not.toContain('\x1b[');
    expect(await traced({})).not.toContain('\x1b[');
  });

  it('shows progress on a terminal and nothing on a pipe', async () => {
    await using directory = new TemporaryDirectory('progress');
    await using server = await serve(`${directory.path},aname=data`);
    mkdirSync(directory.join('many'));
    for (let index = 0; index < 50; index++) writeFileSync(directory.join(`many/${index}`), 'x');
    const from = `${server.address('data')}#/many`;
    expect(await onTerminal(`cp -r '${from}' '${directory.join('seen')}'`)).toContain('\r\x1b[K50 files, 50 B in ');
    expect(await ninep(['cp', '-r', from, directory.join('silent')])).toMatchObject({ stdout: '', stderr: '' });
  });

  it('tells what a server is, for people and for programs', async () => {
    await using directory = new TemporaryDirectory('info');
    await using server = await serve(`${directory.path},aname=data`);
    const text = (await ninep(['info', server.address('data')])).stdout;
    expect(text).toMatch(/^dialect +9P2000\.L$/m);
    expect(text).toMatch(/^msize +1048600 /m);
    const json = JSON.parse((await ninep(['info', server.address('data'), '--json', '--msize', '8192'])).stdout);
    expect(json).toMatchObject({ dialect: '9P2000.L', msize: 8192, root: { type: 0x80 } });
    const older = await ninep(['info', server.address('data'), '--dialect', '9P2000'], { check: false });
    expect(older).toMatchObject({ code: 1 });
    expect(older.stderr).toContain('EPROTONOSUPPORT');
    const unknown = await ninep(['info', server.address('other')], { check: false });
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('(ENOENT)') });
  });
});

describe('a stdout that takes nothing', () => {
  const full = 'exec "$@" > /dev/full';
  const unread = 'mkfifo "$0"; exec 3<> "$0" 4> "$0" 3<&-; exec "$@" >&4';
  const FULL = 'ninep: standard output: no space left on device (ENOSPC)\n';
  let directory: TemporaryDirectory;
  let server: NinepServe;
  beforeAll(async () => {
    directory = new TemporaryDirectory('stdout');
    mkdirSync(directory.join('many'));
    for (let index = 0; index < 20; index++) writeFileSync(directory.join(`many/${index}`), `${index}\n`);
    server = await serve(`${directory.path},aname=data`);
  });
  afterAll(async () => {
    await server.stop();
    directory.remove();
  });
  let fifos = 0;
  const to = async (stdout: string, ...args: string[]) => {
    const { code, stderr } = await run('bash', ['-c', stdout, directory.join(`fifo${fifos++}`), process.execPath, main, ...args], {
      check: false,
    });
    return { code, stderr };
  };
  const at = (path: string) => `${server.address('data')}#${path}`;

  it('does not end what changes something half-way', async () => {
    expect(await to(unread, 'cp', '-rv', at('/many'), directory.join('one'))).toEqual({ code: 0, stderr: '' });
    expect(await to(full, 'cp', '-rv', at('/many'), directory.join('two'))).toEqual({ code: 1, stderr: FULL });
    for (const copy of ['one', 'two']) expect(readdirSync(directory.join(copy))).toHaveLength(20);
  });

  it.each(inFull(['ls', 'find', 'tree', 'stat', 'df', 'cat', 'tail'], ['find', 'cat']))('ends %s', async (command) => {
    const path = at(command === 'cat' || command === 'tail' ? '/many/1' : '/many');
    expect(await to(unread, command, path)).toEqual({ code: 0, stderr: '' });
    expect(await to(full, command, path)).toEqual({ code: 1, stderr: FULL });
  });

  it('ends tail -f, which has no other end', async () => {
    expect(await to(unread, 'tail', '-f', at('/many/1'))).toEqual({ code: 0, stderr: '' });
    expect(await to(full, 'tail', '-f', at('/many/1'))).toEqual({ code: 1, stderr: FULL });
  });

  it.each([[['--help']], [['info']]])('is told of by %j, too', async (args) => {
    expect(await to(full, ...args, ...(args[0] === 'info' ? [server.address('data')] : []))).toEqual({ code: 1, stderr: FULL });
  });
});

it('an error is one line: what, why, and the name of the errno', () => {
  const cases: [unknown, string][] = [
    [new ErrnoError('ENOENT', { syscall: 'Twalk', path: '/a' }), 'ninep: /a: no such file or directory (ENOENT)'],
    [new ErrnoError('EXDEV', { syscall: 'Trename', path: '/a', dest: '/b' }), 'ninep: /a -> /b: cross-device link not permitted (EXDEV)'],
    [
      Object.assign(new Error("EACCES: permission denied, open '/x'"), { code: 'EACCES', path: '/x' }),
      'ninep: /x: permission denied (EACCES)',
    ],
    // What a server calls its exports is no path of ours, and may be missing.
    [new ErrnoError('EPERM', { syscall: 'Tattach', path: '' }), 'ninep: aname "": operation not permitted (EPERM)'],
    [new ErrnoError('ENOENT', { syscall: 'Tattach', path: 'vm' }), 'ninep: aname "vm": no such file or directory (ENOENT)'],
    [new RangeError('msize must be\nmore'), 'ninep: msize must be'],
    ['text', 'ninep: text'],
  ];
  for (const [error, line] of cases) expect(failureLine(error)).toBe(line);
});

it('takes the arguments of mount(8) for its own', () => {
  const options = ['tcp://host/', '/mnt', '-o', 'ro'];
  expect(fromMountHelper('/sbin/mount.fuse.ninep', ['tcp://host/', '/mnt', '-s', '-o', 'ro'])).toEqual(['mount', ...options]);
  expect(fromMountHelper('/usr/bin/ninep', options)).toEqual(['mount', ...options]);
  expect(fromMountHelper('/usr/bin/ninep', ['info', 'tcp://host/'])).toEqual(['info', 'tcp://host/']);
  expect(fromMountHelper('/usr/bin/ninep', ['serve', '-fsdev', 'local,path=/'])).toEqual(['serve', '--fsdev', 'local,path=/']);
});

it('the demo serves, mounts or reads, and cleans up', async () => {
  await using directory = new TemporaryDirectory('demo');
  mkdirSync(directory.join('sub'));
  writeFileSync(directory.join('version'), 'the demo version\n');
  const { stdout } = await ninep(['demo', directory.path], { env: { TMPDIR: directory.path } });
  expect(stdout).toContain('256 MiB');
  expect(stdout).toContain('sub');
  expect(stdout).toMatch(/served .*: \d+ requests answered/);
});
