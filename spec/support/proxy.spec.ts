import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startProxy } from './proxy.js';
import { TemporaryDirectory } from './temporary.js';

const directory = new TemporaryDirectory('echo');
const path = directory.join('socket');
let server: Server;

beforeAll(async () => {
  server = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(path);
  await once(server, 'listening');
});
afterAll(() => {
  server.close();
});

function collect(socket: Socket): Promise<{ bytes: Buffer; error?: unknown; pieces: number }> {
  const pieces: Buffer[] = [];
  return new Promise((resolve) => {
    let failure: unknown;
    socket.on('data', (piece) => pieces.push(piece));
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => resolve({ bytes: Buffer.concat(pieces), pieces: pieces.length, error: failure }));
  });
}

test.each([{}, { chunk: 1 }, { randomChunk: 7 }, { delay: 1, chunk: 100 }])('hands on every byte in order: %j', async (faults) => {
  await using proxy = await startProxy({ upstream: { path }, toServer: faults, toClient: faults });
  const sent = proxy.random.bytes(1000);
  const socket = connect(proxy.socketPath);
  socket.end(sent);
  expect((await collect(socket)).bytes.equals(sent)).toBe(true);
});

test('cuts after so many bytes', async () => {
  await using proxy = await startProxy({ upstream: { path }, tcp: true, toClient: { cutAfter: 10 } });
  const socket = connect(proxy.port ?? 0, '127.0.0.1');
  socket.write(Buffer.alloc(1000));
  expect((await collect(socket)).bytes.length).toBeLessThanOrEqual(10);
  expect(proxy.open).toBe(0);
});

test('flips bits by its seed', async () => {
  const flipped = async (): Promise<Buffer> => {
    await using proxy = await startProxy({ upstream: { path }, seed: 7, toClient: { flipOneIn: 100 } });
    const socket = connect(proxy.socketPath);
    socket.end(Buffer.alloc(5000));
    return (await collect(socket)).bytes;
  };
  const first = await flipped();
  expect(first.length).toBe(5000);
  expect(first.equals(Buffer.alloc(5000))).toBe(false);
  expect((await flipped()).equals(first)).toBe(true);
});

test('refuses, takes again at the same address, and cuts what is open', async () => {
  await using proxy = await startProxy({ upstream: { path }, tcp: true });
  const { port } = proxy;
  const socket = connect(port ?? 0, '127.0.0.1');
  await once(socket, 'connect');
  await expect.poll(() => proxy.open).toBe(1);
  const ended = collect(socket);
  proxy.refuse();
  proxy.cut();
  await ended;
  const [refused] = await once(connect(port ?? 0, '127.0.0.1'), 'error');
  expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  await proxy.accept();
  expect(proxy.port).toBe(port);
  const again = connect(port ?? 0, '127.0.0.1');
  again.end('hello');
  expect((await collect(again)).bytes.toString()).toBe('hello');
});

test('swallows without an end', async () => {
  await using proxy = await startProxy({ upstream: { path }, toServer: { swallow: true } });
  const socket = connect(proxy.socketPath);
  socket.end('hello');
  const ended = collect(socket);
  await expect.poll(() => proxy.open).toBe(1);
  expect(await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 200, 'silence'))])).toBe('silence');
  proxy.cut();
  expect((await ended).bytes.length).toBe(0);
});
