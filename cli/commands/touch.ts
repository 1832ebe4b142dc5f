import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { LOCATION } from '../files/place.js';
import { example } from '../help.js';

interface TouchArguments extends ConnectionArguments {
  paths: string[];
  noCreate: boolean;
  date: string | undefined;
}

export const touch: CommandModule<object, TouchArguments> = {
  command: 'touch <paths..>',
  describe: 'bring times up to date, and make files that are missing',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('no-create', { alias: 'c', type: 'boolean', default: false, describe: 'leave out what is missing' })
      .option('date', { alias: 'd', type: 'string', describe: 'this time instead of now: 2026-03-01T12:00:00Z' })
      .example(...example('ninep touch tcp://10.0.2.15/srv#/done', 'an empty file, or a new time')) as unknown as Argv<TouchArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      const time = argv.date === undefined ? new Date() : new Date(argv.date);
      if (Number.isNaN(time.getTime())) throw new UsageError(`${JSON.stringify(argv.date)} is no time: 2026-03-01T12:00:00Z`);
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          try {
            await place.fs.utimes(place.path, time, time);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
            if (argv.noCreate) return;
            const handle = await place.fs.open(place.path, 'a');
            try {
              if (argv.date !== undefined) await handle.utimes(time, time);
            } finally {
              await handle.close();
            }
          }
        }, place.show());
      }
    }),
};
