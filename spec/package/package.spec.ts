import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureBuilt, root } from '../support/build.js';
import { run } from '../support/child.js';
import { missing } from '../support/requires.js';
import { inFull } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';

const directory = new TemporaryDirectory('package');
let tarball = '';
let packed: { filename: string; size: number; unpackedSize: number; files: { path: string }[] };

beforeAll(async () => {
  await ensureBuilt();
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', directory.path], { cwd: root });
  const report: unknown = JSON.parse(stdout);
  [packed] = Object.values(report as Record<string, typeof packed>) as [typeof packed];
  tarball = directory.join(packed.filename);
});

afterAll(() => directory.remove());

it('holds the built library, the command line and nothing else, and is small', () => {
  const strange = packed.files
    .map(({ path }) => path)
    .filter((path) => !/^(dist\/(lib|cli)\/.*|package\.json|LICENSE|README\.md|(lib|cli)\/README\.md|dist\/ninep\.mjs)$/.test(path));
  expect(strange).toEqual([]);
  // README.md says how small, to a twentieth.
  const [, size, unpacked] = /The package is ([\d.]+) MB \(([\d.]+) MB unpacked\)/.exec(readFileSync(`${root}/README.md`, 'utf8')) ?? [];
  expect(packed.size / 1e6 / Number(size)).toBeCloseTo(1, 1);
  expect(packed.unpackedSize / 1e6 / Number(unpacked)).toBeCloseTo(1, 1);
});

/** A program of a development dependency, without npx, which takes longer to start than most of them. */
const tool = (name: string) => `${root}/node_modules/.bin/${name}`;

// Half of this file's time, for what only changes with package.json and tsconfig.
if (inFull(true, false)) {
  it('publint and attw find nothing', async () => {
    const publint = await run(tool('publint'), ['--strict', tarball], { cwd: root, check: false });
    expect(publint.stdout + publint.stderr).toContain('All good!');
    await run(tool('attw'), ['--profile', 'esm-only', tarball], { cwd: root });
  });
}

it('installs from the tarball, runs, has types, and loads no native code before it is needed', async () => {
  const project = directory.join('project');
  await run('mkdir', [project]);
  writeFileSync(`${project}/package.json`, JSON.stringify({ type: 'module', dependencies: { ninep: `file:${tarball}` } }));
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'], {
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

/** What a user does first, with nothing but the installed package: reads and writes a tree over a socket, and asks the command line for it. */
const first = `
import { connect, listen, openFs } from 'ninep';
import { MemoryBackend, Server } from 'ninep/server';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
const [, , socket, cli] = process.argv;
const server = new Server({ exports: { tree: new MemoryBackend() } });
await server.listen((accept) => listen('unix:' + socket, accept));
const address = 'unix:' + socket + '?aname=tree';
const fs = await openFs(address);
await fs.mkdir('/a/b', { recursive: true });
await fs.writeFile('/a/b/greeting', 'hello');
const client = await connect(address);
const fid = await client.root.walk(['a', 'b', 'greeting']);
await fid.open(0);
const buffer = new Uint8Array(16);
const text = Buffer.from(buffer.subarray(0, await fid.read(buffer, 0))).toString();
const { stdout } = await promisify(execFile)(process.execPath, [cli, 'tree', address]);
console.log(JSON.stringify({ node: process.versions.node, text, listed: stdout.includes('greeting') }));
for (const one of [fid, client, fs]) await one[Symbol.asyncDispose]();
await server.close();
`;

/** Other lines of Node that are kept up, as npm has them for this platform. */
const lines = inFull(['22', '24'], []);

it.each([process.versions.node.split('.')[0] ?? '', ...lines])('runs on Node %s', { timeout: 600_000 }, async (line) => {
  const project = directory.join('project');
  let node = process.execPath;
  if (!process.versions.node.startsWith(`${line}.`)) {
    const other = directory.join(`node-${line}`);
    const binary = `node-${process.platform}-${process.arch}`;
    await run('npm', ['install', '--no-audit', '--no-fund', '--prefix', other, `${binary}@${line}`], { timeout: 300_000 });
    node = `${other}/node_modules/${binary}/bin/node`;
  }
  writeFileSync(`${project}/first.mjs`, first);
  const cli = `${project}/node_modules/ninep/dist/cli/main.js`;
  const { stdout } = await run(node, [`${project}/first.mjs`, directory.join(`socket-${line}`), cli]);
  expect(JSON.parse(stdout)).toMatchObject({ node: expect.stringMatching(`^${line}\\.`), text: 'hello', listed: true });
  // Our own system calls, a mount, a child process that reads it; spec/cli does that with the Node that runs the tests.
  if (inFull(missing('mount') === undefined, false))
    expect((await run(node, [cli, 'demo'], { timeout: 120_000 })).stdout).toMatch(/another process read [\s\S]*unmounted/);
});
