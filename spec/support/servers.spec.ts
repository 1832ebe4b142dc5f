import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { run } from './child.js';
import { freePort } from './launcher.js';
import { requires } from './requires.js';
import { diod } from './servers/diod.js';
import { ganesha } from './servers/ganesha.js';
import { qemu, qemuVersion } from './servers/qemu.js';
import { TemporaryDirectory } from './temporary.js';

requires('diod')('diod', () => {
  test('serves its own client over tcp', async () => {
    await using directory = new TemporaryDirectory('exported');
    writeFileSync(directory.join('hello'), 'world');
    const port = await freePort();
    await using server = await diod(directory.path, { port });
    expect(server.address()).toBe(`tcp://127.0.0.1:${port}${directory.path}`);
    const { stdout } = await run('/usr/sbin/diodcat', ['-s', `127.0.0.1:${port}`, '-a', directory.path, 'hello']);
    expect(stdout).toBe('world');
  });

  test('listens on a unix socket', async () => {
    await using directory = new TemporaryDirectory('exported');
    await using server = await diod(directory.path);
    expect(server.address()).toContain('?aname=');
  });
});

requires('ganesha')('nfs-ganesha', () => {
  test('serves a directory', async () => {
    await using directory = new TemporaryDirectory('exported');
    await using server = await ganesha(directory.path);
    await using client = await connect(server.address());
    expect(client.dialect).toBe('9P2000.L');
    // Its errors come under another number than those of other servers.
    await expect(client.root.walk(['absent'])).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

requires('qemu')('QEMU', () => {
  test('starts and ends', async () => {
    expect(qemuVersion()).toMatch(/^\d+\.\d+/);
    await using server = await qemu(['-machine', 'none', '-display', 'none', '-monitor', 'stdio']);
    expect(server.ended).toBe(false);
    await server.stop();
    expect(server.ended).toBe(true);
  });
});
