import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../support/build.js';

/** Each `interop: a.b` in a comment of lib, and the file it stands in. */
export function workarounds(): { id: string; file: string }[] {
  const files = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.sort().flatMap((file) =>
    // A comment may break its line between the word and the name.
    [...readFileSync(join(root, 'lib', file), 'utf8').matchAll(/interop:[\s*/]+([a-z]+\.[a-z0-9-]+)/g)].map(([, id = '']) => ({
      id,
      file,
    })),
  );
}

/** The last part of MATRIX.md: which deviations the client and the mount work round, and where. */
export function workaroundsSection(): string {
  const places = new Map<string, Set<string>>();
  for (const { id, file } of workarounds()) places.set(id, (places.get(id) ?? new Set()).add(`[lib/${file}](../../lib/${file})`));
  const rows = [...places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, files]) => `| \`${id}\` | ${[...files].join(', ')} |`);
  return `## Worked round

What a server does otherwise and the client or the mount meets, and where they see to it.

| check | in |
|---|---|
${rows.join('\n')}
`;
}
