import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { allChecks } from '../../lib/interop/index.js';
import { root } from '../support/build.js';

/** Each `interop: a.b` in a comment of lib, and where it stands. */
function named(): [id: string, file: string][] {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.flatMap((file) =>
    // A comment may break its line between the word and the name.
    [...readFileSync(join(root, 'lib', file), 'utf8').matchAll(/interop:[\s*/]+([a-z]+\.[a-z0-9-]+)/g)].map(
      ([, id = '']): [string, string] => [id, file],
    ),
  );
}

test('what works round another server’s deviation names a check that there is', () => {
  const ids = new Set(allChecks.map(({ id }) => id));
  const all = named();
  expect(all.length).toBeGreaterThan(12);
  expect(all.filter(([id]) => !ids.has(id))).toEqual([]);
});

test('and that check finds the deviation in a server of the matrix', () => {
  const expected = join(root, 'spec/interop/expected');
  const deviates = new Set<string>();
  for (const file of readdirSync(expected).filter((name) => !name.startsWith('ninep-'))) {
    const { outcomes } = JSON.parse(readFileSync(join(expected, file), 'utf8')) as { outcomes: Record<string, string> };
    for (const [id, outcome] of Object.entries(outcomes)) if (outcome !== 'pass') deviates.add(id);
  }
  expect(named().filter(([id]) => !deviates.has(id))).toEqual([]);
});
