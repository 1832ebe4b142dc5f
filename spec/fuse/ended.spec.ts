import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ended } from '../../lib/fuse/ended.js';
import { Door } from '../support/gated.js';

test('what all of them come to, in their order', async () => {
  const late = new Door();
  const both = ended([late.opened.then(() => 'a'), Promise.resolve(2), undefined]);
  await turn();
  late.open();
  expect(await both).toEqual(['a', 2, undefined]);
});

test('the first error in order counts, whichever came first, and only once all have ended', async () => {
  const [first, last] = [new Door(), new Door()];
  let over = false;
  const all = ended([
    first.opened.then(() => Promise.reject(new Error('the first'))),
    Promise.reject(new Error('the second')),
    last.opened.then(() => {
      over = true;
    }),
  ]);
  const outcome = all.then(
    () => 'done',
    (error: Error) => `${error.message} ${over}`,
  );
  // Nobody has asked for the second one's error yet: it must not end the process.
  await turn();
  first.open();
  await turn();
  last.open();
  expect(await outcome).toBe('the first true');
});
