import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeEntries, encodeEntries, entryBytes } from '../../lib/protocol/directory.js';
import { errnoName, errnoNumber, errnoText } from '../../lib/protocol/errno.js';
import { ErrnoError, errnoOf } from '../../lib/protocol/error.js';
import { decodeText, textBytes, textToBytes } from '../../lib/protocol/text.js';
import { character } from './arbitrary.js';

it('any bytes survive being text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(textToBytes(decodeText(bytes))).toEqual(bytes);
    }),
    { numRuns: 2000 },
  );
});

it('well-formed text is plain UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: character, maxLength: 80 }), (text) => {
      const bytes = textToBytes(text);
      expect(Buffer.from(bytes)).toEqual(Buffer.from(text));
      expect(bytes.length).toBe(textBytes(text));
      expect(decodeText(bytes)).toBe(text);
    }),
    { numRuns: 1000 },
  );
});

it('entries go into the bytes that are there, and come back', () => {
  const entries = ['.', '..', 'a', 'ü', 'x\udc80'].map((name, index) => ({
    qid: { type: 0, version: 1, path: BigInt(index) },
    offset: BigInt(index + 1),
    type: 8,
    name,
  }));
  const whole = entries.reduce((sum, { name }) => sum + entryBytes(name), 0);
  expect(decodeEntries(encodeEntries(entries, whole))).toEqual(entries);
  expect(decodeEntries(encodeEntries(entries, whole - 1))).toEqual(entries.slice(0, 4));
  expect(encodeEntries(entries, 24)).toHaveLength(0);
  expect(() => decodeEntries(encodeEntries(entries, whole).subarray(0, whole - 1))).toThrow(expect.objectContaining({ code: 'EPROTO' }));
});

it('errors look like those of node:fs', () => {
  const error = new ErrnoError(2, { syscall: 'open', path: '/x' });
  expect(error).toMatchObject({
    code: 'ENOENT',
    errno: -2,
    syscall: 'open',
    path: '/x',
    message: "ENOENT: no such file or directory, open '/x'",
  });
  expect(new ErrnoError('EXDEV', { syscall: 'rename', path: 'a', dest: 'b' }).message).toBe(
    "EXDEV: cross-device link not permitted, rename 'a' -> 'b'",
  );
  expect(errnoOf(error)).toBe(2);
  expect(errnoOf(new Error('no number'))).toBe(5);
  expect(errnoOf(Object.assign(new Error('x'), { errno: -28 }))).toBe(28);
  expect(errnoName(95)).toBe('EOPNOTSUPP');
  expect(errnoNumber('ENOTSUP')).toBe(95);
  expect(errnoName(4000)).toBe('E4000');
  expect(errnoText(4000)).toContain('4000');
});
