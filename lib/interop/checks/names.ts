import type { Entry } from '../check.js';

/** Names that no file may have, and what to call each in an id. */
export const badNames: readonly (readonly [id: string, name: string])[] = [
  ['empty', ''],
  ['dot', '.'],
  ['dotdot', '..'],
  ['slash', 'a/b'],
  ['nul', 'a\0b'],
  ['long', 'n'.repeat(256)],
];

/** Names that a file may well have. The last is not UTF-8: one byte 0xff, as the codec writes it. */
export const oddNames: readonly (readonly [id: string, name: string])[] = [
  ['space', ' leading, trailing '],
  ['newline', 'two\nlines'],
  ['backslash', 'back\\slash'],
  ['utf8', 'žluťoučký 🐎'],
  ['dots', '...'],
  ['dash', '-rf'],
  ['control', 'bell\x07'],
  ['255', 'n'.repeat(255)],
  ['bytes', 'byte-\udcff'],
];

/** An entry for each case, its id made of the prefix and the first of the case. */
export function each<C extends readonly (string | number)[]>(
  cases: readonly (readonly [id: string, ...rest: C])[],
  prefix: string,
  entry: (...rest: C) => Entry,
): Record<string, Entry> {
  return Object.fromEntries(cases.map(([id, ...rest]) => [`${prefix}${id}`, entry(...rest)]));
}
