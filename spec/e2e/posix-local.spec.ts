/** The oracle: the suite holds on the local disk, and it fails on calls that are wrong. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mutants } from '../contracts/posix/mutants.js';
import { posixContract, runPosix } from '../contracts/posix.js';

const isRoot = process.geteuid?.() === 0;

/** A second view of a directory through which nothing can be written. Only root can make one; EROFS goes untested where it cannot. */
async function readOnlyView(directory: string): Promise<string | undefined> {
  if (!isRoot) return undefined;
  const view = await fs.mkdtemp(path.join(os.tmpdir(), 'ninep-posix-ro-'));
  try {
    execFileSync('mount', ['--bind', directory, view], { stdio: 'pipe' });
    execFileSync('mount', ['-o', 'remount,bind,ro', view], { stdio: 'pipe' });
    return view;
  } catch {
    await fs.rmdir(view);
    return undefined;
  }
}

async function prepare() {
  const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'ninep-posix-'));
  await fs.chmod(directory, 0o755);
  const readOnly = await readOnlyView(directory);
  return {
    directory,
    ...(readOnly === undefined ? {} : { readOnly }),
    async release() {
      if (readOnly !== undefined) {
        execFileSync('umount', [readOnly]);
        await fs.rmdir(readOnly);
      }
      await fs.rm(directory, { recursive: true });
    },
  };
}

// Anybody may run the suite; without root what needs several users is left out.
posixContract('the local disk', prepare, { atLeast: isRoot ? 5000 : 0 });

describe.skipIf(!isRoot)('the POSIX suite notices', () => {
  let directory = '';
  beforeAll(async () => {
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'ninep-posix-mutant-'));
    await fs.chmod(directory, 0o755);
  });
  afterAll(() => fs.rm(directory, { recursive: true }));

  for (const [name, { noticed }] of Object.entries(mutants)) {
    it(`that ${name}`, { timeout: 300_000 }, async () => {
      const own = path.join(directory, name.replaceAll(' ', '-'));
      await fs.mkdir(own);
      const run = await runPosix({ directory: own, elsewhere: '/dev/shm', mutant: name, only: noticed });
      expect(run.trouble).toBe('');
      for (const prefix of noticed) {
        expect(
          run.results.filter(({ group, ok }) => !ok && group.startsWith(prefix)).length,
          `failures in "${prefix}"`,
        ).toBeGreaterThanOrEqual(1);
      }
    });
  }
});
