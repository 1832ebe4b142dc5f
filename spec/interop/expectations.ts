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

/**
 * What one and the same server does now so and now otherwise, and why. Only what stands here may vary: an expectation that is written anew
 * says what was found, and the difference shows in the repository.
 */
const VARYING: readonly { keys: RegExp; id: string; why: string }[] = [
  {
    keys: /^qemu-.*-u$/,
    id: 'concurrency.list-and-change',
    why: 'whether a file vanishes between readdir(3) and lstat(2) of its listing is a race',
  },
  {
    keys: /^diod$/,
    id: 'limits.count-0xffffffff',
    why: 'asked at once it answers, and after other checks it dies',
  },
  {
    keys: /^ganesha$/,
    id: 'malformed.cut-in-number',
    why: 'it goes by what lies behind the message in its buffer',
  },
  {
    keys: /^ganesha$/,
    id: 'concurrency.rename-and-walk',
    why: 'whether the file is replaced between its walk and its open is a race',
  },
];

export function mayVary(key: string, id: string): boolean {
  return VARYING.some((one) => one.keys.test(key) && one.id === id);
}

/** Replaces what was expected, but for what may vary and did. */
export function writeExpectation(key: string, expectation: Expectation): void {
  const before = readExpectation(key);
  if (before?.version === expectation.version) {
    for (const id of new Set([...Object.keys(before.outcomes), ...Object.keys(expectation.outcomes)])) {
      if (mayVary(key, id) && before.outcomes[id] !== expectation.outcomes[id]) expectation.outcomes[id] = 'varies';
    }
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL(`${key}.json`, folder), `${JSON.stringify(expectation, null, 2)}\n`);
}

/** The checks whose outcome is not the one expected. */
export function differences(expected: Expectation['outcomes'], found: Expectation['outcomes']): string[] {
  const ids = new Set([...Object.keys(expected), ...Object.keys(found)]);
  return [...ids].filter((id) => expected[id] !== 'varies' && expected[id] !== found[id]);
}
