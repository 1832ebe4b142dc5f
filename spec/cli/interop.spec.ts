import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { listen } from '../../lib/transport/index.js';
import type { Listener } from '../../lib/transport/transport.js';
import { ensureBuilt, main } from '../support/build.js';
import { door, GatedBackend } from '../support/gated.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { ninep, ninepInTurn } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

const NOBODY = 65534;

describe('ninep interop', () => {
  let directory: TemporaryDirectory;
  let server: Server;
  let listener: Listener;
  let hold: (method: string) => Promise<void> | undefined;
  const address = () => `unix:${directory.join('socket')}`;

  beforeEach(async () => {
    hold = () => undefined;
    directory = new TemporaryDirectory('interop-command');
    server = new Server({ exports: { '/': new GatedBackend(new MemoryBackend(), (method) => hold(method)) } });
    listener = await listen(address(), (transport) => server.serve(transport));
  });

  afterEach(async () => {
    await listener.close();
    await server.close();
    directory.remove();
  });

  it('reports on those servers that it can reach, and fails for the others', async () => {
    const args = ['interop', `unix:${directory.join('nobody')}`, address(), '--check', 'attach.same-root'];
    const text = await ninep(args, { check: false });
    expect(text).toMatchObject({ code: 1, stderr: expect.stringMatching(/^ninep: .*nobody.*ENOENT/) });
    expect(text.stdout).toContain('1 pass, 0 deviate');
    const { code, stdout } = await ninep([...args, '--json', '--timeout', '0'], { check: false });
    expect([code, JSON.parse(stdout)]).toMatchObject([1, [{ server: address(), counts: { pass: 1 } }]]);
  });

  it('tells what is wrong with its command line before it looks at any server', async () => {
    const args = ['interop', '--check', 'attach.same-root', address()];
    const wrong = [['nonsense://x'], ['unix:/nowhere?version=foo']];
    const unwritable = [
      ['--markdown', directory.path],
      ['--markdown', directory.join('none/table.md')],
    ];
    for (const [index, { code, stdout }] of (await ninepInTurn([...wrong, ...unwritable].map((more) => [...args, ...more]))).entries()) {
      expect([index, code, stdout]).toEqual([index, index < wrong.length ? 2 : 1, '']);
    }
    expect(server.status().accepted).toBe(0);
  });

  it('leaves the table of an earlier run where it reaches nobody', async () => {
    const table = directory.join('table.md');
    const nobody = ['one', 'other'].map((name) => `unix:${directory.join(name)}`);
    await ninep(['interop', address(), '--check', 'attach.same-root', '--markdown', table]);
    const before = readFileSync(table, 'utf8');
    expect(before).toContain('`attach.same-root`');
    expect((await ninep(['interop', ...nobody, '--markdown', table], { check: false })).code).toBe(1);
    expect(readFileSync(table, 'utf8')).toBe(before);
  });

  requires('linux', 'root')('a server without root’s rights', () => {
    it.each(['none', 'mapped-file'])('keeps every rule about ACLs (%s), and nothing stays on it', async (model) => {
      await ensureBuilt();
      mkdirSync(directory.join('export'));
      chmodSync(directory.path, 0o777);
      chownSync(directory.join('export'), NOBODY, NOBODY);
      const socket = directory.join('nobody');
      const serve = ['serve', '--export', `${directory.join('export')},security_model=${model},aname=x`, '--listen', `unix:${socket}`];
      await using _ = await launch({
        command: 'setpriv',
        args: ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', '--', process.execPath, main, ...serve],
        ready: { line: /serving .* at /, from: 'stderr' },
      });
      const { stdout } = await ninep(['interop', `unix:${socket}?aname=x&uid=${NOBODY}`, '--suite', 'ACL']);
      expect(stdout).toContain(' 0 deviate');
      expect(readdirSync(directory.join('export')).filter((name) => name.startsWith('.ninep'))).toEqual([]);
    });
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('takes away what it has made on the server when it is ended by %s', async (signal) => {
    const reached = door();
    const shut = door();
    hold = (method) => {
      if (method !== 'create') return undefined;
      reached.open();
      return shut.promise;
    };
    await ensureBuilt();
    await using tester = await launch({
      command: process.execPath,
      args: [main, 'interop', address(), '--check', 'read.all'],
      ready: 'spawned',
    });
    await reached.promise;
    tester.kill(signal);
    expect(await tester.exited).toEqual({ code: 130, signal: null });
    expect(tester.stderr).toBe('ninep: interrupted\n');
    shut.open();
    expect((await ninep(['ls', '-a', `${address()}`])).stdout).toBe('');
  });
});
