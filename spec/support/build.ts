import { readdirSync, statSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { run } from './child.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));
/** The command line program as it is published. */
export const main = join(root, 'dist', 'cli', 'main.js');

let built: Promise<void> | undefined;

/** Builds `dist` if `lib` or `cli` is newer, so that tests never run yesterday's program. Workers that ask at once build once. */
export function ensureBuilt(): Promise<void> {
  built ??= build();
  return built;
}

async function build(): Promise<void> {
  // Who may not write here may still test what was built.
  if (!stale()) return;
  const lock = join(root, '.cache', 'build.lock');
  await mkdir(join(root, '.cache'), { recursive: true });
  const deadline = Date.now() + 60_000;
  while (stale()) {
    try {
      await mkdir(lock);
    } catch {
      // Another worker builds; one that died while it did so holds the lock for a minute.
      if (Date.now() > deadline) await rm(lock, { recursive: true, force: true });
      await delay(100);
      continue;
    }
    try {
      if (!stale()) return;
      await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', join(root, 'tsconfig.build.json')], {
        cwd: root,
        check: false,
      });
      await chmod(main, 0o755);
      return;
    } finally {
      await rm(lock, { recursive: true, force: true });
    }
  }
}

function stale(): boolean {
  const files = (folder: string): string[] =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(folder, name));
  return [...files('lib'), ...files('cli')].some((file) => {
    const output = statSync(join(root, 'dist', file.replace(/\.ts$/, '.js')), { throwIfNoEntry: false });
    return output === undefined || output.mtimeMs < statSync(join(root, file)).mtimeMs;
  });
}
