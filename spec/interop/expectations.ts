import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Outcome, Report } from '../../lib/interop/index.js';

/** What a server of that version was seen to do: every check that is not here passes. */
export interface Expectation {
  version: string;
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

export function writeExpectation(key: string, expectation: Expectation): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${key}.json`, folder), `${JSON.stringify(expectation, null, 2)}\n`);
}
