import type { Stats } from 'node:fs';
import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { modeText, printable, recordOf, timeText } from '../files/listing.js';
import { join, LOCATION, type Place } from '../files/place.js';
import { inParallel } from '../files/pool.js';
import { columns, json } from '../format.js';
import { example } from '../help.js';

interface LsArguments extends ConnectionArguments {
  paths: string[];
  long: boolean;
  all: boolean;
  directory: boolean;
  json: boolean;
}

interface Line {
  name: string;
  path: string;
  stats: Stats | undefined;
}

export const ls: CommandModule<object, LsArguments> = {
  command: 'ls [paths..]',
  describe: 'list directories',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, default: ['.'], describe: LOCATION })
      .option('long', { alias: 'l', type: 'boolean', default: false, describe: 'modes, owners, sizes and times' })
      .option('all', { alias: 'a', type: 'boolean', default: false, describe: 'names that begin with a dot, too' })
      .option('directory', { alias: 'd', type: 'boolean', default: false, describe: 'directories themselves, not what is in them' })
      .option('json', { type: 'boolean', default: false, describe: 'print a line of JSON for each file' })
      .example(...example('ninep ls -l tcp://10.0.2.15/srv#/logs', 'a directory of a server'))
      .example(...example("ninep ls 'tcp://10.0.2.15/srv#/logs/*.gz'", 'what matches there')) as unknown as Argv<LsArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems }) => {
      const given = await places.all(argv.paths);
      const files: { place: Place; line: Line }[] = [];
      const directories: Place[] = [];
      for (const place of given) {
        await problems.try(async () => {
          const stats = await place.fs.lstat(place.path);
          const leads = stats.isSymbolicLink() && !argv.long && (await place.fs.stat(place.path).catch(() => undefined))?.isDirectory();
          if (!argv.directory && (stats.isDirectory() || leads)) directories.push(place);
          else files.push({ place, line: { name: place.path, path: place.path, stats } });
        }, place.show());
      }
      for (const { place, line } of files) await print(place, [line], argv);
      for (const [index, place] of directories.entries()) {
        await problems.try(async () => {
          const entries = await place.fs.readdir(place.path);
          const names = entries.filter((name) => argv.all || !name.startsWith('.')).sort();
          const lines: Line[] = names.map((name) => ({ name, path: join(place.path, name), stats: undefined }));
          if (argv.long || argv.json) {
            await inParallel(lines, 32, async (line) => {
              await problems.try(async () => {
                line.stats = await place.fs.lstat(line.path);
              }, place.show(line.path));
            });
          }
          if (given.length > 1 && !argv.json) console.log(`${index > 0 || files.length > 0 ? '\n' : ''}${place.show()}:`);
          await print(place, lines, argv);
        }, place.show());
      }
    }),
};

async function print(place: Place, lines: readonly Line[], { long, json: asJson }: LsArguments): Promise<void> {
  if (asJson) {
    for (const { path, stats } of lines) if (stats !== undefined) console.log(json(await recordOf(place.fs, path, stats)));
    return;
  }
  if (!long) {
    if (lines.length > 0) console.log(lines.map(({ name }) => printable(name)).join('\n'));
    return;
  }
  const rows: string[][] = [];
  for (const { name, path, stats } of lines) {
    if (stats === undefined) continue;
    const device = stats.isBlockDevice() || stats.isCharacterDevice();
    const target = stats.isSymbolicLink() ? ` -> ${await place.fs.readlink(path).catch(() => '?')}` : '';
    rows.push([
      modeText(stats.mode),
      String(stats.nlink),
      String(stats.uid),
      String(stats.gid),
      device ? deviceText(stats.rdev) : String(stats.size),
      timeText(stats.mtime),
      printable(name + target),
    ]);
  }
  if (rows.length > 0) console.log(columns(rows, [1, 2, 3, 4]));
}

/** `major, minor` of Linux's own encoding (makedev(3)). */
function deviceText(rdev: number): string {
  const number = BigInt(rdev);
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n);
  const minor = (number & 0xffn) | ((number >> 12n) & 0xffffff00n);
  return `${major},${minor}`;
}
