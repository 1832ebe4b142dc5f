/** Names that are not there, as a mount on the server's own host knows them. */
import { linkSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { type MountOptions, mount } from '../../lib/fuse/index.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { known, looker } from './looker.js';
import { type Mounted, mounted } from './mounted.js';

const timeout = 120_000;

const open = (): number => readdirSync('/proc/self/fd').length;

requires('mount')('names that are not there', () => {
  test.each(['passthrough', 'mapped-xattr', 'none'] as const)('are told without asking the server (%s)', { timeout }, async (model) => {
    await using at = await mounted(model, {}, true);
    await using one = looker(at.directory);
    mkdirSync(`${at.source}/d`);
    writeFileSync(`${at.source}/there`, '');
    await known(at, one.look);
    expect(at.mount.counters().watched).toBe(1);
    expect(await one.look('there')).toBe('file');
    expect(await one.look('d')).toBe('directory');
    await known(at, one.look, 'd/none');
    expect(at.mount.counters().watched).toBe(2);
    // A directory of the same name is another.
    rmSync(`${at.source}/d`, { recursive: true });
    mkdirSync(`${at.source}/d`);
    writeFileSync(`${at.source}/d/none1`, '');
    await expect.poll(() => one.look('d/none1'), { timeout: 10_000 }).toBe('file');
  });

  test('one that appears is there at once, however it came', { timeout }, async () => {
    await using at = await mounted('passthrough', {}, true);
    await using one = looker(at.directory);
    const random = new Random();
    console.log(`seed ${random.seed}`);
    mkdirSync(`${at.source}/d`);
    mkdirSync(`${at.source}/else`);
    const names = Array.from({ length: 30 }, (_, index) => `n${index}`);
    const made: Readonly<Record<string, (path: string) => unknown>> = {
      file: (path) => writeFileSync(path, ''),
      directory: (path) => mkdirSync(path),
      symlink: (path) => symlinkSync('nowhere', path),
      link: (path) => {
        writeFileSync(`${at.source}/else/x`, '');
        linkSync(`${at.source}/else/x`, path);
        rmSync(`${at.source}/else/x`);
      },
      rename: (path) => {
        writeFileSync(`${at.source}/else/y`, '');
        renameSync(`${at.source}/else/y`, path);
      },
      through: (path) => one.make(path.slice(at.source.length + 1)),
    };
    await known(at, one.look, 'd/none');
    for (let step = 0; step < 600; step++) {
      const name = random.pick(names);
      const path = `${at.source}/d/${name}`;
      const what = random.pick(Object.keys(made));
      const was = statSync(path, { throwIfNoEntry: false }) !== undefined || readdirSync(`${at.source}/d`).includes(name);
      if (!was && random.oneIn(2)) await made[what]?.(path);
      // What is removed behind the mount may be believed for a second.
      else if (was && random.oneIn(3) && !statSync(path, { throwIfNoEntry: false })?.isDirectory()) await one.remove(`d/${name}`);
      const expected = readdirSync(`${at.source}/d`).includes(name);
      expect(await one.look(`d/${name}`), `step ${step}, ${what} ${name}, seed ${random.seed}`).toMatch(
        expected ? /file|directory/ : 'ENOENT',
      );
      if (random.oneIn(5)) expect(await one.look(`d/never${step}`)).toBe('ENOENT');
    }
    expect(at.mount.counters().absent).toBeGreaterThan(0);
  });

  test('more of them than a queue takes are there, too', { timeout }, async () => {
    await using at = await mounted('passthrough', {}, true);
    await using one = looker(at.directory);
    await known(at, one.look);
    writeFileSync(`${at.source}/none0`, '');
    for (let n = 1; n < 17_000; n++) linkSync(`${at.source}/none0`, `${at.source}/none${n}`);
    for (const n of [0, 5, 16_000, 16_900, 16_999]) expect(await one.look(`none${n}`)).toBe('file');
    expect(await one.look('none17000')).toBe('ENOENT');
  });

  test('one of which the queue could tell nothing any more is there', { timeout }, async () => {
    await using at = await mounted('passthrough', {}, true);
    await using one = looker(at.directory);
    await known(at, one.look);
    // Two in turn: an event like the one before it is not told again.
    const paths = [`${at.source}/comes`, `${at.source}/goes`] as const;
    writeFileSync(paths[0], '');
    for (let n = 0; n < 8500; n++) {
      renameSync(paths[0], paths[1]);
      renameSync(paths[1], paths[0]);
    }
    writeFileSync(`${at.source}/none3`, '');
    expect(await one.look('none3')).toBe('file');
  });

  test('a mount that ends has nothing open any more, and one that has lost its server goes on', { timeout }, async () => {
    const before = open();
    const root = new TemporaryDirectory('absent');
    const [source, directory, socket] = [root.join('source'), root.join('mount'), root.join('socket')];
    for (const each of [source, directory]) mkdirSync(each);
    const start = () => startNinep(['serve', '--export', `${source},aname=tree`, '--listen', `unix:${socket}`], /serving/);
    let server = await start();
    const client = await connect(`unix:${socket}?aname=tree`, { polled: true, descriptors: true, retry: 60 });
    const mounting = await mount(client, directory);
    const at = { mount: mounting } as Mounted;
    {
      await using one = looker(directory);
      await known(at, one.look);
      await server.stop();
      writeFileSync(`${source}/none3`, '');
      server = await start();
      expect(await one.look('none3')).toBe('file');
      await known(at, one.look, 'more');
      writeFileSync(`${source}/more3`, '');
      expect(await one.look('more3')).toBe('file');
    }
    await mounting.unmount();
    expect(mounting.counters().watched).toBe(0);
    await client.close();
    await server.stop();
    root.remove();
    await expect.poll(open).toBe(before);
  });

  test.each<[string, MountOptions, boolean]>([
    ['nothing may be kept', { cache: 'none' }, true],
    ['the server says who may look', { defaultPermissions: false, acl: false }, true],
    ['no descriptors are taken', {}, false],
  ])('are asked for where %s', { timeout }, async (_, options, descriptors) => {
    await using at = await mounted('passthrough', options, descriptors);
    await using one = looker(at.directory);
    for (let n = 0; n < 50; n++) expect(await one.look(`none${n}`)).toBe('ENOENT');
    expect(at.mount.counters()).toMatchObject({ watched: 0, absent: 0 });
  });
});
