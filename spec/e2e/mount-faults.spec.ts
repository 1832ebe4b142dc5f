/**
 * Servers that stop, die or say nothing, under a mount that is in use. Nothing here depends on how fast anything is: what must happen "at once"
 * happens while the server still does not answer, however long that takes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type RunResult, run } from '../support/child.js';
import { launch, type ServerProcess } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { ninep, serve, startNinep } from '../support/servers/ninep.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';

const TIMEOUT = 300_000;
/** How long a server is stopped for. */
const STOPPED = process.env['NINEP_FULL'] === '1' ? 20_000 : 5_000;
/** How long whatever must come about may take. */
const patience = { timeout: 120_000, interval: 100 };

const isRoot = process.geteuid?.() === 0;
const names = isRoot ? (['ninep serve', 'diod'] as const) : (['ninep serve'] as const);
/** Each process under test has a directory of its own, so that none waits for another inside the kernel. */
const DIRECTORIES = ['one', 'two', 'three', 'four'] as const;

interface Ground extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly mount: ServerProcess;
  readonly directory: string;
  /** Resolves when at least so many requests of the kernel wait for an answer. */
  pending(atLeast: number): Promise<void>;
  /** A process in the mount. */
  start(script: string): Promise<ServerProcess>;
  isMounted(): boolean;
}

async function ground(name: 'ninep serve' | 'diod', ...args: string[]): Promise<Ground> {
  const root = new TemporaryDirectory('faults');
  const [source, directory] = [root.join('source'), root.join('mount')];
  mkdirSync(source);
  mkdirSync(directory);
  for (const each of DIRECTORIES) {
    mkdirSync(`${source}/${each}`);
    writeFileSync(`${source}/${each}/file`, `${each}\n`);
  }
  const running =
    name === 'diod' ? await diod(source) : await serve(`${source},security_model=${isRoot ? 'passthrough' : 'none'},aname=tree`);
  const mount = await startNinep(
    ['mount', '--foreground', running.address(name === 'diod' ? source : 'tree'), directory, ...args],
    /mounted at/,
  );
  const isMounted = (): boolean => mountsBelow(root.path).length > 0;
  return {
    server: running.process,
    mount,
    directory,
    isMounted,
    start: (script) => launch({ command: 'sh', args: ['-c', script], cwd: '/', ready: 'spawned', env: { M: directory, LC_ALL: 'C' } }),
    async pending(atLeast) {
      // Each signal is answered by one line of counters.
      await expect
        .poll(() => {
          mount.kill('SIGUSR1');
          const found = [...mount.stderr.matchAll(/"pending":\s*(\d+)/g)].at(-1)?.[1];
          return Number(found ?? 0);
        }, patience)
        .toBeGreaterThanOrEqual(atLeast);
    },
    async [Symbol.asyncDispose]() {
      running.process.kill('SIGCONT');
      if (isMounted()) await run(isRoot ? 'umount' : 'fusermount3', [...(isRoot ? ['-l'] : ['-u', '-z']), directory], { check: false });
      await mount.stop();
      await running.stop();
      root.remove();
    },
  };
}

/** How a process ended, and what it said; fails when it does not end. */
async function endOf(process: ServerProcess): Promise<{ code: number | null; signal: string | null; stderr: string }> {
  await expect.poll(() => process.ended, patience).toBe(true);
  return { ...(await process.exited), stderr: process.stderr };
}

/** Unmounts by the command, which must come to its end whatever the server does, and end the process that served the mount. */
async function unmounts(here: Ground, ...args: string[]): Promise<void> {
  const result: RunResult = await ninep(['unmount', ...args, here.directory], { timeout: 120_000 });
  expect(result.code).toBe(0);
  expect(here.isMounted()).toBe(false);
  if (args.length === 0) expect(await endOf(here.mount)).toMatchObject({ code: 0 });
}

