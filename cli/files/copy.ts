import { type BigIntStats, constants, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { type Files, join, type Place, placeAt, together } from './place.js';
import { inParallel } from './pool.js';
import { about, type Problems } from './problems.js';
import type { Progress } from './progress.js';
import { beside, exists, isOneFile, isSameDirectory, isSameName, isSource, putInPlace, sameFile } from './same.js';
import { type Entry, walk } from './walk.js';

/** Bytes of one part of a file, and parts of one in flight. */
const PART = 512 * 1024;
const PARTS = 8;
/** Files in flight. */
const FILES = 4;

export interface CopyOptions {
  recursive: boolean;
  /** Keep times and all mode bits; else only the permission bits, less the umask. */
  preserve: boolean;
  /** Leave what is there already. */
  noClobber?: boolean;
  /** Copy what symlinks of the command line lead to. */
  follow?: boolean;
  dryRun: boolean;
  /** The files are in the totals of the progress already. */
  counted?: boolean;
  /** Write beside the file and put it in its place when it is whole. */
  atomic?: boolean;
  /** For who removes the sources afterwards: what each of them was when it was read; nothing is known of directories. */
  seen?: Map<Entry, BigIntStats | undefined>;
  /** Ends it between two parts. */
  signal?: AbortSignal | undefined;
  /** Told of each file, with what is to happen to it. */
  onFile?: (action: string, from: string, to: string) => void;
}

/** Copies a file or a tree to exactly `to`, from one file system into the same or another. */
export async function copyTree(from: Place, to: Place, options: CopyOptions, progress: Progress, problems: Problems): Promise<void> {
  const plan: Entry[] = [];
  for await (const entry of walk(from, problems, { follow: options.follow ?? false })) {
    if (entry.depth === 0 && entry.stats.isDirectory() && !options.recursive) {
      problems.tell(
        Object.assign(new Error(`EISDIR: is a directory (not copied without -r), cp '${from.path}'`), { code: 'EISDIR', path: from.path }),
        from.show(),
      );
      return;
    }
    plan.push(entry);
    if (entry.stats.isFile() && !options.counted) {
      progress.totalFiles++;
      progress.totalBytes += entry.stats.size;
    }
  }
  const directories = plan.filter(({ stats }) => stats.isDirectory());
  const others = plan.filter(({ stats }) => !stats.isDirectory());
  const target = (entry: Entry): string => join(to.path, entry.relative);
  const failed = new Set<string>();
  for (const entry of directories) {
    // Where a directory could not be made, what was to be in it need not be tried.
    const above = entry.relative.slice(0, Math.max(0, entry.relative.lastIndexOf('/')));
    if (entry.depth > 0 && failed.has(above)) failed.add(entry.relative);
    else if (!(await makeDirectory(from, to, entry, target(entry), options, problems))) failed.add(entry.relative);
    else options.seen?.set(entry, undefined);
  }
  await inParallel(others, FILES, async (entry) => {
    const above = entry.relative.slice(0, Math.max(0, entry.relative.lastIndexOf('/')));
    if (entry.depth > 0 && failed.has(above)) return;
    await problems.try(() => copyEntry(from, to, entry, target(entry), options, progress), to.show(target(entry)));
  });
  if (!options.preserve || options.dryRun) return;
  // Deepest first: what is put into a directory changes its time.
  for (const entry of directories.reverse()) {
    if (failed.has(entry.relative)) continue;
    await problems.try(() => keepAttributes(to.fs, target(entry), entry.stats), to.show(target(entry)));
  }
}

async function makeDirectory(
  from: Place,
  to: Place,
  entry: Entry,
  path: string,
  options: CopyOptions,
  problems: Problems,
): Promise<boolean> {
  return problems.try(async () => {
    // A symlink that an earlier copy made must not lead this one out of its destination.
    const there = await (entry.depth === 0 ? to.fs.stat(path) : to.fs.lstat(path)).catch(() => undefined);
    if (there?.isDirectory()) {
      if (await isSameDirectory(from, entry.path, to, path, options.seen !== undefined))
        throw sameFile(from.show(entry.path), to.show(path), path, 'cp');
      return;
    }
    if (there?.isSymbolicLink()) throw failure('ENOTDIR', 'a symlink is not overwritten by a directory', path);
    if (there !== undefined) throw failure('EEXIST', 'is no directory', path);
    options.onFile?.('mkdir', from.show(entry.path), to.show(path));
    if (options.dryRun) return;
    // Its owner must be able to fill it, whatever the mode it is to have in the end.
    await to.fs.mkdir(path, { mode: (entry.stats.mode & 0o777) | 0o700 });
  }, to.show(path));
}

async function copyEntry(from: Place, to: Place, entry: Entry, path: string, options: CopyOptions, progress: Progress): Promise<void> {
  const { stats } = entry;
  progress.current = entry.relative === '' ? entry.path : entry.relative;
  if (options.noClobber && (await exists(to.fs, path))) return;
  if (options.dryRun) await refuseDirectory(to.fs, path, stats.isSymbolicLink() || entry.depth > 0);
  if (stats.isSymbolicLink()) {
    options.onFile?.('link', from.show(entry.path), to.show(path));
    if (options.dryRun) return;
    await copySymlink(from, to, entry, path, options);
    if (options.preserve) await to.fs.lutimes(path, stats.atime, stats.mtime).catch(ignoreUnsupported);
    return;
  }
  if (!stats.isFile()) {
    const kind = stats.isFIFO() ? 'FIFO' : stats.isSocket() ? 'socket' : 'device';
    await about(from.show(entry.path), () => Promise.reject(failure('EINVAL', `a ${kind} is not copied`, entry.path)));
  }
  options.onFile?.('copy', from.show(entry.path), to.show(path));
  if (!options.dryRun && !options.atomic && entry.depth > 0) await removeSymlink(to.fs, path);
  if (!options.dryRun) await copyFile(from, to, entry, path, options, progress);
  progress.files++;
}

/** What nothing but a directory takes the place of. */
async function refuseDirectory(fs: Files, path: string, itself: boolean): Promise<void> {
  const there = await (itself ? fs.lstat(path) : fs.stat(path)).catch(() => undefined);
  if (there?.isDirectory()) throw failure('EISDIR', 'is a directory', path);
}

async function copyFile(
  from: Place,
  to: Place,
  entry: Entry,
  destination: string,
  options: CopyOptions,
  progress: Progress,
): Promise<void> {
  const { stats } = entry;
  const ofSource = <T>(work: () => Promise<T>): Promise<T> => about(from.show(entry.path), work);
  const input = await ofSource(() => from.fs.open(entry.path, 'r'));
  try {
    const there = await to.fs.stat(destination, { bigint: true }).catch(() => undefined);
    // What is put in the place of a symlink does not go where that leads.
    if (there?.isDirectory() && !(options.atomic && (await to.fs.lstat(destination)).isSymbolicLink()))
      throw failure('EISDIR', 'is a directory', destination);
    const same = (): Error => sameFile(from.show(entry.path), to.show(destination), destination, 'cp');
    if (there?.isFile() && (await isSource(from, input, to, destination, there))) throw same();
    options.seen?.set(entry, await input.stat({ bigint: true }));
    const path = options.atomic ? beside(destination) : destination;
    // What is there is written over and cut off only then: should it be the source by a way that nobody can tell, it is not lost.
    const over = there?.isFile() ? constants.O_WRONLY | constants.O_CREAT : 'w';
    const output = await to.fs.open(path, options.atomic ? 'wx' : over, stats.mode & 0o777);
    try {
      const read = (buffer: Buffer, offset: number, length: number, at: number) => ofSource(() => input.read(buffer, offset, length, at));
      const end = await copyContent(read, output, stats.size, options, progress);
      if (there?.isFile() && !options.atomic) await cutOff(output, end, there.size);
      await output.close();
      if (options.preserve) await keepAttributes(to.fs, path, stats);
      if (options.atomic) {
        // What is to be removed afterwards must not be what has been put there.
        if (options.seen && there && (await isSameName(from, entry.path, destination, path))) throw same();
        await to.fs.rename(path, destination);
      }
    } catch (error) {
      await output.close().catch(() => undefined);
      // Also after an interruption, when the place itself does nothing any more.
      if (options.atomic) await (to.remote ?? to.fs).unlink(path).catch(() => undefined);
      throw error;
    }
  } finally {
    await input.close().catch(() => undefined);
  }
}

async function cutOff(file: FileHandle, end: number, before: bigint): Promise<void> {
  try {
    await file.truncate(end);
  } catch (error) {
    // There are servers with files that only take writes; nothing old is left of them.
    if (before > end) throw error;
  }
}

/**
 * Parts of the file in flight, each read and then written to where it was read; the end, which is returned, is where nothing more is read.
 */
async function copyContent(
  read: (buffer: Buffer, offset: number, length: number, at: number) => Promise<{ bytesRead: number }>,
  to: FileHandle,
  size: number,
  { signal }: CopyOptions,
  progress: Progress,
): Promise<number> {
  let next = 0;
  let end = Number.POSITIVE_INFINITY;
  const parts = Math.max(1, Math.min(PARTS, Math.ceil(size / PART)));
  await inParallel(Array.from({ length: parts }), parts, async () => {
    const buffer = Buffer.allocUnsafe(Math.min(PART, Math.max(4096, size + 1)));
    while (next < end) {
      signal?.throwIfAborted();
      const at = next;
      next += buffer.length;
      for (let done = 0; done < buffer.length && at + done < end; ) {
        const { bytesRead } = await read(buffer, done, buffer.length - done, at + done);
        if (bytesRead === 0) {
          end = Math.min(end, at + done);
          break;
        }
        for (let written = 0; written < bytesRead; ) {
          const { bytesWritten } = await to.write(buffer, done + written, bytesRead - written, at + done + written);
          written += bytesWritten;
        }
        done += bytesRead;
        progress.bytes += bytesRead;
      }
    }
  });
  return end;
}

/** Whoever reads a symlink's target decides where it leads; what is to be written goes here. */
async function removeSymlink(fs: Files, path: string): Promise<void> {
  const there = await fs.lstat(path).catch(() => undefined);
  if (there?.isSymbolicLink()) await fs.unlink(path);
}

/** The owner is not kept, so what runs with its owner's or group's rights would run with the wrong ones (as cp(1) sees it). */
async function keepAttributes(fs: Files, path: string, stats: Stats): Promise<void> {
  await fs.chmod(path, stats.mode & (stats.isDirectory() ? 0o7777 : 0o1777));
  await fs.utimes(path, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

async function copySymlink(from: Place, to: Place, entry: Entry, path: string, { seen }: CopyOptions): Promise<void> {
  const stats = await from.fs.lstat(entry.path, { bigint: true });
  const target = await about(from.show(entry.path), () => from.fs.readlink(entry.path));
  const same = (): Error => sameFile(from.show(entry.path), to.show(path), path, 'cp');
  if (together(from, to)) {
    const there = await to.fs.lstat(path, { bigint: true }).catch(() => undefined);
    // Nor is what it leads to replaced by it.
    const led = there?.isFile() ? await from.fs.stat(entry.path, { bigint: true }).catch(() => undefined) : undefined;
    if (there && (isOneFile(from, stats, there) || (led && isOneFile(from, led, there)))) throw same();
  }
  seen?.set(entry, stats);
  await putInPlace(
    to,
    path,
    (at) => to.fs.symlink(target, at),
    async (made) => {
      if (seen && (await isSameName(from, entry.path, path, made))) throw same();
    },
  );
}

function failure(code: string, text: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${text}, cp '${path}'`), { code, path });
}

function ignoreUnsupported(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EOPNOTSUPP' && error.code !== 'ENOSYS') throw error;
}

/** Where each source goes: into the destination if that is a directory, or must be one; else it becomes it. */
export async function destinationFor(to: Place, sources: number): Promise<(name: string) => Place> {
  const directory = await to.fs.stat(to.path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (directory) return (name) => placeAt(to, join(to.path, name));
  if (sources > 1 || to.path.endsWith('/')) {
    throw Object.assign(new Error(`ENOTDIR: not a directory, cp '${to.show()}'`), { code: 'ENOTDIR', path: to.show() });
  }
  return () => to;
}
