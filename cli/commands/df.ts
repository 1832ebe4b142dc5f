import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { printable } from '../files/listing.js';
import { LOCATION } from '../files/place.js';
import { bytesText, columns, json } from '../format.js';
import { example } from '../help.js';

interface DfArguments extends ConnectionArguments {
  paths: string[];
  json: boolean;
}

export const df: CommandModule<object, DfArguments> = {
  command: 'df <paths..>',
  describe: 'how much room there is',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('json', { type: 'boolean', default: false, describe: 'print a line of JSON for each' })
      .example(...example('ninep df tcp://10.0.2.15/srv', 'the disk behind an export')) as unknown as Argv<DfArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems }) => {
      const rows = [['size', 'used', 'free', 'use', 'files', 'files free', 'location']];
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          const { bsize, blocks, bfree, bavail, files, ffree, type } = await place.fs.statfs(place.path, { bigint: true });
          const [size, used, free] = [blocks * bsize, (blocks - bfree) * bsize, bavail * bsize];
          if (argv.json) console.log(json({ path: place.show(), type, size, used, free, files, filesFree: ffree }));
          const use = used + free === 0n ? '-' : `${(used * 100n + used + free - 1n) / (used + free)}%`;
          rows.push([bytesText(size), bytesText(used), bytesText(free), use, String(files), String(ffree), printable(place.show())]);
        }, place.show());
      }
      if (!argv.json && rows.length > 1) console.log(columns(rows, [0, 1, 2, 3, 4, 5]));
    }),
};