for (const name of names) {
  requires('own mount', ...(name === 'diod' ? ['diod'] : []))(`a mount of ${name}`, () => {
    it(`goes on after its server was stopped for ${STOPPED / 1000} s`, { timeout: TIMEOUT }, async () => {
      await using here = await ground(name);
      await run('sh', ['-c', `cat ${here.directory}/*/file`]);
      here.server.kill('SIGSTOP');
      const script = (at: string) => `
        set -e; cd "$M/${at}"
        head -c 1500000 /dev/zero | tr '\\0' ${at[0]} > new; sync new; mv new moved; test "$(tr -d ${at[0]} < moved | wc -c)" = 0
        test "$(stat -c %s moved)" = 1500000; echo more >> file; test "$(cat file)" = "${at}
more"; mkdir made; ls -l . made > /dev/null; rm -r moved made; echo fine`;
      const workers = await Promise.all(DIRECTORIES.map((at) => here.start(script(at))));
      await here.pending(DIRECTORIES.length);
      await delay(STOPPED);
      expect(workers.map((worker) => worker.ended)).not.toContain(true);
      here.server.kill('SIGCONT');
      for (const worker of workers) {
        expect(await endOf(worker)).toMatchObject({ code: 0, stderr: '' });
        expect(worker.stdout).toBe('fine\n');
      }
      await unmounts(here);
    });

    it('answers everybody EIO when its server is killed and --retry is 0', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name, '--retry', '0');
      here.server.kill('SIGSTOP');
      const workers = await Promise.all(
        ['cat "$M/one/file"', 'ls "$M/two"', 'echo x > "$M/three/new"', 'mv "$M/four/file" "$M/four/other"'].map((script) =>
          here.start(script),
        ),
      );
      await here.pending(workers.length);
      here.server.kill('SIGKILL');
      for (const worker of workers) expect((await endOf(worker)).stderr).toMatch(/Input\/output error|I\/O error/);
      expect(await run('cat', [`${here.directory}/one/file`], { check: false, env: { LC_ALL: 'C' } })).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('Input/output error'),
      });
      await unmounts(here);
    });

    it('answers EIO in the end when its server says nothing and there is a --timeout', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name, '--retry', '0', '--timeout', '2');
      here.server.kill('SIGSTOP');
      const workers = await Promise.all([here.start('cat "$M/one/file"'), here.start('echo x > "$M/two/file"')]);
      for (const worker of workers) expect((await endOf(worker)).stderr).toMatch(/Input\/output error|I\/O error/);
      await unmounts(here);
    });

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      it(`lets a process be ended by ${signal} while its server says nothing, and goes on afterwards`, { timeout: TIMEOUT }, async () => {
        await using here = await ground(name);
        here.server.kill('SIGSTOP');
        // Each is one program, not a shell with a child: the signal goes to who waits.
        const workers = await Promise.all(
          ['exec cat "$M/one/file"', 'exec ls "$M/two"', 'exec mkdir "$M/three/made"', 'exec truncate -s 1 "$M/four/file"'].map((script) =>
            here.start(script),
          ),
        );
        await here.pending(workers.length);
        for (const worker of workers) worker.kill(signal);
        for (const worker of workers) expect(await endOf(worker)).toMatchObject({ signal });
        here.server.kill('SIGCONT');
        expect((await run('cat', [`${here.directory}/one/file`])).stdout).toBe('one\n');
        await unmounts(here);
      });
    }

    it('can be unmounted while its server says nothing', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name);
      await run('sh', ['-c', `ls -lR ${here.directory}; cat ${here.directory}/*/file; echo x > ${here.directory}/new`]);
      here.server.kill('SIGSTOP');
      await unmounts(here);
    });

    it('can be unmounted while its server is gone and waited for', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name, '--retry', 'forever');
      await run('sh', ['-c', `ls -lR ${here.directory}; cat ${here.directory}/*/file`]);
      here.server.kill('SIGKILL');
      await here.server.exited;
      await unmounts(here);
    });

    it('can be left lazily by who waits for a dead server', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name, '--retry', 'forever');
      here.server.kill('SIGKILL');
      await here.server.exited;
      const worker = await here.start('exec cat "$M/one/file"');
      await here.pending(1);
      await unmounts(here, '--lazy');
      worker.kill('SIGKILL');
      expect(await endOf(worker)).toMatchObject({ signal: 'SIGKILL' });
      expect(await endOf(here.mount)).toMatchObject({ code: 0 });
    });

    it('ends, and its processes with it, on SIGTERM while its server says nothing', { timeout: TIMEOUT }, async () => {
      await using here = await ground(name);
      here.server.kill('SIGSTOP');
      here.mount.kill('SIGTERM');
      expect(await endOf(here.mount)).toMatchObject({ code: 0 });
      expect(here.isMounted()).toBe(false);
    });
  });
}
