import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { type ExportArgument, parseExport, parseFsdev } from '../exports.js';
import { UsageError } from '../failure.js';
import { json } from '../format.js';
import { example } from '../help.js';
import { compileSoon } from '../hurry.js';
import { untilStopped } from '../signals.js';

interface ServeArguments {
  export: string[] | undefined;
  fsdev: string[] | undefined;
  listen: string[] | undefined;
  stdio: boolean;
  log: boolean;
  ctl: boolean;
  readOnly: boolean;
  msize: number | undefined;
  tlsCert: string | undefined;
  tlsKey: string | undefined;
  tlsCa: string | undefined;
  maxConnections: number | undefined;
  maxFids: number | undefined;
  maxRequests: number | undefined;
}

export const serve: CommandModule<object, ServeArguments> = {
  command: 'serve',
  describe: 'serve directories of this host to 9P clients',
  builder: (yargs: Argv) =>
    yargs
      .option('export', {
        alias: 'e',
        type: 'string',
        array: true,
        nargs: 1,
        describe:
          'DIR, and behind commas: aname=NAME, security_model=passthrough (or mapped-xattr, mapped-file, none), readonly=on, fmode=0640, dmode=0750, multidevs=remap (or forbid, warn), lend=on (or off)',
      })
      .option('fsdev', { type: 'string', array: true, nargs: 1, describe: "the same in QEMU's words: local,id=…,path=…,security_model=…" })
      .option('listen', {
        alias: 'l',
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'tcp://HOST:PORT, tls://…, unix:PATH, vsock://:PORT, fd:N (a unix socket of yours by default)',
      })
      .option('stdio', { type: 'boolean', default: false, describe: 'serve one client on stdin and stdout' })
      .option('log', { type: 'boolean', default: false, describe: 'tell on stderr who comes, attaches and leaves' })
      .option('ctl', {
        type: 'boolean',
        default: false,
        describe: 'add the export "ctl": version, exports, connections and counters as files',
      })
      .option('read-only', { type: 'boolean', default: false, describe: 'every export is read-only' })
      .option('msize', { type: 'number', describe: 'the largest message to agree to, in bytes' })
      .option('tls-cert', { type: 'string', describe: 'certificate file for tls:// (PEM)' })
      .option('tls-key', { type: 'string', describe: 'its key file (PEM)' })
      .option('tls-ca', { type: 'string', describe: 'only clients with a certificate of this authority come in (PEM)' })
      .option('max-connections', { type: 'number', describe: 'connections at one time' })
      .option('max-fids', { type: 'number', describe: 'fids of one connection' })
      .option('max-requests', { type: 'number', describe: 'requests in flight of one connection' })
      .example(...example('ninep serve --export /srv/data --listen tcp://127.0.0.1:5640', 'serve one directory to this host'))
      .example(
        ...example(
          'ninep serve -e /srv/vm,security_model=mapped-xattr -l unix:/run/ninep.sock',
          "QEMU's mapped-xattr model, on a unix socket",
        ),
      )
      .example(...example('ssh vm ninep serve --stdio -e /', 'what exec: addresses are for')) as unknown as Argv<ServeArguments>,
  handler: run,
};

async function run(argv: ServeArguments): Promise<void> {
  const trees = [...(argv.export ?? []).map(parseExport), ...(argv.fsdev ?? []).map(parseFsdev)];
  if (trees.length === 0 && !argv.ctl) throw new UsageError('serve what? --export DIR');
  compileSoon();
  const { controlBackend, formatEvent, localBackend, notifyReady, Server } = await import('../../lib/server/index.js');
  const { version } = await import('../version.js');
  const server = new Server({
    limits: {
      ...(argv.msize !== undefined && { msize: argv.msize }),
      ...(argv.maxConnections !== undefined && { maxConnections: argv.maxConnections }),
      ...(argv.maxFids !== undefined && { maxFids: argv.maxFids }),
      ...(argv.maxRequests !== undefined && { maxRequests: argv.maxRequests }),
    },
    log: (event) => {
      if (argv.log) console.error(`${new Date().toISOString()} ${formatEvent(event)}`);
    },
  });
  try {
    for (const { path, aname, options } of trees) {
      const warn = (line: string) => console.error(`ninep: ${line}`);
      server.export(aname, await localBackend(path, { ...options, ...(argv.readOnly && { readonly: true }), warn }));
    }
    if (argv.ctl) server.export('ctl', controlBackend(server, version()));
    const addresses = await listenAll(server, argv, trees);
    process.on('SIGUSR1', () => console.error(json(server.status())));
    await notifyReady();
    for (const address of addresses) console.error(`ninep: serving ${trees.map(({ aname }) => aname).join(', ')} at ${address}`);
    await (argv.stdio ? firstOf(untilStopped(), lastConnection(server)) : untilStopped());
  } finally {
    await server.close();
  }
}

type Serving = import('../../lib/server/index.js').Server;

async function listenAll(server: Serving, argv: ServeArguments, trees: readonly ExportArgument[]): Promise<string[]> {
  const { listen, parseAddress } = await import('../../lib/index.js');
  if (argv.stdio) {
    await server.listen((accept) => listen('fd:0,1', accept, { polled: true }));
    return [];
  }
  const addresses: string[] = [];
  for (const address of argv.listen ?? [await ownSocket(trees)]) {
    const at = parseAddress(address);
    if (at.scheme === 'tls') {
      if (argv.tlsCert !== undefined) at.cert = argv.tlsCert;
      if (argv.tlsKey !== undefined) at.key = argv.tlsKey;
      if (argv.tlsCa !== undefined) at.ca = argv.tlsCa;
      if (at.cert === undefined || at.key === undefined) throw new UsageError(`${address}: tls takes --tls-cert and --tls-key`);
    }
    const listener = await server.listen((accept) => listen(at, accept, { polled: true }));
    addresses.push(listener.address);
  }
  return addresses;
}

/** Where to listen when nobody says: a socket that only this user can reach, never a public port. */
async function ownSocket(trees: readonly ExportArgument[]): Promise<string> {
  const { mkdir } = await import('node:fs/promises');
  const base = process.env['XDG_RUNTIME_DIR'] ?? (process.getuid?.() === 0 ? '/run' : join(tmpdir(), `ninep-${userInfo().uid}`));
  const directory = join(base, 'ninep');
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const name = (trees[0]?.aname ?? 'ctl').replaceAll(/[^\w.-]+/g, '-').replace(/^-+/, '') || 'root';
  return `unix:${join(directory, `${name}.sock`)}`;
}

/** Resolves when a client was there and none is any more. */
function lastConnection(server: Serving): Promise<void> {
  const connections = server.connections.map(({ done }) => done);
  return Promise.all(connections).then(() => undefined);
}

function firstOf(...promises: Promise<void>[]): Promise<void> {
  return Promise.race(promises);
}
