import { afterEach, expect, it, vi } from 'vitest';
import { endIfSilent } from '../../lib/client/silence.js';
import { Session } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { HostileServer } from '../support/hostile.js';

const PATIENCE = 60_000;
/** How often is looked. */
const INTERVAL = 5000;
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** A session with a request that is never answered, and a clock for the one that watches it. */
async function watched() {
  const server = new HostileServer();
  const [near, far] = memoryPair();
  server.serve(far);
  const session = await Session.open(near);
  let probes = 0;
  const answering = { flushes: true };
  server.answers.Tlock = () => undefined;
  server.answers.Tflush = () => {
    probes++;
    return answering.flushes ? {} : undefined;
  };
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const guard = endIfSilent(session, PATIENCE);
  const lock = { fid: 1, type: 1, flags: 0, start: 0, length: 0, procId: 1, clientId: 'me' };
  session.call('Tlock', lock, () => undefined);
  await turns();
  return {
    session,
    answering,
    probes: () => probes,
    /** The next look, `passed` milliseconds after the last. */
    look: (passed = INTERVAL) => {
      now += passed;
      vi.advanceTimersByTime(INTERVAL);
    },
    end: () => {
      clearInterval(guard);
      session.destroy();
    },
  };
}

it('a process that stood still does not take that for the silence of its server', async () => {
  const { session, probes, look, end } = await watched();
  for (let round = 1; round <= 3; round++) {
    for (let count = 0; count < 30 && probes() < round; count++) {
      look();
      // The last of them is not waited for: the answer lies there when the process stands still.
      if (probes() < round) await new Promise((resolve) => setImmediate(resolve));
    }
    look(10 * PATIENCE);
    await turns();
    look(10 * PATIENCE);
    await turns();
    expect(session.lost).toBeUndefined();
  }
  end();
});

it('a server that answers nothing at all is given up on, asked once', async () => {
  const { session, answering, probes, look, end } = await watched();
  answering.flushes = false;
  for (let count = 0; count < 30 && session.lost === undefined; count++) {
    look();
    await turns();
  }
  expect(session.lost).toMatchObject({ name: 'ConnectionLostError' });
  expect(probes()).toBe(1);
  end();
});
