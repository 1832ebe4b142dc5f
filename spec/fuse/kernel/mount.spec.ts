import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { run } from '../../support/child.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';

const NOBODY = 65534;

// Everybody may open it wherever udev sets up devices; on a bare machine nobody has.
if (process.geteuid?.() === 0 && existsSync('/dev/fuse')) chmodSync('/dev/fuse', 0o666);

/** serve.ts in a process of its own, and what it says. */
class Served {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  constructor(directory: string, user: number, via: string, path = process.env['PATH'] ?? '') {
    const command = ['--import', 'tsx', new URL('serve.ts', import.meta.url).pathname, directory, via];
    this.child = spawn(process.execPath, command, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, PATH: path, TSX_DISABLE_CACHE: '1' },
      ...(user === 0 ? {} : { uid: user, gid: user }),
    });
    if (this.child.stdout === null) throw new Error('no output');
    this.#lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  async says(): Promise<Record<string, unknown>> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('it ended');
    return JSON.parse(line.value);
  }
}

function place(user: number): { root: TemporaryDirectory; directory: string } {
  const root = new TemporaryDirectory('kernel');
  chmodSync(root.path, 0o755);
  const directory = root.join('a dir, with \\ and "');
  mkdirSync(directory);
  chownSync(directory, user, user);
  return { root, directory };
}

const mounted = (directory: string): string | undefined =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(directory.replace(/\\/g, '\\134').replace(/ /g, '\\040')));

function as(user: number, script: string, directory: string, options = {}) {
  const command = ['-euc', script, 'sh', directory];
  return user === 0
    ? run('/bin/sh', command, options)
    : run('setpriv', ['--reuid', `${user}`, '--regid', `${user}`, '--clear-groups', '/bin/sh', ...command], options);
}

for (const [who, user, via] of [
  ['root', 0, 'auto'],
  ['an ordinary user', NOBODY, 'auto'],
  ['root through fusermount3', 0, 'fusermount'],
] as const) {
  requires('mount', 'fusermount3')(`a tree mounted by ${who}`, () => {
    test('serves every kind of request, ends when unmounted and forgets every node', { timeout: 120_000 }, async () => {
      const { root, directory } = place(user);
      const served = new Served(directory, user, via);
      expect(await served.says()).toMatchObject({ ready: { maxWrite: 1 << 20, maxPages: 256 } });
      expect(mounted(directory)).toMatch(/ - fuse\.ninep memory,\\040of\\040a\\040test /);
      const script = `
        cd "$1"
        printf 'hello' > a; cat a; echo
        head -c 5000001 /dev/urandom > big; dd if=big of=copy bs=1M 2>/dev/null; cmp big copy
        dd if=copy bs=4k 2>/dev/null | cmp - big; dd if=copy of=/dev/null bs=4M 2>/dev/null
        mkdir d; mv copy d/c; ls d; ln -s d/c l; readlink l; cmp l big; truncate -s 3 a; cat a; echo
        chmod 640 a; stat -c '%A %s %Y %W' a; rm d/c; rmdir d; ls
        i=0; while [ $i -lt 300 ]; do : > "file number $i"; i=$((i+1)); done; ls | wc -l
        touch gone; exec 3<gone; rm gone; cat <&3; cat gone 2>&1 || true
        head -c 3000000 /dev/zero > z & head -c 3000000 /dev/zero > y & wait; cmp z y; stat -f -c '%b %f %a %l' .
        getfattr -n user.x --only-values a 2>/dev/null || echo -n 'value of user.x'`;
      const { stdout } = await as(user, script, directory);
      const lines = [
        'hello',
        'c',
        'd/c',
        'hel',
        '-rw-r----- 3 1000000000 999999999',
        'a',
        'big',
        'l',
        '303',
        'cat: gone: No such file or directory',
      ];
      expect(stdout.split('\n')).toEqual([...lines, '1000 500 400 255', 'value of user.x']);
      served.child.kill('SIGUSR1');
      expect(await served.says()).toEqual({ notified: true });
      served.child.kill('SIGTERM');
      const end = await served.says();
      expect(end).toMatchObject({ pending: 0, done: { readdirplus: expect.any(Number), write: expect.any(Number) } });
      await once(served.child, 'exit');
      expect(mounted(directory)).toBeUndefined();
      root.remove();
    });

    test('is unmounted when its server is killed', { timeout: 120_000 }, async () => {
      const { root, directory } = place(user);
      const served = new Served(directory, user, via);
      await served.says();
      served.child.kill('SIGKILL');
      await once(served.child, 'exit');
      // The guard is a process of its own: it has seen our end when the mount is gone.
      while (mounted(directory) !== undefined) await new Promise((resolve) => setTimeout(resolve, 20));
      root.remove();
    });

    test('an interrupted reader gets its signal, a busy mount stays', { timeout: 120_000 }, async () => {
      const { root, directory } = place(user);
      const served = new Served(directory, user, via);
      await served.says();
      const script = `cd "$1"; echo hang > h; cat h & sleep 0.2; kill -TERM $!; wait $! || echo "killed $?"`;
      expect((await as(user, script, directory)).stdout).toBe('killed 143\n');
      const inside = spawn('/bin/sh', ['-c', 'cd "$1"; echo in; read line', 'sh', directory], {
        stdio: ['pipe', 'pipe', 'inherit'],
        ...(user === 0 ? {} : { uid: user, gid: user }),
      });
      await once(inside.stdout, 'data');
      served.child.kill('SIGTERM');
      expect(await served.says()).toMatchObject({ failed: expect.stringMatching(/busy/i) });
      inside.stdin.end();
      await once(inside, 'exit');
      served.child.kill('SIGTERM');
      expect(await served.says()).toMatchObject({ pending: 0 });
      await once(served.child, 'exit');
      root.remove();
    });
  });
}

requires('mount')('mounting without root', () => {
  test('where fuse3 is missing says what to install', { timeout: 60_000 }, async () => {
    const { root, directory } = place(NOBODY);
    const served = new Served(directory, NOBODY, 'auto', root.path);
    expect(await served.says()).toMatchObject({ failed: expect.stringMatching(/needs the program fusermount3: install fuse3/) });
    await once(served.child, 'exit');
    root.remove();
  });

  test('where PATH has only what its user may not search says the same', { timeout: 60_000 }, async () => {
    const { root, directory } = place(NOBODY);
    mkdirSync(root.join('closed'), { mode: 0o700 });
    const served = new Served(directory, NOBODY, 'auto', root.join('closed'));
    expect(await served.says()).toMatchObject({ failed: expect.stringMatching(/needs the program fusermount3: install fuse3/) });
    await once(served.child, 'exit');
    root.remove();
  });
});

requires('mount', 'fusermount3')('mounting without root', () => {
  test('on a directory of somebody else tells what fusermount3 says', { timeout: 60_000 }, async () => {
    const { root, directory } = place(0);
    const served = new Served(directory, NOBODY, 'auto');
    expect(await served.says()).toMatchObject({ code: 'EACCES', failed: expect.stringMatching(/access|permission/i) });
    await once(served.child, 'exit');
    root.remove();
  });
});
