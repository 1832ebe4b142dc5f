import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseExport, parseFsdev } from '../../cli/exports.js';
import { connect } from '../../lib/index.js';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

describe('exports on the command line', () => {
  it('are a directory with options, or in the words of QEMU', () => {
    expect(parseExport('/srv/data')).toEqual({ path: '/srv/data', aname: '/srv/data', options: {} });
    expect(
      parseExport('/srv/data,security_model=mapped-xattr,readonly=on,aname=data,fmode=0640,dmode=750,multidevs=warn,lend=off'),
    ).toEqual({
      path: '/srv/data',
      aname: 'data',
      options: { securityModel: 'mapped-xattr', readonly: true, fmode: 0o640, dmode: 0o750, multidevs: 'warn', lend: false },
    });
    expect(parseExport('/with,,comma,aname=x')).toMatchObject({ path: '/with,comma', aname: 'x' });
    expect(parseExport('/x,readonly')).toMatchObject({ options: { readonly: true } });
    expect(parseFsdev('local,id=fsdev0,path=/srv,security_model=none,writeout=immediate')).toEqual({
      path: '/srv',
      aname: 'fsdev0',
      options: { securityModel: 'none' },
    });
  });

  it.each(['/x,what=1', '/x,readonly=perhaps', '/x,fmode=9', 'aname=x', '/x,security_model'])('refuses %s', (text) => {
    expect(() => parseExport(text)).toThrow(/./);
  });

  it('refuses another driver than local', () => {
    expect(() => parseFsdev('proxy,id=x,path=/')).toThrow('local');
  });
});

describe('ninep serve', () => {
  it('serves several exports, read-only ones among them, and says who came', async () => {
    await using directory = new TemporaryDirectory('serve-cli');
    mkdirSync(directory.join('one'));
    mkdirSync(directory.join('two'));
    writeFileSync(directory.join('two/file'), 'content');
    await using server = await serve([`${directory.join('one')},aname=one`, `${directory.join('two')},aname=two,readonly=on`], {
      args: ['--log', '--ctl'],
    });
    await using one = await connect(server.address('one'), { uname: 'somebody' });
    await one.root.mkdir('made', 0o755, 0);
    expect(statSync(directory.join('one/made')).isDirectory()).toBe(true);
    await using two = await connect(server.address('two'));
    await expect(two.root.mkdir('made', 0o755, 0)).rejects.toMatchObject({ code: 'EROFS' });
    await expect(connect(server.address('three'))).rejects.toMatchObject({ code: 'ENOENT' });
    await using ctl = await connect(server.address('ctl'));
    await using file = await ctl.root.walk(['exports']);
    await file.open(0);
    const buffer = Buffer.alloc(1000);
    expect(buffer.toString('utf8', 0, await file.read(buffer, 0)).split('\n')).toEqual(['one', 'two', 'ctl', '']);
    await expect.poll(() => server.process.stderr).toMatch(/attach .*"somebody".*"one"/);
    server.process.kill('SIGUSR1');
    await expect.poll(() => server.process.stderr).toMatch(/"messages":\{.*"Tmkdir":2/);
  });

  it('goes on when nobody reads its log any more, and takes its socket along', async () => {
    await using directory = new TemporaryDirectory('unread');
    await using server = await serve(`${directory.path},aname=data`, { args: ['--log'] });
    const stderr = server.process.child.stderr;
    const closed = once(stderr ?? process, 'close');
    stderr?.destroy();
    await closed;
    // Each of them is told of several times.
    for (let client = 0; client < 3; client++) await (await connect(server.address('data'))).close();
    server.process.kill('SIGTERM');
    expect(await server.process.exited).toEqual({ code: 0, signal: null });
    expect(existsSync(server.socketPath)).toBe(false);
  });

  it('serves one client on stdin and stdout', async () => {
    await using directory = new TemporaryDirectory('stdio');
    writeFileSync(directory.join('file'), 'through a pipe');
    await ensureBuilt();
    await using client = await connect(`exec:${process.execPath} ${main} serve --stdio --export ${directory.path}`);
    await using file = await client.root.walk(['file']);
    await file.open(0);
    const buffer = Buffer.alloc(100);
    expect(buffer.toString('utf8', 0, await file.read(buffer, 0))).toBe('through a pipe');
  });

  it('refuses passthrough to a server that is not root', async () => {
    if (process.getuid?.() !== 0) return;
    await using directory = new TemporaryDirectory('unprivileged');
    await ensureBuilt();
    const { code, stderr } = await run(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        process.execPath,
        main,
        'serve',
        '-e',
        `${directory.path},security_model=passthrough`,
      ],
      { check: false },
    );
    expect(code).toBe(1);
    expect(stderr).toContain('passthrough');
  });
});

