import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { copyTree, destinationFor } from '../files/copy.js';
import { printable } from '../files/listing.js';
import { baseName, LOCATION, type Place, together } from '../files/place.js';
import type { Problems } from '../files/problems.js';
import { Progress } from '../files/progress.js';
import { example } from '../help.js';

interface MvArguments extends ConnectionArguments {
  paths: string[];
  dryRun: boolean;
}

export const mv: CommandModule<object, MvArguments> = {
  command: 'mv <paths..>',
  describe: 'rename files, or move them from one server to another',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: `sources and a destination: ${LOCATION}` })
      .option('dry-run', { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' })
      .example(...example('ninep mv tcp://10.0.2.15/srv#/a tcp://10.0.2.15/srv#/b', 'a rename on the server'))
      .example(...example('ninep mv tcp://10.0.2.15/srv#/report.pdf .', 'a copy, then a removal')) as unknown as Argv<MvArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems, signal }) => {
      const [to, ...from] = [...argv.paths].reverse();
      if (to === undefined || from.length === 0) throw new UsageError('mv what to where? SOURCE… DESTINATION');
      const destination = await places.at(to);
      const sources = await places.all(from.reverse());
      const place = await destinationFor(destination, sources.length);
      using progress = new Progress();
      problems.progress = progress;
      for (const source of sources) {
        const target = place(baseName(source));
        await problems.try(() => move(source, target, argv.dryRun, progress, problems, signal), source.show());
      }
    }),
};

async function move(from: Place, to: Place, dryRun: boolean, progress: Progress, problems: Problems, signal: AbortSignal): Promise<void> {
  if (dryRun) {
    await from.fs.lstat(from.path);
    console.log(printable(`${together(from, to) ? 'rename' : 'move'} ${from.show()} -> ${to.show()}`));
    return;
  }
  if (together(from, to)) {
    try {
      await from.fs.rename(from.path, to.path);
      return;
    } catch (error) {
      // Two file systems on one host, or below one export.
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    }
  }
  const before = problems.count;
  await copyTree(from, to, { recursive: true, preserve: true, dryRun: false, atomic: true, signal }, progress, problems);
  // What was not copied whole stays where it is.
  if (problems.count === before) await from.fs.rm(from.path, { recursive: true });
}
