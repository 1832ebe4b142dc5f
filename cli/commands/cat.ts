import { pipeline } from 'node:stream/promises';
import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { LOCATION } from '../files/place.js';
import { example } from '../help.js';

interface CatArguments extends ConnectionArguments {
  paths: string[];
}

export const cat: CommandModule<object, CatArguments> = {
  command: 'cat <paths..>',
  describe: 'print files',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .example(...example('ninep cat unix:/run/vm.sock#/etc/os-release', 'a file of a guest')) as unknown as Argv<CatArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems, signal }) => {
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          const handle = await place.fs.open(place.path, 'r');
          await pipeline(handle.createReadStream(), process.stdout, { end: false, signal });
        }, place.show());
      }
    }),
};
