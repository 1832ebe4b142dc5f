import type { Stats } from 'node:fs';
import type { Argv, CommandModule } from 'yargs';
import { ErrnoError } from '../../lib/protocol/index.js';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, working } from '../files/command.js';
import { copyTree } from '../files/copy.js';
import { printable } from '../files/listing.js';
import { join, LOCATION, type Place, placeAt } from '../files/place.js';
import { inParallel } from '../files/pool.js';
import type { Problems } from '../files/problems.js';
import { Progress } from '../files/progress.js';
import { isSameDirectory } from '../files/same.js';
import { type Entry, walk } from '../files/walk.js';
import { bytesText, json } from '../format.js';
import { example } from '../help.js';

interface SyncArguments extends ConnectionArguments {
  source: string;
  destination: string;
  delete: boolean;
  dryRun: boolean;
  verbose: boolean;
  json: boolean;
}

/** Node sets times to the microsecond, by way of a floating-point number of seconds. */
const SAME_TIME = 1;

export const sync: CommandModule<object, SyncArguments> = {
  command: 'sync <source> <destination>',
  describe: 'make one tree like another: what differs in kind, size or time is copied',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('source', { type: 'string', demandOption: true, describe: LOCATION })
      .positional('destination', { type: 'string', demandOption: true, describe: `${LOCATION}; it becomes like the source` })
      .option('delete', {
        type: 'boolean',
        default: false,
        describe: 'remove what the source does not have, and directories where it has other files, or the other way round',
      })
      .option('dry-run', { type: 'boolean', default: false, describe: 'say what would be done, and do nothing' })
      .option('verbose', { alias: 'v', type: 'boolean', default: false, describe: 'say what is done' })
      .option('json', { type: 'boolean', default: false, describe: 'print what was done as JSON' })
      .example(...example('ninep sync ./site tcp://10.0.2.15/srv#/www', 'to a server'))
      .example(
        ...example('ninep sync --delete --dry-run tcp://10.0.2.15/srv#/www ./copy', 'see what a mirror would do'),
      ) as unknown as Argv<SyncArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems, signal }) => {
      const from = await places.at(argv.source);
      const to = await places.at(argv.destination);
      using progress = new Progress();
      problems.progress = progress;
      const say = (text: string): void => {
        if (argv.verbose || (argv.dryRun && !argv.json)) progress.hidden(() => console.log(printable(text)));
      };
      const result = await run(from, to, argv, progress, problems, signal, say);
      const { bytes, seconds } = progress;
      if (argv.json)
        console.log(json({ ...result, bytes, seconds: Number(seconds.toFixed(3)), failed: problems.count, dryRun: argv.dryRun }));
      else if (process.stderr.isTTY || argv.verbose) {
        const text = `${result.copied} copied (${bytesText(bytes)}), ${result.unchanged} unchanged, ${result.removed} removed in ${seconds.toFixed(1)} s`;
        progress.hidden(() => console.error(text));
      }
    }),
};

interface Outcome {
  copied: number;
  unchanged: number;
  removed: number;
}

async function run(
  from: Place,
  to: Place,
  argv: SyncArguments,
  progress: Progress,
  problems: Problems,
  signal: AbortSignal,
  say: (text: string) => void,
): Promise<Outcome> {
  const outcome: Outcome = { copied: 0, unchanged: 0, removed: 0 };
  const before = problems.count;
  const source = await listing(from, problems, true);
  const complete = problems.count === before;
  const there = await listing(to, problems, false);
  refuseRoot(source.get(''), there.get(''), to);
  // What is left as it is, with all that would be below it.
  const left = new Set<string>();
  const changed: Entry[] = [];
  for (const entry of source.values()) {
    const old = there.get(entry.relative);
    if (isBelow(entry.relative, left)) continue;
    if (old !== undefined && isCopied(entry) && !argv.delete && old.stats.isDirectory() !== entry.stats.isDirectory()) {
      left.add(entry.relative);
      problems.tell(inTheWay(old), to.show(old.path));
    } else if (old !== undefined && !entry.stats.isDirectory() && (await isSame(from, entry, to, old))) outcome.unchanged++;
    else if (!(entry.stats.isDirectory() && old?.stats.isDirectory())) changed.push(entry);
  }

  // What stands in the way of another kind of file goes first, then what the source does not have: never after an incomplete look at it.
  const obsolete = [...there.values()].filter(({ relative, stats }) => {
    if (!argv.delete) return false;
    const wanted = source.get(relative);
    return wanted === undefined ? complete : stats.isDirectory() !== wanted.stats.isDirectory();
  });
  await refuseSource(from, source.get(''), to, obsolete, argv.dryRun);
  for (const { relative, path } of topmost(obsolete)) {
    say(`remove ${to.show(path)}`);
    if (!argv.dryRun && !(await problems.try(() => to.fs.rm(path, { recursive: true, force: true }), to.show(path)))) {
      left.add(relative);
      continue;
    }
    outcome.removed += [...there.keys()].filter((name) => name === relative || name.startsWith(`${relative}/`)).length;
  }

  const copy = async (entry: Entry): Promise<void> => {
    const count = problems.count;
    const target = placeAt(to, join(to.path, entry.relative));
    const follow = entry.depth === 0;
    const options = { recursive: false, preserve: true, atomic: true, counted: true, follow, dryRun: argv.dryRun, signal };
    say(`copy ${from.show(entry.path)} -> ${target.show()}`);
    await copyTree(placeAt(from, entry.path), target, options, progress, problems);
    if (problems.count === count) outcome.copied++;
  };
  // Directories come before what is in them, so they are made one by one, and made like the source's at the end.
  for (const entry of changed.filter(({ stats }) => stats.isDirectory())) {
    if (isBelow(entry.relative, left)) continue;
    const path = join(to.path, entry.relative);
    say(`mkdir ${to.show(path)}`);
    if (argv.dryRun) continue;
    const make = () => to.fs.mkdir(path, { recursive: entry.depth === 0, mode: (entry.stats.mode & 0o777) | 0o700 });
    if (!(await problems.try(make, to.show(path)))) left.add(entry.relative);
  }
  const files = changed.filter((entry) => isCopied(entry) && !entry.stats.isDirectory() && !isBelow(entry.relative, left));
  for (const entry of changed) {
    if (!isCopied(entry)) say(`skip ${from.show(entry.path)}: no file, directory or symlink`);
  }
  for (const { stats } of files) {
    if (!stats.isFile()) continue;
    progress.totalFiles++;
    progress.totalBytes += stats.size;
  }
  await inParallel(files, 4, copy);
  if (!argv.dryRun) await settleDirectories(source, to, there, left, problems);
  return outcome;
}

