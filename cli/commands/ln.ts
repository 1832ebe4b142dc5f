import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { LOCATION, type Place, together } from '../files/place.js';
import { ofBoth } from '../files/problems.js';
import { directoryOf, isOneFile, putInPlace, sameFile } from '../files/same.js';
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
    working(argv, async ({ places, problems }) => {
      const link = await places.at(argv.link);
      const target = argv.symbolic ? undefined : await places.at(argv.target);
      if (target !== undefined && !together(target, link)) {
        throw new UsageError('a hard link cannot lead from one server to another; -s makes a symlink');
      }
      const make = (path: string): Promise<void> =>
        target === undefined ? link.fs.symlink(argv.target, path) : link.fs.link(target.path, path);
      // A symlink's text leads from where it is.
      const led = argv.target.startsWith('/') ? argv.target : `${directoryOf(link.path)}${argv.target}`;
      const shown = target?.show() ?? argv.target;
      await problems.try(async () => {
        if (argv.force) await refuseSame(link, target?.path ?? led, shown);
        await ofBoth(shown, link.show(), () => (argv.force ? putInPlace(link, link.path, make) : make(link.path)));
      });
    }),
};

/** What would be replaced by a link to itself is gone. */
async function refuseSame(link: Place, target: string, shown: string): Promise<void> {
  const [to, there] = await Promise.all([target, link.path].map((path) => link.fs.lstat(path, { bigint: true }).catch(() => undefined)));
  if (to && there && isOneFile(link, to, there)) throw sameFile(shown, link.show(), link.show(), 'ln');
}
