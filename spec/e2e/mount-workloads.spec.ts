/**
 * What people do in a directory, in a mount. Small sizes by day; with NINEP_FULL=1 those of a full run: 100,000 operations in each cache mode, a minute of racing metadata,
 * ten thousand files, npm ci of vitest, this project itself.
 */
import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { FULL, habits, lacking, SMALL } from '../support/workload/habits.js';
import { workload } from '../support/workload/index.js';

const full = process.env['NINEP_FULL'] === '1';
const TIMEOUT = full ? 3_600_000 : 900_000;

interface Mounted {
  readonly directory: string;
  release(): Promise<void>;
}

/** Whoever is not root serves with his own rights, and cannot have devices or set-id bits in his mount. */
const isRoot = process.geteuid?.() === 0;
const KINDS = isRoot ? (['passthrough', 'mapped-xattr', 'diod'] as const) : (['none', 'mapped-xattr'] as const);
type Kind = 'passthrough' | 'none' | 'mapped-xattr' | 'diod';
/** The server that changes least of what it is told. */
const plain: Kind = isRoot ? 'passthrough' : 'none';

async function mounted(kind: Kind, ...more: string[]): Promise<Mounted> {
  const root = new TemporaryDirectory('workload-mount');
  await chmod(root.path, 0o755);
  const [source, directory] = [root.join('source'), root.join('mount')];
  await mkdir(source);
  await mkdir(directory);
  const server = kind === 'diod' ? await diod(source) : await serve(`${source},security_model=${kind},aname=tree`);
  const address = server.address(kind === 'diod' ? source : 'tree');
  const mount = await startNinep(
    ['mount', '--foreground', address, directory, ...(isRoot ? ['-o', 'dev,suid'] : []), ...more],
    /mounted at/,
  );
  return {
    directory,
    async release() {
      await mount.stop();
      await server.stop();
      root.remove();
    },
  };
}

/** What cannot be had through a peer, and why. */
const impossible: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  passthrough: { 'fallocate and its holes': '9P punches no holes' },
  none: { 'fallocate and its holes': '9P punches no holes' },
  'mapped-xattr': { 'fallocate and its holes': '9P punches no holes' },
  diod: {
    'fallocate and its holes': '9P punches no holes',
    'sqlite3 with two writers (journal mode wal)': 'diod locks whole files only',
    'names of 255 bytes, and paths longer than PATH_MAX': 'diod names files by their whole path',
    'files that are open while they have no name': 'diod cuts files by their path',
    'a shell’s redirections to files that are gone': 'diod opens files by their path',
  },
};

for (const kind of KINDS) {
  requires('own mount', ...(kind === 'diod' ? ['diod'] : []))(`habits in a mount of ${kind}`, () => {
    let mount: Mounted | undefined;
    beforeAll(async () => {
      mount = await mounted(kind);
    }, 120_000);
    afterAll(() => mount?.release(), 120_000);

    for (const habit of habits) {
      if (habit.heavy === true && !(full && kind === plain)) continue;
      const why = lacking(habit);
      if (impossible[kind]?.[habit.name] !== undefined) continue;
      const skipped = why !== undefined && process.env['NINEP_REQUIRE'] !== 'all';
      it.skipIf(skipped)(habit.name, { timeout: TIMEOUT }, async () => {
        if (why !== undefined || mount === undefined) throw new Error(`needs ${why ?? 'a mount'}`);
        const here = await mkdtemp(path.join(mount.directory, 'habit-'));
        await using local = new TemporaryDirectory('habit-local');
        await habit.run({ here, local: local.path, scale: full ? FULL : SMALL });
      });
    }
  });
}

for (const [cache, passthrough] of [
  ['none', 'off'],
  ['open', 'off'],
  ['open', 'on'],
  ['loose', 'off'],
] as const) {
  if (passthrough === 'on' && !isRoot) continue;
  requires('own mount')(`random work in a mount, cache=${cache}${passthrough === 'on' ? ', past it' : ''}`, () => {
    let mount: Mounted | undefined;
    beforeAll(async () => {
      mount = await mounted(plain, '--cache', cache, '-o', `passthrough=${passthrough}`);
    }, 120_000);
    afterAll(() => mount?.release(), 120_000);

    it('operations on a file agree with a model', { timeout: TIMEOUT }, async () => {
      const file = path.join(mount?.directory ?? '', 'file');
      const report = await workload('operations', [file, { operations: full ? 100_000 : 3000 }], { timeout: TIMEOUT });
      // 9P punches no holes; everything else is there, shared mappings too.
      expect(Object.keys(report.unsupported).filter((name) => name !== 'punch' && name !== 'zero')).toEqual([]);
      expect(report.done['mapWrite']).toBeGreaterThan(100);
    });

    it('operations with O_DIRECT and two descriptors agree with a model', { timeout: TIMEOUT }, async () => {
      const file = path.join(mount?.directory ?? '', 'direct');
      await workload('operations', [file, { operations: full ? 20_000 : 1000, direct: true }], { timeout: TIMEOUT });
    });

    it('four processes of racing metadata leave a tree that adds up', { timeout: TIMEOUT }, async () => {
      const directory = path.join(mount?.directory ?? '', 'metadata');
      await mkdir(directory);
      const report = await workload('metadata', [directory, full ? { seconds: 60 } : { operations: 400 }], { timeout: TIMEOUT });
      expect(report.operations).toBeGreaterThan(1000);
    });
  });
}
