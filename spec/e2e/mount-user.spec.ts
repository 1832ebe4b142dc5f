/** All that mounting means to somebody who is not root: fusermount3 mounts, and what is not allowed says so. */
import { chmodSync, chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, main, root } from '../support/build.js';
import { type RunOptions, run } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { type NinepServe, serve } from '../support/servers/ninep.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';

const NOBODY = 65534;
const TIMEOUT = 180_000;
const patience = { timeout: 60_000, interval: 100 };
/** setpriv(1)'s words for an ordinary user in no group but its own. */
const AS_NOBODY = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', '--'];

const asNobody = (command: string, args: readonly string[], options: RunOptions = {}) =>
  run('setpriv', [...AS_NOBODY, command, ...args], { cwd: '/', ...options });
const ninep = (args: readonly string[], options: RunOptions = {}) => asNobody(process.execPath, [main, ...args], options);

// Everybody may open it wherever udev sets up devices; on a bare machine nobody has.
if (process.geteuid?.() === 0 && existsSync('/dev/fuse')) chmodSync('/dev/fuse', 0o666);

interface Ground extends AsyncDisposable {
  readonly temporary: TemporaryDirectory;
  readonly server: NinepServe;
  readonly directory: string;
  readonly source: string;
  readonly address: string;
}

async function ground(): Promise<Ground> {
  const temporary = new TemporaryDirectory('user');
  chmodSync(temporary.path, 0o755);
  const [source, directory] = [temporary.join('source'), temporary.join('mount')];
  for (const each of [source, directory]) {
    mkdirSync(each);
    chownSync(each, NOBODY, NOBODY);
  }
  writeFileSync(`${source}/file`, 'content\n');
  // By tcp: the socket's directory is root's own.
  const server = await serve(`${source},security_model=passthrough,aname=t`, { tcp: '127.0.0.1' });
  return {
    temporary,
    server,
    directory,
    source,
    address: `tcp://127.0.0.1:${server.port}/t`,
    async [Symbol.asyncDispose]() {
      await server.stop();
      temporary.remove();
    },
  };
}

const point = async (directory: string) =>
  (await run('findmnt', ['-n', '-o', 'FSTYPE,OPTIONS', directory], { check: false })).stdout.trim();

