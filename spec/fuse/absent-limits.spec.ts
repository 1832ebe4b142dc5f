/** Names that are not there, where there is not enough of something, or it is not what it should be: the server is asked as ever, and not over and over. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Client, connect } from '../../lib/client/index.js';
import { type Mount, mount } from '../../lib/fuse/index.js';
import { type LocalOptions, localBackend, Server } from '../../lib/server/index.js';
import { Watches } from '../../lib/server/watches.js';
import { pipe } from '../../lib/sys/io.js';
import { listen } from '../../lib/transport/index.js';
import { missing, requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { known, looker } from './looker.js';

const timeout = 120_000;

requires('mount')('names that are not there, where they cannot be known', () => {
  let root: TemporaryDirectory;
  let server: Server;
  let client: Client;
  const mounts: Mount[] = [];
  /** What the server is asked for. */
  const add = vi.spyOn(Watches.prototype, 'add');

  beforeEach(() => {
    root = new TemporaryDirectory('limits');
    execFileSync('chmod', ['755', root.path]);
    for (const name of ['tree', 'mount', 'other']) mkdirSync(root.join(name));
  });

  afterEach(async () => {
    for (const each of mounts.splice(0)) await each.unmount();
    await client.close();
    await server.close();
    add.mockReset();
    root.remove();
  });

  /** A mount of a tree that is served by this very process. */
  async function mounted(options: LocalOptions = {}, name = 'mount'): Promise<{ mount: Mount; directory: string; source: string }> {
    const source = root.join('tree');
    if (mounts.length === 0) {
      server = new Server({ exports: {} });
      server.export('tree', await localBackend(source, options));
      const address = `unix:${root.join('socket')}`;
      await server.listen((accept) => listen(address, accept, { polled: true }));
      client = await connect(`${address}?aname=tree`, { polled: true, descriptors: true });
    }
    const mounting = await mount(client, root.join(name));
    mounts.push(mounting);
    return { mount: mounting, directory: mounting.directory, source };
  }

  /** Watches of all queues of this process. */
  function watches(): number {
    const all = readdirSync('/proc/self/fdinfo').map((fd) => {
      try {
        return new Set(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').match(/^inotify wd:\S+/gm)).size;
      } catch {
        return 0;
      }
    });
    return Math.max(0, ...all);
  }

  function fill(directory: string, many: number): void {
    mkdirSync(directory, { recursive: true });
    for (let n = 0; n < many; n++) symlinkSync('nowhere', `${directory}/n${n}`);
  }

  test('two mounts of one client do not take from each other what the queue tells', { timeout }, async () => {
    const at = await mounted();
    const other = await mounted({}, 'other');
    await using one = looker(at.directory);
    await using two = looker(other.directory);
    await known(at, one.look);
    for (let n = 0; n < 50; n++) expect(await two.look(`none${n}`)).toBe('ENOENT');
    writeFileSync(`${at.source}/none3`, '');
    expect(await two.look('never')).toBe('ENOENT');
    expect(await one.look('none3')).toBe('file');
    expect(await two.look('none3')).toBe('file');
    await mounts.shift()?.unmount();
    await known(other, two.look, 'more');
  });

  test.each<[string, () => number]>([
    ['zeros without end', () => openSync('/dev/zero', 'r')],
    ['noise without end', () => openSync('/dev/urandom', 'r')],
    ['a file', () => openSync(process.execPath, 'r')],
    ['a pipe into which nobody writes', () => pipe()[0]],
  ])('a server that passes %s for a queue is not believed', { timeout }, async (_, descriptor) => {
    const at = await mounted();
    add.mockImplementation(() => ({ number: 1, descriptor: descriptor() }));
    await using one = looker(at.directory);
    mkdirSync(`${at.source}/d`);
    for (const where of ['', 'd/']) for (let n = 0; n < 50; n++) expect(await one.look(`${where}none${n}`)).toBe('ENOENT');
    writeFileSync(`${at.source}/none3`, '');
    expect(await one.look('none3')).toBe('file');
    expect(add).toHaveBeenCalledTimes(1);
    expect(at.mount.counters()).toMatchObject({ watched: 0, absent: 0 });
  });

  test('a server that watches nothing is not asked again for each directory', { timeout }, async () => {
    const at = await mounted({ except: [root.join('tree/d0')] });
    for (let n = 0; n < 100; n++) mkdirSync(`${at.source}/d${n}`);
    await using one = looker(at.directory);
    for (let n = 1; n < 100; n++) for (let m = 0; m < 4; m++) expect(await one.look(`d${n}/none${m}`)).toBe('ENOENT');
    expect(add.mock.calls.length).toBeLessThan(20);
  });

  test('directories of too many names are listed once each, however often one is looked at after another', { timeout }, async () => {
    const at = await mounted();
    for (let n = 0; n < 6; n++) fill(`${at.source}/d${n}`, 15_000);
    await using one = looker(at.directory);
    for (let m = 0; m < 20; m++)
      for (let n = 0; n < 6; n++) for (let k = 0; k < 5; k++) expect(await one.look(`d${n}/none${m}.${k}`)).toBe('ENOENT');
    expect(at.mount.counters().watched).toBe(4);
    expect(add.mock.calls.length).toBeLessThan(20);
  });

  test('one that has too many is not watched any more', { timeout }, async () => {
    const at = await mounted();
    fill(`${at.source}/d`, 17_000);
    await using one = looker(at.directory);
    const tried = async (): Promise<number> => {
      for (let m = 0; m < 5; m++) expect(await one.look(`d/none${m}`)).toBe('ENOENT');
      return add.mock.calls.length;
    };
    await expect.poll(tried, { timeout: 10_000 }).toBe(1);
    await expect.poll(watches).toBe(0);
    expect(at.mount.counters()).toMatchObject({ watched: 0, absent: 0 });
  });

  test('two users who look into one directory in turn do not have it listed for each', { timeout }, async () => {
    const at = await mounted();
    await using one = looker(at.directory);
    await using two = looker(at.directory, 12_345);
    for (let m = 0; m < 30; m++)
      for (const { look } of [one, two]) for (let k = 0; k < 6; k++) expect(await look(`none${m}.${k}`)).toBe('ENOENT');
    expect(add.mock.calls.length).toBeLessThan(10);
    writeFileSync(`${at.source}/none3.3`, '');
    for (const { look } of [one, two]) expect(await look('none3.3')).toBe('file');
  });

  const encryption = missing('keyctl', 'mkfs.ext4', 'e4crypt', { devices: ['/dev/loop-control'] });
  test.skipIf(encryption !== undefined)('those of an encrypted directory are there once it is unlocked', { timeout }, async () => {
    const [image, source] = [root.join('image'), root.join('tree')];
    writeFileSync(image, '');
    truncateSync(image, 32 << 20);
    execFileSync('mkfs.ext4', ['-q', '-O', 'encrypt', image]);
    const disk = (): unknown => execFileSync('mount', ['-o', 'loop', image, source]);
    // The key is gone with the session.
    const unlocked = (then: string): unknown => {
      const script = `echo word | e4crypt add_key -S 0x1234 ${source}/d && ${then}`;
      return execFileSync('keyctl', ['session', '-', 'sh', '-c', script], { stdio: ['ignore', 'ignore', 'ignore'] });
    };
    disk();
    try {
      mkdirSync(`${source}/d`);
      unlocked(`: > ${source}/d/none3`);
      execFileSync('umount', [source]);
      disk();
      const at = await mounted();
      await using one = looker(at.directory);
      for (let n = 0; n < 50; n++) expect(await one.look(`d/none${n}`)).toBe('ENOENT');
      unlocked(`test -f ${source}/d/none3`);
      expect(readdirSync(`${source}/d`)).toEqual(['none3']);
      expect(await one.look('d/none3')).toBe('file');
    } finally {
      for (const each of mounts.splice(0)) await each.unmount();
      await client.close();
      await server.close();
      execFileSync('umount', [source]);
    }
  });
});
