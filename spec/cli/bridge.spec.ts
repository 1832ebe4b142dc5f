import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { listen } from '../../lib/transport/index.js';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { HostileServer } from '../support/hostile.js';
import { launch, type Ready, type ServerProcess } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { ninep } from '../support/servers/ninep.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';

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

  it('mounts several trees of the peer', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    for (const name of ['one', 'two', 'mnt1', 'mnt2']) mkdirSync(at(name));
    for (const name of ['one', 'two']) writeFileSync(at(`${name}/file`), name);
    const exports = ['one', 'two'].flatMap((name) => ['--export', `${at(name)},aname=${name},security_model=none`]);
    await using host = await start([`unix:${at('socket')}`, '--listen', ...exports], { connect: { path: at('socket') } });
    await using guest = await start([`unix:${at('socket')}`, '--mount', `${at('mnt1')}=one`, '--mount', `${at('mnt2')}=two`], {
      line: /ninep: mounted .*mnt1, .*mnt2/,
    });
    for (let round = 0; round < 20; round++) {
      const script = 'cat "$1/file" "$2/file"; echo > "$2/new$3"';
      expect((await run('sh', ['-c', script, 'sh', at('mnt1'), at('mnt2'), `${round}`])).stdout).toBe('onetwo');
    }
    expect(readdirSync(at('two'))).toHaveLength(21);
    expect(guest.stderr).not.toMatch(/lost/);
    await host.stop();
  });

  it('goes on as an ordinary user: serves what that one may see, and leaves no mount behind', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    for (const name of ['host', 'guest', 'on-host', 'on-guest']) mkdirSync(at(name));
    chmodSync(directory.path, 0o755);
    writeFileSync(at('host/file'), 'of the host');
    writeFileSync(at('guest/open'), 'for all');
    writeFileSync(at('guest/secret'), 'of root', { mode: 0o600 });
    const [socket, line] = [`unix:${at('socket')}`, /ninep: mounted/];
    await using host = await start([socket, '--listen', '--export', `${at('host')},security_model=none`, '--mount', at('on-host')], {
      connect: { path: at('socket') },
    });
    const guest = await start([socket, '--export', `${at('guest')},security_model=none`, '--mount', at('on-guest'), '--user', 'nobody'], {
      // It was root who made the socket.
      line: /once it is lost, nobody cannot open the channel again/,
    });
    try {
      expect(readFileSync(`/proc/${guest.pid}/status`, 'utf8')).toMatch(/^Uid:\t(?!0\t)(\d+)\t\1\t\1\t\1$/m);
      await host.output(line);
      expect((await run('cat', [at('on-guest/file')])).stdout).toBe('of the host');
      expect((await run('cat', [at('on-host/open')])).stdout).toBe('for all');
      expect(await run('cat', [at('on-host/secret')], { check: false, env: { LC_ALL: 'C' } })).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('Permission denied'),
      });
    } finally {
      await guest.stop();
    }
    await expect.poll(() => mountsBelow(at('on-guest')), { timeout: 30_000 }).toEqual([]);
    await host.stop();
  });

  it('ends when it is asked to, though its peer has not let it attach', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    mkdirSync(at('mnt'));
    const peer = new HostileServer();
    const asked = new Promise<void>((resolve) => {
      peer.answers.Tattach = () => {
        resolve();
        return undefined;
      };
    });
    const listener = await listen(`unix:${at('socket')}`, (transport) => peer.serve(transport));
    const bridge = await start([`unix:${at('socket')}`, '--mount', at('mnt'), '--retry', 'forever'], { line: /connected/ });
    try {
      await asked;
      bridge.child.kill('SIGTERM');
      expect(await bridge.exited).toEqual({ code: 0, signal: null });
    } finally {
      await bridge.stop();
      await listener.close();
    }
  });

  it('says at once what it can mount nowhere, and once that nobody is there', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    writeFileSync(at('file'), '');
    for (const [name, said] of [
      ['none', 'no such file or directory (ENOENT)'],
      ['file', 'not a directory (ENOTDIR)'],
    ] as const) {
      const { code, stderr } = await ninep(['bridge', `unix:${at('socket')}`, '--listen', '--mount', at(name)], { check: false });
      expect([code, stderr]).toEqual([1, `ninep: ${at(name)}: ${said}\n`]);
    }
    const exported = ['--export', `${directory.path},security_model=none`];
    await using near = await start([`unix:${at('socket')}`, ...exported], { line: /ENOENT/ });
    // It dials on while this one starts.
    await using far = await start([`unix:${at('socket')}`, '--listen', ...exported], { line: /connected/ });
    await expect.poll(() => near.stderr, { timeout: 30_000 }).toMatch(/connected/);
    expect(near.stderr.match(/.*ENOENT.*/g)).toEqual([`ninep: unix:${at('socket')}: no such file or directory (ENOENT)`]);
    await near.stop();
    await far.stop();
  });

  it('speaks through the vsock of Firecracker, dialling and waiting', async () => {
    await using directory = new TemporaryDirectory('bridge-cli');
    const at = (name: string) => directory.join(name);
    for (const name of ['host', 'guest', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('guest/file'), 'of the guest');
    // What the guest listens at, and the monitor between: it answers CONNECT PORT with OK and a number, and is a pipe from then on.
    await using guest = await start([`unix:${at('inside')}`, '--listen', '--export', `${at('guest')},security_model=none`], {
      connect: { path: at('inside') },
    });
    const asked: string[] = [];
    const monitor = createServer((outside) => {
      outside.once('data', (bytes) => {
        asked.push(bytes.toString());
        const inside = connect(at('inside'), () => {
          outside.write('OK 1073741824\n');
          outside.pipe(inside).pipe(outside);
        });
        for (const socket of [outside, inside]) {
          socket.on('error', () => {
            for (const one of [outside, inside]) one.destroy();
          });
        }
      });
    });
    await new Promise<void>((resolve) => monitor.listen(at('vsock'), resolve));
    const host = await start([`vsock+unix:${at('vsock')}:5640`, '--mount', at('mnt')], { line: /ninep: mounted/ });
    try {
      expect((await run('cat', [at('mnt/file')])).stdout).toBe('of the guest');
      expect(asked).toEqual(['CONNECT 5640\n']);
    } finally {
      await host.stop();
      monitor.close();
    }
    await guest.stop();

    // The other way round the monitor connects to PATH_PORT for the guest.
    await using waiting = await start([`vsock+unix:${at('other')}:564`, '--listen', '--export', `${at('guest')},security_model=none`], {
      connect: { path: at('other_564') },
    });
    const dialling = await start([`unix:${at('other_564')}`, '--mount', at('mnt')], { line: /ninep: mounted/ });
    try {
      expect((await run('cat', [at('mnt/file')])).stdout).toBe('of the guest');
    } finally {
      await dialling.stop();
    }
    await waiting.stop();
  });
});

async function start(args: readonly string[], ready: Ready): Promise<ServerProcess> {
  await ensureBuilt();
  return launch({ command: process.execPath, args: [main, 'bridge', ...args], ready });
}
