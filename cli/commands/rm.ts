import type { Argv, CommandModule } from 'yargs';
import { ErrnoError } from '../../lib/protocol/index.js';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, working } from '../files/command.js';
import { printable } from '../files/listing.js';
import { LOCATION } from '../files/place.js';
import { exists, lastName } from '../files/same.js';
import { walk } from '../files/walk.js';
import { example } from '../help.js';

interface RmArguments extends ConnectionArguments {
  paths: string[];
  recursive: boolean;
  force: boolean;
  dryRun: boolean;
}

export const rm: CommandModule<object, RmArguments> = {
  command: 'rm <paths..>',
  describe: 'remove files',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('recursive', { alias: 'r', type: 'boolean', default: false, describe: 'directories and all below them' })
      .option('force', { alias: 'f', type: 'boolean', default: false, describe: 'what is not there is no failure' })
      .option('dry-run', { type: 'boolean', default: false, describe: 'say what would be removed, and remove nothing' })
      .example(...example("ninep rm -r 'tcp://10.0.2.15/srv#/tmp/build-*'", 'trees that match'))
      .example(...example('ninep rm --dry-run -r unix:/run/vm.sock#/old', 'see first')) as unknown as Argv<RmArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      for (const text of argv.paths) {
        await problems.try(async () => {
          const found = await places.all([text]).catch((error: NodeJS.ErrnoException) => {
            if (argv.force && error.code === 'ENOENT') return [];
            throw error;
          });
          for (const place of found) {
            await problems.try(async () => {
              if (argv.recursive && (await exists(place.fs, place.path))) refuseSpecial(place.path);
              if (!argv.dryRun) {
                await place.fs.rm(place.path, { recursive: argv.recursive, force: argv.force }).catch((error: NodeJS.ErrnoException) => {
                  // Node's own words tell of a system error that rm(2) returned.
                  throw error.code === 'ERR_FS_EISDIR'
                    ? new ErrnoError('EISDIR', { syscall: 'rm', path: place.path }, { cause: error })
                    : error;
                });
                return;
              }
              const removed: string[] = [];
              if (argv.force && !(await exists(place.fs, place.path))) return;
              for await (const { path, stats } of walk(place, problems)) {
                if (stats.isDirectory() && !argv.recursive) throw new ErrnoError('EISDIR', { syscall: 'rm', path });
                removed.push(path);
              }
              for (const path of removed.reverse()) console.log(printable(`remove ${place.show(path)}`));
            }, place.show());
          }
        });
      }
    }),
};

/** rmdir(2) refuses these: a tree that is to stay must not be emptied before that is found out. */
function refuseSpecial(path: string): void {
  const code = { '': 'EBUSY', '.': 'EINVAL', '..': 'ENOTEMPTY' }[lastName(path.replace(/\/+$/, ''))];
  if (code !== undefined) throw new ErrnoError(code, { syscall: 'rm', path });
}
