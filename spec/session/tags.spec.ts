import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { Call } from '../../lib/session/call.js';
import { Tags } from '../../lib/session/tags.js';

const call = (): Call => ({
  name: 'Twrite',
  ...{ tag: -1, done: () => {}, into: undefined, options: undefined, deadline: 0, flushing: false },
});

test('who waits gets a tag in turn, and nobody overtakes', () => {
  const tags = new Tags(1);
  const [first, second, third] = [call(), call(), call()];
  expect(tags.take(first)).toBe(true);
  for (const one of [second, third]) {
    expect(tags.take(one)).toBe(false);
    tags.wait(one, { fid: 1, offset: 0, data: new Uint8Array(1) });
  }
  expect(tags.next()).toBeUndefined();
  tags.release(first.tag);
  expect(tags.take(call())).toBe(false);
  expect(tags.next()?.call).toBe(second);
  tags.release(second.tag);
  tags.forget(third);
  expect(tags.next()).toBeUndefined();
  expect(tags.waiting).toBe(0);
  expect(tags.take(call())).toBe(true);
});

test('nothing of a request that has had its turn is kept while others go on waiting', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const tags = new Tags(1);
  const held: WeakRef<Uint8Array>[] = [];
  let current = call();
  tags.take(current);
  const enqueue = () => {
    const data = new Uint8Array(1 << 20);
    held.push(new WeakRef(data));
    tags.wait(call(), { fid: 1, offset: 0, data });
  };
  for (let index = 0; index < 20; index++) enqueue();
  const turn = () => {
    tags.release(current.tag);
    const next = tags.next();
    if (next === undefined) throw new Error('nobody waits');
    current = next.call;
  };
  for (let index = 0; index < 15; index++) turn();
  // A WeakRef holds on until the job it was made in has ended.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(tags.waiting).toBe(5);
  expect(held.filter((one) => one.deref() !== undefined)).toHaveLength(5);
});
