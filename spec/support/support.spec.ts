import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { node, run, shell } from './child.js';
import { descendants, freePort, launch } from './launcher.js';
import { missing, requires, which } from './requires.js';
import { mountsBelow, TemporaryDirectory } from './temporary.js';

test('names what is missing and the package that has it', () => {
  expect(missing('no-such-program')).toBe('no-such-program (apt-get install no-such-program)');
  expect(missing({ devices: ['/dev/no-such-device'] })).toContain('/dev/no-such-device');
  expect(missing({ programs: ['sh'] })).toBeUndefined();
  expect(which('sh')).toMatch(/\/sh$/);
});

test('a temporary directory goes with all that is in it', async () => {
  let path: string;
  {
    await using directory = new TemporaryDirectory('support');
    path = directory.path;
    mkdirSync(directory.join('a', 'b'), { recursive: true });
    writeFileSync(directory.join('a', 'b', 'c'), 'x');
  }
  expect(existsSync(path)).toBe(false);
});

requires('root', 'linux')('a mount in a temporary directory', () => {
  test('is taken away before the tree, and what it shows stays', async () => {
    await using shown = new TemporaryDirectory('shown');
    writeFileSync(shown.join('keep me'), '');
    const directory = new TemporaryDirectory('with spaces');
    mkdirSync(directory.join('m'));
    await run('mount', ['--bind', shown.path, directory.join('m')]);
    await run('mount', ['--bind', shown.path, directory.join('m')]);
    expect(mountsBelow(directory.path)).toEqual([directory.join('m'), directory.join('m')]);
    directory.remove();
    expect(existsSync(directory.path)).toBe(false);
    expect(existsSync(shown.join('keep me'))).toBe(true);
  });
});

test('a child gives back its output and its code', async () => {
  expect(await shell('cat; echo "$1" >&2; exit 3', ['why'], { input: 'in', check: false })).toMatchObject({
    code: 3,
    stdout: 'in',
    stderr: 'why\n',
  });
  await expect(shell('echo because >&2; exit 4')).rejects.toThrow(/exit 4[\s\S]*because/);
  expect((await node('console.log(process.argv.slice(1).join())', ['-a', 'b'])).stdout).toBe('-a,b\n');
});

test('a child that hangs is killed with its own children', async () => {
  await expect(shell('echo started; sleep 1000 & sleep 1000', [], { timeout: 1000 })).rejects.toThrow(/still running[\s\S]*started/);
  await expect.poll(descendants, { timeout: 30_000 }).toEqual([]);
});

test('a server is ready when it says so, or when it listens', async () => {
  await using told = await launch({
    command: process.execPath,
    args: ['-e', 'setTimeout(() => console.log("up on 17"), 50); setInterval(() => {}, 1000)'],
    ready: { line: /up on (\d+)/ },
  });
  expect(told.readyLine?.[1]).toBe('17');
  const port = await freePort();
  const source = `setTimeout(() => require('node:net').createServer().listen(${port}, '127.0.0.1'), 100)`;
  await using listening = await launch({ command: process.execPath, args: ['-e', source], ready: { connect: { port } } });
  expect(listening.ended).toBe(false);
  expect(descendants()).toHaveLength(2);
  expect(await listening.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  expect(descendants()).toHaveLength(1);
});

test('a server that fails to start says why', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await expect(launch({ command: 'sh', args: ['-c', 'echo no such export >&2; exit 1'], ready: { line: /ready/ } })).rejects.toThrow(
    /ended before[\s\S]*no such export/,
  );
  await expect(
    launch({ command: 'sh', args: ['-c', 'echo hm >&2; exec sleep 1000'], ready: { line: /ready/ }, timeout: 1000 }),
  ).rejects.toThrow(/within 1000 ms[\s\S]*hm/);
  await new Promise((resolve) => server.close(resolve));
  expect(descendants()).toEqual([]);
});

requires('setpriv', 'linux')('a test process that is killed', () => {
  test('takes its servers with it', async () => {
    const url = new URL('./launcher.ts', import.meta.url).href;
    const source = `
      const { launch } = await import(${JSON.stringify(url)});
      const server = await launch({ command: 'sleep', args: ['1000'], ready: 'spawned' });
      console.log(server.pid);
      process.kill(process.pid, 'SIGKILL');`;
    const { stdout } = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', source], { check: false });
    const pid = Number(stdout);
    expect(pid).toBeGreaterThan(1);
    await expect.poll(() => existsSync(`/proc/${pid}/exe`), { timeout: 30_000 }).toBe(false);
  });
});
