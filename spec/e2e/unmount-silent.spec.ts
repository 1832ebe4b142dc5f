import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { shell } from '../support/child.js';
import { descendants } from '../support/launcher.js';
import { startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { ninep } from '../support/servers/ninep.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';

requires('diod', 'mount')('a mount whose server has gone silent', () => {
  test('is unmounted, and its process ends, however long it would wait for the server', async () => {
    await using directory = new TemporaryDirectory('silent');
    const at = directory.join('mounted');
    mkdirSync(at);
    mkdirSync(directory.join('exported'));
    await using server = await diod(directory.join('exported'));
    await using proxy = await startProxy({ upstream: { path: server.socketPath ?? '' } });
    await ninep(['mount', `${proxy.address}?aname=${directory.join('exported')}`, at, '--retry', 'forever']);
    await shell('mkdir "$1/a"; ls "$1"', [at]);
    const serving = (): string[] => descendants().filter((line) => line.includes(` mount ${proxy.address}`));
    expect(serving()).toHaveLength(1);
    proxy.toServer.swallow = true;
    await ninep(['unmount', at]);
    expect(mountsBelow(at)).toEqual([]);
    await expect.poll(serving, { timeout: 45_000 }).toEqual([]);
  });
});
