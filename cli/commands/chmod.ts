import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, working } from '../files/command.js';
import { printable } from '../files/listing.js';
import { modeChange, ownerOf } from '../files/mode.js';
import { LOCATION } from '../files/place.js';
import { walk } from '../files/walk.js';
import { example } from '../help.js';

interface ChangeArguments extends ConnectionArguments {
  paths: string[];
  recursive: boolean;
  dryRun: boolean;
}

function changeOptions(yargs: Argv): Argv<ChangeArguments> {
  return fileOptions(yargs)
    .positional('paths', { type: 'string', array: true, demandOption: true, describe: LOCATION })
    .option('recursive', { alias: 'R', type: 'boolean', default: false, describe: 'all below, too' })
    .option('dry-run', {
      type: 'boolean',
      default: false,
      describe: 'say what would be changed, and change nothing',
    }) as unknown as Argv<ChangeArguments>;
}

export const chmod: CommandModule<object, ChangeArguments & { mode: string }> = {
  command: 'chmod <mode> <paths..>',
  describe: 'change permissions',
  builder: (yargs: Argv) =>
    changeOptions(yargs)
      .positional('mode', { type: 'string', demandOption: true, describe: '644, u+x, go-w, a=rX' })
      .example(
        ...example('ninep chmod -R u=rwX,go=rX tcp://10.0.2.15/srv#/www', 'readable for all, directories searchable'),
      ) as unknown as Argv<ChangeArguments & { mode: string }>,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      const change = modeChange(String(argv.mode));
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          // A path given may be a symlink, which is followed; those below a directory are left alone.
          const options = { maxDepth: argv.recursive ? undefined : 0, follow: true };
          for await (const { path, stats } of walk(place, problems, options)) {
            if (stats.isSymbolicLink()) continue;
            const mode = change(stats.mode & 0o7777, stats.isDirectory());
            if (mode === (stats.mode & 0o7777)) continue;
            if (argv.dryRun) console.log(printable(`chmod ${mode.toString(8).padStart(4, '0')} ${place.show(path)}`));
            else await problems.try(() => place.fs.chmod(path, mode), place.show(path));
          }
        }, place.show());
      }
    }),
};

export const chown: CommandModule<object, ChangeArguments & { owner: string; noDereference: boolean }> = {
  command: 'chown <owner> <paths..>',
  describe: 'change owners, by number',
  builder: (yargs: Argv) =>
    changeOptions(yargs)
      .positional('owner', { type: 'string', demandOption: true, describe: 'UID, UID:GID or :GID' })
      .option('no-dereference', { alias: 'h', type: 'boolean', default: false, describe: 'of symlinks themselves' })
      .example(...example('ninep chown -R 1000:100 tcp://10.0.2.15/srv#/home/x', 'a tree')) as unknown as Argv<
      ChangeArguments & { owner: string; noDereference: boolean }
    >,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      const { uid, gid } = ownerOf(String(argv.owner));
      for (const place of await places.all(argv.paths)) {
        await problems.try(async () => {
          const options = { maxDepth: argv.recursive ? undefined : 0, follow: !argv.noDereference };
          for await (const { path, stats } of walk(place, problems, options)) {
            if (argv.dryRun) console.log(printable(`chown ${argv.owner} ${place.show(path)}`));
            else {
              const own = stats.isSymbolicLink() ? place.fs.lchown : place.fs.chown;
              await problems.try(() => own(path, uid, gid), place.show(path));
            }
          }
        }, place.show());
      }
    }),
};
