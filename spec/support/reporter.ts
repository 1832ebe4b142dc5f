import type { SerializedError } from 'vitest';
import { DefaultReporter, type TestCase, type TestModule, type TestRunEndReason, type TestSuite } from 'vitest/node';

/** Why a suite or test was left out, as `requires` records it. */
declare module 'vitest' {
  interface TaskMeta {
    needs?: string;
  }
}

/** The default reporter, then one line for each thing that was missing, then the counts alone on the last line. */
export default class Reporter extends DefaultReporter {
  override onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[], reason: TestRunEndReason): void {
    super.onTestRunEnd(modules, errors, reason);
    const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
    const needs = new Set<string>();
    for (const module of modules) {
      // A file that could not be loaded and a hook that threw run no test of their own, and are failures all the same.
      if (module.errors().length > 0) counts.failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        counts[state]++;
        if (state === 'passed' && (test.diagnostic()?.retryCount ?? 0) > 0) this.log(`passed at its second try: ${test.fullName}`);
        if (state === 'skipped') for (const need of needsOf(test)) needs.add(need);
      }
    }
    for (const need of [...needs].sort()) this.log(`skipped: needs ${need}`);
    // Written when the process ends, so that nothing a worker or plugin prints on its way out comes after it.
    const summary = `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped + counts.pending} skipped`;
    process.once('exit', () => process.stdout.write(`${summary}\n`));
  }
}

function needsOf(test: TestCase): string[] {
  const found: string[] = [];
  let node: TestCase | TestSuite | TestModule = test;
  while (node.type !== 'module') {
    const { needs } = node.meta();
    if (needs !== undefined) found.push(needs);
    node = node.parent;
  }
  return found;
}
