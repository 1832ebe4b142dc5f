import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureBuilt, root } from '../support/build.js';
import { run } from '../support/child.js';
import { TemporaryDirectory } from '../support/temporary.js';

const directory = new TemporaryDirectory('package');
let tarball = '';
let packed: { size: number; files: { path: string }[] };

beforeAll(async () => {
  await ensureBuilt();
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', directory.path], { cwd: root });
  const report: unknown = JSON.parse(stdout);
  [packed] = Object.values(report as Record<string, typeof packed>) as [typeof packed];
  tarball = directory.join(`ninep-${JSON.parse((await run('npm', ['pkg', 'get', 'version'], { cwd: root })).stdout) as string}.tgz`);
});

afterAll(() => directory.remove());

it('holds the built library, the command line and nothing else, and is small', () => {
  const strange = packed.files
    .map(({ path }) => path)
    .filter((path) => !/^(dist\/(lib|cli)\/.*|package\.json|LICENSE|README\.md|(lib|cli)\/README\.md|dist\/ninep\.mjs)$/.test(path));
  expect(strange).toEqual([]);
  console.log(`the tarball has ${Math.round(packed.size / 1024)} KiB`);
  expect(packed.size).toBeLessThan(1024 * 1024);
});

it('publint and attw find nothing', async () => {
  const publint = await run('npx', ['--no-install', 'publint', '--strict', tarball], { cwd: root, check: false });
  expect(publint.stdout + publint.stderr).toContain('All good!');
  await run('npx', ['--no-install', 'attw', '--profile', 'esm-only', tarball], { cwd: root });
});

it('installs from the tarball, runs, has types, and loads no native code before it is needed', async () => {
  const project = directory.join('project');
  await run('mkdir', [project]);
  writeFileSync(`${project}/package.json`, JSON.stringify({ type: 'module', dependencies: { ninep: `file:${tarball}` } }));
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--omit=optional', '--ignore-scripts'], {
    cwd: project,
    timeout: 300_000,
  });
  expect((await run(`${project}/node_modules/.bin/ninep`, ['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);

  const entries = ['ninep', 'ninep/fuse', 'ninep/server', 'ninep/protocol', 'ninep/qemu', 'ninep/bridge', 'ninep/interop'];
  writeFileSync(
    `${project}/loads.mjs`,
    `const entries = ${JSON.stringify(entries)};
for (const entry of entries) {
  const names = Object.keys(await import(entry));
  if (names.length === 0) throw new Error(entry + ' exports nothing');
}
const native = process.report.getReport().sharedObjects.filter((path) => path.includes('koffi') || path.includes('fuse'));
console.log(JSON.stringify(native));
`,
  );
  expect(JSON.parse((await run(process.execPath, [`${project}/loads.mjs`])).stdout)).toEqual([]);

  writeFileSync(
    `${project}/typed.ts`,
    `import { type Client, connect, type Fid } from 'ninep';
import { mount } from 'ninep/fuse';
import { MemoryBackend, Server } from 'ninep/server';
import { Codec } from 'ninep/protocol';
export async function typed(address: string): Promise<[number, Client, Fid]> {
  const client = await connect(address, { msize: 8192 });
  const fid = await client.root.walk(['a']);
  const size: number = (await fid.getattr()).size;
  await using mounted = await mount(client, '/mnt');
  new Server({ exports: { '/': new MemoryBackend() } });
  const bytes: Uint8Array = new Codec().encode('Tclunk', 1, { fid: 1 });
  return [size + bytes.length + mounted.counters().nodes, client, fid];
}
`,
  );
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--lib',
    'es2023,esnext.disposable',
    '--types',
    'node',
  ];
  const tsc = [`${root}/node_modules/typescript/bin/tsc`, ...options, '--typeRoots', `${root}/node_modules/@types`];
  await run(process.execPath, [...tsc, `${project}/typed.ts`], { cwd: project });
});
