import type { Session } from '../session/session.js';

/**
 * A connection whose other end has vanished without a word (a half-open one) is never told to be lost. So where an answer is due and nothing
 * comes for half of `patience` milliseconds, the server is asked something that it can answer whatever its disks do; if it stays silent for the other half the
 * session is over. 0: never. Ends with the session, or with clearInterval.
 */
export function endIfSilent(session: Session, patience: number): NodeJS.Timeout | undefined {
  if (patience <= 0) return undefined;
  let heard = -1;
  let since = performance.now();
  let asked = false;
  const look = () => {
    const { bytesIn, inFlight, waiting } = session.counters;
    const now = performance.now();
    if (session.lost !== undefined) clearInterval(timer);
    else if (bytesIn !== heard || inFlight + waiting === 0) {
      heard = bytesIn;
      since = now;
      asked = false;
    } else if (asked && now - since >= patience) {
      session.destroy(new Error(`nothing was heard for ${Math.round((now - since) / 1000)} s`));
    } else if (!asked && now - since >= patience / 2) {
      asked = true;
      session.probe();
    }
  };
  const timer = setInterval(look, Math.min(patience / 4, 5000));
  timer.unref();
  return timer;
}
