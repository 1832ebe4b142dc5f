/** The other back-end: what it cannot do is listed here, and all else is held against the same suites as the kernel's. */
import { chmodSync, cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Deviation } from '../contracts/posix/deviations.js';
import { type PosixGround, posixContract } from '../contracts/posix.js';
import { ensureBuilt, root } from '../support/build.js';
import { run, shell } from '../support/child.js';
import type { ServerProcess } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { ninep, serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { habits, lacking, SMALL } from '../support/workload/habits.js';
import { workload } from '../support/workload/index.js';

/** The prebuilt half of the package exists for this one only. */
const native = requires('mount', { files: [`${root}/node_modules/fuse-native/prebuilds/${process.platform}-${process.arch}`] });

interface Ground extends PosixGround, AsyncDisposable {
  readonly process: ServerProcess;
  readonly source: string;
  release(): Promise<void>;
}

/** Mounted by a process of its own: libfuse's threads end with it. */
async function ground(...args: string[]): Promise<Ground> {
  const temporary = new TemporaryDirectory('native');
  chmodSync(temporary.path, 0o755);
  const [source, directory] = [temporary.join('source'), temporary.join('mount')];
  mkdirSync(source);
  chmodSync(source, 0o755);
  mkdirSync(directory);
  const server = await serve(`${source},security_model=passthrough,aname=t`);
  const process = await startNinep(
    ['mount', '--foreground', '--backend', 'native', server.address('t'), directory, '-o', 'suid,dev', ...args],
    /mounted at/,
  );
  const release = async (): Promise<void> => {
    await ninep(['unmount', directory]);
    await process.exited;
    await server.stop();
    temporary.remove();
  };
  return { process, directory, source, release, [Symbol.asyncDispose]: release };
}

const links = 'libfuse 2 has a node for each name: what changes through one shows at the other when the kernel asks again';
const owner = 'callers cannot be told apart: who mounts makes all files';
const times = 'fuse-native has milliseconds since 1970; libfuse 2 sets nothing where one of the two times is to be kept';
const lacks = 'libfuse 2 or fuse-native does not have it';
const hidden = 'libfuse 2 reaches what is open by its path';
const some = { sometimes: true } as const;

const deviations: Deviation[] = [
  { assertion: 'link: two names of one file*', reason: links, ...some },
  { assertion: 'unlink: every type of file*', reason: links, ...some },
  { assertion: 'rename: over what exists: the other name has one link', reason: links, ...some },
  { assertion: 'rename: over what exists: ctime of what was replaced*', reason: links, ...some },
  { assertion: 'rename: two names of one file: ctime of*', reason: links, ...some },
  { assertion: 'chmod: every type of file: both names*', reason: links, ...some },
  { assertion: 'chown: fchown and fchownat: both names*', reason: links, ...some },
  { assertion: 'create: owner and group: *', reason: owner, ...some },
  { assertion: 'open: O_CREAT: belongs to its maker', reason: owner },
  { assertion: 'utimensat: *', reason: times, ...some },
  { assertion: 'names: bytes that are no UTF-8: *', reason: 'fuse-native takes and gives UTF-8 only: EILSEQ', ...some },
  {
    assertion: 'io: mmap, shared, through a descriptor that appends: *',
    reason: 'fuse-native does not say which writes are pages of a mapping',
    ...some,
  },
  { assertion: 'open: O_TMPFILE: a file without a name', reason: lacks },
  { assertion: 'rename: renameat and renameat2: *', reason: lacks, ...some },
  { assertion: 'rename: RENAME_EXCHANGE: *', reason: lacks, ...some },
  { assertion: 'setid: *', reason: 'libfuse 2 does not tell which writes are to take privilege away', ...some },
  { assertion: 'io: fallocate: *', reason: lacks, ...some },
  { assertion: 'rmdir: a directory still open*', reason: hidden, ...some },
  { assertion: 'rename: directories: runs to its end', reason: hidden, ...some },
  { assertion: 'chdir and permissions of directories: "." is still there', reason: hidden, ...some },
  { assertion: 'mkfifo: data passes through*', reason: hidden, ...some },
];

native('the native back-end', () => {
  posixContract('a mount by fuse-native', () => ground(), { deviations, atLeast: 5000, lacks: ['read-only view'] });

  it('says in one line what it cannot do', { timeout: 120_000 }, async () => {
    await using here = await ground();
    expect(here.process.stderr).toMatch(
      /^ninep: the native back-end keeps locks on this host, cannot tell callers apart, [^\n]+\nninep: .* mounted at/,
    );
    expect((await run('findmnt', ['-n', '-o', 'FSTYPE', here.directory])).stdout).toBe('fuse.ninep\n');
  });

  it('turns no debug output of libfuse on', { timeout: 120_000 }, async () => {
    const temporary = new TemporaryDirectory('native');
    mkdirSync(temporary.join('mount'));
    await using server = await serve(`${temporary.path},aname=t`);
    const process = await startNinep(['mount', '-f', '--backend', 'native', server.address('t'), temporary.join('mount')], /mounted at/, {
      DEBUG: 'nothing:*',
    });
    await run('ls', [temporary.join('mount')]);
    await run('umount', [temporary.join('mount')]);
    expect(await process.exited).toMatchObject({ code: 0 });
    expect(process.stderr).not.toMatch(/unique|opcode|LOOKUP/i);
  });

  it.each([
    ['--locks', 'remote', /locks stay on this host/],
    ['--access', 'user', /callers cannot be told apart/],
  ])('refuses %s %s', { timeout: 120_000 }, async (option, value, why) => {
    const temporary = new TemporaryDirectory('native');
    mkdirSync(temporary.join('mount'));
    await using server = await serve(`${temporary.path},aname=t`);
    const result = await ninep(['mount', '--backend', 'native', server.address('t'), temporary.join('mount'), option, value], {
      check: false,
    });
    expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(why) });
  });

  it('says what to install where the package is missing', { timeout: 120_000 }, async () => {
    await ensureBuilt();
    const temporary = new TemporaryDirectory('native');
    mkdirSync(temporary.join('mount'));
    mkdirSync(temporary.join('node_modules'));
    // An empty shell of it, so that none further up is found either.
    mkdirSync(temporary.join('node_modules/fuse-native'));
    writeFileSync(temporary.join('node_modules/fuse-native/package.json'), '{ "main": "missing.js" }');
    cpSync(join(root, 'package.json'), temporary.join('package.json'));
    cpSync(join(root, 'dist'), temporary.join('dist'), { recursive: true });
    for (const name of readdirSync(join(root, 'node_modules')))
      if (name !== 'fuse-native' && !name.startsWith('.'))
        symlinkSync(join(root, 'node_modules', name), temporary.join('node_modules', name));
    await using server = await serve(`${temporary.join('mount')},aname=t`);
    const mount = [temporary.join('dist/cli/main.js'), 'mount', server.address('t'), temporary.join('mount')];
    const result = await run(process.execPath, [...mount, '--backend', 'native'], { check: false });
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(
      /^ninep: the native back-end needs the package fuse-native, which is not installed \(npm install fuse-native\)[^\n]*\n$/,
    );
    // The other back-end does not miss it.
    await run(process.execPath, mount);
    await run('umount', [temporary.join('mount')]);
  });

  it('keeps unlinked files that are open, attributes and special names', { timeout: 120_000 }, async () => {
    await using here = await ground();
    await shell(
      `cd "$1"
      echo content > open; exec 3<>open; rm open; [ "$(cat <&3)" = content ]; echo more >&3; ! [ -e open ]; exec 3>&-
      echo a > f; setfattr -n user.x -v value f; [ "$(getfattr --only-values -n user.x f)" = value ]; getfattr f | grep -q user.x; setfattr -x user.x f
      [ -z "$(getfattr f)" ]; ! getfattr -n user.y f 2>/dev/null
      echo b > 'Ω 名前'; ls | grep -q 'Ω 名前'; [ "$(cat 'Ω 名前')" = b ]
      ! touch "$(printf 'not\\377utf8')" 2>/dev/null; [ -z "$(find . -name 'not*')" ]
      touch -d @1234567890.5 other; touch -d @17 f; cp -p other f; [ "$(stat -c %y f)" = "$(stat -c %y other)" ]
      truncate -s 5000000000 f; [ "$(stat -c %s f)" = 5000000000 ]; printf end | dd of=f bs=1 seek=4999999997 conv=notrunc status=none; [ "$(tail -c 3 f)" = end ]
      mkdir -p a/b/c; echo d > a/b/c/d; mv a/b e; [ "$(cat e/c/d)" = d ]; ! cat a/b/c/d 2>/dev/null; mkdir a/b; ! cat a/b/c/d 2>/dev/null`,
      [here.directory],
    );
  });

  it('random operations differ from the model nowhere', { timeout: 600_000 }, async () => {
    await using here = await ground();
    const report = await workload('operations', [join(here.directory, 'file'), { operations: 3000 }]);
    expect(report.unsupported).toEqual({ allocate: 'EOPNOTSUPP', zero: 'EOPNOTSUPP', punch: 'EOPNOTSUPP' });
  });

  describe('habits', () => {
    const chosen = [
      /^git init/,
      /^an editor saves/,
      /^find, du/,
      /redirections/,
      /^extended attributes/,
      /^sqlite3 with a rollback/,
      /^flock\(1\): ten/,
    ];
    for (const habit of habits.filter(({ name }) => chosen.some((each) => each.test(name)))) {
      it.skipIf(lacking(habit) !== undefined && process.env['NINEP_REQUIRE'] !== 'all')(habit.name, { timeout: 900_000 }, async () => {
        await using here = await ground();
        await using local = new TemporaryDirectory('habit-local');
        await habit.run({ here: here.directory, local: local.path, scale: SMALL });
      });
    }
  });
});
