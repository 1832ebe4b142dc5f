import { expect, test, vi } from 'vitest';
import { close, read, shutdown, socketpair } from '../../lib/sys/io.js';
import { poller } from '../../lib/sys/poller.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import { Sink, turns } from '../contracts/transport.js';
import { requires } from '../support/requires.js';

/** Events that have come while the loop went round so many times: one that is told of what nobody takes goes round for ever. */
async function rounds(): Promise<number> {
  const before = poller().rounds;
  await turns(200);
  return poller().rounds - before;
}

requires('linux')('a polled transport that waits', () => {
  test('is not woken for what it does not read, nor for room that it does not need', async () => {
    const [ours, theirs] = socketpair();
    const [a, b] = [new PolledTransport('ours', ours, ours), new PolledTransport('theirs', theirs, theirs)];
    const [one, other] = [new Sink(a).start(), new Sink(b).start()];
    b.pause();
    one.send([new Uint8Array(1000)]);
    await turns();
    expect(await rounds()).toBe(0);
    b.resume();
    await other.until(() => other.total === 1000);
    expect(await rounds()).toBe(0);
    // A full pipe is waited for; that it has emptied is told a few times.
    b.pause();
    one.send([new Uint8Array(1 << 20)]);
    await turns();
    expect(await rounds()).toBe(0);
    b.resume();
    await other.until(() => other.total === 1000 + (1 << 20));
    expect(await rounds()).toBe(0);
    a.destroy();
    await other.until(() => other.ended);
  });

  test('nor for the end of a peer that has said it all and reads nothing', async () => {
    const [ours, theirs] = socketpair();
    const transport = new PolledTransport('ours', ours, ours);
    const sink = new Sink(transport).start();
    sink.send([new Uint8Array(8 << 20)]);
    await turns();
    shutdown(theirs, 1);
    await turns();
    expect(await rounds()).toBe(0);
    expect(sink.ended).toBe(false);
    close(theirs);
    await sink.until(() => sink.ended);
    expect(sink.violation).toBeUndefined();
  });

  test('delivers nothing of what has come once it is closed, not even from the same turn', async () => {
    const [ours, theirs] = socketpair();
    const [a, b] = [new PolledTransport('ours', ours, ours), new PolledTransport('theirs', theirs, theirs)];
    const [one, other] = [new Sink(a).start(), new Sink(b, () => 10).start()];
    other.take = () => void b.close();
    one.send([new Uint8Array(1000)]);
    await one.until(() => one.ended);
    await other.until(() => other.ended);
    expect([other.total, one.error, other.error]).toEqual([10, undefined, undefined]);
  });

  test.each(['before', 'after'])('writes all that is queued to a peer that ends its direction %s the close, and reads on', async (when) => {
    const [ours, theirs] = socketpair();
    const transport = new PolledTransport('ours', ours, ours);
    const sink = new Sink(transport).start();
    sink.send([new Uint8Array(8 << 20)]);
    await turns();
    if (when === 'after') void sink.close();
    shutdown(theirs, 1);
    await turns();
    if (when === 'before') void sink.close();
    const other = new Sink(new PolledTransport('theirs', theirs, theirs)).start();
    await other.until(() => other.ended);
    await sink.until(() => sink.ended);
    expect([other.total, sink.error, sink.violation]).toEqual([8 << 20, undefined, undefined]);
  });

  test('is not told of room by one that `sent` has ended', async () => {
    const [ours, theirs] = socketpair();
    const [a, b] = [new PolledTransport('ours', ours, ours, { backlog: 10 }), new PolledTransport('theirs', theirs, theirs)];
    const [one, other] = [new Sink(a).start(), new Sink(b).start()];
    expect(one.send([new Uint8Array(100)], () => a.destroy())).toBe(false);
    await one.until(() => one.ended);
    await other.until(() => other.ended);
    expect(one.drains).toBe(0);
  });

  test('ends before all is written where nothing moves any more, and not where it does', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      for (const reads of [true, false]) {
        const [ours, theirs] = socketpair();
        const sink = new Sink(new PolledTransport('ours', ours, ours, { linger: 1000 })).start();
        sink.send([new Uint8Array(2 << 20)]);
        await turns();
        const closed = sink.close();
        const buffer = new Uint8Array(1 << 20);
        let total = 0;
        for (let step = 0; step < 200 && !sink.ended; step++) {
          if (reads) total += Math.max(0, read(theirs, buffer));
          await turns();
          vi.advanceTimersByTime(600);
          await turns(1);
        }
        expect(sink.ended).toBe(true);
        close(theirs);
        await closed;
        expect([total, sink.error]).toEqual([reads ? 2 << 20 : 0, undefined]);
      }
    } finally {
      vi.useRealTimers();
    }
  });
});
