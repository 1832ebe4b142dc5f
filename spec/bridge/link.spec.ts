import { afterEach, describe, expect, it, vi } from 'vitest';
import { Link } from '../../lib/bridge/index.js';
import { memoryPair } from '../../lib/transport/index.js';
import { turns } from '../contracts/transport.js';

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
