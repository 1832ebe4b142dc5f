import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { close, socketpair } from '../../lib/sys/io.js';
import { declare } from '../../lib/sys/libc.js';
import { AF_INET, bindAndListen, localEndpoint, streamSocket } from '../../lib/sys/socket.js';
import { dial, listen, type Transport } from '../../lib/transport/index.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import { checking, pattern, Sink, turns } from '../contracts/transport.js';
import { requires } from '../support/requires.js';
import { temporaryDirectory } from '../support/temporary.js';

const descriptors = () => readdirSync('/proc/self/fd').length;

/** Waits for something outside this process; the test's own time-out is the limit. */
async function eventually(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 10));
}

for (const polled of process.platform === 'linux' ? [false, true] : [false]) {
  describe(polled ? 'polled sockets' : "Node's sockets", () => {
    test('nobody there: one line with the code and the address', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      server.close();
      await once(server, 'close');
      await expect(dial(`tcp://127.0.0.1:${port}`, { polled })).rejects.toMatchObject({
        code: 'ECONNREFUSED',
        syscall: 'connect',
        message: `ECONNREFUSED: connection refused, connect 'tcp://127.0.0.1:${port}'`,
      });
      await expect(dial(`unix:${temporaryDirectory()}/none`, { polled })).rejects.toMatchObject({ code: 'ENOENT' });
      await expect(dial('tcp://:1', { polled })).rejects.toThrow('no host');
    });

    test('a path that no unix socket can have', async () => {
      await expect(dial(`unix:/${'x'.repeat(200)}`, { polled })).rejects.toMatchObject({ syscall: 'connect' });
    });

    test('a peer that goes on sending does not hold up close', async () => {
      const path = join(temporaryDirectory(), 'sock');
      let server: Sink | undefined;
      const listener = await listen(`unix:${path}`, (transport) => (server = new Sink(transport).start()), { polled });
      const client = new Sink(await dial(listener.address, { polled, linger: 100 })).start();
      await eventually(() => server !== undefined);
      const flood = () => {
        if (server?.ended === false) setImmediate(flood);
        server?.send([new Uint8Array(1000)]);
      };
      flood();
      await client.until(() => client.total > 0);
      await client.close();
      expect([client.error, client.violation]).toEqual([undefined, undefined]);
      server?.destroy();
      await listener.close();
    });

    test('ends that close at one time, each with more to write than fits on the way, do not wait for each other', async () => {
      const path = join(temporaryDirectory(), 'sock');
      const taken: Sink[] = [];
      const listener = await listen(`unix:${path}`, (transport) => taken.push(new Sink(transport).start()), { polled });
      const ends = [new Sink(await dial(listener.address, { polled })).start(), taken];
      await eventually(() => taken.length === 1);
      let sent = 0;
      const both = ends.flat();
      for (const end of both) end.send([pattern(24 << 20)], () => sent++);
      await Promise.all(both.map((end) => end.close()));
      expect(sent).toBe(2);
      expect(both.map(({ error, violation }) => error ?? violation)).toEqual([undefined, undefined]);
      await listener.close();
    });

    test('an aborted attempt is an AbortError with its cause, and leaves no descriptor', async () => {
      const path = join(temporaryDirectory(), 'sock');
      const listener = await listen(`unix:${path}`, (transport) => transport.destroy(), { polled });
      const before = descriptors();
      const reason = new Error('changed my mind');
      await expect(dial(`unix:${path}`, { polled, signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
        name: 'AbortError',
        cause: reason,
      });
      const controller = new AbortController();
      const attempt = dial(`unix:${path}`, { polled, signal: controller.signal });
      controller.abort(reason);
      await expect(attempt.then((transport) => transport.close()))
        .resolves.toBeUndefined()
        .catch(() => expect(attempt).rejects.toMatchObject({ name: 'AbortError' }));
      await eventually(() => descriptors() <= before);
      await listener.close();
    });

    test('a stale socket file is replaced, a live one and anything else are not, and it goes with its listener', async () => {
      const path = join(temporaryDirectory(), 'sock');
      const child = spawn(process.execPath, ['-e', 'require("net").createServer().listen(process.argv[1], () => console.log(1))', path]);
      await once(child.stdout, 'data');
      await expect(listen(`unix:${path}`, () => {}, { polled })).rejects.toMatchObject({ code: 'EADDRINUSE' });
      child.kill('SIGKILL');
      await once(child, 'exit');
      expect(existsSync(path)).toBe(true);
      const listener = await listen(`unix:${path}`, (transport) => transport.destroy(), { polled });
      expect(listener.address).toBe(`unix:${path}`);
      await (await dial(listener.address, { polled })).close();
      await listener.close();
      await listener.close();
      expect(existsSync(path)).toBe(false);
      writeFileSync(path, 'precious');
      await expect(listen(`unix:${path}`, () => {}, { polled })).rejects.toMatchObject({ code: 'EADDRINUSE' });
      expect(readFileSync(path, 'utf8')).toBe('precious');
    });

    test('of several who find a stale socket file at once, one listens there and is reached', async () => {
      const directory = temporaryDirectory();
      const path = join(directory, 'sock');
      for (let round = 0; round < 3; round++) {
        const code = 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
        await once(spawn(process.execPath, ['-e', code, path]), 'exit');
        expect(existsSync(path)).toBe(true);
        const reached: number[] = [];
        const takes = (index: number) => (transport: Transport) => {
          reached.push(index);
          transport.destroy();
        };
        const outcomes = await Promise.allSettled(
          Array.from({ length: 8 }, (_, index) => listen(`unix:${path}`, takes(index), { polled })),
        );
        const winners = outcomes.flatMap((outcome, index) => (outcome.status === 'fulfilled' ? [{ index, listener: outcome.value }] : []));
        expect(winners).toHaveLength(1);
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'EADDRINUSE' });
        }
        expect(readdirSync(directory)).toEqual(['sock']);
        expect(reached).toEqual([]);
        const client = new Sink(await dial(`unix:${path}`, { polled })).start();
        await client.until(() => client.ended);
        expect(reached).toEqual(winners.map(({ index }) => index));
        await client.close();
        for (const { listener } of winners) await listener.close();
        expect(readdirSync(directory)).toEqual([]);
      }
    });

    test('who finds a socket taken has not been taken for a peer by whoever has it', async () => {
      const path = join(temporaryDirectory(), 'sock');
      let peers = 0;
      const listener = await listen(`unix:${path}`, () => peers++, { polled });
      await expect(listen(`unix:${path}`, () => {}, { polled })).rejects.toMatchObject({ code: 'EADDRINUSE' });
      const client = new Sink(await dial(listener.address, { polled })).start();
      await eventually(() => peers > 0);
      await turns();
      expect(peers).toBe(1);
      await listener.close();
      client.transport.destroy();
    });

    test('a lock file that a process left behind is no hindrance', async () => {
      const directory = temporaryDirectory();
      const path = join(directory, 'sock');
      writeFileSync(`${path}.lock`, '');
      const listener = await listen(`unix:${path}`, () => {}, { polled });
      await listener.close();
      expect(readdirSync(directory)).toEqual([]);
    });

    test('a listener tells the port it got; closing it keeps what is connected', async () => {
      let server: Transport | undefined;
      const listener = await listen('tcp://127.0.0.1:0', (transport) => (server = transport), { polled });
      expect(listener.address).toMatch(/^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
      const client = new Sink(await dial(listener.address, { polled })).start();
      await eventually(() => server !== undefined);
      await listener.close();
      await expect(dial(listener.address, { polled })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      const other = new Sink(server as unknown as Transport).start();
      client.send([pattern(100)]);
      await other.until(() => other.total === 100);
      await client.close();
      await other.close();
    });

    test('more connections than allowed are closed', async () => {
      const taken: Sink[] = [];
      const listener = await listen('tcp://127.0.0.1:0', (transport) => taken.push(new Sink(transport).start()), {
        polled,
        maxConnections: 1,
      });
      const first = new Sink(await dial(listener.address, { polled })).start();
      await eventually(() => taken.length === 1);
      const second = new Sink(await dial(listener.address, { polled })).start();
      await second.until(() => second.ended);
      expect(taken.length).toBe(1);
      await first.close();
      await taken[0]?.close();
      await turns();
      const third = new Sink(await dial(listener.address, { polled })).start();
      await eventually(() => taken.length === 2);
      await third.close();
      await taken[1]?.close();
      await listener.close();
    });

    requires('linux')('fd:', () => {
      test('a listening socket that was passed on is accepted on, any other is the one connection', async () => {
        const fd = streamSocket(AF_INET);
        bindAndListen(fd, { family: AF_INET, host: '127.0.0.1', port: 0 });
        const local = localEndpoint(fd);
        const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', SERVE, String(polled)], {
          stdio: ['ignore', 'pipe', 'inherit', fd],
        });
        close(fd);
        if (child.stdout === null || local?.family !== AF_INET) throw new Error('no child');
        await once(child.stdout, 'data');
        for (let turn = 0; turn < 2; turn++) {
          const client = new Sink(await dial(`tcp://127.0.0.1:${local.port}`, { polled })).start();
          client.send([pattern(50)]);
          await client.until(() => client.total === 50);
          await client.close();
        }
        child.kill('SIGKILL');
        await once(child, 'exit');
        const [left, right] = socketpair();
        let given: Transport | undefined;
        const listener = await listen(`fd:${left}`, (transport) => (given = transport), { polled });
        expect(given?.name).toBe(`fd:${left}`);
        await Promise.all([given?.close(), (await dial(`fd:${right}`, { polled })).close(), listener.close()]);
      });

      test('a descriptor that is none, and a file, are refused', async () => {
        await expect(dial('fd:99999', { polled })).rejects.toMatchObject({ code: 'EBADF' });
      });
    });
  });
}

