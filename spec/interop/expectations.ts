import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Outcome, Report } from '../../lib/interop/index.js';

/** What a server of that version was seen to do: every check that is not here passes. */
export interface Expectation {
  version: string;
  /** `varies`: one run found this and another that, as with what a server does while it dies. */
  outcomes: Record<string, Exclude<Outcome, 'pass'> | 'varies'>;
}

const folder = new URL('expected/', import.meta.url);

export function expectationOf(report: Report, version: string): Expectation {
  const outcomes: Expectation['outcomes'] = {};
  for (const { id, outcome } of report.results) if (outcome !== 'pass') outcomes[id] = outcome;
  return { version, outcomes };
}

/** Undefined where none was written yet. */
export function readExpectation(key: string): Expectation | undefined {
  const file = new URL(`${key}.json`, folder);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Expectation) : undefined;
}

/** Replaces what was expected. What the same version did otherwise before is noted as varying. */
export function writeExpectation(key: string, expectation: Expectation): void {
  const before = readExpectation(key);
  if (before?.version === expectation.version) {
    for (const id of differences(before.outcomes, expectation.outcomes)) expectation.outcomes[id] = 'varies';
    for (const [id, outcome] of Object.entries(before.outcomes)) if (outcome === 'varies') expectation.outcomes[id] = outcome;
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${key}.json`, folder), `${JSON.stringify(expectation, null, 2)}\n`);
}

/** The checks whose outcome is not the one expected. */
export function differences(expected: Expectation['outcomes'], found: Expectation['outcomes']): string[] {
  const ids = new Set([...Object.keys(expected), ...Object.keys(found)]);
  return [...ids].filter((id) => expected[id] !== 'varies' && expected[id] !== found[id]);
}
