import { readdirSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { GETATTR_ALL, L_O_RDONLY, L_O_RDWR, LOCK_FLAGS_BLOCK, LOCK_TYPE_WRLCK } from '../../lib/protocol/constants.js';
import { Server } from '../../lib/server/server.js';
import { dial, listen } from '../../lib/transport/index.js';
import { Random } from '../support/random.js';
import { RawClient } from '../support/raw.js';
import { sized } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';
import type { BackendUnderTest } from './backend.js';

/** Connections at one time. */
const TOGETHER = 40;

function descriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}

/** One client's life, cut short anywhere: everything it does may fail because it is gone. */
async function live(c: RawClient, random: Random): Promise<void> {
  const life = async (): Promise<void> => {
    await c.version();
    await c.attach();
    const name = `f${random.integer(0, 20)}`;
    const fid = await c.walk('');
    await c.outcome('Tlcreate', { fid, name, flags: L_O_RDWR, mode: 0o644, gid: 0 });
    const lock = { type: LOCK_TYPE_WRLCK, start: random.integer(0, 3), length: random.integer(0, 2), procId: 1, clientId: '' };
    await c.outcome('Tlock', { fid, ...lock, flags: 0 });
    // These may wait for others, or for ever.
    for (let count = random.integer(0, 3); count > 0; count--) {
      c.send('Tlock', { fid, ...lock, start: count, flags: LOCK_FLAGS_BLOCK });
      c.send('Twrite', { fid, offset: random.integer(0, 100), data: random.bytes(random.integer(0, 20_000)) });
      c.send('Tread', { fid, offset: 0, count: 60_000 });
    }
    const xattr = await c.walk(name);
    c.send('Txattrcreate', { fid: xattr, name: 'user.x', attrSize: 10, flags: 0 });
    const listing = await c.open('', L_O_RDONLY);
    c.send('Treaddir', { fid: listing, offset: 0n, count: 60_000 });
    c.send('Tgetattr', { fid: listing, requestMask: GETATTR_ALL });
    if (random.oneIn(4)) c.send('Tunlinkat', { dirfd: 0, name, flags: 0 });
    if (random.oneIn(4)) c.send('Tremove', { fid });
    // Half a message is on its way.
    if (random.oneIn(2))
      c.bytes(c.frame('Twrite', { fid, offset: 0, data: new Uint8Array(50_000) }).subarray(0, random.integer(1, 50_000)));
  };
  const cut = (async () => {
    for (let turns = random.integer(0, 60); turns > 0; turns--) await turn();
  })();
  await Promise.race([life().catch(() => {}), cut]);
  if (random.oneIn(2)) c.transport.destroy();
  await c.end();
}

/**
 * Connections that come, work and vanish at random, over a real socket: they leave no fid, lock, buffer or descriptor behind. `count`
 * of them, a tenth where somebody waits, or NINEP_CONNECTIONS.
 */
export function vanishingContract(name: string, make: () => Promise<BackendUnderTest> | BackendUnderTest, count: number): void {
  describe(`connections that vanish: ${name}`, () => {
    for (const polled of process.platform === 'linux' ? [false, true] : [false]) {
      test(polled ? 'with our own system calls' : 'with Node’s sockets', async () => {
        const random = new Random();
        console.log(`vanishing ${name}: NINEP_SEED=${random.seed}`);
        const under = await make();
        await using directory = new TemporaryDirectory('vanish');
        const server = new Server({ exports: { tree: under.backend }, limits: { grace: 2000 } });
        try {
          const { address } = await server.listen((accept) => listen(`unix:${directory.join('s')}`, accept, { polled }));
          // What is loaded and opened once, by the first of them, does not count.
          const first = await Promise.all(Array.from({ length: TOGETHER }, () => dial(address)));
          await Promise.all(first.map((transport) => live(new RawClient(transport), random)));
          while (server.connections.length > 0) await turn();
          const before = descriptors();
          const total = sized('NINEP_CONNECTIONS', count, count / 10);
          for (let done = 0; done < total; done += TOGETHER) {
            const clients = await Promise.all(Array.from({ length: Math.min(TOGETHER, total - done) }, () => dial(address)));
            await Promise.all(clients.map((transport) => live(new RawClient(transport), random)));
          }
          while (server.connections.length > 0 || server.buffersLent > 0) await turn();
          expect(server.status()).toMatchObject({ connections: 0, fids: 0, pending: 0 });
          expect(server.status().accepted).toBeGreaterThan(total);
          if (under.counts !== undefined) expect(under.counts()).toMatchObject({ held: 0, locks: 0 });
          // The last sockets may be closed a turn after their connections have ended.
          await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThanOrEqual(before);
        } finally {
          await server.close();
          await under.dispose?.();
        }
      }, 300_000);
    }
  });
}
