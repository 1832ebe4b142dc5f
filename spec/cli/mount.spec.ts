import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { type MountArguments, requestOf } from '../../cli/commands/mount.js';
import { applyMountOptions, type MountRequest } from '../../cli/mount-options.js';
import { listen } from '../../lib/transport/index.js';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { HostileServer } from '../support/hostile.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { ninep, serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

describe('-o', () => {
  function applied(address: string, ...texts: string[]): MountRequest {
    const request: MountRequest = { address, mount: {}, connection: {}, retry: undefined, backend: undefined, foreground: false };
    applyMountOptions(request, texts);
    return request;
  }

  it('counts less than an option of its own, and its last word more than those before', () => {
    const nothing: MountArguments = {
      ...{ address: 'tcp://h/', directory: '/mnt', foreground: false, o: undefined, cache: undefined, access: undefined, locks: undefined },
      ...{ retry: undefined, backend: undefined, readOnly: undefined, allowOther: undefined, log: undefined, aname: undefined },
      ...{ uname: undefined, uid: undefined, msize: undefined, dialect: undefined, timeout: undefined, connectTimeout: undefined },
    };
    const o = ['ro,retry=5,cache=none,access=any,locks=local,backend=native,aname=a,uname=u,uid=1,msize=9000,version=9P2000,timeout=7'];
    const said = {
      connection: { aname: 'a', uname: 'u', uid: 1, msize: 9000, dialect: '9P2000', timeout: 7 },
      retry: 5,
      backend: 'native',
    };
    expect(requestOf({ ...nothing, o })).toMatchObject({
      ...said,
      mount: { readonly: true, cache: 'none', access: 'any', locks: 'local' },
    });
    const connection = { aname: 'b', uname: 'v', uid: 2, msize: 8000, dialect: '9P2000.u', timeout: 8 };
    const own = {
      ...nothing,
      ...connection,
      readOnly: false,
      retry: '30',
      cache: 'open',
      access: 'user',
      locks: 'remote',
      backend: 'kernel',
    };
    expect(requestOf({ ...own, o })).toMatchObject({
      ...{ connection, retry: 30, backend: 'kernel' },
      mount: { readonly: false, cache: 'open', access: 'user', locks: 'remote' },
    });
    expect(requestOf(nothing).retry).toBe(30);
    expect(requestOf({ ...nothing, retry: 'forever' }).retry).toBe(Number.POSITIVE_INFINITY);
    expect(applied('tcp://h/', 'rw,ro', 'rw').mount).toEqual({ readonly: false });
  });

  it('knows the words of v9fs', () => {
    const request = applied(
      '10.0.0.1',
      'trans=tcp,port=5640,aname=/srv,uname=glenda,msize=65536,version=9p2000.L,cache=mmap,access=client',
    );
    expect(request).toMatchObject({
      address: 'tcp://10.0.0.1:5640/',
      connection: { aname: '/srv', uname: 'glenda', msize: 65536, dialect: '9p2000.L' },
      mount: { cache: 'open', access: 'user' },
    });
    expect(applied('/run/x.sock', 'trans=unix').address).toBe('unix:/run/x.sock');
    expect(applied('fe80::1', 'port=1').address).toBe('tcp://[fe80::1]:1/');
    expect(applied('none', 'trans=fd,rfdno=3,wfdno=4').address).toBe('fd:3,4');
    expect(applied('tcp://host/x?msize=9000', 'port=99').address).toBe('tcp://host:99/x?msize=9000');
    expect(() => applied('tag', 'trans=virtio')).toThrow('trans=virtio');
  });

  it('knows the words of FUSE and mount(8)', () => {
    const request = applied(
      'tcp://h/',
      'ro,noexec,nodev,nosuid,noatime,nosymfollow,sync',
      'fsname=a\\,b,subtype=x,allow_other,attr_timeout=2.5,btime,low_latency,busy_poll=50,passthrough=off,open_ahead=off',
    );
    expect(request.mount).toEqual({
      readonly: true,
      noexec: true,
      nodev: true,
      nosuid: true,
      noatime: true,
      nosymfollow: true,
      sync: true,
      fsname: 'a,b',
      subtype: 'x',
      allowOther: true,
      attrTimeout: 2500,
      birthTimes: true,
      lowLatency: true,
      busyPoll: 50,
      passthrough: false,
      openAhead: false,
    });
    expect(applied('tcp://h/', 'low_latency=off').mount).toEqual({ lowLatency: false });
    expect(applied('tcp://h/', 'defaults,_netdev,x-systemd.automount,user,noauto,nofail').mount).toEqual({});
    expect(applied('tcp://h/', 'retry=forever').retry).toBe(Number.POSITIVE_INFINITY);
    expect(applied('tcp://h/', 'backend=native,access=1000')).toMatchObject({ backend: 'native', mount: { access: 1000 } });
  });

  it('refuses to change what is mounted', () => {
    expect(() => applied('tcp://h/', 'remount,ro')).toThrow('-o remount: what is mounted stays as it is');
  });

  it.each([
    'nonsense',
    'msize',
    'msize=many',
    'cache=much',
    'locks=some',
    'allow_other=perhaps',
    'passthrough=some',
    'open_ahead=perhaps',
    'busy_poll=-1',
    'access=nobody',
  ])('refuses %s', (text) => {
    expect(() => applied('tcp://h/', text)).toThrow(/./);
  });
});

