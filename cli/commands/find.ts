import type { Stats } from 'node:fs';
import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, printing } from '../files/command.js';
import { matcher } from '../files/glob.js';
import { printable, recordOf } from '../files/listing.js';
import { LOCATION } from '../files/place.js';
import { lastName } from '../files/same.js';
import { walk } from '../files/walk.js';
import { json } from '../format.js';
import { example } from '../help.js';

interface FindArguments extends ConnectionArguments {
  paths: string[];
  name: string | undefined;
  type: string | undefined;
  size: string | undefined;
  newer: string | undefined;
  older: string | undefined;
  depth: number | undefined;
  print0: boolean;
  json: boolean;
}

type Test = (name: string, stats: Stats) => boolean;

export const find: CommandModule<object, FindArguments> = {
  command: 'find <paths..>',
  describe: 'find files below directories',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
      .option('name', { type: 'string', describe: 'names that match: *.log' })
      .option('type', { type: 'string', choices: ['f', 'd', 'l', 'p', 's', 'b', 'c'], describe: 'file, directory, symlink, …' })
      .option('size', { type: 'string', describe: 'more (+) or less (-) than so many bytes: +10M, -4K' })
      .option('newer', { type: 'string', describe: 'changed after this time: 2026-03-01T12:00:00Z' })
      .option('older', { type: 'string', describe: 'changed before this time' })
      .option('depth', { type: 'number', describe: 'no deeper than so many names' })
      .option('print0', { alias: '0', type: 'boolean', default: false, describe: 'a NUL behind each, for xargs -0' })
      .option('json', { type: 'boolean', default: false, describe: 'print a line of JSON for each' })
      .example(...example("ninep find tcp://10.0.2.15/srv --name '*.log' --size +10M", 'large logs')) as unknown as Argv<FindArguments>,
  handler: (argv) => {
    const tests = testsOf(argv);
    return printing(argv, async ({ places, problems }) => {
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          for await (const { path, stats } of walk(place, problems, { maxDepth: argv.depth })) {
            // The root's own is the slash, as in find(1).
            const name = lastName(path.replace(/\/+$/, '')) || '/';
            if (!tests.every((test) => test(name, stats))) continue;
            if (argv.json) console.log(json(await recordOf(place.fs, path, stats)));
            else if (argv.print0) process.stdout.write(`${path}\0`);
            else console.log(printable(path));
          }
        }, place.show());
      }
    });
  },
};

function testsOf({ name, type, size, newer, older }: FindArguments): Test[] {
  const tests: Test[] = [];
  if (name !== undefined) {
    const pattern = matcher(name);
    tests.push((has) => pattern.test(has));
  }
  const kinds: Readonly<Record<string, number>> = { f: 8, d: 4, l: 10, p: 1, s: 12, b: 6, c: 2 };
  if (type !== undefined) tests.push((_, { mode }) => mode >> 12 === kinds[type]);
  if (size !== undefined) tests.push(sizeTest(size));
  if (newer !== undefined) {
    const after = timeOf(newer);
    tests.push((_, { mtimeMs }) => mtimeMs > after);
  }
  if (older !== undefined) {
    const before = timeOf(older);
    tests.push((_, { mtimeMs }) => mtimeMs < before);
  }
  return tests;
}

function sizeTest(text: string): Test {
  const match = /^([+-]?)(\d+)([KMGT]?)$/i.exec(text);
  if (match === null) throw new UsageError(`${JSON.stringify(text)} is no size: 512, +10M, -4K`);
  const [, sign, digits, unit = ''] = match;
  const bytes = Number(digits) * 1024 ** ' KMGT'.indexOf(unit.toUpperCase() || ' ');
  return (_, { size }) => (sign === '+' ? size > bytes : sign === '-' ? size < bytes : size === bytes);
}

function timeOf(text: string): number {
  const time = new Date(text).getTime();
  if (Number.isNaN(time)) throw new UsageError(`${JSON.stringify(text)} is no time: 2026-03-01T12:00:00Z`);
  return time;
}
