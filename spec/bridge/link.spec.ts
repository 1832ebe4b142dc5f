import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Link, type LinkEvent } from '../../lib/bridge/index.js';
import { NOTAG, VERSION_L } from '../../lib/protocol/constants.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { memoryPair } from '../../lib/transport/index.js';
import { turns } from '../contracts/transport.js';
import { RawPeer } from '../support/raw-peer.js';

const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  vi.useRealTimers();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('a link whose streams end as soon as they are there', () => {
  it('dials again with growing pauses, not without a rest', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    let dialled = 0;
    const link = new Link({
      dial: async () => {
        dialled++;
        await turns(1);
        const [near, far] = memoryPair();
        far.destroy();
        return near;
      },
    });
    cleanups.push(() => link.close());
    await turns(500);
    expect(dialled, 'before any time has passed').toBeLessThan(4);
    for (let rounds = 0; rounds < 30; rounds++) {
      const before = dialled;
      await vi.advanceTimersByTimeAsync(3000);
      await turns(20);
      expect(dialled).toBeGreaterThan(before);
    }
    expect(dialled).toBeLessThan(50);
  });
});

it('a link that is closed, before it ever had a stream too, opens no session and leaves nobody waiting', async () => {
  const link = new Link({});
  const early = link.openSession({ signal: new AbortController().signal });
  await link.close();
  const aborted = { name: 'AbortError' };
  await expect(early).rejects.toMatchObject(aborted);
  await expect(link.openSession({ signal: new AbortController().signal })).rejects.toMatchObject(aborted);
});

describe('a link that another comes to while a peer is there', () => {
  const events: LinkEvent['type'][] = [];
  let link: Link;
  let server: Server;

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    events.length = 0;
    server = new Server({ exports: { '/': new MemoryBackend() } });
    link = new Link({ server, onEvent: ({ type }) => events.push(type) });
    cleanups.push(() => link.close());
  });

  /** Somebody connects, under a name of their own. */
  function come(): RawPeer {
    const [theirs, ours] = memoryPair();
    link.take(ours);
    return new RawPeer(theirs);
  }

  const begins = (peer: RawPeer): boolean => peer.say('Tversion', NOTAG, { msize: 8192, version: VERSION_L });
  const pass = async (milliseconds: number): Promise<void> => {
    await turns(20);
    await vi.advanceTimersByTimeAsync(milliseconds);
    await turns(20);
  };

  it('stays with one who answers, or says anything by itself', async () => {
    const present = come();
    const session = await link.openSession({ signal: AbortSignal.timeout(50_000) });
    const first = come();
    begins(first);
    await pass(1000);
    await first.closed;
    expect([first.replies, session.lost, events]).toEqual([0, undefined, ['up', 'refused']]);
    expect(server.status().connections).toBe(1);
    // Who only asks is heard as well.
    session.destroy();
    present.transport.destroy();
    await present.closed;
    const asking = come();
    await asking.attach();
    const second = come();
    begins(second);
    await pass(1000);
    asking.say('Tgetattr', 1, { fid: 0, requestMask: 0n });
    await pass(1000);
    await second.closed;
    expect([second.replies, asking.replies]).toEqual([0, 3]);
  });

  it('is the next one’s as soon as the first is gone, with all that the next one has said', async () => {
    const present = come();
    await present.attach();
    const next = come();
    const answered = next.hears(101, NOTAG);
    begins(next);
    await turns(20);
    expect(next.replies).toBe(0);
    present.transport.destroy();
    await answered;
    await next.attach();
    expect(events).toEqual(['up', 'down', 'up']);
  });

  it.each([false, true])('leaves one who has fallen silent, though it was asked (%s)', async (asked) => {
    const present = come();
    await present.attach();
    if (asked) {
      await link.openSession({ signal: AbortSignal.timeout(50_000) });
      present.transport.pause();
    }
    const next = come();
    const answered = next.hears(101, NOTAG);
    begins(next);
    await pass(4000);
    expect(next.replies).toBe(0);
    await pass(2000);
    await answered;
    await next.attach();
    await expect.poll(() => server.status().connections).toBe(1);
  });

  it('leaves nobody for one who says nothing, and forgets one who goes away', async () => {
    const present = come();
    await present.attach();
    const mute = come();
    await pass(60_000);
    const other = come();
    await mute.closed;
    other.transport.destroy();
    await pass(60_000);
    expect(events).toEqual(['up', 'refused']);
    present.say('Tgetattr', 1, { fid: 0, requestMask: 0n });
    await turns(20);
    expect(present.replies).toBe(3);
    present.transport.destroy();
    await present.closed;
    await turns(20);
    await come().attach();
    expect(events).toEqual(['up', 'refused', 'down', 'up']);
  });

  it('closes the one who waits as well', async () => {
    await come().attach();
    const waiting = come();
    begins(waiting);
    await turns(20);
    await link.close();
    await waiting.closed;
  });
});
