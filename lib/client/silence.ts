import type { Session } from '../session/session.js';

/**
 * A connection whose other end has vanished without a word (a half-open one) is never told to be lost. So where an answer is due and nothing
 * comes for half of `patience` milliseconds, the server is asked something that it can answer whatever its disks do; if it stays silent for the other half the
 * session is over. 0: never. Ends with the session, or with clearInterval.
 *
 * Time in which this process stood still (a busy loop, a suspended host) is nobody's silence: what was answered meanwhile is read only after the timers that
 * are overdue.
 */
export function endIfSilent(session: Session, patience: number): NodeJS.Timeout | undefined {
  if (patience <= 0) return undefined;
  const interval = Math.min(patience / 4, 5000);
  let heard = -1;
  let before = performance.now();
  let silent = 0;
  let asked = false;
  const look = () => {
    const { bytesIn, inFlight, waiting } = session.counters;
    const now = performance.now();
    silent += Math.min(now - before, interval);
    before = now;
    if (session.lost !== undefined) clearInterval(timer);
    else if (bytesIn !== heard || inFlight + waiting === 0) {
      heard = bytesIn;
      silent = 0;
      asked = false;
    } else if (asked && silent >= patience) {
      session.destroy(new Error(`nothing was heard for ${Math.round(silent / 1000)} s`));
    } else if (!asked && silent >= patience / 2) {
      asked = true;
      session.probe();
    }
  };
  const timer = setInterval(look, interval);
  timer.unref();
  return timer;
}
