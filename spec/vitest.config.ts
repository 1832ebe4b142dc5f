import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes minutes, or a tenth of the two that the rest may take: run in CI, and when asked for by name. */
const long = [
  ...['spec/e2e/**', 'spec/fuse/native.spec.ts', 'spec/interop/peers.spec.ts', 'spec/interop/saboteurs.spec.ts', 'spec/cli/bundle.spec.ts'],
  ...['spec/support/guest/**', 'spec/fs/large.spec.ts', 'spec/cli/bridge.spec.ts', 'spec/bridge/faults.spec.ts'],
  ...['spec/fuse/absent-limits.spec.ts', 'spec/fuse/open-ahead.spec.ts', 'spec/fuse/created.spec.ts', 'spec/server/vanishing.spec.ts'],
  ...['spec/cli/moving.spec.ts', 'spec/cli/interop.spec.ts', 'spec/cli/hostile.spec.ts', 'spec/bridge/hostile.spec.ts'],
];
const everything =
  process.env['NINEP_REQUIRE'] === 'all' || process.argv.some((word) => word.startsWith('spec/') && !word.endsWith('.config.ts'));
if (!everything) console.log(`left out, for they take long: ${long.join(' ')} (NINEP_REQUIRE=all, or a name, runs them)`);

/**
 * Those that take a minute and more begin first, for one that begins last leaves the other workers with nothing to do; and those that
 * mostly wait (faults, peers, recovery) beside those that take a processor of their own.
 */
const first = [
  ...['e2e/guest-linux', 'e2e/ordinary-user', 'bridge/faults', 'interop/peers', 'e2e/mount-workloads', 'e2e/mount-posix', 'e2e/recovery'],
  ...['fuse/native', 'e2e/guest-bridge', 'e2e/mount-faults', 'fuzz/', 'e2e/guest-', 'server/local/contract', 'package/'],
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const found = first.findIndex((name) => moduleId.includes(`/spec/${name}`));
      return found === -1 ? first.length : found;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/**
 * Two workers whatever the machine: tests start servers, emulators and mounts, and CI has two cores. Where everything runs a third one
 * works while the others wait, which is a quarter of the time.
 */
export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['spec/**/*.spec.ts'],
    exclude: ['spec/bench/**', 'node_modules/**', 'dist/**', ...(everything ? [] : long)],
    pool: 'forks',
    maxWorkers: process.env['NINEP_REQUIRE'] === 'all' ? 3 : 2,
    sequence: { sequencer: LongestFirst },
    // A process for each file shows what a file leaves to the next; where somebody waits, two for all of them start much sooner.
    isolate: process.env['NINEP_REQUIRE'] === 'all',
    setupFiles: ['spec/support/setup.ts'],
    reporters: ['./spec/support/reporter.ts'],
    // CI runs emulated guests, other people's servers and kernels on two busy cores: what fails there must fail twice. The reporter names
    // what needed a second try.
    retry: process.env['NINEP_REQUIRE'] === 'all' ? 1 : 0,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    coverage: { include: ['lib/**', 'cli/**'], reporter: ['text-summary', 'html'] },
  },
});
