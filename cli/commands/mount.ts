import type { Argv, CommandModule } from 'yargs';
import { hideBin } from 'yargs/helpers';
import type { Mount } from '../../lib/fuse/index.js';
import type { Client, RecoveryEvent } from '../../lib/index.js';
import { runInBackground, tellReady } from '../background.js';
import { type ConnectionArguments, clientOptions, connectionOptions } from '../connection.js';
import { json } from '../format.js';
import { example } from '../help.js';
import { compileSoon } from '../hurry.js';
import { logTo } from '../log.js';
import { fromMountHelper } from '../mount-helper.js';
import { accessOf, applyMountOptions, backendOf, cacheMode, locksOf, type MountRequest, retryOf } from '../mount-options.js';
import { STOPPING, unlessInterrupted } from '../signals.js';

export interface MountArguments extends ConnectionArguments {
  address: string;
  directory: string;
  foreground: boolean;
  o: string[] | undefined;
  cache: string | undefined;
  access: string | undefined;
  locks: string | undefined;
  retry: string | undefined;
  backend: string | undefined;
  readOnly: boolean | undefined;
  allowOther: boolean | undefined;
  log: string | undefined;
}

export const mountCommand: CommandModule<object, MountArguments> = {
  command: 'mount <address> <directory>',
  describe: 'mount what a server exports, by FUSE',
  builder: (yargs: Argv) =>
    connectionOptions(yargs)
      .positional('address', { type: 'string', demandOption: true, describe: 'where the server is' })
      .positional('directory', { type: 'string', demandOption: true, describe: 'where to mount it' })
      .option('foreground', {
        alias: 'f',
        type: 'boolean',
        default: false,
        describe: 'stay until it is unmounted, instead of going to the background',
      })
      .option('o', {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'options as mount(8), v9fs and FUSE have them: ro, nodev, msize=…, cache=…, allow_other, …, with commas between them',
      })
      .option('cache', {
        type: 'string',
        describe: 'none, open (what a closed file held, the next open sees) or loose (one client only)',
        default: undefined,
      })
      .option('access', { type: 'string', describe: 'user (each caller as itself), any, or a uid' })
      .option('locks', { type: 'string', describe: 'remote (the server keeps them) or local (for servers that do not)' })
      .option('retry', { type: 'string', describe: 'seconds to wait for a lost server, 0, or "forever" (30)' })
      .option('backend', { type: 'string', describe: 'kernel, or native for the package fuse-native' })
      .option('read-only', { type: 'boolean', describe: 'as -o ro' })
      .option('allow-other', { type: 'boolean', describe: 'as -o allow_other' })
      .option('log', { type: 'string', describe: 'append what happens to the connection to this file' })
      .example(...example('ninep mount tcp://10.0.2.15/ /mnt/guest', 'all that a guest exports'))
      .example(...example("ninep mount 'unix:/run/vm.sock?aname=/proc' /mnt/proc -o ro", 'its /proc, over a unix socket'))
      .example(...example("ninep mount 'exec:ssh vm ninep serve --stdio -e /' /mnt/vm", 'over ssh')) as unknown as Argv<MountArguments>,
  async handler(argv) {
    const request = requestOf(argv);
    if (!argv.foreground && process.send === undefined) {
      process.exitCode = await runInBackground(fromMountHelper(process.argv[1] ?? '', hideBin(process.argv)));
      return;
    }
    await serveMount(request, argv);
  },
};

/** Seconds a lost server is waited for where nobody says how long. */
const RETRY = 30;

