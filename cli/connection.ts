import type { Argv } from 'yargs';
import type { Client, ClientOptions } from '../lib/index.js';
import { UsageError } from './failure.js';
import { ownFirst } from './help.js';

/** What every command that talks to a server takes. */
export interface ConnectionArguments {
  aname: string | undefined;
  uname: string | undefined;
  uid: number | undefined;
  msize: number | undefined;
  dialect: string | undefined;
  timeout: number | undefined;
  connectTimeout: number | undefined;
}

/** Adds the options that say how to connect. They count more than what the address itself says. */
export function connectionOptions<T>(yargs: Argv<T>): Argv<T & ConnectionArguments> {
  return ownFirst(yargs)
    .option('aname', { type: 'string', describe: 'the tree to attach to', group: 'Connection:' })
    .option('uname', { type: 'string', describe: 'the user name to attach as', group: 'Connection:' })
    .option('uid', { type: 'number', describe: 'the user number to attach as (your own by default)', group: 'Connection:' })
    .option('msize', { type: 'number', describe: 'the largest message to ask for, in bytes (1 MiB + 24)', group: 'Connection:' })
    .option('dialect', { type: 'string', describe: '9P2000.L, 9P2000.u or 9P2000 (the best the server has)', group: 'Connection:' })
    .option('timeout', { type: 'number', describe: 'seconds a request may take; 0: for ever', group: 'Connection:' })
    .option('connect-timeout', {
      type: 'number',
      describe: 'seconds connecting may take',
      group: 'Connection:',
      default: 30,
    }) as unknown as Argv<T & ConnectionArguments>;
}

/** Those arguments as the library takes them. */
export async function clientOptions(argv: ConnectionArguments): Promise<ClientOptions> {
  return {
    aname: argv.aname,
    uname: argv.uname,
    uid: argv.uid,
    msize: argv.msize,
    version: await dialectOption(argv.dialect),
    timeout: argv.timeout === undefined ? undefined : argv.timeout * 1000,
    connectTimeout: argv.connectTimeout === undefined ? undefined : argv.connectTimeout * 1000,
  };
}

/** What --dialect names. */
export async function dialectOption(name: string | undefined): Promise<ClientOptions['version']> {
  const { dialectNamed } = await import('../lib/index.js');
  try {
    return dialectNamed(name);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
}

/** Connects to an address of the command line. */
export async function connectTo(address: string, argv: ConnectionArguments): Promise<Client> {
  const { connect } = await import('../lib/index.js');
  return connect(address, await clientOptions(argv));
}