/** A tree by its relative names; nothing where there is no such tree and it need not be there. */
async function listing(place: Place, problems: Problems, needed: boolean): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  try {
    for await (const entry of walk(place, problems, { follow: true })) entries.set(entry.relative, entry);
  } catch (error) {
    if (needed || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return entries;
}

async function isSame(from: Place, a: Entry, to: Place, b: Entry): Promise<boolean> {
  if (a.stats.mode >> 12 !== b.stats.mode >> 12) return false;
  if (a.stats.isSymbolicLink()) return (await from.fs.readlink(a.path)) === (await to.fs.readlink(b.path));
  if (!a.stats.isFile()) return true;
  return a.stats.size === b.stats.size && sameTime(a.stats, b.stats) && (a.stats.mode & 0o1777) === (b.stats.mode & 0o1777);
}

function sameTime(a: Stats, b: Stats): boolean {
  return Math.abs(a.mtimeMs - b.mtimeMs) < SAME_TIME;
}

/** Who knows cp means a file in that directory, and not one in its place; and no file becomes a tree. */
function refuseRoot(root: Entry | undefined, there: Entry | undefined, to: Place): void {
  if (root === undefined || there === undefined || root.stats.isDirectory() === there.stats.isDirectory()) return;
  throw new ErrnoError(root.stats.isDirectory() ? 'ENOTDIR' : 'EISDIR', { syscall: 'sync', path: to.show() });
}

function inTheWay({ path, stats }: Entry): Error {
  const [code, text] = stats.isDirectory()
    ? ['EISDIR', 'is a directory where the source has none, and stays without --delete']
    : ['ENOTDIR', 'is no directory where the source has one, and stays without --delete'];
  return Object.assign(new Error(`${code}: ${text}, sync '${path}'`), { code, path });
}

function isCopied({ stats }: Entry): boolean {
  return stats.isDirectory() || stats.isFile() || stats.isSymbolicLink();
}

/** Whether it is one of those, or below one. */
function isBelow(relative: string, names: ReadonlySet<string>): boolean {
  if (names.size === 0) return false;
  if (names.has('') || names.has(relative)) return true;
  for (let at = relative.indexOf('/'); at >= 0; at = relative.indexOf('/', at + 1)) if (names.has(relative.slice(0, at))) return true;
  return false;
}

/** A source that lies in its destination would be the first to go. */
async function refuseSource(from: Place, root: Entry | undefined, to: Place, obsolete: readonly Entry[], dryRun: boolean): Promise<void> {
  if (!root?.stats.isDirectory()) return;
  for (const { path, stats } of obsolete) {
    if (stats.mode !== root.stats.mode || !sameTime(stats, root.stats)) continue;
    if (!(await isSameDirectory(from, root.path, to, path, !dryRun))) continue;
    throw Object.assign(new Error(`EINVAL: is the source, and would be removed, sync '${to.show(path)}'`), {
      code: 'EINVAL',
      path: to.show(path),
    });
  }
}

/** Those that lie below no other one. */
function topmost(entries: readonly Entry[]): Entry[] {
  const removed = new Set<string>();
  return entries.filter(({ relative }) => {
    const parts = relative.split('/');
    for (let length = 1; length < parts.length; length++) if (removed.has(parts.slice(0, length).join('/'))) return false;
    removed.add(relative);
    return true;
  });
}

/** Modes and times of directories, the deepest first: copying into one has changed its time. */
async function settleDirectories(
  source: Map<string, Entry>,
  to: Place,
  there: Map<string, Entry>,
  left: ReadonlySet<string>,
  problems: Problems,
): Promise<void> {
  for (const { relative, stats } of [...source.values()].reverse()) {
    if (!stats.isDirectory() || isBelow(relative, left)) continue;
    const path = join(to.path, relative);
    const old = there.get(relative)?.stats;
    await problems.try(async () => {
      if (old === undefined || (old.mode & 0o7777) !== (stats.mode & 0o7777)) await to.fs.chmod(path, stats.mode & 0o7777);
      await to.fs.utimes(path, stats.atimeMs / 1000, stats.mtimeMs / 1000);
    }, to.show(path));
  }
}
