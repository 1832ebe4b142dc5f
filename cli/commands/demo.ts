import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import type { Client } from '../../lib/index.js';
import { bytesText } from '../format.js';
import { example } from '../help.js';

interface DemoArguments {
  directory: string;
}

const MIB = 1 << 20;
const LARGE = 256 * MIB;

export const demo: CommandModule<object, DemoArguments> = {
  command: 'demo [directory]',
  describe: 'serve a directory from this process, mount it, look at it, unmount it',
  builder: (yargs: Argv) =>
    yargs
      .positional('directory', { type: 'string', default: '/proc', describe: 'what to serve' })
      .example(...example('ninep demo', 'the whole way with nothing installed')) as unknown as Argv<DemoArguments>,
  handler: ({ directory }) => run(directory),
};

async function run(directory: string): Promise<void> {
  const { listen } = await import('../../lib/index.js');
  const { localBackend, Server } = await import('../../lib/server/index.js');
  const work = await mkdtemp(join(tmpdir(), 'ninep-demo-'));
  const socket = join(work, 'ninep.sock');
  await using server = new Server({
    exports: {
      tree: await localBackend(directory, { securityModel: 'none', readonly: true }),
      work: await localBackend(work, { securityModel: 'none' }),
    },
  });
  try {
    await server.listen((accept) => listen(`unix:${socket}`, accept, { polled: true }));
    console.log(`serving ${directory} at unix:${socket}?aname=tree`);
    await makeLarge(join(work, 'large'));
    await show(`unix:${socket}`, directory, work);
  } finally {
    await rm(join(work, 'large'), { force: true });
    await server.close();
    await rmdir(work);
  }
}

async function makeLarge(path: string): Promise<void> {
  const file = await open(path, 'w');
  const piece = Buffer.alloc(MIB, 'ninep');
  for (let at = 0; at < LARGE; at += MIB) await file.write(piece, 0, MIB, at);
  await file.close();
}

async function show(address: string, directory: string, work: string): Promise<void> {
  const { connect } = await import('../../lib/index.js');
  await using tree = await connect(`${address}?aname=tree`, { polled: true });
  await using files = await connect(`${address}?aname=work`, { polled: true });
  try {
    await throughMount(tree, files, work);
  } catch (error) {
    console.log(`/dev/fuse cannot be used here (${(error as Error).message}); the same through the API:`);
    await throughApi(tree, files);
  }
  console.log(`served ${directory}: ${tree.session.counters.answered + files.session.counters.answered} requests answered`);
}

async function throughMount(tree: Client, files: Client, work: string): Promise<void> {
  const { mount } = await import('../../lib/fuse/index.js');
  const at = await mkdtemp(join(tmpdir(), 'ninep-demo-mount-'));
  try {
    await using mounted = await mount(tree, at, { readonly: true });
    console.log(`mounted at ${mounted.directory}`);
    await another('ls', [at]);
    await another('head', ['-n', '3', join(at, 'version')]);
    await mounted.unmount();
    await using large = await mount(files, at);
    const begin = performance.now();
    await another('cat', [join(at, 'large')], false);
    rate('another process', begin);
    await large.unmount();
    console.log(`unmounted; ${work} is removed`);
  } finally {
    await rmdir(at);
  }
}

/** Runs a program on the mount: only another process may, for this one serves it. */
async function another(program: string, args: string[], print = true): Promise<void> {
  console.log(`$ ${program} ${args.join(' ')}`);
  const child = spawn(program, args, { stdio: ['ignore', print ? 'pipe' : 'ignore', 'inherit'] });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (print) console.log(shorten(output));
  if (code !== 0) console.log(`${program} ended with ${code}`);
}

async function throughApi(tree: Client, files: Client): Promise<void> {
  await using directory = await tree.root.clone();
  await directory.open(0o200000);
  const names: string[] = [];
  for await (const { name } of directory.entries()) names.push(name);
  console.log(shorten(names.join('\n')));
  await using large = await files.root.walk(['large']);
  await large.open(0);
  const buffer = new Uint8Array(4 * MIB);
  const begin = performance.now();
  for (let at = 0; at < LARGE; at += buffer.length) await large.read(buffer, at);
  rate('the client', begin);
}

function rate(who: string, begin: number): void {
  const seconds = (performance.now() - begin) / 1000;
  console.log(`${who} read ${bytesText(LARGE)} in ${seconds.toFixed(2)} s: ${bytesText(LARGE / seconds)}/s`);
}

function shorten(text: string): string {
  const lines = text.trimEnd().split('\n');
  const shown = lines.slice(0, 8).map((line) => `  ${line}`);
  return lines.length > 8 ? [...shown, `  … ${lines.length - 8} more`].join('\n') : shown.join('\n');
}
