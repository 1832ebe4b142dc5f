import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { STOPPING } from '../../cli/signals.js';
import { Server } from '../../lib/server/index.js';
import { localBackend } from '../../lib/server/local/index.js';
import { listen } from '../../lib/transport/index.js';
import type { Listener } from '../../lib/transport/transport.js';
import { ensureBuilt, main } from '../support/build.js';
import { door, GatedBackend, type Hold } from '../support/gated.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

requires('linux')('a command that is told to end', () => {
  let directory: TemporaryDirectory;
  let server: Server;
  let listener: Listener;
  let hold: Hold;
  const at = (path: string) => `unix:${directory.join('socket')}#${path}`;

  beforeEach(async () => {
    hold = () => undefined;
    directory = new TemporaryDirectory('signals');
    mkdirSync(directory.join('export'));
    mkdirSync(directory.join('to'));
    writeFileSync(directory.join('export/file'), 'content\n');
    const backend = await localBackend(directory.join('export'), { securityModel: 'none' });
    server = new Server({ exports: { '/': new GatedBackend(backend, (method, caller) => hold(method, caller)) } });
    listener = await listen(`unix:${directory.join('socket')}`, (transport) => server.serve(transport));
    await ensureBuilt();
  });

  afterEach(async () => {
    await listener.close();
    await server.close();
    directory.remove();
  });

  it.each(STOPPING)('leaves no half of a file behind (%s)', async (signal) => {
    const reached = door();
    // Until nobody waits for the answer any more.
    hold = (method, caller) => {
      if (method !== 'read' || caller === undefined) return undefined;
      reached.open();
      return once(caller.signal, 'abort').then(() => undefined);
    };
    const args = [main, 'mv', at('/file'), directory.join('to')];
    await using command = await launch({ command: process.execPath, args, ready: 'spawned' });
    await reached.promise;
    expect(readdirSync(directory.join('to'))).toHaveLength(1);
    command.kill(signal);
    expect(await command.exited).toEqual({ code: 130, signal: null });
    expect([readdirSync(directory.join('to')), readdirSync(directory.join('export'))]).toEqual([[], ['file']]);
  });

  describe('while it holds a lock', () => {
    it.each([
      [['--', 'sh', '-c', 'trap "echo told; exit 5" TERM; echo held; while :; do sleep 0.05; done'], 'held\ntold\n'],
      [[], 'locked\n'],
    ])('ends what runs under it when the lock is lost with the server (%j)', async (program, stdout) => {
      const args = [main, 'lock', at('/file'), ...program];
      await using command = await launch({ command: process.execPath, args, ready: { line: /held|locked/, from: 'stdout' } });
      await server.close();
      expect(await command.exited).toEqual({ code: 1, signal: null });
      expect([command.stdout, command.stderr]).toEqual([stdout, expect.stringMatching(/^ninep: connection to .* lost\n$/)]);
    });

    it.each(STOPPING)('ends what runs under it first (%s)', async (signal) => {
      const script = 'trap "echo told; exit 5" TERM; echo held; while :; do sleep 0.05; done';
      const args = [main, 'lock', at('/file'), '--', 'sh', '-c', script];
      await using command = await launch({ command: process.execPath, args, ready: { line: /held/, from: 'stdout' } });
      command.kill(signal);
      expect(await command.exited).toEqual({ code: 5, signal: null });
      expect(command.stdout).toBe('held\ntold\n');
    });
  });
});
