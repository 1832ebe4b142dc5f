import { expect, it } from 'vitest';
import { Place } from '../../lib/client/place.js';
import { L_O_CREAT, L_O_RDWR, type Qid, QTDIR } from '../../lib/protocol/index.js';
import { Between } from './between.js';

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

it('a directory is not renamed onto another name of itself', () => {
  const root = Place.root();
  const qid = { type: QTDIR, version: 0, path: 7n };
  const [from, to] = [root.descend(['from']).hold({ known: true, qid }), root.descend(['to']).hold({ known: true, qid })];
  root.moved('from', root, 'to');
  expect([from.names, to.gone]).toEqual([['to'], true]);
});

const qidOf = (qid: Qid): Qid => ({ ...qid, path: 7n });

it.each(['renameat', 'rename'] as const)('a server that calls every file the same renames all the same (%s)', async (how) => {
  await using between = await Between.open();
  between.saboteur = {
    reply(reply) {
      if (reply.name === 'Rwalk') return { pass: { ...reply, body: { wqids: reply.body.wqids.map(qidOf) } } };
      if (reply.name === 'Rlcreate') return { pass: { ...reply, body: { ...reply.body, qid: qidOf(reply.body.qid) } } };
      return undefined;
    },
  };
  const { root } = between.client;
  const make = async (name: string) => {
    const fid = await root.clone();
    await fid.create(name, L_O_CREAT | L_O_RDWR, 0o644, 0);
    return fid;
  };
  const [a, b] = [await make('a'), await make('b')];
  await root.link('a2', a);
  await root.link('b2', b);
  await a.write(Buffer.from('content'), 0);
  if (how === 'renameat') await root.renameat('a', root, 'b');
  else await (await root.walk(['a'])).rename(root, 'b');
  expect(a.names).toEqual(['b']);
  expect([a.place.gone, b.place.gone]).toEqual([false, true]);
  // Two names of one file stay what they are.
  const other = await root.walk(['a2']);
  await root.renameat('b', root, 'a2');
  expect([a.names, other.names, other.place.gone]).toEqual([['b'], ['a2'], false]);
});
