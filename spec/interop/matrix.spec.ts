import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { allChecks } from '../../lib/interop/index.js';
import { root } from '../support/build.js';
import { mayVary, readExpectation } from './expectations.js';
import { columns } from './peers.js';
import { workarounds, workaroundsSection } from './workarounds.js';

const named = workarounds();

test('what works round another server’s deviation names a check that there is', () => {
  const ids = new Set(allChecks.map(({ id }) => id));
  expect(named.length).toBeGreaterThan(12);
  expect(named.filter(({ id }) => !ids.has(id))).toEqual([]);
});

test('and that check finds the deviation in a server of the matrix', () => {
  const expected = join(root, 'spec/interop/expected');
  const deviates = new Set<string>();
  for (const file of readdirSync(expected).filter((name) => !name.startsWith('ninep-'))) {
    const { outcomes } = JSON.parse(readFileSync(join(expected, file), 'utf8')) as { outcomes: Record<string, string> };
    for (const [id, outcome] of Object.entries(outcomes)) if (outcome !== 'pass') deviates.add(id);
  }
  expect(named.filter(({ id }) => !deviates.has(id))).toEqual([]);
});

test('the matrix tells where each is worked round', () => {
  const file = join(root, 'spec/interop/MATRIX.md');
  const matrix = readFileSync(file, 'utf8');
  const [before = ''] = matrix.split(/^## Worked round$/m);
  const now = `${before.trimEnd()}\n\n${workaroundsSection()}`;
  if (process.env['NINEP_UPDATE']) writeFileSync(file, now);
  expect(matrix).toBe(now);
});

test('nothing is left open that has no reason to vary', () => {
  const open = columns.flatMap(({ key }) =>
    Object.entries(readExpectation(key)?.outcomes ?? {}).filter(([id, found]) => found === 'varies' && !mayVary(key, id)),
  );
  expect(open).toEqual([]);
});
