import { describe, expect, test } from 'vitest';
import { Codec } from '../../lib/protocol/codec.js';
import { HEADER_SIZE, VERSION_L } from '../../lib/protocol/constants.js';
import {
  decodeEntriesPlus,
  type EntryPlus,
  encodeEntriesPlus,
  entryPlusBytes,
  READDIR_BARE,
  READDIR_PLUS,
  wantedOf,
} from '../../lib/protocol/plus.js';
import type { Attributes } from '../../lib/protocol/types.js';

const attributes: Attributes = {
  valid: 0x3fffn,
  qid: { type: 0x80, version: 0xfedcba98, path: 0xfedcba9876543210n },
  mode: 0o100644,
  uid: 0xfffffffe,
  gid: 7,
  nlink: 2 ** 40 + 1,
  rdev: 0x8000000000000001n,
  size: Number.MAX_SAFE_INTEGER,
  blksize: 4096,
  blocks: 2 ** 33,
  atime: { sec: -1, nsec: 999_999_999 },
  mtime: { sec: -(2 ** 33) - 5, nsec: 1 },
  ctime: { sec: 2 ** 34 + 3, nsec: 0 },
  btime: { sec: 1, nsec: 2 },
  gen: 3n,
  dataVersion: 0xffffffffffffffffn,
};

const list: EntryPlus[] = [
  { entry: { qid: attributes.qid, offset: 0x7fffffffffffffffn, type: 4, name: 'plain' }, attributes, bare: false },
  { entry: { qid: { type: 0, version: 0, path: 0n }, offset: 0n, type: 8, name: '..' }, attributes: undefined, bare: true },
  { entry: { qid: attributes.qid, offset: 1n, type: 8, name: 'ä€𝄞\udc80' }, attributes, bare: true },
];

const whole = ({ entry, attributes: told, bare }: EntryPlus): EntryPlus => ({ entry, attributes: told, bare });

describe('listings with attributes', () => {
  test.each([
    [4096, { count: 4096, plus: false, bare: false }],
    [READDIR_BARE, { count: READDIR_BARE, plus: false, bare: false }],
    [READDIR_PLUS + 4096, { count: 4096, plus: true, bare: false }],
    [READDIR_PLUS + READDIR_BARE + 4096, { count: 4096, plus: true, bare: true }],
    [0xffffffff, { count: 0x3fffffff, plus: true, bare: true }],
  ])('are asked for by a count of %i', (count, wanted) => {
    expect(wantedOf(count)).toEqual(wanted);
  });

  test('come back as they were', () => {
    const data = encodeEntriesPlus(list);
    expect(data.length).toBeLessThanOrEqual(list.reduce((sum, { entry }) => sum + entryPlusBytes(entry.name), 0));
    expect(decodeEntriesPlus(data).map(whole)).toEqual(list);
    expect(decodeEntriesPlus(Uint8Array.of(0, ...data).subarray(1)).map(whole)).toEqual(list);
    expect(decodeEntriesPlus(new Uint8Array(0))).toEqual([]);
  });

  test('carry attributes as Rgetattr does', () => {
    const frame = new Codec(VERSION_L).encode('Rgetattr', 1, attributes).slice(HEADER_SIZE);
    const data = encodeEntriesPlus(list.slice(0, 1));
    expect(data.slice(-frame.length)).toEqual(frame);
  });

  test('that end too early are a protocol violation', () => {
    const data = encodeEntriesPlus(list.slice(0, 1));
    for (let length = 1; length < data.length; length++) {
      expect(() => decodeEntriesPlus(data.subarray(0, length))).toThrow(/ends \d+ bytes too early/);
    }
  });

  test('leave what no number holds to whoever asks for that file', () => {
    const data = encodeEntriesPlus(list.slice(0, 1));
    // size, which ends 96 bytes before the end.
    data[data.length - 96 - 1] = 1;
    const [one] = decodeEntriesPlus(data);
    expect(one?.entry.name).toBe('plain');
    expect(one?.attributes).toBeUndefined();
  });
});
