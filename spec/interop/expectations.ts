import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Outcome, Report } from '../../lib/interop/index.js';

/** What a server of that version was seen to do: every check that is not here passes. */
export interface Expectation {
  version: string;
  /** Checks of which one run found this and another that: what a server does as it dies, say. */
  varies?: string[];
  outcomes: Record<string, Exclude<Outcome, 'pass'>>;
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
    const varies = [...(before.varies ?? []), ...differences(before.outcomes, expectation.outcomes)];
    if (varies.length > 0) expectation.varies = [...new Set(varies)].sort();
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${key}.json`, folder), `${JSON.stringify(expectation, null, 2)}\n`);
}

/** The checks whose outcome is not the same in both. */
export function differences(a: Expectation['outcomes'], b: Expectation['outcomes']): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((id) => a[id] !== b[id]);
}
