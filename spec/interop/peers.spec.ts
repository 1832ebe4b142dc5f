import { expect, test } from 'vitest';
import { type Report, summary } from '../../lib/interop/index.js';
import { requires } from '../support/requires.js';
import { differences, expectationOf, readExpectation } from './expectations.js';
import { columns, inspectColumn } from './peers.js';

/**
 * What every run holds against what was seen before. The other columns of the matrix cost minutes: NINEP_INTEROP=all runs them too, and
 * `spec/interop/matrix.ts` writes anew what is expected.
 */
const usual = ['qemu-mapped-xattr', 'qemu-none-u', 'diod', 'ninep-mapped-xattr', 'ninep-none'];

for (const column of columns) {
  if (!usual.includes(column.key) && process.env['NINEP_INTEROP'] !== 'all') continue;
  const expected = readExpectation(column.key);
  if (expected === undefined) continue;

  requires(...column.needs)(`${column.name}, ${column.dialect}`, () => {
    test('does what it did before', { timeout: 600_000 }, async (context) => {
      const version = column.version();
      // Another version may well do something else; Debian pins the one that CI has.
      if (version !== expected.version && process.env['NINEP_REQUIRE'] !== 'all') {
        context.skip(`it is ${version}, and ${expected.version} was seen`);
      }
      const report = await inspectColumn(column);
      let unexpected = differences(expected.outcomes, expectationOf(report, version).outcomes);
      // What others' servers did differently once, on a busy machine, they must do twice to count.
      if (unexpected.length > 0 && !column.key.startsWith('ninep')) {
        const again = await inspectColumn(column, { checks: unexpected });
        unexpected = differences(expected.outcomes, expectationOf(again, version).outcomes).filter((id) => unexpected.includes(id));
      }
      expect(unexpected, describe(report, expected.outcomes)).toEqual([]);
      if (column.key.startsWith('ninep')) expect(report.counts.error, summary(report)).toBe(0);
    });
  });
}

/** What differs, with what was seen. */
function describe(report: Report, expected: Readonly<Record<string, string>>): string {
  const lines = report.results
    .filter(({ id, outcome }) => expected[id] !== 'varies' && (expected[id] ?? 'pass') !== outcome)
    .map(({ id, outcome, saw }) => `${id}: ${outcome}, not ${expected[id] ?? 'pass'}${saw === undefined ? '' : ` (${saw})`}`);
  return `${report.server}\n${lines.join('\n')}\n`;
}
