import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { dial } from '../../lib/transport/index.js';
import { checking, pattern, Sink } from '../contracts/transport.js';
import { ensureBuilt, root } from '../support/build.js';
import { bootGuest, type Guest } from '../support/guest/guest.js';
import { requires } from '../support/requires.js';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const MIB = 1024 * 1024;
/** More than a transport holds back for. */
const SIZE = 3 * MIB;

/** Runs in the guest: says what it saw as one line for each step. */
const PROGRAM = `
import assert from 'node:assert';
import { dial, listen } from '/test/dist/lib/transport/index.js';

const byteAt = (position) => (Math.imul(position, 0x9e3779b1) >>> 24) ^ (position & 0xff);
const pattern = (length) => Uint8Array.from({ length }, (_, index) => byteAt(index));

/** Keeps count, checks, and lets one wait. */
function sink(transport, echo = false) {
  const target = new Uint8Array(64 * 1024);
  const self = {
    transport, total: 0, drains: 0, closed: undefined, waiting: [],
    until: (done) => new Promise((resolve) => { self.waiting.push([done, resolve]); self.look(); }),
    look: () => { self.waiting = self.waiting.filter(([done, resolve]) => !done() || resolve()); },
  };
  const push = (chunk) => {
    if (echo) transport.send([chunk.slice()]);
    else for (let index = 0; index < chunk.length; index++) if (chunk[index] !== byteAt(self.total + index)) assert.fail('byte ' + (self.total + index));
    self.total += chunk.length;
    self.look();
  };
  transport.start({
    target: () => target,
    filled: (count) => push(target.subarray(0, count)),
    push,
    drained: () => { self.drains++; self.look(); },
    closed: (error) => { self.closed = error ?? 'orderly'; self.look(); },
  });
  return self;
}

const [, , step, ...args] = process.argv;
const steps = {
  async vsock() {
    await assert.rejects(dial('vsock://1:999', { timeout: 20000 }), { syscall: 'connect' });
    const accepted = [];
    const listener = await listen('vsock://:564', (transport) => accepted.push(sink(transport)));
    console.log(listener.address);
    const client = sink(await dial('vsock://1:564'));
    while (accepted.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    const server = accepted[0];
    console.log(server.transport.name.replace(/\\d+$/, 'N'));
    // Both ways at once.
    let sent = 0;
    for (const end of [client, server]) end.transport.send([pattern(${SIZE})], () => sent++);
    await Promise.all([client, server].map((end) => end.until(() => end.total === ${SIZE})));
    await Promise.all([client, server].map((end) => end.until(() => end.drains === 1)));
    assert.equal(sent, 2);
    // A peer that does not read holds back, and loses nothing.
    const slow = sink(await dial('vsock://1:564'));
    while (accepted.length === 1) await new Promise((resolve) => setTimeout(resolve, 10));
    accepted[1].transport.pause();
    assert.equal(slow.transport.send([pattern(${SIZE})]), false);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(slow.drains, 0);
    accepted[1].transport.resume();
    await slow.until(() => slow.drains === 1);
    // Close drains; destroy is told.
    await slow.transport.close();
    await accepted[1].until(() => accepted[1].closed !== undefined);
    assert.deepEqual([slow.closed, accepted[1].closed, accepted[1].total], ['orderly', 'orderly', ${SIZE}]);
    server.transport.destroy();
    await client.until(() => client.closed !== undefined);
    await listener.close();
    console.log('vsock is right');
  },
  async port() {
    const echo = sink(await dial('dev:/dev/virtio-ports/org.ninep.0', { timeout: 0 }), true);
    console.log('port open');
    await echo.until(() => echo.closed !== undefined);
    console.log('port closed');
  },
};
await steps[step](...args);
process.exit();
`;

const native = '@koromix/koffi-linux-x64';
const modules = [
  'koffi/package.json',
  'koffi/index.js',
  'koffi/index.cjs',
  'koffi/indirect.js',
  'koffi/indirect.cjs',
  'koffi/src/koffi',
  native,
  'debug',
  'ms',
];

requires('guest', 'node')('channels of a guest', () => {
  let guest: Guest;

  beforeAll(async () => {
    await ensureBuilt();
    guest = await bootGuest({
      steps: { vsock: 'node /test/program.mjs vsock', port: 'node /test/program.mjs port' },
      programs: ['node'],
      files: {
        '/test/program.mjs': PROGRAM,
        '/test/package.json': '{"type":"module"}',
        '/test/dist/lib/transport': { from: join(root, 'dist/lib/transport') },
        '/test/dist/lib/sys': { from: join(root, 'dist/lib/sys') },
        ...Object.fromEntries(modules.map((name) => [`/test/node_modules/${name}`, { from: join(root, 'node_modules', name) }])),
      },
      serial: ['org.ninep.0'],
      memory: 1024,
    });
  });
  afterAll(() => guest?.kill());

  test('AF_VSOCK, both ends in the guest', async () => {
    const said = await guest.step('vsock', 240_000);
    expect(said).toContain('vsock://:564\n');
    expect(said).toContain('vsock://1:N\n');
    expect(said).toContain('vsock is right\n');
  });

  test('a virtio-serial port carries any byte both ways, waits for its other end, and ends with it', async () => {
    const step = guest.step('port', 240_000);
    // Nobody has opened the host's end yet: the guest waits.
    const host = new Sink(await dial(`unix:${guest.serial('org.ninep.0')}`)).start();
    checking(host);
    await guest.said(/port open/);
    host.send([pattern(MIB)]);
    await host.until(() => host.total === MIB);
    expect(host.violation).toBeUndefined();
    host.destroy();
    expect(await step).toContain('port closed\n');
  });
});
