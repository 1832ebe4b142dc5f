import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { type CopyOptions, copyTree, destinationFor } from '../files/copy.js';
import { printable } from '../files/listing.js';
import { baseName, LOCATION } from '../files/place.js';
import { Progress } from '../files/progress.js';
import { bytesText, count, json } from '../format.js';
import { example } from '../help.js';

interface CpArguments extends ConnectionArguments {
  paths: string[];
  recursive: boolean;
  preserve: boolean;
  noClobber: boolean;
  follow: boolean;
  dryRun: boolean;
  verbose: boolean;
  json: boolean;
}

function options(yargs: Argv): Argv {
  return fileOptions(yargs)
    .option('recursive', { alias: 'r', type: 'boolean', default: false, describe: 'directories and all below them' })
    .option('preserve', { alias: 'p', type: 'boolean', default: false, describe: 'keep times, and all bits of modes' })
    .option('no-clobber', { alias: 'n', type: 'boolean', default: false, describe: 'leave files that are there already' })
    .option('follow', { alias: 'L', type: 'boolean', default: false, describe: 'copy what the symlinks given lead to' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' })
    .option('verbose', { alias: 'v', type: 'boolean', default: false, describe: 'say what is done' })
    .option('json', { type: 'boolean', default: false, describe: 'print what was done as JSON' }) as unknown as Argv;
}

export const cp: CommandModule<object, CpArguments> = {
  command: 'cp <paths..>',
  describe: 'copy files, between any two of this host and servers',
  builder: (yargs: Argv) =>
    options(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: `sources and a destination: ${LOCATION}` })
      .example(...example('ninep cp -r tcp://10.0.2.15/srv#/logs ./logs', 'from a server'))
      .example(...example('ninep cp a.iso b.iso unix:/run/vm.sock#/images/', 'to a server'))
      .example(...example('ninep cp -rp tcp://one/srv#/data tcp://two/srv#/data', 'between two servers')) as unknown as Argv<CpArguments>,
  handler: (argv) => {
    const [to, ...from] = [...argv.paths].reverse();
    if (to === undefined || from.length === 0) throw new UsageError('cp what to where? SOURCE… DESTINATION');
    return copyAll(argv, from.reverse(), to);
  },
};

export const get: CommandModule<object, Omit<CpArguments, 'paths'> & { source: string; destination: string }> = {
  command: 'get <source> [destination]',
  describe: 'copy from a server: cp, with the working directory as its destination',
  builder: (yargs: Argv) =>
    options(yargs)
      .positional('source', { type: 'string', demandOption: true, describe: LOCATION })
      .positional('destination', { type: 'string', default: '.', describe: LOCATION })
      .example(...example('ninep get tcp://10.0.2.15/srv#/core.1234', 'into the working directory')) as unknown as Argv<
      Omit<CpArguments, 'paths'> & { source: string; destination: string }
    >,
  handler: (argv) => copyAll(argv, [argv.source], argv.destination),
};

export const put: CommandModule<object, CpArguments> = {
  command: 'put <paths..>',
  describe: 'copy to a server: cp, where the destination may be an address alone',
  builder: (yargs: Argv) =>
    options(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: `sources and a destination: ${LOCATION}` })
      .example(
        ...example('ninep put -r ./site tcp://10.0.2.15/srv', 'a directory into the root of an export'),
      ) as unknown as Argv<CpArguments>,
  handler: (argv) => cp.handler({ ...argv, _: [], $0: '' }),
};

async function copyAll(argv: Omit<CpArguments, 'paths'>, from: readonly string[], to: string): Promise<void> {
  await working(argv, async ({ places, problems, signal }) => {
    const destination = await places.at(to);
    const sources = await places.all(from);
    const place = await destinationFor(destination, sources.length);
    using progress = new Progress();
    problems.progress = progress;
    const say = (action: string, source: string, target: string): void =>
      progress.hidden(() => console.log(printable(`${action} ${source} -> ${target}`)));
    const settings: CopyOptions = {
      recursive: argv.recursive,
      preserve: argv.preserve,
      noClobber: argv.noClobber,
      follow: argv.follow,
      dryRun: argv.dryRun,
      signal,
      ...(argv.verbose || (argv.dryRun && !argv.json) ? { onFile: say } : {}),
    };
    for (const source of sources) {
      await problems.try(() => copyTree(source, place(baseName(source)), settings, progress, problems), source.show());
    }
    const { files, bytes, seconds } = progress;
    if (argv.json) console.log(json({ files, bytes, seconds: Number(seconds.toFixed(3)), failed: problems.count, dryRun: argv.dryRun }));
    else if (process.stderr.isTTY && !argv.dryRun) {
      progress.hidden(() =>
        console.error(`${count(files, 'file')}, ${bytesText(bytes)} in ${seconds.toFixed(1)} s (${bytesText(bytes / seconds)}/s)`),
      );
    }
  });
}
