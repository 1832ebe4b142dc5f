import { mkdirSync, promises } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { L_O_RDONLY, L_O_WRONLY } from '../../../lib/protocol/constants.js';
import { localBackend } from '../../../lib/server/local/index.js';
import { Server } from '../../../lib/server/server.js';
import { sharedThreads } from '../../../lib/sys/threads.js';
import { launch } from '../../support/launcher.js';
import { RawClient } from '../../support/raw.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { caller, child, Exported } from './exported.js';

/** Requests that hang at once: more than Node's pool has threads. */
const HANGING = 12;

requires('mount')('a file system that hangs', () => {
  test('keeps nobody else waiting: not its other files, not other exports, not Node’s own pool', async () => {
    await using directory = new TemporaryDirectory('local');
    const daemon = await launch({
      command: process.execPath,
      args: [fileURLToPath(new URL('hanging.mjs', import.meta.url)), directory.path],
      ready: { line: /mounted/ },
      stopSignal: 'SIGKILL',
    });
    await using other = await Exported.make();
    const backend = await localBackend(directory.path);
    const root = backend.attach();
    const stuck = await child(root, 'stuck');
    const file = await stuck.open(0, caller());
    const answers: Promise<unknown>[] = [];
    for (let turn = 0; turn < HANGING; turn++) {
      answers.push(Promise.resolve(root.walk(`hang${turn}`, caller())));
      answers.push(Promise.resolve(file.read(Buffer.alloc(5), 0, caller())));
    }
    let ended = 0;
    const settled = Promise.allSettled(answers.map((answer) => answer.finally(() => ended++)));
    // All of this is answered while those wait.
    const ok = await child(root, 'ok');
    const open = await ok.open(0, caller());
    const buffer = Buffer.alloc(8);
    expect(buffer.toString('utf8', 0, await open.read(buffer, 0, caller()))).toBe('hello');
    expect((await stuck.getattr(0n, caller())).size).toBe(5);
    await open.close();
    await other.create('f', { text: 'x' });
    expect((await other.attributes('f')).size).toBe(1);
    await Promise.all(Array.from({ length: 8 }, () => promises.readFile(other.host('f'))));
    expect(ended).toBe(0);
    // Its end is an error to each of them.
    await daemon.stop();
    for (const result of await settled) expect(result.status).toBe('rejected');
    await file.close();
    for (const node of [ok, stuck, root]) node.release();
    await expect.poll(() => backend.counts().held, { timeout: 30_000 }).toBe(0);
    await backend.close();
  });
});

requires('mount')('a file system that may hang, below one that does not', () => {
  test('is looked at on threads of its own, the first time and later', async () => {
    await using directory = new TemporaryDirectory('local');
    const mountpoint = directory.join('m');
    mkdirSync(mountpoint);
    const backend = await localBackend(directory.path);
    const daemon = await launch({
      command: process.execPath,
      args: [fileURLToPath(new URL('hanging.mjs', import.meta.url)), mountpoint],
      ready: { line: /mounted/ },
      stopSignal: 'SIGKILL',
    });
    const root = backend.attach();
    const shared = vi.spyOn(sharedThreads, 'call');
    for (let turn = 0; turn < 2; turn++) (await child(root, 'm')).release();
    expect(shared).not.toHaveBeenCalled();
    shared.mockRestore();
    root.release();
    await backend.close();
    await daemon.stop();
  });
});

requires('mount')('a file system that tells of its full disk when a file is closed', () => {
  test('is heard by who wrote to the file, and by nobody else', async () => {
    await using directory = new TemporaryDirectory('local');
    const daemon = await launch({
      command: process.execPath,
      args: [fileURLToPath(new URL('hanging.mjs', import.meta.url)), directory.path],
      ready: { line: /mounted/ },
      stopSignal: 'SIGKILL',
    });
    const backend = await localBackend(directory.path);
    const errors: unknown[] = [];
    {
      await using server = new Server({ exports: { tree: backend }, log: (event) => event.type === 'error' && errors.push(event.error) });
      const c = await RawClient.attached(server);
      const reads = await c.open('full', L_O_RDONLY);
      expect(await c.outcome('Tclunk', { fid: reads })).toBe('ok');
      const writes = await c.open('full', L_O_WRONLY);
      await c.call('Twrite', { fid: writes, offset: 0, data: Buffer.from('hello') });
      expect(await c.outcome('Tclunk', { fid: writes })).toBe('ENOSPC');
      // The fid is gone all the same.
      expect(await c.outcome('Tclunk', { fid: writes })).toBe('EBADF');
      // Where nobody waits for the end, the log has it.
      const left = await c.open('full', L_O_WRONLY);
      await c.call('Twrite', { fid: left, offset: 0, data: Buffer.from('hello') });
    }
    expect(errors).toMatchObject([{ code: 'ENOSPC' }]);
    expect(backend.counts()).toMatchObject({ held: 0, locks: 0 });
    await daemon.stop();
  });
});
