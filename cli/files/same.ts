import { randomBytes } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { type Files, join, type Place, together } from './place.js';

const SECOND = 1_000_000_000n;

/** Whether two looks at one place were at one file. */
export function isOneFile({ remote }: Pick<Place, 'remote'>, a: BigIntStats, b: BigIntStats): boolean {
  if (a.ino !== b.ino || a.dev !== b.dev) return false;
  // 9P names no device, and below one export there may be several: two files can have one number there, but hardly all the rest.
  return remote === undefined || (a.mode === b.mode && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs);
}

/**
 * Whether the file that is open for reading is the one at `path`. Between two places, or two devices of one, no number tells: a file of the
 * same size and age has its time changed for a moment, and whether the other one's changed with it is looked at. Where that may not be done,
 * it is taken for another.
 */
export async function isSource(from: Place, input: FileHandle, to: Place, path: string, there: BigIntStats): Promise<boolean> {
  const stats = await input.stat({ bigint: true });
  if (together(from, to) && stats.dev === there.dev) return isOneFile(from, stats, there);
  const apart = stats.mtimeNs - there.mtimeNs;
  // Some dialects have only whole seconds.
  if (stats.size !== there.size || apart >= SECOND || apart <= -SECOND) return false;
  const [atime, mtime] = [Number(there.atimeNs) / 1e9, Number(there.mtimeNs) / 1e9];
  const other = Math.floor(mtime) + 2;
  const changed = await to.fs.utimes(path, atime, other).then(
    () => true,
    () => false,
  );
  if (!changed) return false;
  try {
    return (await input.stat({ bigint: true })).mtimeNs / SECOND === BigInt(other);
  } finally {
    // Also after an interruption.
    await (to.remote ?? to.fs).utimes(path, atime, mtime);
  }
}

/** Whether two directories are one. Where no number tells, that takes a file: what appears in the one is looked for in the other. */
export async function isSameDirectory(from: Place, source: string, to: Place, path: string, probe: boolean): Promise<boolean> {
  if (together(from, to)) {
    const [one, other] = [await from.fs.stat(source, { bigint: true }), await to.fs.stat(path, { bigint: true })];
    if (one.dev === other.dev) return isOneFile(from, one, other);
  }
  if (!probe) return false;
  const made = beside(join(path, 'probe'));
  await (await to.fs.open(made, 'wx', 0o600)).close();
  try {
    return await exists(from.fs, join(source, lastName(made)));
  } finally {
    await (to.remote ?? to.fs).unlink(made);
  }
}

/** Whether `source` and `path` are one name of one directory, when `made` has just been made beside `path`. */
export async function isSameName(from: Place, source: string, path: string, made: string): Promise<boolean> {
  return lastName(source) === lastName(path) && (await exists(from.fs, `${directoryOf(source)}${lastName(made)}`));
}

/** As cp(1), mv(1) and ln(1) say it. */
export function sameFile(from: string, to: string, path: string, command: string): Error {
  return Object.assign(new Error(`EINVAL: '${from}' and '${to}' are the same file, ${command} '${path}'`), { code: 'EINVAL', path });
}

/** A name of its own in the same directory, hidden: 255 bytes are its limit, and a character may take three. */
export function beside(path: string): string {
  const directory = directoryOf(path);
  return `${directory}.${path.slice(directory.length, directory.length + 60)}.${randomBytes(4).toString('hex')}.part`;
}

/**
 * Makes a name that may be there already: then under another one, which takes its place when all went well. `last` is asked before that, with
 * the other name.
 */
export async function putInPlace(
  place: Place,
  path: string,
  make: (path: string) => Promise<void>,
  last?: (made: string) => Promise<void>,
): Promise<void> {
  try {
    await make(path);
    return;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const made = beside(path);
  await make(made);
  try {
    await last?.(made);
    await place.fs.rename(made, path);
  } finally {
    // Also after an interruption; and rename(2) leaves both where they are names of one file.
    await (place.remote ?? place.fs).unlink(made).catch(() => undefined);
  }
}

export function exists(fs: Files, path: string): Promise<boolean> {
  return fs.lstat(path).then(
    () => true,
    () => false,
  );
}

/** With its slash; "" for a path that is a name alone. */
export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

export function lastName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
