import { vi } from 'vitest';
import type { RecoveryEvent } from '../../lib/client/recovery.js';

/** Longer than a client waits between two tries at a connection, in milliseconds. */
const PAUSE = 2000;

/**
 * Runs `test` without the pauses that a client makes after losses: with each one the clock of its timers moves on. `onEvent` is for the client's
 * options. Nothing else in `test` may wait for a timer.
 */
export async function withoutPauses(test: (onEvent: (event: RecoveryEvent) => void) => Promise<void>): Promise<void> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    await test(({ type }) => {
      if (type === 'lost') void vi.advanceTimersByTimeAsync(PAUSE);
    });
  } finally {
    vi.useRealTimers();
  }
}
