import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { kindOf, modeText, printable, recordOf } from '../files/listing.js';
import { LOCATION } from '../files/place.js';
import { columns, json } from '../format.js';
import { example } from '../help.js';

interface StatArguments extends ConnectionArguments {
  paths: string[];
  follow: boolean;
  json: boolean;
}

export const statCommand: CommandModule<object, StatArguments> = {
  command: 'stat <paths..>',
  describe: 'all that is known of files',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('follow', { alias: 'L', type: 'boolean', default: false, describe: 'of what symlinks lead to' })
      .option('json', { type: 'boolean', default: false, describe: 'print a line of JSON for each file' })
      .example(...example('ninep stat tcp://10.0.2.15/srv#/data.db', 'mode, owner, size, times and qid')) as unknown as Argv<StatArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems }) => {
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          const { fs, path, remote } = place;
          const stats = await (argv.follow ? fs.stat(path) : fs.lstat(path));
          const qid = await remote?.qid(path, { follow: argv.follow });
          if (argv.json) {
            const times = { atime: stats.atime, ctime: stats.ctime, birthtime: stats.birthtime };
            console.log(json({ ...(await recordOf(fs, path, stats)), ...times, inode: stats.ino, blocks: stats.blocks, qid }));
            return;
          }
          const rows = [
            ['path', printable(place.show())],
            ['kind', kindOf(stats)],
            ['mode', `0${(stats.mode & 0o7777).toString(8)} ${modeText(stats.mode)}`],
            ['owner', `${stats.uid}:${stats.gid}`],
            ['size', `${stats.size} (${stats.blocks} blocks of 512)`],
            ['links', String(stats.nlink)],
            ['inode', String(stats.ino)],
          ];
          if (stats.isSymbolicLink()) rows.push(['target', printable(await fs.readlink(path))]);
          if (qid !== undefined)
            rows.push(['qid', `type 0x${qid.type.toString(16)} path 0x${qid.path.toString(16)} version ${qid.version}`]);
          for (const time of ['atime', 'mtime', 'ctime', 'birthtime'] as const) rows.push([time, stats[time].toISOString()]);
          console.log(columns(rows));
        }, place.show());
      }
    }),
};
