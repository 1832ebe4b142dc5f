import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, working } from '../files/command.js';
import { example } from '../help.js';
import { remoteOf } from './xattr.js';

interface LockArguments extends ConnectionArguments {
  path: string;
  command: string[];
  shared: boolean;
  wait: boolean;
  start: number;
  length: number;
}

export const lock: CommandModule<object, LockArguments> = {
  command: 'lock <path> [command..]',
  describe: 'hold a lock on a file of a server while a command runs',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('path', { type: 'string', demandOption: true, describe: 'ADDRESS#PATH; it is made if it is missing' })
      .positional('command', { type: 'string', array: true, default: [], describe: 'behind --; without one, until interrupted' })
      .option('shared', { alias: 's', type: 'boolean', default: false, describe: 'others may hold it, too' })
      .option('wait', { type: 'boolean', default: true, describe: '--no-wait fails at once where it is held' })
      .option('start', { type: 'number', default: 0, describe: 'the first byte' })
      .option('length', { type: 'number', default: 0, describe: 'bytes; 0: to the end' })
      .example(
        ...example('ninep lock tcp://10.0.2.15/srv#/job.lock -- make deploy', 'one deploy at a time'),
      ) as unknown as Argv<LockArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems, signal }) => {
      const place = await places.at(argv.path);
      const fs = remoteOf(place, 'lock').with({ signal });
      const { shared, wait, start, length } = argv;
      const locked = await problems.got(async () => {
        const handle = await fs.open(place.path, 'a+');
        await handle.lock({ shared, wait, start, length });
        return handle;
      }, place.show());
      if (locked === undefined) return;
      await using _held = locked.value;
      // The lock goes with the connection, and whoever waits for it may have it then. Closing the file tells of the loss.
      const lost = new AbortController();
      fs.client.session.onClosed(() => lost.abort());
      const end = AbortSignal.any([signal, lost.signal]);
      const [program, ...rest] = argv.command;
      if (program === undefined) {
        console.log('locked');
        await new Promise((resolve) => {
          const alive = setInterval(() => undefined, 1 << 30);
          end.addEventListener('abort', () => {
            clearInterval(alive);
            resolve(undefined);
          });
        });
        return;
      }
      process.exitCode = await run(program, rest, end);
    }),
};

/** Runs a program; its exit code, or 128 and the signal, as a shell gives it. `signal` ends it first. */
function run(program: string, args: readonly string[], signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    const stop = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', stop);
    child.once('error', reject);
    child.once('exit', (code, name) => {
      signal.removeEventListener('abort', stop);
      resolve(code ?? 128 + (name === null ? 0 : constants.signals[name]));
    });
  });
}