// Node hands down no listening socket and has no unix datagrams.
requires('python3')('ninep serve under a service manager', () => {
  it('takes a listening socket as descriptor 3, as from a service manager', async () => {
    await using directory = new TemporaryDirectory('activation');
    writeFileSync(directory.join('file'), 'activated');
    const socket = directory.join('socket');
    await ensureBuilt();
    const manager = `import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.bind(sys.argv[1])
s.listen(5)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])`;
    const server = await launch({
      command: 'python3',
      args: ['-c', manager, socket, process.execPath, main, 'serve', '--export', `${directory.path},aname=x`, '--listen', 'fd:3'],
      ready: { line: /serving/, from: 'stderr' },
    });
    try {
      await using client = await connect(`unix:${socket}?aname=x`);
      await using file = await client.root.walk(['file']);
      expect((await file.getattr()).size).toBe(9);
    } finally {
      await server.stop();
    }
  });

  it('tells the service manager when it is ready', async () => {
    await using directory = new TemporaryDirectory('notify');
    const socket = directory.join('notify');
    const receiver = `import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(${JSON.stringify(socket)})
print('bound', flush=True)
print(s.recv(100).decode(), flush=True)`;
    const manager = await launch({ command: 'python3', args: ['-c', receiver], ready: { line: /bound/ } });
    await using _server = await serve(directory.path, { env: { NOTIFY_SOCKET: socket } });
    await expect.poll(() => manager.stdout, { timeout: 30_000 }).toContain('READY=1');
    await manager.stop();
  });
});

requires('openssl')('ninep serve over tls', () => {
  it('lets in who has a certificate of its authority', async () => {
    await using directory = new TemporaryDirectory('tls');
    const at = (name: string) => directory.join(name);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=authority',
      '-keyout',
      at('ca.key'),
      '-out',
      at('ca.pem'),
    );
    for (const name of ['server', 'client']) {
      writeFileSync(at('extensions'), 'subjectAltName=IP:127.0.0.1');
      openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', `/CN=${name}`, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`));
      openssl(
        ...['x509', '-req', '-in', at(`${name}.csr`), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '1'],
        ...['-extfile', at('extensions'), '-out', at(`${name}.pem`)],
      );
    }
    mkdirSync(at('tree'));
    const server = await launch({
      command: process.execPath,
      args: [
        ...[main, 'serve', '--export', `${at('tree')},aname=t`, '--listen', 'tls://127.0.0.1:0'],
        ...['--tls-cert', at('server.pem'), '--tls-key', at('server.key'), '--tls-ca', at('ca.pem')],
      ],
      ready: { line: /serving .* at tls:.*\n/, from: 'stderr' },
    });
    try {
      const port = /tls:\/\/.*:(\d+)/.exec(server.stderr)?.[1];
      const address = `tls://127.0.0.1:${port}/t?ca=${at('ca.pem')}`;
      await using client = await connect(`${address}&cert=${at('client.pem')}&key=${at('client.key')}`);
      expect(client.root.isDirectory).toBe(true);
      await expect(connect(address)).rejects.toThrow(/./);
      await expect(connect(`tls://127.0.0.1:${port}/t?cert=${at('client.pem')}&key=${at('client.key')}`)).rejects.toThrow(/certificate/);
      expect(readFileSync(at('client.pem'), 'utf8')).toContain('CERTIFICATE');
    } finally {
      await server.stop();
    }
  });
});
