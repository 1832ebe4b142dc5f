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

test('a listing that comes part by part is known as it comes, and what is listed again keeps its place', () => {
  const orders = new Orders();
  const next = (): string => {
    let names = '';
    for (const file of orders.following() ?? []) names += file.entry.name;
    return names;
  };
  orders.list([...'qwertyu'].map(entry), 1, true);
  for (const name of 'qwert') orders.took(name, false);
  expect(next()).toBe('yu');
  for (const file of orders.following() ?? []) file.vain = true;
  orders.list([...'iop'].map(entry), 2, false);
  expect(orders.has('i')).toBe(true);
  expect(next()).toBe('yuiop');
  orders.list([...'qwertyuiopas'].map(entry), 3, true);
  orders.took('y', false);
  expect(next()).toBe('uiopas');
  for (const file of orders.following() ?? []) expect(file).toMatchObject({ at: 3, vain: false });
});

test('the order of the names is found in a listing that has grown since', () => {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  const scattered = [...letters].sort((one, other) => ((Number(one.codePointAt(0)) * 7) % 26) - ((Number(other.codePointAt(0)) * 7) % 26));
  const orders = new Orders(scattered.slice(0, 13).map(entry));
  for (const name of letters.slice(0, 12)) orders.took(name, false);
  orders.list(scattered.slice(13).map(entry), 1, false);
  for (const name of letters.slice(12, 20)) orders.took(name, false);
  expect([...(orders.following() ?? [])].map((file) => file.entry.name).join('')).toBe(letters.slice(20));
});

test('of a directory that is longer than may be kept the last names are, and the order goes on', () => {
  const orders = new Orders();
  const chunk = (from: number): string[] => Array.from({ length: 50 }, (_, index) => `n${(from + index) % 7}-${from + index}`);
  let at = 0;
  for (; at < 1000; at += 50) {
    const names = chunk(at);
    orders.list(names.map(entry), at, at === 0);
    while (orders.size > 200 && orders.shorten());
    for (const name of names.slice(0, 40)) orders.took(name, false);
    expect([...(orders.following() ?? [])].map((file) => file.entry.name)).toEqual(names.slice(40));
    for (const name of names.slice(40)) orders.took(name, false);
    expect(orders.size).toBeLessThanOrEqual(200);
  }
  expect(orders.has(chunk(0)[0] ?? '')).toBe(false);
});
