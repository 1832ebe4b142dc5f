import type { BigIntStats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { ErrnoError } from '../../lib/protocol/index.js';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { copyTree, destinationFor } from '../files/copy.js';
import { printable } from '../files/listing.js';
import { baseName, LOCATION, type Place, together } from '../files/place.js';
import { inParallel } from '../files/pool.js';
import { about, ofBoth, type Problems } from '../files/problems.js';
import { Progress } from '../files/progress.js';
import { isOneFile, isSameDirectory, lastName, sameFile } from '../files/same.js';
import type { Entry } from '../files/walk.js';
import { example } from '../help.js';

/** Files that are removed at the same time. */
const REMOVALS = 8;

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
    await refuseOccupied(from, to, false);
    await refuseUnmovable(from, to);
    console.log(printable(`${together(from, to) ? 'rename' : 'move'} ${from.show()} -> ${to.show()}`));
    return;
  }
  if (together(from, to)) {
    await refuseSame(from, to);
    try {
      await ofBoth(from.show(), to.show(), () => from.fs.rename(from.path, to.path));
      return;
    } catch (error) {
      // Two file systems on one host, or below one export.
      if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    }
  }
  await refuseOccupied(from, to, true);
  const before = problems.count;
  const seen = new Map<Entry, BigIntStats | undefined>();
  await copyTree(from, to, { recursive: true, preserve: true, dryRun: false, atomic: true, seen, signal }, progress, problems);
  // What was not copied whole stays where it is.
  if (problems.count === before) await removeCopied(from, seen, problems);
}

/** A rename moves nothing into itself, nor to where no directory is. */
async function refuseUnmovable(from: Place, to: Place): Promise<void> {
  const source = await from.fs.lstat(from.path, { bigint: true });
  const directory = dirname(to.remote === undefined ? resolve(to.path) : to.path);
  await about(to.show(directory), () => to.fs.stat(directory));
  if (!together(from, to)) return;
  await refuseSame(from, to);
  for (let at = directory; source.isDirectory(); at = dirname(at)) {
    if (isOneFile(from, source, await to.fs.stat(at, { bigint: true }))) throw refusal('EINVAL', from, to);
    if (at === dirname(at)) return;
  }
}

/**
 * A copy moves and replaces what a rename would, and nothing else: no root, which would stay, and no directory is mixed with another one, whose files of the
 * same names would be lost.
 */
async function refuseOccupied(from: Place, to: Place, probe: boolean): Promise<void> {
  const source = await from.fs.lstat(from.path);
  if (['', '.', '..'].includes(lastName(from.path.replace(/\/+$/, '')))) throw refusal('EBUSY', from, to);
  const there = await about(to.show(), () => to.fs.lstat(to.path)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (there === undefined) return;
  if (!source.isDirectory()) {
    if (there.isDirectory()) throw refusal('EISDIR', from, to);
    return;
  }
  if (!there.isDirectory()) throw refusal('ENOTDIR', from, to);
  if ((await about(to.show(), () => to.fs.readdir(to.path))).length === 0) return;
  if (await isSameDirectory(from, from.path, to, to.path, probe)) throw sameFile(from.show(), to.show(), from.path, 'mv');
  throw refusal('ENOTEMPTY', from, to);
}

function refusal(code: string, from: Place, to: Place): Error {
  return new ErrnoError(code, { syscall: 'mv', path: from.path, dest: to.show() });
}

/** rename(2) does nothing where both are names of one file, and says that all went well. */
async function refuseSame(from: Place, to: Place): Promise<void> {
  const [source, there] = await Promise.all([from, to].map(({ fs, path }) => fs.lstat(path, { bigint: true }).catch(() => undefined)));
  if (source === undefined || there === undefined || !isOneFile(from, source, there)) return;
  // One name in two spellings, where the file system makes no difference between them: it gets the new one.
  const respelt = lastName(from.path) !== lastName(to.path) && (source.isDirectory() || source.nlink === 1n);
  if (!respelt) throw sameFile(from.show(), to.show(), from.path, 'mv');
}

/** Removes the sources, and nothing else that came to be there: what has changed, or is a copy by another way, stays, with all above it. */
async function removeCopied(from: Place, seen: ReadonlyMap<Entry, BigIntStats | undefined>, problems: Problems): Promise<void> {
  const before = problems.count;
  const remove = async ({ path }: Entry, was: BigIntStats): Promise<void> => {
    const now = await from.fs.lstat(path, { bigint: true });
    if (now.ino !== was.ino || now.dev !== was.dev || now.size !== was.size || now.mtimeNs !== was.mtimeNs) {
      throw Object.assign(new Error(`EBUSY: has changed since it was copied, and stays, mv '${path}'`), { code: 'EBUSY', path });
    }
    await from.fs.unlink(path);
  };
  await inParallel(seen, REMOVALS, async ([entry, was]) => {
    if (was !== undefined) await problems.try(() => remove(entry, was), from.show(entry.path));
  });
  // The deepest first.
  for (const [{ path }, was] of [...seen].reverse()) {
    if (problems.count > before) return;
    if (was === undefined) await problems.try(() => from.fs.rmdir(path), from.show(path));
  }
}