const SERVE = `
import { listen } from './lib/transport/index.ts';
await listen('fd:3', (t) => {
  const target = new Uint8Array(4096);
  const push = (chunk) => t.send([chunk.slice()]);
  t.start({ target: () => target, filled: (n) => push(target.subarray(0, n)), push, drained() {}, closed() {} });
}, { polled: process.argv[1] === 'true' });
console.log('up');`;

requires('linux', 'root')('a process that has become another user', () => {
  test.each([true, false])('closes its listener, though it may not remove the socket file (polled: %s)', async (polled) => {
    const path = join(temporaryDirectory(), 'sock');
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', LEAVE, path, String(polled)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(existsSync(path)).toBe(true);
    const listener = await listen(`unix:${path}`, (transport) => transport.destroy(), { polled });
    await listener.close();
    expect(existsSync(path)).toBe(false);
  });
});

const LEAVE = `
import { listen } from './lib/transport/index.ts';
const listener = await listen('unix:' + process.argv[1], () => {}, { polled: process.argv[2] === 'true' });
process.setuid(65534);
await listener.close();`;

describe('exec:', () => {
  test('a command that fails is told with its code and its last words', async () => {
    const sink = new Sink(await dial('exec:echo first >&2; echo last words >&2; exit 3')).start();
    await sink.until(() => sink.ended);
    expect(sink.error).toMatchObject({ code: 'ECONNRESET', syscall: 'exec' });
    expect(sink.error?.message).toContain('exited with code 3: first: last words');
    expect(sink.error?.message).not.toContain('\n');
  });

  test('a command that dies under what is written to it is told by its last words, not by the pipe', async () => {
    const sink = new Sink(await dial('exec:exec <&-; echo why >&2; exit 7')).start();
    sink.send([pattern(4_000_000)]);
    await sink.until(() => sink.ended);
    expect(sink.error?.message).toContain('exited with code 7: why');
  });

  test('a command that ends well ends the stream without an error', async () => {
    const sink = new Sink(await dial('exec:printf hello')).start();
    await sink.until(() => sink.ended);
    expect(sink.error).toBeUndefined();
    expect(sink.total).toBe(5);
  });

  test('what the command started ends with it, even what ignores SIGTERM', async () => {
    const file = join(temporaryDirectory(), 'pids');
    const stubborn = `trap '' TERM; sh -c "trap '' TERM; echo \\$\\$; while :; do sleep 0.1; done" & echo $$; wait; while :; do sleep 0.1; done`;
    const { connectProcess } = await import('../../lib/transport/process.js');
    const transport = await connectProcess({ scheme: 'exec', command: `{ ${stubborn}; } >${file}` }, { grace: 200 });
    const sink = new Sink(transport).start();
    const pids = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').filter(Boolean).map(Number) : []);
    await eventually(() => pids().length === 2);
    await sink.close();
    expect(sink.ended).toBe(true);
    await eventually(() => pids().every((pid) => !alive(pid)));
  });

  test('a command that may not be signalled, as another user has it by sudo, ends with its stdin or is left alone', async () => {
    const { connectProcess } = await import('../../lib/transport/process.js');
    const pids: number[] = [];
    const kill = vi.spyOn(process, 'kill').mockImplementation((pid) => {
      pids.push(-pid);
      throw Object.assign(new Error('kill EPERM'), { code: 'EPERM', syscall: 'kill' });
    });
    try {
      const willing = new Sink(await connectProcess({ scheme: 'exec', command: 'exec cat' }, { grace: 20 })).start();
      await willing.close();
      expect(willing.error).toBeUndefined();
      const stubborn = new Sink(await connectProcess({ scheme: 'exec', command: 'exec sleep 1000' }, { grace: 20, linger: 20 })).start();
      await stubborn.close();
      expect(stubborn.ended).toBe(true);
    } finally {
      kill.mockRestore();
    }
    const [left = 0] = pids.slice(-1);
    expect(alive(left)).toBe(true);
    process.kill(-left, 'SIGKILL');
    await eventually(() => !alive(left));
  });

  test('a process that exits takes the command along', async () => {
    const file = join(temporaryDirectory(), 'pid');
    const child = spawn(
      process.execPath,
      [
        '--import',
        'tsx',
        '--input-type=module',
        '--eval',
        `
      import { dial } from './lib/transport/index.ts';
      import { existsSync } from 'node:fs';
      await dial('exec:trap "" TERM HUP; echo $$ >${file}.new; mv ${file}.new ${file}; while :; do sleep 0.1; done');
      setInterval(() => existsSync('${file}') && process.exit(), 10);`,
      ],
      { stdio: 'inherit' },
    );
    await once(child, 'exit');
    const pid = Number(readFileSync(file, 'utf8'));
    expect(pid).toBeGreaterThan(1);
    await eventually(() => !alive(pid));
  });
});