requires(
  'mount',
  'fusermount3',
  'findmnt',
)('an ordinary user', () => {
  // Node, the program and its packages must be theirs to read, which a home directory's may not be.
  let readable = true;
  beforeAll(async () => {
    await ensureBuilt();
    readable = (await asNobody(process.execPath, [main, '--version'], { check: false })).code === 0;
  }, TIMEOUT);

  /** A test that is left out where the tree is nobody else's to read. */
  const test = (name: string, body: () => Promise<void>, timeout = TIMEOUT): void => {
    it(name, { timeout }, async (context) => {
      if (!readable) context.skip(`${root} is not readable by everybody`);
      await body();
    });
  };

  for (const backend of ['kernel', 'native'] as const) {
    const there = existsSync(`${root}/node_modules/fuse-native/prebuilds/${process.platform}-${process.arch}`);
    describe.skipIf(backend === 'native' && !there)(`with the ${backend} back-end`, () => {
      test('mounts, works and unmounts', async () => {
        await using here = await ground();
        await ninep(['mount', here.address, here.directory, '--backend', backend]);
        expect(await point(here.directory)).toMatch(new RegExp(`^fuse\\.ninep +rw,nosuid,nodev,.*user_id=${NOBODY},group_id=${NOBODY}`));
        // Nobody else gets in, root neither.
        expect((await run('ls', [here.directory], { check: false })).code).not.toBe(0);
        await asNobody('sh', [
          '-euc',
          `cd "$1"; [ "$(cat file)" = content ]; mkdir -p deep/er; echo one > deep/er/one; ln -s deep/er/one three; [ "$(cat three)" = one ]
          mv deep moved; [ "$(cat moved/er/one)" = one ]; head -c 3000000 /dev/urandom > big; cp big big2; cmp big big2; truncate -s 1000 big2
          chmod 640 big2; [ "$(stat -c '%a %s %u' big2)" = '640 1000 ${NOBODY}' ]; ! chown 0 big2 2>/dev/null; ! mknod dev c 1 3 2>/dev/null
          flock -n big true; rm -r moved; ! ls moved 2>/dev/null; sync big`,
          'sh',
          here.directory,
        ]);
        await ninep(['unmount', here.directory]);
        expect(mountsBelow(here.temporary.path)).toEqual([]);
        expect((await run('stat', ['-c', '%u %s', `${here.source}/big`])).stdout).toBe(`${NOBODY} 3000000\n`);
      });

      test('is not left with a dead mount when the process is killed', async () => {
        await using here = await ground();
        const mount = await launch({
          command: 'setpriv',
          args: [...AS_NOBODY, process.execPath, main, 'mount', '--foreground', '--backend', backend, here.address, here.directory],
          cwd: '/',
          ready: { line: /mounted at/ },
        });
        expect(await point(here.directory)).toMatch(/^fuse\.ninep/);
        mount.kill('SIGKILL');
        await mount.exited;
        await expect.poll(() => mountsBelow(here.temporary.path), patience).toEqual([]);
      });
    });
  }

  test('sees random operations do what they do on any file system', async () => {
    await using here = await ground();
    await ninep(['mount', here.address, here.directory]);
    const script = fileURLToPath(new URL('../support/workload/run.ts', import.meta.url));
    const workload = async (name: string, args: readonly unknown[]) => {
      const words = ['--import', 'tsx', script, name, JSON.stringify(args)];
      const { stdout } = await asNobody(process.execPath, words, { cwd: root, timeout: 800_000, env: { TSX_DISABLE_CACHE: '1' } });
      return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
    };
    const operations = await workload('operations', [`${here.directory}/random`, { operations: 2000 }]);
    expect(operations.done.mapWrite).toBeGreaterThan(10);
    await asNobody('mkdir', [`${here.directory}/racing`]);
    expect(await workload('metadata', [`${here.directory}/racing`, { operations: 300 }])).toMatchObject({ operations: 1200 });
    await ninep(['unmount', here.directory]);
  }, 1_800_000);

  test('without fusermount3 is told what to install', async () => {
    await using here = await ground();
    // setpriv itself is looked for, too.
    const words = [
      ...AS_NOBODY,
      'env',
      `PATH=${here.temporary.join('empty')}`,
      process.execPath,
      main,
      'mount',
      here.address,
      here.directory,
    ];
    const result = await run('setpriv', words, { cwd: '/', check: false });
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(/^ninep: mounting without root needs the program fusermount3: install fuse3 [^\n]*\n$/);
    expect(mountsBelow(here.temporary.path)).toEqual([]);
  });

  test('lets others in only where /etc/fuse.conf says user_allow_other', async () => {
    await using here = await ground();
    writeFileSync(here.temporary.join('no'), '# nothing\n');
    writeFileSync(here.temporary.join('yes'), 'user_allow_other\n');
    /** In a mount namespace of its own, where /etc/fuse.conf is another. */
    const withConfiguration = (name: string, script: string) =>
      run(
        'unshare',
        [
          '-m',
          'sh',
          '-euc',
          `[ -e /etc/fuse.conf ] || exit 77; mount --bind "$1" /etc/fuse.conf; shift; ${script}`,
          'sh',
          here.temporary.join(name),
          ...AS_NOBODY,
          process.execPath,
          main,
        ],
        {
          check: false,
          env: { A: here.address, D: here.directory },
        },
      );
    const refused = await withConfiguration('no', 'setpriv "$@" mount "$A" "$D" -o allow_other');
    if (refused.code === 77) return;
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.stderr).toMatch(/^ninep: [^\n]*allow_other[^\n]*user_allow_other[^\n]*\/etc\/fuse\.conf[^\n]*\n$/);
    const allowed = await withConfiguration('yes', 'setpriv "$@" mount "$A" "$D" -o allow_other; cat "$D/file"; setpriv "$@" unmount "$D"');
    expect(allowed).toMatchObject({ code: 0, stdout: 'content\n' });
  });

  test('cannot mount over a directory of somebody else', async () => {
    await using here = await ground();
    chownSync(here.directory, 0, 0);
    const result = await ninep(['mount', here.address, here.directory], { check: false });
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^ninep: [^\n]*(permission|access)[^\n]*\n$/i);
  });
});
