import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { main } from '../support/build.js';
import { run } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { ninep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

requires('mount')('ninep bridge', () => {
  it('mounts the trees of two processes in each other, through restarts of one of them', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    for (const name of ['host', 'guest', 'on-host', 'on-guest']) mkdirSync(at(name));
    writeFileSync(at('host/file'), 'of the host\n');
    writeFileSync(at('guest/file'), 'of the guest\n');
    await ninep(['--version']);
    const bridge = (args: string[]) =>
      launch({ command: process.execPath, args: [main, 'bridge', `unix:${at('socket')}`, ...args], ready: { line: /ninep: mounted/ } });
    const model = 'security_model=passthrough';
    const startHost = () =>
      launch({
        command: process.execPath,
        args: [
          main,
          'bridge',
          `unix:${at('socket')}`,
          '--listen',
          '--export',
          `${at('host')},aname=host,${model}`,
          '--mount',
          `${at('on-host')}=guest`,
        ],
        ready: { connect: { path: at('socket') } },
      });
    let host = await startHost();
    const guest = await bridge(['--export', `${at('guest')},aname=guest,${model}`, '--mount', `${at('on-guest')}=host`]);
    try {
      expect((await run('cat', [at('on-guest/file')])).stdout).toBe('of the host\n');
      await expect
        .poll(async () => (await run('cat', [at('on-host/file')], { check: false })).stdout, { timeout: 30_000 })
        .toBe('of the guest\n');
      await Promise.all([
        run('sh', ['-c', `for i in $(seq 200); do echo $i > ${at('on-guest')}/from-guest-$i; done`]),
        run('sh', ['-c', `for i in $(seq 200); do echo $i > ${at('on-host')}/from-host-$i; done`]),
      ]);
      expect(readFileSync(at('host/from-guest-200'), 'utf8')).toBe('200\n');
      expect(readFileSync(at('guest/from-host-200'), 'utf8')).toBe('200\n');
      const { stdout } = await run('findmnt', ['-n', '-o', 'OPTIONS', at('on-host')]);
      expect(stdout).toMatch(/nosuid.*nodev/);

      await host.stop();
      const writer = run('sh', ['-c', `for i in $(seq 50); do echo $i >> ${at('on-guest')}/log || exit 1; done`]);
      host = await startHost();
      await writer;
      expect(readFileSync(at('host/log'), 'utf8')).toBe(Array.from({ length: 50 }, (_, index) => `${index + 1}\n`).join(''));
    } finally {
      await guest.stop();
      await host.stop();
    }
  });
});
