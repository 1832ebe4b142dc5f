import fc from 'fast-check';
import * as fields from '../../lib/protocol/fields.js';
import type { MessageSpec } from '../../lib/protocol/messages.js';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });
const size = fc.maxSafeNat();
/** A character of one, two, three or four bytes. fast-check's own unit "binary" takes a second to set up. */
export const character = fc
  .oneof(
    fc.integer({ min: 0, max: 0x7f }),
    fc.integer({ min: 0x80, max: 0x7ff }),
    fc.integer({ min: 0x800, max: 0xd7ff }),
    fc.integer({ min: 0xe000, max: 0xffff }),
    fc.integer({ min: 0x10000, max: 0x10ffff }),
  )
  .map((point) => String.fromCodePoint(point));
/** What names on a Linux host decode to: any text, and bytes that are not UTF-8 as escapes. */
const text = fc
  .array(fc.oneof(fc.string({ unit: character, maxLength: 12 }), fc.constantFrom('\udc80', '\udcff', 'ü', '😀', 'a')), { maxLength: 4 })
  .map((parts) => parts.join(''));
const qid = fc.record({ type: fc.nat(255), version: u32, path: u64 });
const timespec = fc.record({ sec: fc.maxSafeInteger(), nsec: fc.nat(999_999_999) });
const attributes = fc.record({
  valid: u64,
  qid,
  mode: u32,
  uid: u32,
  gid: u32,
  nlink: size,
  rdev: u64,
  size,
  blksize: size,
  blocks: size,
  atime: timespec,
  mtime: timespec,
  ctime: timespec,
  btime: timespec,
  gen: u64,
  dataVersion: u64,
});
const data = fc.uint8Array({ maxLength: 200 });
const stat = (extended: boolean) =>
  fc.record({
    type: fc.nat(0xffff),
    dev: u32,
    qid,
    mode: u32,
    atime: u32,
    mtime: u32,
    length: fc.oneof(size, fc.constant(-1)),
    name: text,
    uid: text,
    gid: text,
    muid: text,
    extension: extended ? text : fc.constant(''),
    nUid: extended ? u32 : fc.constant(0xffffffff),
    nGid: extended ? u32 : fc.constant(0xffffffff),
    nMuid: extended ? u32 : fc.constant(0xffffffff),
  });

const byField = new Map<unknown, fc.Arbitrary<unknown>>([
  [fields.u8, fc.nat(0xff)],
  [fields.u16, fc.nat(0xffff)],
  [fields.u32, u32],
  [fields.u64, u64],
  [fields.size64, size],
  [fields.str, text],
  [fields.qid, qid],
  [fields.timespec, timespec],
  [fields.attributes, attributes],
  [fields.names, fc.array(text, { maxLength: 16 })],
  [fields.qids, fc.array(qid, { maxLength: 16 })],
  [fields.data, data],
]);

/** Bodies of a message of the table, by its fields. */
export function bodies({ fields: of }: MessageSpec, extended: boolean): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(Object.fromEntries(Object.entries(of).map(([key, field]) => [key, byField.get(field) ?? stat(extended)])));
}