describe('SIGINT while connecting', () => {
  it.each([
    ['ls', ['ls']],
    ['mount', ['mount']],
    ['mount --foreground', ['mount', '--foreground']],
  ])('ends %s at once, and its connection', { timeout: 30_000 }, async (_, [command = '', ...options]) => {
    await ensureBuilt();
    await using directory = new TemporaryDirectory('silent');
    mkdirSync(directory.join('mnt'));
    await using listener = createServer().listen(directory.join('socket'));
    const arrived = once(listener, 'connection');
    const args = [main, command, `unix:${directory.join('socket')}`, ...(command === 'mount' ? [directory.join('mnt')] : [])];
    const waiting = await launch({ command: process.execPath, args: [...args, ...options, '--timeout', '600'], ready: 'spawned' });
    const [socket] = await arrived;
    const left = once(socket.resume(), 'close');
    waiting.kill('SIGINT');
    expect(await waiting.exited).toEqual({ code: 130, signal: null });
    expect(waiting.stderr).toBe('ninep: interrupted\n');
    await left;
  });
});

requires('mount')('ninep mount', () => {
  async function exported(): Promise<{ directory: TemporaryDirectory; mountpoint: string; address: string; stop: () => Promise<void> }> {
    const directory = new TemporaryDirectory('mount-cli');
    mkdirSync(directory.join('tree'));
    mkdirSync(directory.join('mnt'));
    writeFileSync(directory.join('tree/file'), 'content\n');
    const server = await serve(`${directory.join('tree')},aname=t,security_model=passthrough`);
    return {
      directory,
      mountpoint: directory.join('mnt'),
      address: server.address('t'),
      stop: async () => {
        await server.stop();
        directory.remove();
      },
    };
  }

  const findmnt = async (mountpoint: string) =>
    (await run('findmnt', ['-n', '-o', 'FSTYPE,OPTIONS', mountpoint], { check: false })).stdout.trim();

  it('goes to the background once the mount works, and unmount ends it', async () => {
    const { mountpoint, address, stop, directory } = await exported();
    try {
      await ninep(['mount', address, mountpoint, '-o', 'noatime,nodev']);
      expect((await run('cat', [`${mountpoint}/file`])).stdout).toBe('content\n');
      expect(await findmnt(mountpoint)).toMatch(/^fuse\.ninep .*nodev.*noatime/);
      await run('sh', ['-c', `echo more > ${mountpoint}/new; ln -s file ${mountpoint}/link`]);
      await ninep(['unmount', mountpoint]);
      expect(readFileSync(directory.join('tree/new'), 'utf8')).toBe('more\n');
      expect(await findmnt(mountpoint)).toBe('');
      const again = await ninep(['unmount', mountpoint], { check: false });
      expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining(mountpoint) });
    } finally {
      await stop();
    }
  });

  it('unmounts what is a mount of ninep, by whatever name, and nothing else', async () => {
    if (process.geteuid?.() !== 0) return;
    const { mountpoint, address, stop, directory } = await exported();
    try {
      const link = directory.join('link');
      symlinkSync(mountpoint, link);
      await run('mount', ['-t', 'tmpfs', 'foreign', mountpoint]);
      try {
        for (const [words, shown] of [
          [[], mountpoint],
          [['--lazy'], mountpoint],
          [[], link],
        ] as const) {
          const { code, stderr } = await ninep(['unmount', ...words, shown], { check: false });
          expect({ code, stderr }).toEqual({ code: 1, stderr: `ninep: ${shown}: is a mount of tmpfs, not of ninep (EINVAL)\n` });
        }
        expect(await findmnt(mountpoint)).toMatch(/^tmpfs /);
      } finally {
        await run('umount', [mountpoint], { check: false });
      }
      await ninep(['mount', address, mountpoint, '-o', 'subtype=other']);
      await ninep(['unmount', link]);
      expect(await findmnt(mountpoint)).toBe('');
    } finally {
      await stop();
    }
  });

  it('tells why it cannot, with the exit code', async () => {
    const { mountpoint, address, stop } = await exported();
    try {
      const nowhere = await ninep(['mount', address, `${mountpoint}/nowhere`], { check: false });
      expect(nowhere).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/^ninep: .*nowhere: no such file or directory \(ENOENT\)\n$/),
      });
      const nobody = await ninep(['mount', 'tcp://127.0.0.1:1/', mountpoint], { check: false });
      expect(nobody).toMatchObject({ code: 1, stderr: 'ninep: tcp://127.0.0.1:1: connection refused (ECONNREFUSED)\n' });
      expect(await findmnt(mountpoint)).toBe('');
    } finally {
      await stop();
    }
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('in the foreground %s unmounts, even while somebody is in it', async (signal) => {
    const { mountpoint, address, stop } = await exported();
    try {
      const mount = await launch({
        command: process.execPath,
        args: [main, 'mount', '--foreground', address, mountpoint],
        ready: { line: /mounted at/ },
      });
      const visitor = await launch({
        command: 'sh',
        args: ['-c', `cd ${mountpoint} && echo inside && exec sleep 1000`],
        ready: { line: /inside/ },
      });
      mount.kill(signal);
      await expect.poll(() => findmnt(mountpoint), { timeout: 30_000 }).toBe('');
      await visitor.stop();
      expect(await mount.exited).toMatchObject({ code: 0 });
    } finally {
      await stop();
    }
  });

  it('lets symlinks lead nowhere with nosymfollow', async () => {
    if (process.geteuid?.() !== 0) return;
    const { mountpoint, address, stop, directory } = await exported();
    try {
      symlinkSync('file', directory.join('tree/link'));
      await ninep(['mount', address, mountpoint, '-o', 'nosymfollow']);
      expect((await run('readlink', [`${mountpoint}/link`])).stdout).toBe('file\n');
      expect((await run('cat', [`${mountpoint}/link`], { check: false, env: { LC_ALL: 'C' } })).stderr).toMatch(/Too many levels/);
      await ninep(['unmount', mountpoint]);
    } finally {
      await stop();
    }
  });

  it('works as the helper of mount(8)', async () => {
    const { mountpoint, address, stop, directory } = await exported();
    try {
      const helper = directory.join('mount.fuse.ninep');
      symlinkSync(main, helper);
      for (const fake of ['-f', '-sfv']) await run(helper, [address, mountpoint, fake, '-o', 'rw']);
      expect(await findmnt(mountpoint)).toBe('');
      await run(helper, [address, mountpoint, '-s', '-o', 'rw,ro']);
      expect(await findmnt(mountpoint)).toMatch(/^fuse\.ninep ro/);
      await run('umount', [mountpoint]);
      expect(await findmnt(mountpoint)).toBe('');
    } finally {
      await stop();
    }
  });

  it('outlives a log that cannot be written, and says so of one that cannot be opened', async () => {
    const { mountpoint, address, stop, directory } = await exported();
    try {
      const nowhere = await ninep(['mount', address, mountpoint, '--log', directory.join('absent/log')], { check: false });
      expect(nowhere).toMatchObject({ code: 1, stderr: `ninep: ${directory.join('absent/log')}: no such file or directory (ENOENT)\n` });
      const mount = await startNinep(['mount', '--foreground', address, mountpoint, '--log', '/dev/full'], /mounted at/);
      for (let time = 0; time < 2; time++) {
        mount.kill('SIGUSR1');
        expect((await run('cat', [`${mountpoint}/file`])).stdout).toBe('content\n');
      }
      await ninep(['unmount', mountpoint]);
      expect(await mount.exited).toEqual({ code: 0, signal: null });
    } finally {
      await stop();
    }
  });

  it('leaves nothing mounted when it is interrupted while it mounts', async () => {
    await ensureBuilt();
    await using directory = new TemporaryDirectory('interrupted');
    mkdirSync(directory.join('mnt'));
    const server = new HostileServer();
    const listener = await listen(`unix:${directory.join('socket')}`, (transport) => server.serve(transport));
    try {
      const args = [main, 'mount', `unix:${directory.join('socket')}`, directory.join('mnt')];
      const mount = await launch({ command: process.execPath, args, ready: 'spawned' });
      // Asked before there is a mount.
      server.answers.Tstatfs = () => {
        mount.kill('SIGINT');
        return {};
      };
      expect(await mount.exited).toEqual({ code: 130, signal: null });
      expect(await findmnt(directory.join('mnt'))).toBe('');
    } finally {
      await listener.close();
    }
  });

  it('waits for a server that is away, and goes on', async () => {
    await using directory = new TemporaryDirectory('mount-retry');
    mkdirSync(directory.join('tree'));
    mkdirSync(directory.join('mnt'));
    writeFileSync(directory.join('tree/file'), 'content\n');
    const socket = directory.join('socket');
    const start = () =>
      launch({
        command: process.execPath,
        args: [main, 'serve', '-e', `${directory.join('tree')},aname=t,security_model=passthrough`, '-l', `unix:${socket}`],
        ready: { line: /serving/, from: 'stderr' },
      });
    let server = await start();
    await ninep(['mount', `unix:${socket}?aname=t`, directory.join('mnt'), '--log', directory.join('log'), '--retry', '60']);
    try {
      const reader = run('sh', [
        '-c',
        `exec 3< ${directory.join('mnt/file')}; sleep 0.2; i=0; while [ $i -lt 40 ]; do stat ${directory.join('mnt')}/file >/dev/null || exit 1; cat ${directory.join('mnt')}/file >/dev/null || exit 2; i=$((i+1)); done; cat <&3`,
      ]);
      await server.stop();
      server = await start();
      expect((await reader).stdout).toBe('content\n');
      expect(readFileSync(directory.join('log'), 'utf8')).toMatch(/dialling again[\s\S]*back after/);
    } finally {
      await ninep(['unmount', directory.join('mnt')]);
      await server.stop();
    }
  });
});
