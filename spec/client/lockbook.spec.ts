import { expect, it } from 'vitest';
import { LockBook } from '../../lib/client/lockbook.js';
import { LOCK_TYPE_RDLCK, LOCK_TYPE_UNLCK, LOCK_TYPE_WRLCK } from '../../lib/protocol/constants.js';
import { Random } from '../support/random.js';

const range = (type: number, start: number, length: number, procId = 1, clientId = 'me') => ({ type, start, length, procId, clientId });

it('an owner’s locks are cut and ended as fcntl(2) has it, and nobody else’s', () => {
  const book = new LockBook();
  const held = () => book.held.map(({ type, start, length, procId, clientId }) => [type, start, length, procId, clientId]);
  book.granted(range(LOCK_TYPE_WRLCK, 0, 0));
  book.granted(range(LOCK_TYPE_WRLCK, 0, 100, 2));
  book.granted(range(LOCK_TYPE_WRLCK, 0, 100, 1, 'other'));
  book.granted(range(LOCK_TYPE_UNLCK, 10, 10));
  book.granted(range(LOCK_TYPE_RDLCK, 30, 5));
  expect(held()).toEqual([
    [LOCK_TYPE_WRLCK, 0, 10, 1, 'me'],
    [LOCK_TYPE_WRLCK, 20, 10, 1, 'me'],
    [LOCK_TYPE_WRLCK, 35, 0, 1, 'me'],
    [LOCK_TYPE_WRLCK, 0, 100, 2, 'me'],
    [LOCK_TYPE_WRLCK, 0, 100, 1, 'other'],
    [LOCK_TYPE_RDLCK, 30, 5, 1, 'me'],
  ]);
  book.granted(range(LOCK_TYPE_UNLCK, 0, 0));
  expect(held()).toEqual([
    [LOCK_TYPE_WRLCK, 0, 100, 2, 'me'],
    [LOCK_TYPE_WRLCK, 0, 100, 1, 'other'],
  ]);
});

it('what is held is, byte for byte, what was granted last', () => {
  const random = new Random();
  console.log(`seed ${random.seed}`);
  const SIZE = 24;
  const book = new LockBook();
  const bytes = [1, 2].map(() => new Array<number>(SIZE).fill(LOCK_TYPE_UNLCK));
  for (let round = 0; round < 2000; round++) {
    const [start, procId] = [random.integer(0, SIZE - 1), random.integer(1, 2)];
    const length = random.oneIn(8) ? 0 : random.integer(1, SIZE - start);
    const type = random.integer(LOCK_TYPE_RDLCK, LOCK_TYPE_UNLCK);
    book.granted(range(type, start, length, procId));
    bytes[procId - 1]?.fill(type, start, length === 0 ? SIZE : start + length);
    for (const [index, expected] of bytes.entries()) {
      const found = new Array<number>(SIZE).fill(LOCK_TYPE_UNLCK);
      for (const held of book.held) {
        if (held.procId !== index + 1) continue;
        found.fill(held.type, held.start, held.length === 0 ? SIZE : held.start + held.length);
      }
      expect(found, `round ${round}`).toEqual(expected);
    }
  }
});
