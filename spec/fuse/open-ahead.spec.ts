/** Files that are open before anybody opens them. */
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { connect, Fid, type RecoveryEvent } from '../../lib/client/index.js';
import { type MountOptions, mount } from '../../lib/fuse/index.js';
import { Random } from '../support/random.js';
import { isLinux, requires } from '../support/requires.js';
import { startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { type Mounted, mounted, type ServerName } from './mounted.js';
import { talker } from './talker.js';

/** Linux has had backing files since 6.9. */
const knows = isLinux(6, 9);
const timeout = 120_000;
const names = Array.from({ length: 60 }, (_, index) => `f${String(index).padStart(3, '0')}`);

/** Opens a file whose name it is told, and tells its size, and what is in it; or the error. Of a directory, how many names. */
const READER = `
  import fs from 'node:fs';
  import readline from 'node:readline';
  for await (const path of readline.createInterface({ input: process.stdin })) {
    let said;
    try {
      if (path.endsWith('/')) {
        process.stdout.write(fs.readdirSync(path).length + '\\n');
        continue;
      }
      const fd = fs.openSync(path, 'r');
      said = fs.fstatSync(fd).size + ' ' + fs.readFileSync(fd, 'latin1');
      fs.closeSync(fd);
    } catch (error) {
      said = error.code;
    }
    process.stdout.write(said + '\\n');
  }`;

function reader(at: string) {
  const { tell, ...rest } = talker(READER);
  return { read: (name: string) => tell(`${at}/${name}`), list: () => tell(`${at}/`), ...rest };
}

/** What is so on the disk. */
function truly(path: string): string {
  try {
    return `${statSync(path).size} ${readFileSync(path, 'latin1')}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? '';
  }
}

/** A tree of such files, made long enough ago for their next change to show. */
async function filled(server: ServerName, options: MountOptions = {}): Promise<Mounted> {
  const at = await mounted(server, options, true);
  for (const name of names) writeFileSync(`${at.source}/${name}`, name);
  const last = statSync(`${at.source}/${names.at(-1)}`).ctimeMs;
  await expect.poll(() => Date.now() - last).toBeGreaterThan(50);
  return at;
}

const open = (): number => readdirSync('/proc/self/fd').length;

requires('mount')('open ahead', () => {
  test.runIf(knows).each(['passthrough', 'mapped-xattr'] as const)(
    'who reads one file after another finds them open (%s)',
    { timeout },
    async (server) => {
      await using at = await filled(server);
      await using one = reader(at.directory);
      const before = open();
      // A host that has too much to do may keep the reader waiting for so long that it seems to have come for each by itself.
      const all = async (list: readonly string[]): Promise<number> => {
        for (const name of list) expect(await one.read(name)).toBe(`4 ${name}`);
        return at.mount.counters().foreseen;
      };
      await expect.poll(() => all(names), { timeout: 30_000 }).toBeGreaterThan(names.length / 2);
      const foreseen = at.mount.counters().foreseen;
      await expect.poll(() => all(readdirSync(at.source)), { timeout: 30_000 }).toBeGreaterThan(foreseen);
      const left = async (): Promise<number> => {
        await all(names.slice(0, 20));
        return at.mount.counters().openAhead;
      };
      await expect.poll(left, { timeout: 30_000 }).toBeGreaterThan(0);
      // Nobody comes for what is left.
      await expect.poll(() => at.mount.counters(), { timeout: 30_000 }).toMatchObject({ openAhead: 0, openFiles: 0, backed: 0 });
      expect(open()).toBe(before);
    },
  );

  test.runIf(knows)('what changed meanwhile shows, as it does with an open that asks', { timeout }, async () => {
    await using at = await filled('passthrough');
    await using one = reader(at.directory);
    const random = new Random();
    console.log(`seed ${random.seed}`);
    const changes: Readonly<Record<string, (path: string, other: string) => void>> = {
      append: (path) => appendFileSync(path, `+${random.integer(0, 9)}`),
      cut: (path) => truncateSync(path, random.integer(0, 2)),
      sameSize: (path) => {
        const { mtime, size } = statSync(path);
        writeFileSync(path, String(random.integer(0, 9)).repeat(size));
        utimesSync(path, mtime, mtime);
      },
      replace: (path) => {
        writeFileSync(`${path}.new`, `new ${random.integer(0, 9)}`);
        renameSync(`${path}.new`, path);
      },
      exchange: (path, other) => {
        renameSync(path, `${path}.old`);
        renameSync(other, path);
        renameSync(`${path}.old`, other);
      },
      remove: (path) => rmSync(path),
      away: (path) => renameSync(path, `${path}.away`),
      link: (path) => {
        rmSync(`${path}.link`, { force: true });
        linkSync(path, `${path}.link`);
      },
    };
    for (let round = 0; round < 12; round++) {
      for (const [index, name] of names.entries()) {
        if (random.oneIn(3)) {
          const what = random.pick(Object.keys(changes));
          const target = names[Math.min(names.length - 1, index + random.integer(0, 12))] ?? name;
          const path = `${at.source}/${target}`;
          const other = `${at.source}/${random.pick(names)}`;
          if (
            path !== other &&
            statSync(path, { throwIfNoEntry: false }) !== undefined &&
            statSync(other, { throwIfNoEntry: false }) !== undefined
          )
            changes[what]?.(path, other);
        }
        expect(await one.read(name), `round ${round}, ${name}, seed ${random.seed}`).toBe(truly(`${at.source}/${name}`));
      }
      for (const name of names)
        if (statSync(`${at.source}/${name}`, { throwIfNoEntry: false }) === undefined) writeFileSync(`${at.source}/${name}`, name);
    }
    expect(at.mount.counters().foreseen).toBeGreaterThan(0);
  });

  test.runIf(knows)(
    'what has changed since it was listed is tried once, and is foreseen again when it has been listed anew',
    { timeout },
    async () => {
      await using at = await filled('passthrough');
      const opens = vi.spyOn(Fid.prototype, 'open');
      onTestFinished(() => opens.mockRestore());
      await using one = reader(at.directory);
      const all = async (): Promise<number> => {
        const { foreseen } = at.mount.counters();
        for (const name of names) expect(await one.read(name)).toBe(`4 ${name}`);
        return at.mount.counters().foreseen - foreseen;
      };
      await one.list();
      await expect.poll(all, { timeout: 30_000 }).toBeGreaterThan(names.length / 2);
      for (const name of names) utimesSync(`${at.source}/${name}`, 1, 1);
      const before = statSync(`${at.source}/${names.at(-1)}`).ctimeMs;
      await expect.poll(() => Date.now() - before).toBeGreaterThan(50);
      opens.mockClear();
      await all();
      await all();
      // Each of them by its reader, twice, and once ahead; the directory itself.
      expect(opens.mock.calls.length).toBeLessThan(names.length * 3.5);
      await expect.poll(async () => [await one.list(), await all()][1], { timeout: 30_000 }).toBeGreaterThan(names.length / 2);
    },
  );

  test.runIf(knows)('when a file was last read is told as it is, though that changes no ctime', { timeout }, async () => {
    await using at = await filled('passthrough');
    for (const name of names) utimesSync(`${at.source}/${name}`, 1, 1);
    const last = statSync(`${at.source}/${names.at(-1)}`).ctimeMs;
    await expect.poll(() => Date.now() - last).toBeGreaterThan(50);
    // Reads a file, and tells when it was read.
    await using one = talker(`
      import fs from 'node:fs';
      import readline from 'node:readline';
      for await (const path of readline.createInterface({ input: process.stdin })) {
        const fd = fs.openSync(path, 'r');
        fs.readSync(fd, Buffer.alloc(10));
        process.stdout.write(Math.round(fs.fstatSync(fd).atimeMs) + '\\n');
        fs.closeSync(fd);
      }`);
    const all = async (look: (name: string, told: string) => void = () => {}): Promise<number> => {
      const { foreseen } = at.mount.counters();
      for (const name of names) look(name, await one.tell(`${at.directory}/${name}`));
      return at.mount.counters().foreseen - foreseen;
    };
    await expect.poll(() => all(), { timeout: 30_000 }).toBeGreaterThan(names.length / 2);
    for (const name of names) {
      const { ctimeMs } = statSync(`${at.source}/${name}`);
      readFileSync(`${at.source}/${name}`);
      expect(statSync(`${at.source}/${name}`).ctimeMs).toBe(ctimeMs);
    }
    await all((name, told) => expect(Number(told), name).toBe(Math.round(statSync(`${at.source}/${name}`).atimeMs)));
  });

  test.runIf(knows)('how old a change was is told by the clock as it is, not as it was when this process began', { timeout }, async () => {
    const begun = performance.timeOrigin;
    // A machine that has slept, or whose clock was put right after it had started.
    vi.spyOn(performance, 'timeOrigin', 'get').mockReturnValue(begun - 3_600_000);
    onTestFinished(() => void vi.restoreAllMocks());
    await using at = await filled('passthrough');
    await using one = reader(at.directory);
    const all = async (): Promise<number> => {
      for (const name of names) await one.read(name);
      return at.mount.counters().foreseen;
    };
    await expect.poll(all, { timeout: 20_000 }).toBeGreaterThan(0);
  });

  test.runIf(knows)('none outlives its conversation, nor is any where the next one passes no descriptors', { timeout }, async () => {
    await using root = new TemporaryDirectory('open-ahead');
    const [source, directory, socket] = [root.join('source'), root.join('mount'), root.join('socket')];
    for (const each of [source, directory]) mkdirSync(each);
    for (const name of names) writeFileSync(`${source}/${name}`, name);
    const last = statSync(`${source}/${names.at(-1)}`).ctimeMs;
    await expect.poll(() => Date.now() - last).toBeGreaterThan(50);
    const start = (lend: string) =>
      startNinep(['serve', '--export', `${source},aname=tree,lend=${lend}`, '--listen', `unix:${socket}`], /serving/);
    let server = await start('on');
    const events: string[] = [];
    const onEvent = ({ type }: RecoveryEvent): void => void events.push(type);
    const client = await connect(`unix:${socket}?aname=tree`, { polled: true, descriptors: true, retry: 60, onEvent });
    const mounting = await mount(client, directory);
    const opens = vi.spyOn(Fid.prototype, 'open');
    onTestFinished(() => opens.mockRestore());
    try {
      await using one = reader(directory);
      const begun = async (): Promise<number> => {
        for (const name of names.slice(0, 20)) expect(await one.read(name)).toBe(`4 ${name}`);
        return mounting.counters().openAhead;
      };
      await expect.poll(begun, { timeout: 30_000 }).toBeGreaterThan(0);
      const { foreseen } = mounting.counters();
      await server.stop();
      rmSync(`${source}/${names[25]}`);
      const reading = one.read(names[20] ?? '');
      server = await start('off');
      expect(await reading).toBe(`4 ${names[20]}`);
      opens.mockClear();
      for (const name of names) expect(await one.read(name)).toBe(name === names[25] ? 'ENOENT' : `4 ${name}`);
      expect(mounting.counters()).toMatchObject({ foreseen });
      // Its readers, a directory that is listed, and nobody else.
      expect(opens.mock.calls.length).toBeLessThan(names.length + 10);
      await expect.poll(() => mounting.counters(), { timeout: 30_000 }).toMatchObject({ openAhead: 0 });
      // A file that nobody had open is nothing that anybody has lost.
      expect(events).not.toContain('casualty');
    } finally {
      await mounting.unmount();
      await client.close();
      await server.stop();
    }
  });

  test.runIf(knows)('a mount that ends has none of them open any more', { timeout }, async () => {
    const before = open();
    const at = await filled('passthrough');
    {
      await using one = reader(at.directory);
      await expect
        .poll(
          async () => {
            for (const name of names.slice(0, 20)) await one.read(name);
            return at.mount.counters().openAhead;
          },
          { timeout: 30_000 },
        )
        .toBeGreaterThan(0);
    }
    await at.mount.unmount();
    expect(at.mount.counters().openAhead).toBe(0);
    await at.release();
    await expect.poll(open).toBe(before);
  });

  test.each<[string, MountOptions, boolean]>([
    ['it is not wanted', { openAhead: false }, true],
    ['the kernel asks for content', { passthrough: false }, true],
    ['nothing may be kept', { cache: 'none' }, true],
    ['no descriptors are taken', {}, false],
  ])('none is where %s', { timeout }, async (_, options, descriptors) => {
    await using at = await mounted('passthrough', options, descriptors);
    for (const name of names) writeFileSync(`${at.source}/${name}`, name);
    await using one = reader(at.directory);
    for (const name of names) expect(await one.read(name)).toBe(`4 ${name}`);
    expect(at.mount.counters()).toMatchObject({ openAhead: 0, foreseen: 0 });
  });
});
