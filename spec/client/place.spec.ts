import { expect, it } from 'vitest';
import { Place } from '../../lib/client/place.js';

it('a rename moves whatever is held below, also where nobody holds the directory itself', () => {
  const root = Place.root();
  const directory = root.descend(['a', 'b']).hold();
  const file = directory.descend(['f']).hold();
  directory.release();
  root.moved('a', root, 'c');
  expect(file.names).toEqual(['c', 'b', 'f']);
  // Whoever walks there now comes to the same place.
  expect(root.descend(['c', 'b', 'f'])).toBe(file);
  file.release();
  expect(root.descend(['c', 'b', 'f'])).not.toBe(file);
});

it('a name that was taken away may be another file’s, which is no worse for the end of the first one', () => {
  const root = Place.root();
  const first = root.descend(['x']).hold();
  root.removed('x');
  const second = root.descend(['x']).hold();
  expect([first.gone, second.gone]).toEqual([true, false]);
  first.release();
  root.moved('x', root, 'y');
  expect(second.names).toEqual(['y']);
});

it('what a rename replaces is gone, and what is below it; a rename to the same name changes nothing', () => {
  const root = Place.root();
  const [from, to] = [root.descend(['from']).hold(), root.descend(['to']).hold()];
  const below = to.descend(['below']).hold();
  root.moved('from', root, 'from');
  expect([from.gone, from.names]).toEqual([false, ['from']]);
  root.moved('from', root, 'to');
  expect([from.gone, to.gone, below.gone]).toEqual([false, true, true]);
  expect(from.names).toEqual(['to']);
  // What nobody has walked to has places for the same reason.
  const other = root.descend(['other']).hold();
  root.moved('unknown', root, 'other');
  expect(other.gone).toBe(true);
  from.takenAway();
  expect(from.gone).toBe(true);
  // It has been taken away already: what has the name now stays.
  const again = root.descend(['to']).hold();
  to.takenAway();
  expect(again.gone).toBe(false);
});