function alive(pid: number): boolean {
  try {
    // A zombie has ended: only its parent has not noticed.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

requires('linux')('dev:', () => {
  test('a terminal line carries any byte both ways, and its hang-up ends the stream', async () => {
    const { master, path } = openTerminal();
    const line = new Sink(await dial(`dev:${path}`)).start();
    const other = new Sink(new PolledTransport('master', master, master)).start();
    checking(line);
    checking(other);
    const every = pattern(2000);
    other.send([every]);
    line.send([every]);
    await Promise.all([line.until(() => line.total === 2000), other.until(() => other.total === 2000)]);
    expect([line.violation, other.violation]).toEqual([undefined, undefined]);
    other.destroy();
    await line.until(() => line.ended);
  });

  test('what is no character device, or not there, is refused', async () => {
    const path = join(temporaryDirectory(), 'file');
    writeFileSync(path, '');
    await expect(dial(`dev:${path}`)).rejects.toMatchObject({ code: 'ENODEV' });
    await expect(dial(`dev:${path}.none`)).rejects.toMatchObject({ code: 'ENOENT' });
    const before = descriptors();
    await expect(dial('dev:/dev/null')).rejects.toMatchObject({ code: 'EPERM' });
    expect(descriptors()).toBe(before);
  });
});

/** A pseudo terminal: the master's descriptor and the slave's path. */
function openTerminal(): { master: number; path: string } {
  const name = new Uint8Array(128);
  const slave = new Uint8Array(4);
  const fd = new Uint8Array(4);
  const openpty = declare<(master: Uint8Array, slave: Uint8Array, name: Uint8Array, termios: null, size: null) => number>(
    'int openpty(void *, void *, void *, void *, void *)',
  );
  expect(openpty(fd, slave, name, null, null)).toBe(0);
  close(new Int32Array(slave.buffer)[0] as number);
  return { master: new Int32Array(fd.buffer)[0] as number, path: Buffer.from(name.subarray(0, name.indexOf(0))).toString() };
}

test('tls: an attempt that is given up while its files are read is not made', async () => {
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const connected = vi.fn((socket: Socket) => socket.destroy());
  server.on('connection', connected);
  const { port } = server.address() as { port: number };
  const ca = join(temporaryDirectory(), 'ca.pem');
  writeFileSync(ca, '');
  const giving = new AbortController();
  const attempt = dial(`tls://127.0.0.1:${port}?ca=${ca}`, { signal: giving.signal });
  giving.abort(new Error('changed my mind'));
  await expect(attempt).rejects.toMatchObject({ name: 'AbortError', cause: giving.signal.reason });
  expect(connected).not.toHaveBeenCalled();
  server.close();
});

describe('vsock+unix:', () => {
  async function host(answer: (socket: Socket, line: string) => void) {
    const path = join(temporaryDirectory(), 'vsock');
    const server = createServer((socket) => socket.on('error', () => {}).once('data', (line) => answer(socket, line.toString()))).listen(
      path,
    );
    await once(server, 'listening');
    return { path, [Symbol.asyncDispose]: async () => void server.close() };
  }

  test('bytes right behind the greeting belong to the stream', async () => {
    const { path, ...vm } = await host((socket, line) =>
      socket.write(Buffer.concat([Buffer.from(`OK ${line.slice(8, -1)}\n`), pattern(30)])),
    );
    const sink = new Sink(await dial(`vsock+unix:${path}:77`)).start();
    checking(sink);
    await sink.until(() => sink.total === 30);
    expect(sink.violation).toBeUndefined();
    sink.destroy();
    await vm[Symbol.asyncDispose]();
  });

  test('a greeting in single bytes, a refusal, nonsense and silence', async () => {
    await using slow = await host(async (socket) => {
      for (const letter of 'OK 5\nxyz') {
        socket.write(letter);
        await turns(3);
      }
    });
    const sink = new Sink(await dial(`vsock+unix:${slow.path}:5`)).start();
    await sink.until(() => sink.total === 3);
    sink.destroy();
    await using refusing = await host((socket) => socket.end());
    await expect(dial(`vsock+unix:${refusing.path}:5`)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await using odd = await host((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
    await expect(dial(`vsock+unix:${odd.path}:5`)).rejects.toMatchObject({ code: 'EPROTO' });
    await using silent = await host(() => {});
    await expect(dial(`vsock+unix:${silent.path}:5`, { timeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  test('connections from the guest arrive at PATH_PORT', async () => {
    const path = join(temporaryDirectory(), 'vsock');
    const listener = await listen(`vsock+unix:${path}:99`, (transport) => transport.destroy());
    await (await dial(`unix:${path}_99`)).close();
    await listener.close();
  });
});

test('a scheme may be given its transport from outside', async () => {
  // Schemes are the module's, which another file of this process may have given this one to.
  vi.resetModules();
  const { dial, memoryPair, registerScheme } = await import('../../lib/transport/index.js');
  await expect(dial('qemu:path=/')).rejects.toMatchObject({ code: 'EPROTONOSUPPORT' });
  const [ours] = memoryPair();
  registerScheme('qemu', async (address) => {
    expect(address).toMatchObject({ scheme: 'qemu', options: 'path=/' });
    return ours;
  });
  expect(await dial('qemu:path=/')).toBe(ours);
});
