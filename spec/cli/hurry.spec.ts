import { availableParallelism } from 'node:os';
import { afterEach, beforeAll, describe, expect, it, test, vi } from 'vitest';
import { compilerFlags } from '../../cli/hurry.js';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';

describe('compilerFlags', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  it.each([
    [1, []],
    [2, ['--v8-pool-size=1']],
    [4, ['--v8-pool-size=3']],
    [5, []],
    [64, []],
  ])('for %i cores', (count, flags) => {
    expect(compilerFlags(count)).toEqual(flags);
  });

  it('leaves alone what was asked for', () => {
    vi.stubEnv('NODE_OPTIONS', '--no-warnings --v8-pool-size=3');
    expect(compilerFlags(2)).toEqual([]);
  });
});

describe('a command that mounts', () => {
  beforeAll(() => ensureBuilt());

  /** Runs on the given number of cores and tells what the process that answers was started with. */
  async function startedWith(words: readonly string[], cpus = '0,1'): Promise<string[]> {
    const tell = 'process.on("exit", () => console.error(JSON.stringify([process.execArgv, process.argv.slice(2), process.ppid])))';
    const { stderr } = await run('taskset', ['-c', cpus, process.execPath, '--import', `data:text/javascript,${tell}`, main, ...words], {
      check: false,
    });
    const lines = stderr.trim().split('\n');
    const [execArgv, rest, parent] = JSON.parse(lines.at(-1) ?? '') as [string[], string[], number];
    expect(rest).toEqual(words);
    // Still the child of this process.
    expect(parent).toBe(process.pid);
    return execArgv.filter((word) => word.startsWith('--v8'));
  }

  const enough = availableParallelism() >= 2;

  test.runIf(enough).each([
    [['mount', '--foreground', '--help'], 1],
    [['mount', '-f', 'nonsense'], 1],
    [['bridge', 'nonsense', '--mount=/mnt'], 1],
    [['mount', '--help'], 0],
    [['bridge', '--help'], 0],
    [['serve', '--help'], 0],
  ])('%j', async (words, times) => {
    expect(await startedWith(words)).toEqual(Array(times).fill('--v8-pool-size=1'));
  });

  test('on one core, too', async () => {
    expect(await startedWith(['mount', '--foreground', '--help'], '0')).toEqual([]);
  });
});
