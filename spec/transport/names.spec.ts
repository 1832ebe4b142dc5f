import type { LookupAddress } from 'node:dns';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { close } from '../../lib/sys/io.js';
import { AF_INET, bindAndListen, localEndpoint, streamSocket } from '../../lib/sys/socket.js';
import { dial, listen } from '../../lib/transport/index.js';
import { requires } from '../support/requires.js';

const found = new Map<string, LookupAddress[]>();
const { lookup } = dns;

/** Knows the names that a test has given addresses, and says nothing of any other: as a name server that is out of reach. */
function known(name: string): Promise<LookupAddress[]> {
  const addresses = found.get(name);
  return addresses === undefined ? new Promise(() => undefined) : Promise.resolve(addresses);
}

beforeAll(() => {
  Object.assign(dns, { lookup: known });
  syncBuiltinESMExports();
});
afterAll(() => {
  Object.assign(dns, { lookup });
  syncBuiltinESMExports();
});

requires('linux')('a name', () => {
  test('whose first address answers nothing is reached at another', async () => {
    found.set('127.0.0.1', [{ address: '127.0.0.1', family: 4 }]);
    const listener = await listen('tcp://127.0.0.1:0', (transport) => transport.destroy(), { polled: true });
    const port = Number(listener.address.slice(listener.address.lastIndexOf(':') + 1));
    // With a full queue that nobody takes from, the kernel drops whatever else comes.
    const silent = streamSocket(AF_INET);
    bindAndListen(silent, { family: AF_INET, host: '127.0.0.2', port }, 0);
    expect(localEndpoint(silent)).toMatchObject({ port });
    const queued = Array.from({ length: 4 }, () => connect(port, '127.0.0.2').on('error', () => undefined));
    await Promise.race(queued.map((socket) => once(socket, 'connect')));
    found.set('thrice.test', [
      { address: '127.0.0.2', family: 4 },
      { address: '127.0.0.2', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]);
    found.set('once.test', [{ address: '127.0.0.2', family: 4 }]);
    await (await dial(`tcp://thrice.test:${port}`, { polled: true, timeout: 4000 })).close();
    await expect(dial(`tcp://once.test:${port}`, { polled: true, timeout: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    for (const socket of queued) socket.destroy();
    close(silent);
    await listener.close();
  });

  test('that nobody can tell the address of holds up neither who gives up nor a time-out', async () => {
    const reason = new Error('changed my mind');
    const giving = new AbortController();
    const attempt = dial('tcp://lost.test:1', { polled: true, signal: giving.signal, timeout: 0 });
    giving.abort(reason);
    await expect(attempt).rejects.toMatchObject({ name: 'AbortError', cause: reason });
    await expect(dial('tcp://lost.test:1', { polled: true, timeout: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });
});