/** Options of their own count more than -o. */
export function requestOf(argv: MountArguments): MountRequest {
  const request: MountRequest = {
    address: argv.address,
    mount: {},
    connection: {},
    retry: undefined,
    backend: undefined,
    foreground: argv.foreground,
  };
  applyMountOptions(request, argv.o ?? []);
  const { mount } = request;
  if (argv.cache !== undefined) mount.cache = cacheMode(argv.cache);
  if (argv.access !== undefined) mount.access = accessOf(argv.access);
  if (argv.locks !== undefined) mount.locks = locksOf(argv.locks);
  if (argv.readOnly !== undefined) mount.readonly = argv.readOnly;
  if (argv.allowOther !== undefined) mount.allowOther = argv.allowOther;
  if (argv.backend !== undefined) request.backend = backendOf(argv.backend);
  if (argv.retry !== undefined) request.retry = retryOf(argv.retry);
  request.retry ??= RETRY;
  for (const key of ['aname', 'uname', 'uid', 'msize', 'dialect', 'timeout'] as const) {
    const value = argv[key];
    if (value !== undefined) Object.assign(request.connection, { [key]: value });
  }
  return request;
}

async function serveMount(request: MountRequest, argv: MountArguments): Promise<void> {
  compileSoon();
  const log = await logTo(argv.log);
  const begun = await unlessInterrupted(STOPPING, (signal) => begin(request, argv, log, signal));
  if (begun === undefined) return;
  const { client, mounted } = begun;
  const stop = () => {
    leave(mounted).catch((error: Error) => log(`ninep: ${mounted.directory}: ${error.message}`));
  };
  for (const signal of STOPPING) process.on(signal, stop);
  process.on('SIGUSR1', () =>
    log(json({ mount: mounted.counters(), session: client.session.counters, fids: client.fidCount, recovery: client.recovery })),
  );
  if (process.send === undefined) console.error(`ninep: ${request.address} mounted at ${mounted.directory}`);
  await tellReady();
  try {
    await mounted.done;
  } finally {
    await closeQuickly(client);
    for (const signal of STOPPING) process.off(signal, stop);
  }
}

/** Connects and mounts. When `signal` says so, it rejects and nothing is mounted. */
async function begin(
  { address, connection, retry, backend, mount: options }: MountRequest,
  argv: MountArguments,
  log: (line: string) => void,
  signal: AbortSignal,
): Promise<{ client: Client; mounted: Mount }> {
  const { connect } = await import('../../lib/index.js');
  const { mount } = await import('../../lib/fuse/index.js');
  const client = await connect(address, {
    ...(await clientOptions({ ...argv, ...connection })),
    polled: true,
    descriptors: options.passthrough !== false,
    retry,
    onEvent: (event) => log(eventLine(address, event)),
    signal,
  });
  // What mounting asks the server fails then.
  const give = () => client.destroy();
  signal.addEventListener('abort', give, { once: true });
  try {
    signal.throwIfAborted();
    const mounted = await mount(client, argv.directory, {
      ...options,
      ...(backend !== undefined && { backend }),
      warn: (line) => console.error(`ninep: ${line}`),
    });
    if (signal.aborted) await leave(mounted);
    signal.throwIfAborted();
    return { client, mounted };
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', give);
  }
}

async function leave(mounted: Mount): Promise<void> {
  try {
    await mounted.unmount();
  } catch (error) {
    // Somebody still uses it: it leaves the tree now and ends when they are done.
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EBUSY') throw error;
    await mounted.unmount({ lazy: true });
  }
}

/** The mount is gone: what a lost server still owes is not waited for. */
async function closeQuickly(client: Client): Promise<void> {
  const timer = setTimeout(() => client.destroy(), 1000);
  await client.close().catch(() => undefined);
  clearTimeout(timer);
}

function eventLine(address: string, event: RecoveryEvent): string {
  switch (event.type) {
    case 'lost':
      return `ninep: ${event.error.message}; dialling again`;
    case 'giving-up':
      return `ninep: ${address}: still lost; requests fail until it is back`;
    case 'recovered':
      return `ninep: ${address}: back after ${event.milliseconds} ms, ${event.fids} fids, ${event.resent} requests sent again`;
    case 'casualty':
      return `ninep: ${event.path}: ${event.code === 'ESTALE' ? 'not the same file any more (ESTALE)' : 'its lock went to somebody else (EIO)'}`;
  }
}
