/** Every workload on the local disk, so that what fails on a mount is the mount's fault. */
import { describe, expect, it } from 'vitest';
import { run, shell } from '../support/child.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { habits, lacking, SMALL } from '../support/workload/habits.js';
import { workload } from '../support/workload/index.js';

const linux = requires('linux');
const full = process.env['NINEP_FULL'] === '1';

linux('workloads on the local disk', () => {
  it('random operations', { timeout: 300_000 }, async () => {
    await using directory = new TemporaryDirectory('operations');
    const report = await workload('operations', [directory.join('file'), { operations: 5000 }]);
    expect(report.done['mapWrite']).toBeGreaterThan(100);
    expect(report.unsupported).toEqual({});
  });

  it('random operations with O_DIRECT', { timeout: 300_000 }, async () => {
    await using directory = new TemporaryDirectory('operations');
    const report = await workload('operations', [directory.join('file'), { operations: 2000, direct: true }]);
    expect(report.done['write']).toBeGreaterThan(100);
  });

  it('racing metadata', { timeout: 300_000 }, async () => {
    await using directory = new TemporaryDirectory('metadata');
    const report = await workload('metadata', [directory.path, { operations: 1000 }]);
    expect(report.operations).toBe(4000);
  });

  it('a comparison of trees sees every difference', { timeout: 300_000 }, async () => {
    await using directory = new TemporaryDirectory('tree');
    const [one, other] = [directory.join('one'), directory.join('other')];
    await run('mkdir', [one]);
    await workload('makeTree', [one, { files: 50, large: 1 << 20, sparse: 50_000_000, seed: 7 }]);
    await run('cp', ['-a', one, other]);
    expect(await workload('compareTrees', [one, other])).toEqual([]);
    const changes: [change: string, seen: RegExp][] = [
      ['chmod 640 many/folder*/file-3.txt', /file-3.txt: mode/],
      ['touch -h -d @5 links/absolute', /links\/absolute: mtime/],
      ['ln -sfn elsewhere "links/to file"', /to file: target/],
      ['printf X | dd of=sparse bs=1 seek=30000000 conv=notrunc status=none', /sparse: content differs at 30000000/],
      ['printf X | dd of=large bs=1 seek=1000000 conv=notrunc status=none', /large: content differs at 1000000/],
      ['cp -p --remove-destination "hard/first 1" t && mv t "hard/second 1"', /first 1.*: links|names of one file/],
      ['rm special/fifo', /special\/fifo: missing on the right/],
      ['touch extra', /extra: missing on the left/],
      ['chown 5:6 names/日本語', /names\/日本語: owner/],
    ];
    for (const [change, seen] of changes) {
      if (change.startsWith('chown') && process.geteuid?.() !== 0) continue;
      await shell(`cd "$1"; ${change}`, [other]);
      expect(
        (await workload('compareTrees', [one, other])).some((difference) => seen.test(difference)),
        change,
      ).toBe(true);
      await run('rm', ['-rf', other]);
      await run('cp', ['-a', one, other]);
    }
  });
});

describe('habits on the local disk', () => {
  for (const habit of habits) {
    const why = process.platform !== 'linux' ? 'Linux' : lacking(habit);
    if (habit.heavy === true && !full) continue;
    it.skipIf(why !== undefined && process.env['NINEP_REQUIRE'] !== 'all')(habit.name, { timeout: 900_000 }, async () => {
      if (why !== undefined) throw new Error(`needs ${why}`);
      await using here = new TemporaryDirectory('habit');
      await using local = new TemporaryDirectory('habit-local');
      await habit.run({ here: here.path, local: local.path, scale: SMALL });
    });
  }
});
