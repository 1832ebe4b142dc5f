import { afterEach, describe, expect, it, vi } from 'vitest';
import { Client, type ClientRecovery } from '../../lib/client/client.js';
import {
  AT_REMOVEDIR,
  L_O_APPEND,
  L_O_CREAT,
  L_O_RDWR,
  LOCK_BLOCKED,
  LOCK_FLAGS_RECLAIM,
  LOCK_GRACE,
  LOCK_SUCCESS,
  LOCK_TYPE_WRLCK,
} from '../../lib/protocol/constants.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session, type SessionOptions } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { HostileServer } from '../support/hostile.js';
import { withoutPauses } from './pauses.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

const RANGE = { type: LOCK_TYPE_WRLCK, start: 0, length: 0, procId: 1, clientId: 'me' };
const cut = (client: Client): void => client.session.destroy(new Error('cut'));
const recovered = (client: Client) => expect.poll(() => client.recovery?.recoveries, { timeout: 10_000 }).toBe(1);

async function touch(client: Client, name: string): Promise<void> {
  const fid = await client.root.clone();
  await fid.create(name, L_O_RDWR | L_O_CREAT, 0o644, 0);
  await fid.clunk();
}

describe('after a loss', () => {
  /** Our own server, a client whose connection is lost, and one that goes on meanwhile. `open` lets the first one dial again. */
  async function world(recovery: ClientRecovery = {}) {
    const server = new Server({ exports: { '/': new MemoryBackend() } });
    const dial = () => {
      const [near, far] = memoryPair();
      server.serve(far);
      return Session.open(near);
    };
    let open!: () => void;
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const redial = async () => {
      await gate;
      return dial();
    };
    const [client, rival] = [new Client(await dial(), { redial, retry: 60, ...recovery }), new Client(await dial())];
    for (const one of [client, rival]) {
      ends.push(() => one.destroy());
      await one.attach();
    }
    /** No number of a fid may be free here and taken on the server: each is tried. */
    const allFree = async () => {
      const fids = await Promise.all(Array.from({ length: 8 }, () => client.root.clone()));
      for (const fid of fids) await fid.clunk();
      expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    };
    return { client, rival, dial, open, allFree };
  }

  it('a fid whose lock is somebody else’s ends on the server too', { timeout: 30_000 }, async () => {
    const { client, rival, open, allFree } = await world();
    await touch(client, 'f');
    const fid = await client.root.walk(['f']);
    await fid.open(L_O_RDWR);
    expect(await fid.lock(RANGE, 0)).toBe(LOCK_SUCCESS);
    cut(client);
    const other = await rival.root.walk(['f']);
    await other.open(L_O_RDWR);
    await expect.poll(() => other.lock({ ...RANGE, clientId: 'rival' }, 0)).toBe(LOCK_SUCCESS);
    open();
    await recovered(client);
    await expect(fid.getattr()).rejects.toMatchObject({ code: 'EIO' });
    await fid.clunk();
    await allFree();
  });

  it('a file more than sixteen names deep that is gone leaves no fid behind', async () => {
    const { client, rival, open, allFree } = await world();
    const names = Array.from({ length: 17 }, () => 'd');
    let last = await rival.root.clone();
    for (const [index, name] of names.entries()) {
      await last.mkdir(name, 0o755, 0);
      if (index < 16) last = await last.walk([name]);
    }
    const deep = await client.root.walk(names);
    cut(client);
    await last.unlinkat('d', AT_REMOVEDIR);
    open();
    await recovered(client);
    await expect(deep.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
    await deep.clunk();
    await allFree();
  });

  it('what is to be removed and cannot be reached leaves no fid behind', async () => {
    const { client, rival, open, allFree } = await world();
    await rival.root.mkdir('d', 0o755, 0);
    await (await rival.root.walk(['d'])).mkdir('s', 0o755, 0);
    const inner = await client.root.walk(['d', 's']);
    const removal = inner.remove();
    cut(client);
    // What was a directory is a file now: ENOTDIR.
    await rival.root.renameat('d', rival.root, 'gone');
    await touch(rival, 'd');
    open();
    await Promise.allSettled([removal]);
    await recovered(client);
    await allFree();
  });

  it('what its owner ends while it is made again ends on the server too', async () => {
    let ready = false;
    const { client, dial, allFree } = await world({
      retry: 0.05,
      redial: async () => {
        if (!ready) throw new Error('not yet');
        const session = await dial();
        setImmediate(() => void fid.clunk().catch(() => undefined));
        return session;
      },
    });
    await touch(client, 'f');
    const fid = await client.root.walk(['f']);
    cut(client);
    await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    ready = true;
    await recovered(client);
    await expect.poll(() => client.fidCount).toEqual({ alive: 1, numbers: 1 });
    await allFree();
  });

  it('the number of what its owner ends while it is made again in vain is free again', async () => {
    let dialled = 0;
    const { client, dial, allFree } = await world({
      retry: 0.05,
      redial: async () => {
        if (dialled === 0) throw new Error('not yet');
        const session = await dial();
        if (dialled++ > 1) return session;
        setImmediate(() => {
          fid.clunk().catch(() => undefined);
          setImmediate(() => session.destroy(new Error('cut')));
        });
        return session;
      },
    });
    await touch(client, 'f');
    const fid = await client.root.walk(['f']);
    cut(client);
    await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    dialled = 1;
    await recovered(client);
    expect(dialled).toBe(3);
    await allFree();
  });

  it('what was given up while the connection was lost is never done', async () => {
    const { client, rival, open, allFree } = await world();
    const down = new Promise((resolve) => client.session.onClosed(resolve));
    cut(client);
    await down;
    const given = new AbortController();
    const made = client.root.mkdir('x', 0o755, 0, { signal: given.signal });
    given.abort();
    await expect(made).rejects.toMatchObject({ name: 'AbortError' });
    await expect(client.root.mkdir('y', 0o755, 0, { signal: given.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(client.recovery?.down).toBe(true);
    open();
    await recovered(client);
    await allFree();
    for (const name of ['x', 'y']) await expect(rival.root.walk([name])).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('whatever names the fid of a lost file is ESTALE', async () => {
    const { client, rival, open } = await world();
    await rival.root.mkdir('d', 0o755, 0);
    await touch(rival, 'f');
    const lost = await client.root.walk(['d']);
    cut(client);
    await rival.root.unlinkat('d', AT_REMOVEDIR);
    open();
    await recovered(client);
    for (const work of [
      () => lost.mkdir('x', 0o755, 0),
      () => lost.unlinkat('x'),
      () => lost.renameat('x', client.root, 'y'),
      () => client.root.renameat('f', lost, 'y'),
    ]) {
      await expect(work()).rejects.toMatchObject({ code: 'ESTALE' });
    }
  });

  it('what was walked to right behind the rename that put it there is found', async () => {
    const { client, open } = await world();
    await touch(client, 'a');
    await touch(client, 'b');
    const [, fid] = await Promise.all([client.root.renameat('b', client.root, 'a'), client.root.walk(['a'])]);
    await fid.open(L_O_RDWR);
    cut(client);
    open();
    await recovered(client);
    await fid.getattr();
    expect(client.recovery?.casualties).toBe(0);
  });

  it.each(['renameat', 'rename', 'without a fid of the old name'])(
    'both names of a file that was renamed onto itself are found (%s)',
    async (way) => {
      const { client, open, allFree } = await world();
      await touch(client, 'a');
      const a = await client.root.walk(['a']);
      await client.root.link('b', a);
      const b = await client.root.walk(['b']);
      await b.open(L_O_RDWR);
      if (way === 'rename') await a.rename(client.root, 'b');
      else {
        if (way !== 'renameat') await a.clunk();
        await client.root.renameat('a', client.root, 'b');
      }
      expect([a.path, b.path, b.place.gone]).toEqual(['/a', '/b', false]);
      cut(client);
      open();
      await recovered(client);
      expect((await b.getattr()).nlink).toBe(2);
      expect(client.recovery?.casualties).toBe(0);
      // A third one that takes the name is another matter.
      await touch(client, 'c');
      await client.root.renameat('c', client.root, 'b');
      expect(b.place.gone).toBe(true);
      for (const fid of [a, b]) await fid.clunk();
      await allFree();
    },
  );

  it('what was renamed to the name that it has is still there', async () => {
    const { client, open } = await world();
    await touch(client, 'a');
    const fid = await client.root.walk(['a']);
    await client.root.renameat('a', client.root, 'a');
    cut(client);
    open();
    await recovered(client);
    await fid.getattr();
    expect(client.recovery?.casualties).toBe(0);
  });

  it('what was removed through a fid of its own is gone for the others', async () => {
    const { client } = await world();
    await touch(client, 'a');
    const other = await client.root.walk(['a']);
    await (await client.root.walk(['a'])).remove();
    expect(other.place.gone).toBe(true);
    await touch(client, 'b');
    const another = await client.root.walk(['b']);
    await client.root.unlinkat('b');
    expect(another.place.gone).toBe(true);
  });
});

describe('with a server played by hand', () => {
  async function hostile(recovery: ClientRecovery = {}, ...options: SessionOptions[]) {
    const server = new HostileServer();
    const sessions: Session[] = [];
    const dialling = { refused: false };
    const dial = async () => {
      if (dialling.refused) throw new Error('refused');
      const [near, far] = memoryPair();
      server.serve(far);
      const session = await Session.open(near, options[Math.min(sessions.length, options.length - 1)]);
      sessions.push(session);
      return session;
    };
    const client = new Client(await dial(), { redial: dial, retry: 60, ...recovery });
    ends.push(() => client.destroy());
    await client.attach();
    const fid = await client.root.walk(['f']);
    return { server, client, sessions, dialling, fid };
  }

  it('whoever closes while fids are made again leaves no conversation behind', async () => {
    const { server, client, sessions } = await hostile();
    const closed = new Promise<void>((resolve) => {
      server.answers.Twalk = () => {
        void client.close().then(resolve);
        return {};
      };
    });
    cut(client);
    await closed;
    await expect.poll(() => sessions.map(({ lost }) => lost !== undefined)).toEqual([true, true]);
  });

  it.each(['waited for the connection', 'was under way'])('no Twrite exceeds a smaller msize, where the write %s', async (when) => {
    const { server, client, fid } = await hostile({}, { msize: 65536 }, { msize: 8192 });
    await fid.open(L_O_RDWR);
    const sizes: number[] = [];
    let lose = when === 'was under way';
    server.answers.Twrite = ({ data }) => {
      if (lose) {
        lose = false;
        cut(client);
        return undefined;
      }
      sizes.push(data.length);
      return { count: data.length };
    };
    if (!lose) {
      const lost = new Promise((resolve) => client.session.onClosed(resolve));
      cut(client);
      await lost;
      expect(client.recovery?.down).toBe(true);
    }
    expect(await fid.write(new Uint8Array(60000), 0)).toBe(60000);
    expect(Math.max(...sizes)).toBe(8192 - 24);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(60000);
  });

  it('no Tread asks for more than a smaller msize allows, and all of it is read', async () => {
    const { server, client, fid } = await hostile({}, { msize: 65536 }, { msize: 8192 });
    await fid.open(L_O_RDWR);
    const sizes: number[] = [];
    server.answers.Tread = ({ offset, count }) => {
      if (client.recovery?.losses === 0) {
        cut(client);
        return undefined;
      }
      sizes.push(count);
      return { data: Uint8Array.from({ length: count }, (_, index) => (offset + index) % 251) };
    };
    const bytes = new Uint8Array(60000);
    expect(await fid.read(bytes, 0)).toBe(60000);
    expect(Math.max(...sizes)).toBe(8192 - 24);
    expect(bytes.every((byte, index) => byte === index % 251)).toBe(true);
  });

  it('neither a listing nor who looks for what was appended asks for more than a smaller msize allows', async () => {
    const { server, client, fid } = await hostile({}, { msize: 65536 }, { msize: 8192 });
    await fid.open(L_O_RDWR | L_O_APPEND);
    const counts: number[] = [];
    const data = Uint8Array.from({ length: 50_000 }, (_, index) => index % 251);
    let writes = 0;
    server.answers.Twrite = () => {
      writes++;
      cut(client);
      return undefined;
    };
    server.answers.Tgetattr = () => ({ size: writes === 0 ? 0 : data.length });
    server.answers.Tread = ({ offset, count }) => {
      counts.push(count);
      return { data: data.subarray(offset, offset + count) };
    };
    expect(await fid.write(data, 0)).toBe(data.length);
    expect(writes).toBe(1);
    server.answers.Treaddir = ({ count }) => {
      counts.push(count);
      if (count > 8192) cut(client);
      return count > 8192 ? undefined : {};
    };
    await client.request('Treaddir', { fid: fid.number, offset: 0n, count: 60_000 });
    expect(counts.filter((count) => count > 8192 - 24)).toEqual([60_000]);
  });

  it.each([
    ['a grace period', LOCK_FLAGS_RECLAIM],
    ['none', 0],
  ])('a lock is taken again where there is %s, and one that is still kept for the old connection is waited for', async (_, wanted) => {
    const { server, client, fid } = await hostile();
    await fid.open(L_O_RDWR);
    server.answers.Tlock = () => ({ status: LOCK_SUCCESS });
    await fid.lock(RANGE, 0);
    let kept = 3;
    server.answers.Tlock = ({ flags }) => {
      if (flags !== wanted) return wanted === 0 ? 22 : { status: LOCK_GRACE };
      return { status: kept-- > 0 ? LOCK_BLOCKED : LOCK_SUCCESS };
    };
    cut(client);
    await recovered(client);
    await fid.getattr();
    expect(client.recovery?.casualties).toBe(0);
  });

  it('a lock that was refused is not taken afterwards', async () => {
    const { server, client, fid } = await hostile();
    await fid.open(L_O_RDWR);
    server.answers.Tlock = () => ({ status: LOCK_BLOCKED });
    expect(await fid.lock(RANGE, 0)).toBe(LOCK_BLOCKED);
    let asked = 0;
    server.answers.Tlock = () => {
      asked++;
      return { status: LOCK_SUCCESS };
    };
    cut(client);
    await recovered(client);
    expect(asked).toBe(0);
  });

  it('a request that breaks ten conversations off at once is not sent once more', () =>
    withoutPauses(async (onEvent) => {
      const { server, client } = await hostile({ onEvent });
      let asked = 0;
      server.answers.Tgetattr = () => {
        asked++;
        cut(client);
        return undefined;
      };
      await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
      expect(asked).toBe(10);
    }));

  it('nor counts one that ended later, however often', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const { server, client } = await hostile({
        silence: 0,
        onEvent: ({ type }) => type === 'lost' && void vi.advanceTimersByTimeAsync(2000),
      });
      let asked = 0;
      server.answers.Tgetattr = () => {
        if (++asked === 15) return {};
        vi.advanceTimersByTime(1001);
        cut(client);
        return undefined;
      };
      await client.root.getattr();
      expect([asked, client.recovery?.losses]).toEqual([15, 14]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('nobody gives up who has recovered', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const events: string[] = [];
      const { client } = await hostile({ retry: 1, onEvent: ({ type }) => events.push(type) });
      cut(client);
      await client.root.getattr();
      await vi.advanceTimersByTimeAsync(10_000);
      expect(events).toEqual(['lost', 'recovered']);
    } finally {
      vi.useRealTimers();
    }
  });

  it('who has given up once waits again after the next loss', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const { client, dialling } = await hostile({ retry: 1 });
      dialling.refused = true;
      cut(client);
      const waiting = expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
      await vi.advanceTimersByTimeAsync(1000);
      await waiting;
      dialling.refused = false;
      while (client.recovery?.down) {
        await vi.advanceTimersByTimeAsync(100);
        await new Promise((resolve) => setImmediate(resolve));
      }
      cut(client);
      const next = client.root.getattr();
      await vi.advanceTimersByTimeAsync(500);
      await next;
      expect(client.recovery?.recoveries).toBe(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('who answers Tflush is not silent, however many requests are not answered', { timeout: 30_000 }, async () => {
    const { server, client, fid } = await hostile({ silence: 0.2 }, { window: 2 });
    let probes = 0;
    server.answers.Tlock = () => undefined;
    server.answers.Tflush = () => {
      probes++;
      return {};
    };
    for (const procId of [1, 2, 3]) fid.lock({ ...RANGE, procId }, 1).catch(() => undefined);
    await expect.poll(() => probes, { timeout: 20_000 }).toBeGreaterThan(4);
    expect(client.recovery?.losses).toBe(0);
  });

  it('a write that is sent again can be given up, and so can what waits for it', async () => {
    const { server, client, fid } = await hostile();
    await fid.open(L_O_RDWR);
    let writes = 0;
    server.answers.Twrite = () => {
      writes++;
      return undefined;
    };
    const [one, two] = [new AbortController(), new AbortController()];
    const write = fid.write(new Uint8Array(10), 0, { signal: one.signal });
    const next = fid.write(new Uint8Array(10), 10, { signal: two.signal });
    await expect.poll(() => writes).toBe(2);
    cut(client);
    await recovered(client);
    await expect.poll(() => writes).toBe(3);
    two.abort();
    await expect(next).rejects.toMatchObject({ name: 'AbortError' });
    one.abort();
    await expect(write).rejects.toMatchObject({ name: 'AbortError' });
    await client.root.getattr();
  });
});
