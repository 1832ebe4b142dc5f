import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Awake } from '../../../lib/fuse/kernel/awake.js';
import { TemporaryDirectory } from '../../support/temporary.js';

/** A file in the place of the device: what is written there is what the kernel would be told. */
let directory: TemporaryDirectory;
let device: string;
let awake: Awake;

beforeEach(() => {
  directory = new TemporaryDirectory('awake');
  device = directory.join('latency');
  writeFileSync(device, '');
  awake = new Awake(device);
});

afterEach(() => {
  awake.release();
  directory.remove();
});

const requests = (count: number) => {
  for (let index = 0; index < count; index++) awake.request();
};

test('processors stay awake once many requests have come, and sleep again soon after the last', async () => {
  requests(15);
  expect(awake.holds).toBe(false);
  requests(17);
  expect(awake.holds).toBe(true);
  expect(readFileSync(device)).toEqual(Buffer.alloc(4));
  await expect.poll(() => awake.holds).toBe(false);
  requests(32);
  expect(awake.holds).toBe(true);
  awake.release();
  awake.release();
  expect(awake.holds).toBe(false);
});

test('a request now and then is not worth it', async () => {
  for (let turn = 0; turn < 3; turn++) {
    requests(16);
    const begin = performance.now();
    await expect.poll(() => performance.now() - begin, { interval: 2 }).toBeGreaterThan(11);
    expect(awake.holds).toBe(false);
  }
});

test('who may not say so hears it at once', () => {
  expect(() => new Awake(directory.join('none'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
});
