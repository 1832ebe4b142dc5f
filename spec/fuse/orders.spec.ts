import { expect, test } from 'vitest';
import { Orders } from '../../lib/fuse/orders.js';
import type { EntryPlus } from '../../lib/protocol/plus.js';

const entry = (name: string): EntryPlus => ({
  entry: { name, offset: 0n, type: 8, qid: { type: 0, version: 0, path: 0n } },
  attributes: undefined,
  bare: false,
});

/** What is expected, `count` names of it, of who has taken these files of a directory that lists them so. */
function following(listed: string, taken: string, count = 3, going = false): string | undefined {
  const orders = new Orders([...listed].map(entry));
  for (const name of taken) orders.took(name, going);
  const files = orders.following();
  if (files === undefined) return undefined;
  let names = '';
  for (const { entry: next } of files) {
    if (names.length === count) break;
    names += next.name;
  }
  return names;
}

test('the order of the listing', () => {
  expect(following('qwertyuiop', 'qwert')).toBe('yui');
  expect(following('qwertyuiop', 'ertyu')).toBe('iop');
  expect(following('qwertyuiop', 'ertyuio')).toBe('p');
  expect(following('qwertyuiop', 'qwertyuiop')).toBe('');
});

test('the order of the names', () => {
  expect(following('qwertyuiop', 'eiopq')).toBe('rtu');
  expect(following('zyxwvutsrq', 'qrstu')).toBe('vwx');
  expect(following('abcdefghij', 'abcde')).toBe('fgh');
});

test('a few may be left out, or come in another order, as several threads take them', () => {
  expect(following('abcdefghijklmnopqrstuvwxyz', 'acegi')).toBe('jkl');
  expect(following('abcdefghijklmnopqrstuvwxyz', 'bacedfg')).toBe('hij');
});

test('who has taken too few, goes backwards or nowhere goes on by no order', () => {
  expect(following('qwertyuiop', 'qwer')).toBeUndefined();
  expect(following('abcdefghijklmnopqrstuvwxyz', 'zyxwvutsrqponmlkji')).toBeUndefined();
  expect(following('abcdefghijklmnopqrstuvwxyz', 'anckqdzpe')).toBeUndefined();
  expect(following('abcdefghijklmnopqrstuvwxyz', 'aaaaaaaaa')).toBeUndefined();
  expect(following('abcdefghijklmnopqrstuvwxyz', 'abcdefz')).toBeUndefined();
  expect(following('abcd', 'wxyz')).toBeUndefined();
});

test('who has just gone through another directory goes on from the first', () => {
  expect(following('qwertyuiop', 'w', 3, true)).toBe('ert');
  expect(following('qwertyuiop', 'x', 3, true)).toBeUndefined();
});
