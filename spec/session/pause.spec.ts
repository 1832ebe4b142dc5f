import { expect, it } from 'vitest';
import { pause } from '../../lib/session/pause.js';

const FOR_EVER = 0x7fffffff;

it('a pause ends with its signal, whether that comes during it or has come before', async () => {
  const controller = new AbortController();
  const during = pause(FOR_EVER, controller.signal);
  controller.abort();
  await during;
  await pause(FOR_EVER, controller.signal);
  await pause(1, new AbortController().signal);
  expect(controller.signal.aborted).toBe(true);
});
