import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, working } from '../files/command.js';
import { modeChange } from '../files/mode.js';
import { LOCATION } from '../files/place.js';
import { example } from '../help.js';

interface MkdirArguments extends ConnectionArguments {
  paths: string[];
  parents: boolean;
  mode: string | undefined;
}

export const mkdir: CommandModule<object, MkdirArguments> = {
  command: 'mkdir <paths..>',
  describe: 'make directories',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('parents', { alias: 'p', type: 'boolean', default: false, describe: 'those above too; there already is no failure' })
      .option('mode', { alias: 'm', type: 'string', describe: 'permissions of the directory: 750, u=rwx,g=rx' })
      .example(...example('ninep mkdir -p tcp://10.0.2.15/srv#/a/b/c', 'and all that is missing above')) as unknown as Argv<MkdirArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      const mode = argv.mode === undefined ? undefined : modeChange(argv.mode)(0o777, true);
      for (const text of argv.paths) {
        const place = await places.at(text);
        await problems.try(async () => {
          const made = await place.fs.mkdir(place.path, { recursive: argv.parents });
          if (mode !== undefined && (!argv.parents || made !== undefined)) await place.fs.chmod(place.path, mode);
        }, place.show());
      }
    }),
};
