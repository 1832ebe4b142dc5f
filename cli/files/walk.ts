import type { Stats } from 'node:fs';
import { join, type Place } from './place.js';
import { inParallel } from './pool.js';
import type { Problems } from './problems.js';

/** A file below a root, by the names that lead there. */
export interface Entry {
  /** From the root: "" is the root itself. */
  readonly relative: string;
  readonly path: string;
  readonly depth: number;
  readonly stats: Stats;
}

/** Entries of one directory that are asked about at the same time. */
const ASKING = 32;

/**
 * A file and all below it, directories before what is in them, names sorted; symlinks are not followed. What cannot be read is told
 * of and left out.
 */
export async function* walk(
  place: Place,
  problems: Problems,
  options: { maxDepth?: number | undefined; follow?: boolean } = {},
): AsyncGenerator<Entry, void, undefined> {
  const { fs, path } = place;
  const stats = options.follow ? await fs.stat(path) : await fs.lstat(path);
  yield* descend(place, { relative: '', path, depth: 0, stats }, problems, options.maxDepth ?? Number.POSITIVE_INFINITY);
}

async function* descend(place: Place, entry: Entry, problems: Problems, maxDepth: number): AsyncGenerator<Entry, void, undefined> {
  yield entry;
  if (!entry.stats.isDirectory() || entry.depth >= maxDepth) return;
  const { fs } = place;
  let names: string[] = [];
  const read = await problems.try(async () => {
    names = (await fs.readdir(entry.path)).sort();
  }, place.show(entry.path));
  if (!read) return;
  const children = new Map<string, Stats>();
  const missing: string[] = [];
  const ask = (some: readonly string[], absent: (name: string, error: unknown) => void): Promise<void> =>
    inParallel(some, ASKING, async (name) => {
      try {
        children.set(name, await fs.lstat(join(entry.path, name)));
      } catch (error) {
        if (isMissing(error)) absent(name, error);
        else problems.tell(error, place.show(join(entry.path, name)));
      }
    });
  await ask(names, (name) => missing.push(name));
  if (missing.length > 0) {
    // Gone since it was listed, or listed by a name under which it cannot be reached: that is no file that is not there.
    const listed = new Set(await fs.readdir(entry.path).catch(() => missing));
    await ask(
      missing.filter((name) => listed.has(name)),
      (name, error) => problems.tell(error, place.show(join(entry.path, name))),
    );
  }
  for (const name of names) {
    const stats = children.get(name);
    if (stats === undefined) continue;
    const relative = join(entry.relative, name);
    yield* descend(place, { relative, path: join(entry.path, name), depth: entry.depth + 1, stats }, problems, maxDepth);
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
