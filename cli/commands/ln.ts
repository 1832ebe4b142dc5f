import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { LOCATION, together } from '../files/place.js';
import { example } from '../help.js';

interface LnArguments extends ConnectionArguments {
  target: string;
  link: string;
  symbolic: boolean;
  force: boolean;
}

export const ln: CommandModule<object, LnArguments> = {
  command: 'ln <target> <link>',
  describe: 'give a file a second name, or make a symlink',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('target', { type: 'string', demandOption: true, describe: `${LOCATION}; with -s the text of the symlink` })
      .positional('link', { type: 'string', demandOption: true, describe: LOCATION })
      .option('symbolic', { alias: 's', type: 'boolean', default: false, describe: 'a symlink' })
      .option('force', { alias: 'f', type: 'boolean', default: false, describe: 'in the place of what is there' })
      .example(...example('ninep ln -s v2 tcp://10.0.2.15/srv#/current', 'a symlink with the text v2')) as unknown as Argv<LnArguments>,
  handler: (argv) =>
    working(argv, async ({ places }) => {
      const link = await places.at(argv.link);
      if (argv.force) await link.fs.rm(link.path, { force: true });
      if (argv.symbolic) {
        await link.fs.symlink(argv.target, link.path);
        return;
      }
      const target = await places.at(argv.target);
      if (!together(target, link)) throw new UsageError('a hard link cannot lead from one server to another; -s makes a symlink');
      await link.fs.link(target.path, link.path);
    }),
};
