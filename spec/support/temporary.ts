import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const live = new Set<TemporaryDirectory>();

/**
 * A fresh directory, removed by `remove`, by `await using`, or after the test file (spec/support/setup.ts), whichever comes first.
 * Mounts below it are taken away before: lazily, since their server may be gone, and without ever descending into them.
 */
export class TemporaryDirectory implements AsyncDisposable {
  readonly path: string;

  constructor(label = 'test') {
    // The file system's own name of it: /proc/self/mountinfo knows no other.
    this.path = mkdtempSync(join(realpathSync(tmpdir()), `ninep-${label}-`));
    live.add(this);
  }

  /** A path below it; nothing is made. */
  join(...names: readonly string[]): string {
    return join(this.path, ...names);
  }

  /** Takes away mounts below it, then the tree. Idempotent. Safe while a mount below is served by this very process. */
  remove(): void {
    if (!live.delete(this)) return;
    unmountBelow(this.path);
    // A mount that stayed may show this host's own files: nothing below it may be removed.
    if (mountsBelow(this.path).length > 0) throw new Error(`still mounted: ${mountsBelow(this.path).join(', ')}`);
    rmSync(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.remove();
  }
}

/** A {@link TemporaryDirectory}, by its path alone: it goes when the test file ends. */
export function temporaryDirectory(label?: string): string {
  return new TemporaryDirectory(label).path;
}

/** Removes what is left, and says which mounts were still there: a test that leaves one has failed. */
export function removeAll(): string[] {
  const mounts = [...live].flatMap(({ path }) => mountsBelow(path));
  for (const directory of live) directory.remove();
  return mounts;
}

/** The mount points at or below a path, the deepest first. */
export function mountsBelow(path: string): string[] {
  if (process.platform !== 'linux') return [];
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => point === path || point.startsWith(`${path}/`))
    .sort((a, b) => b.length - a.length);
}

/** Lazily unmounts everything at or below a path. umount(8) touches no path for a lazy unmount, so a dead server does not hold it. */
export function unmountBelow(path: string): void {
  for (const point of mountsBelow(path)) {
    const [command, ...options]: [string, ...string[]] = process.geteuid?.() === 0 ? ['umount', '-c', '-l'] : ['fusermount3', '-u', '-z'];
    execFileSync(command, [...options, '--', point], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 20_000 });
  }
}

// A run that is interrupted leaves no tree behind either.
process.on('exit', removeAll);
