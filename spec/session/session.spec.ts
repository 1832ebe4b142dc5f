import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Codec, type Message } from '../../lib/protocol/codec.js';
import { NOTAG, VERSION_L, VERSION_U } from '../../lib/protocol/constants.js';
import { ConnectionLostError } from '../../lib/protocol/error.js';
import { Framer } from '../../lib/protocol/framer.js';
import { type Body, type MessageName, messages, type TName } from '../../lib/protocol/messages.js';
import { openSession, Session, type SessionOptions } from '../../lib/session/index.js';
import { PARTING } from '../../lib/session/parting.js';
import { close, read, setNonblocking, socketpair } from '../../lib/sys/io.js';
import { registerScheme } from '../../lib/transport/index.js';
import { type MemoryOptions, memoryPair } from '../../lib/transport/memory.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import type { Transport } from '../../lib/transport/transport.js';

/** The other end, played by hand: collects what comes and answers what the test says. */
class Peer {
  readonly codec = new Codec();
  readonly messages: Message[] = [];
  readonly #transport: Transport;
  readonly #arrived = new Set<() => void>();
  closed: Promise<Error | undefined>;

  constructor(transport: Transport, version: Partial<Body<'Rversion'>> | 'silent' = {}) {
    this.#transport = transport;
    const framer = new Framer(
      {
        frame: (frame) => {
          const message = this.codec.decode(frame.slice());
          if (message.name === 'Tversion' && version !== 'silent') this.answer(NOTAG, 'Rversion', { ...message.body, ...version });
          else this.messages.push(message);
          for (const wake of this.#arrived) wake();
        },
      },
      1 << 22,
    );
    this.closed = new Promise((resolve) =>
      transport.start({
        target: () => framer.target(),
        filled: (count) => framer.filled(count),
        push: (chunk) => framer.push(chunk),
        drained: () => undefined,
        closed: resolve,
      }),
    );
  }

  answer<N extends MessageName>(tag: number, name: N, body: Body<N>): void {
    this.#transport.send([this.codec.encode(name, tag, body)]);
  }

  raw(bytes: Uint8Array): void {
    this.#transport.send([bytes]);
  }

  end(error?: Error): void {
    this.#transport.destroy(error);
  }

  /** The next request, which must have that name. */
  async next<N extends TName>(name: N): Promise<{ tag: number; body: Body<N> }> {
    while (this.messages.length === 0) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#arrived.delete(wake);
          resolve();
        };
        this.#arrived.add(wake);
      });
    }
    const message = this.messages.shift() as Message;
    expect(message.name).toBe(name);
    return { tag: message.tag, body: message.body as Body<N> };
  }
}

const sessions: Session[] = [];

async function open(options?: SessionOptions, version?: Partial<Body<'Rversion'>>, memory?: MemoryOptions): Promise<[Session, Peer]> {
  const [ours, theirs] = memoryPair(memory);
  const peer = new Peer(theirs, version);
  const session = await Session.open(ours, options);
  sessions.push(session);
  return [session, peer];
}

afterEach(() => {
  for (const session of sessions.splice(0)) session.destroy();
});

describe('the beginning', () => {
  it('asks for 1 MiB + 24 and obeys what Rversion gives', async () => {
    const [session] = await open({}, { msize: 8192 });
    expect(session.msize).toBe(8192);
    expect(session.maxPayload).toBe(8192 - 24);
    const [asked] = await open();
    expect(asked.msize).toBe(1024 * 1024 + 24);
  });

  it.each([
    ['a larger msize than was asked for', { msize: 1 << 21 }],
    ['an msize of 4095', { msize: 4095 }],
    ['another version', { version: '9P2001' }],
    ['"unknown"', { version: 'unknown' }],
  ])('refuses %s', async (_what, version) => {
    await expect(open({}, version)).rejects.toThrow(expect.objectContaining({ code: expect.stringMatching(/^EPROTO/) }));
  });

  it('steps down to the dialect the server gives, but not up', async () => {
    const [session] = await open({}, { version: VERSION_U });
    expect(session.dialect).toBe(VERSION_U);
    await expect(open({ version: VERSION_U }, { version: VERSION_L })).rejects.toMatchObject({ code: 'EPROTONOSUPPORT' });
  });

  it('tries the older dialects where the server does not know the newest', async () => {
    const [ours, theirs] = memoryPair();
    const peer = new Peer(theirs, 'silent');
    const opening = Session.open(ours);
    for (const version of ['9P2000.L', '9P2000.u']) {
      const { body } = await peer.next('Tversion');
      expect(body.version).toBe(version);
      peer.answer(NOTAG, 'Rversion', { ...body, version: version === '9P2000.u' ? version : 'unknown' });
    }
    const session = await opening;
    expect(session.dialect).toBe(VERSION_U);
    session.destroy();
  });

  it('ends when aborted, when nothing comes in time, and when the peer goes', async () => {
    const controller = new AbortController();
    const silent = () => {
      const [ours, theirs] = memoryPair();
      return { ours, peer: new Peer(theirs, 'silent') };
    };
    const aborted = silent();
    const opening = Session.open(aborted.ours, { signal: controller.signal });
    controller.abort();
    await expect(opening).rejects.toMatchObject({ name: 'AbortError' });
    await aborted.peer.closed;
    await expect(Session.open(silent().ours, { timeout: 20 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const gone = silent();
    const lost = Session.open(gone.ours);
    gone.peer.end();
    await expect(lost).rejects.toBeInstanceOf(ConnectionLostError);
  });
});

describe('requests', () => {
  it('get their own replies, in whatever order these come', async () => {
    const [session, peer] = await open();
    const requests = [1, 2, 3].map((fid) => session.request('Treadlink', { fid }));
    const tags: number[] = [];
    for (const fid of [1, 2, 3]) {
      const { tag, body } = await peer.next('Treadlink');
      expect(body.fid).toBe(fid);
      tags.push(tag);
    }
    expect(new Set(tags).size).toBe(3);
    for (const index of [2, 0, 1]) peer.answer(tags[index] as number, 'Rreadlink', { target: `to ${index}` });
    expect((await Promise.all(requests)).map(({ target }) => target)).toEqual(['to 0', 'to 1', 'to 2']);
    expect(session.counters).toMatchObject({ inFlight: 0, waiting: 0, answered: 1 + 3 });
  });

  it('fail with the errno of Rlerror', async () => {
    const [session, peer] = await open();
    const request = session.request('Tclunk', { fid: 1 });
    peer.answer((await peer.next('Tclunk')).tag, 'Rlerror', { ecode: 39 });
    await expect(request).rejects.toMatchObject({ code: 'ENOTEMPTY', errno: -39, syscall: 'Tclunk' });
  });

  it('wait for a tag once the window is full', async () => {
    const [session, peer] = await open({ window: 2 });
    const requests = [1, 2, 3, 4].map((fid) => session.request('Tclunk', { fid }));
    const first = await peer.next('Tclunk');
    const second = await peer.next('Tclunk');
    expect(session.counters).toMatchObject({ inFlight: 2, waiting: 2 });
    expect(peer.messages).toEqual([]);
    peer.answer(second.tag, 'Rclunk', {});
    const third = await peer.next('Tclunk');
    expect(third).toEqual({ tag: second.tag, body: { fid: 3 } });
    peer.answer(first.tag, 'Rclunk', {});
    peer.answer(third.tag, 'Rclunk', {});
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await Promise.all(requests);
  });

  it.each([1, 7, 11, 100, Number.POSITIVE_INFINITY])('put what is read where the caller wants it, in pieces of %d bytes', async (chunk) => {
    const [session, peer] = await open({}, {}, { chunk });
    const into = new Uint8Array(3000).fill(1);
    const request = session.request('Tread', { fid: 1, offset: 0, count: 2500 }, { into });
    peer.answer((await peer.next('Tread')).tag, 'Rread', { data: new Uint8Array(2000).fill(7) });
    const { data } = await request;
    expect(data.buffer).toBe(into.buffer);
    expect(data).toEqual(new Uint8Array(2000).fill(7));
    expect(into.subarray(2000)).toEqual(new Uint8Array(1000).fill(1));
  });

  it('own the data where the caller gave no buffer', async () => {
    const [session, peer] = await open();
    const reads = [1, 2].map((fid) => session.request('Tread', { fid, offset: 0, count: 5 }));
    const frame = new Uint8Array(16);
    for (const [index, value] of [1, 2].entries()) {
      // A transport uses its buffer again.
      frame.set(peer.codec.encode('Rread', (await peer.next('Tread')).tag, { data: new Uint8Array(5).fill(value) }));
      peer.raw(frame);
      await reads[index];
    }
    frame.fill(9);
    expect((await Promise.all(reads)).map(({ data }) => [...data])).toEqual([new Array(5).fill(1), new Array(5).fill(2)]);
  });

  it('that are larger than msize are refused before they are sent', async () => {
    const [session, peer] = await open({}, { msize: 4096 });
    await expect(session.request('Tsymlink', { dfid: 1, name: 'a', symtgt: 'x'.repeat(5000), gid: 0 })).rejects.toMatchObject({
      code: 'EMSGSIZE',
    });
    const write = (size: number) => session.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(size) });
    await expect(write(4096 - 22)).rejects.toMatchObject({ code: 'EMSGSIZE' });
    await expect(session.request('Tread', { fid: 1, offset: 0, count: 5 }, { into: new Uint8Array(4) })).rejects.toThrow(
      /into a buffer of 4/,
    );
    expect(session.counters.inFlight).toBe(0);
    const largest = write(4096 - 23);
    peer.answer((await peer.next('Twrite')).tag, 'Rwrite', { count: 4096 - 23 });
    await largest;
    const next = session.request('Tclunk', { fid: 1 });
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await next;
  });
});

describe('a request that is given up', () => {
  it('is flushed, and its tag is reused only after Rflush', async () => {
    const [session, peer] = await open({ window: 1 });
    const controller = new AbortController();
    const request = session.request('Tread', { fid: 1, offset: 0, count: 10 }, { signal: controller.signal });
    const { tag } = await peer.next('Tread');
    controller.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
    const flush = await peer.next('Tflush');
    expect(flush.body).toEqual({ oldtag: tag });
    const next = session.request('Tclunk', { fid: 2 });
    peer.answer(flush.tag, 'Rflush', {});
    const clunk = await peer.next('Tclunk');
    peer.answer(clunk.tag, 'Rclunk', {});
    await next;
    expect(session.counters.inFlight).toBe(0);
  });

  it('was done if its reply comes before Rflush', async () => {
    const [session, peer] = await open();
    const controller = new AbortController();
    const late: unknown[] = [];
    const request = session.request(
      'Twalk',
      { fid: 1, newfid: 2, wnames: [] },
      { signal: controller.signal, late: (error, reply) => late.push([error, reply]) },
    );
    const { tag } = await peer.next('Twalk');
    controller.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
    const flush = await peer.next('Tflush');
    expect(late).toEqual([]);
    peer.answer(tag, 'Rwalk', { wqids: [] });
    peer.answer(flush.tag, 'Rflush', {});
    const after = session.request('Tclunk', { fid: 2 });
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await after;
    expect(late).toEqual([[undefined, { wqids: [] }]]);
    expect(session.counters.inFlight).toBe(0);
  });

  it('has its tag until Rflush, though its reply came before that: it has one only', async () => {
    const [session, peer] = await open();
    const controller = new AbortController();
    const request = session.request('Tread', { fid: 1, offset: 0, count: 10 }, { signal: controller.signal });
    const { tag } = await peer.next('Tread');
    controller.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
    const flush = await peer.next('Tflush');
    peer.answer(tag, 'Rread', { data: new Uint8Array(1) });
    await expect.poll(() => session.counters.answered).toBe(2);
    const other = session.request('Tclunk', { fid: 2 });
    const clunk = await peer.next('Tclunk');
    expect(clunk.tag).not.toBe(tag);
    peer.answer(clunk.tag, 'Rclunk', {});
    await other;
    expect(session.counters.inFlight).toBe(2);
    peer.answer(flush.tag, 'Rflush', {});
    await expect.poll(() => session.counters.inFlight).toBe(0);
    const again = session.request('Tread', { fid: 1, offset: 0, count: 10 }, { signal: AbortSignal.timeout(1) });
    const read = await peer.next('Tread');
    await expect(again).rejects.toMatchObject({ name: 'AbortError' });
    for (let count = 0; count < 2; count++) peer.answer(read.tag, 'Rread', { data: new Uint8Array(1) });
    await expect.poll(() => session.lost).toMatchObject({ cause: { message: expect.stringContaining('which is free') } });
  });

  it('has it also where its reply was so large that it came in parts', async () => {
    const [session, peer] = await open();
    const controller = new AbortController();
    const count = 100_000;
    const request = session.request('Tread', { fid: 1, offset: 0, count }, { signal: controller.signal });
    const { tag } = await peer.next('Tread');
    const reply = peer.codec.encode('Rread', tag, { data: new Uint8Array(count) }).slice();
    peer.raw(reply.subarray(0, 50_000));
    // It has come as far as that.
    const other = session.request('Tclunk', { fid: 2 });
    const clunk = await peer.next('Tclunk');
    controller.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
    const flush = await peer.next('Tflush');
    peer.raw(reply.subarray(50_000));
    peer.answer(clunk.tag, 'Rclunk', {});
    await other;
    expect(session.counters.inFlight).toBe(2);
    const next = session.request('Tclunk', { fid: 3 });
    const last = await peer.next('Tclunk');
    expect(last.tag).not.toBe(tag);
    peer.answer(last.tag, 'Rclunk', {});
    await next;
    peer.answer(flush.tag, 'Rflush', {});
    await expect.poll(() => session.counters.inFlight).toBe(0);
  });

  it('and was refused before it was sent leaves nothing to flush', async () => {
    const [session, peer] = await open({ msize: 8192 });
    const { signal, abort } = (() => {
      const controller = new AbortController();
      return { signal: controller.signal, abort: () => controller.abort() };
    })();
    const walk = session.request('Twalk', { fid: 0, newfid: 1, wnames: ['x'.repeat(9000)] }, { signal });
    const write = session.request('Twrite', { fid: 0, offset: 0, data: new Uint8Array(8192) });
    abort();
    await expect(walk).rejects.toThrow();
    await expect(write).rejects.toMatchObject({ code: 'EMSGSIZE' });
    const next = session.request('Tclunk', { fid: 1 });
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await next;
    expect(peer.messages).toEqual([]);
  });

  it('gives its buffer back at once, before its reply has come', async () => {
    const [session, peer] = await open();
    for (const count of [10, 1000]) {
      const controller = new AbortController();
      const into = new Uint8Array(count);
      const request = session.request('Tread', { fid: 1, offset: 0, count }, { signal: controller.signal, into });
      const { tag } = await peer.next('Tread');
      controller.abort();
      await expect(request).rejects.toMatchObject({ name: 'AbortError' });
      const flush = await peer.next('Tflush');
      // Whole, and so that its payload would go straight to its place.
      const reply = peer.codec.encode('Rread', tag, { data: new Uint8Array(count).fill(7) }).slice();
      for (const part of [reply.subarray(0, 11), reply.subarray(11)]) peer.raw(part);
      peer.answer(flush.tag, 'Rflush', {});
      await expect.poll(() => session.counters.inFlight).toBe(0);
      expect(into.every((byte) => byte === 0)).toBe(true);
    }
    const controller = new AbortController();
    const into = new Uint8Array(10);
    const request = session.request('Tread', { fid: 1, offset: 0, count: 10 }, { signal: controller.signal, into });
    const { tag } = await peer.next('Tread');
    controller.abort();
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
    const flush = await peer.next('Tflush');
    peer.answer(tag, 'Rread', { data: new Uint8Array(10).fill(7) });
    peer.answer(flush.tag, 'Rflush', {});
    await expect.poll(() => session.counters.inFlight).toBe(0);
    expect(into.every((byte) => byte === 0)).toBe(true);
  });

  it('gives its buffer back at once, in the middle of a payload too', async () => {
    const [session, peer] = await open();
    const controller = new AbortController();
    const into = new Uint8Array(1000);
    const request = session.request('Tread', { fid: 1, offset: 0, count: 1000 }, { signal: controller.signal, into });
    const { tag } = await peer.next('Tread');
    const reply = peer.codec.encode('Rread', tag, { data: new Uint8Array(1000).fill(7) });
    peer.raw(reply.slice(0, 300));
    const other = session.request('Tclunk', { fid: 9 });
    await peer.next('Tclunk').then(({ tag: clunk }) => {
      controller.abort();
      peer.raw(reply.slice(300));
      peer.answer(clunk, 'Rclunk', {});
    });
    await expect(request).rejects.toMatchObject({ name: 'AbortError' });
    await other;
    expect(into.subarray(289)).toEqual(new Uint8Array(711));
  });

  it('before it has a tag is never sent', async () => {
    const [session, peer] = await open({ window: 1 });
    const first = session.request('Tclunk', { fid: 1 });
    const controller = new AbortController();
    const second = session.request('Tclunk', { fid: 2 }, { signal: controller.signal });
    controller.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    await expect(session.request('Tclunk', { fid: 3 }, { signal: controller.signal })).rejects.toMatchObject({ name: 'AbortError' });
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await first;
    expect(peer.messages).toEqual([]);
  });

  it('by time-out fails with ETIMEDOUT; a server that answers not even Tflush is given up', async () => {
    const [session, peer] = await open({ timeout: 40 });
    const request = session.request('Tclunk', { fid: 1 });
    await expect(request).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    const lost = new Promise((resolve) => session.onClosed(resolve));
    await peer.next('Tclunk');
    await peer.next('Tflush');
    expect(await lost).toMatchObject({ code: 'ETIMEDOUT' });
    await expect(session.request('Tclunk', { fid: 1 })).rejects.toBeInstanceOf(ConnectionLostError);
  });
});

describe('a request that waits for a tag', () => {
  it.each([
    [undefined, 40],
    [40, undefined],
    [10_000, 40],
  ])(
    'behind what is not answered fails with ETIMEDOUT, and nobody hears of it (session: %s ms, request: %s ms)',
    async (ofSession, own) => {
      const [session, peer] = await open({ window: 2, timeout: ofSession });
      const endless = [1, 2].map((fid) => session.request('Tclunk', { fid }, { timeout: 0 }));
      const tags = [await peer.next('Tclunk'), await peer.next('Tclunk')].map(({ tag }) => tag);
      const last = session.request('Tclunk', { fid: 4 }, { timeout: 0 });
      const given = await Promise.allSettled([3, 3].map((fid) => session.request('Tclunk', { fid }, { timeout: own })));
      expect(given).toEqual(Array.from(given, () => ({ status: 'rejected', reason: expect.objectContaining({ code: 'ETIMEDOUT' }) })));
      expect(session.counters).toMatchObject({ inFlight: 2, waiting: 1 });
      for (const tag of tags) peer.answer(tag, 'Rclunk', {});
      const { tag, body } = await peer.next('Tclunk');
      expect(body).toEqual({ fid: 4 });
      peer.answer(tag, 'Rclunk', {});
      await Promise.all([...endless, last]);
      expect(peer.messages).toEqual([]);
    },
  );

  it('has its time from when the last one before it had its turn, or was answered', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    try {
      const [session, peer] = await open({ window: 1, timeout: 100 });
      const requests = [1, 2, 3, 4, 5, 6].map((fid) => session.request('Tclunk', { fid }));
      const settled = Promise.allSettled(requests);
      /** So much time passes, and what is overdue then is looked for. */
      const pass = async (milliseconds: number): Promise<void> => {
        vi.advanceTimersByTime(milliseconds);
        await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      };
      for (let count = 0; count < 5; count++) {
        const { tag } = await peer.next('Tclunk');
        await pass(80);
        peer.answer(tag, 'Rclunk', {});
      }
      expect((await peer.next('Tclunk')).body).toEqual({ fid: 6 });
      await pass(200);
      expect((await settled).map(({ status }) => status)).toEqual([...Array(5).fill('fulfilled'), 'rejected']);
    } finally {
      vi.useRealTimers();
    }
  });
});

it.runIf(process.platform === 'linux')(
  'a reply that came in time counts, though the process stood still until it was too late',
  async () => {
    const [ours, theirs] = socketpair();
    setNonblocking(theirs);
    const codec = new Codec();
    const say = (frame: Uint8Array) => writeSync(theirs, frame);
    /** Reads the next request, whose type tells it. */
    const heard = async (type: number) => {
      const bytes = Buffer.alloc(8192);
      for (let count = 0; count === 0; ) {
        await new Promise((resolve) => setImmediate(resolve));
        count = Math.max(0, read(theirs, bytes));
      }
      expect(bytes[4]).toBe(type);
      return bytes.readUInt16LE(5);
    };
    const opening = Session.open(new PolledTransport('pair', ours, ours), { timeout: 1000 });
    await heard(messages.Tversion.type);
    say(codec.encode('Rversion', NOTAG, { msize: 8192, version: '9P2000.L' }));
    const session = await opening;
    sessions.push(session);
    const still = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1200);

    const request = session.request('Tclunk', { fid: 1 });
    const tag = await heard(messages.Tclunk.type);
    say(codec.encode('Rclunk', tag, {}));
    still();
    await request;

    // And so does that to a Tflush, without which the session would be over.
    const late = session.request('Tclunk', { fid: 2 });
    await heard(messages.Tclunk.type);
    await expect(late).rejects.toMatchObject({ code: 'ETIMEDOUT' });
    say(codec.encode('Rflush', await heard(messages.Tflush.type), {}));
    still();
    await expect.poll(() => session.counters.inFlight).toBe(0);
    expect(session.lost).toBeUndefined();
    close(theirs);
  },
);

describe('a peer that breaks the protocol ends the session', () => {
  it.each<[string, (peer: Peer, tag: number) => void]>([
    ['a reply of another type', (peer, tag) => peer.answer(tag, 'Rwalk', { wqids: [] })],
    ['a reply to a free tag', (peer, tag) => peer.answer(tag + 1, 'Rread', { data: new Uint8Array(1) })],
    ['a large reply to a free tag', (peer, tag) => peer.answer(tag + 1, 'Rread', { data: new Uint8Array(2000) })],
    ['a request', (peer, tag) => peer.answer(tag, 'Tclunk', { fid: 1 })],
    ['more data than was asked for', (peer, tag) => peer.answer(tag, 'Rread', { data: new Uint8Array(11) })],
    ['directory data for a read', (peer, tag) => peer.answer(tag, 'Rreaddir', { data: new Uint8Array(1) })],
    ['a frame larger than msize', (peer) => peer.raw(Uint8Array.of(0, 0, 0, 0x7f, 117, 0, 0))],
    ['a frame of no size', (peer) => peer.raw(new Uint8Array(7))],
    ['noise', (peer) => peer.raw(Uint8Array.from({ length: 64 }, (_, index) => (index * 73) & 255))],
  ])('%s', async (_what, breakIt) => {
    const [session, peer] = await open();
    const requests = [
      session.request('Tread', { fid: 1, offset: 0, count: 10 }),
      session.request('Tread', { fid: 1, offset: 10, count: 10 }).then(undefined, (error: unknown) => error),
    ];
    const { tag } = await peer.next('Tread');
    const { tag: second } = await peer.next('Tread');
    breakIt(peer, Math.max(tag, second));
    await expect(requests[0]).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
    expect(await requests[1]).toBeInstanceOf(ConnectionLostError);
    expect(session.lost).toBeInstanceOf(ConnectionLostError);
    await peer.closed;
  });
});

it('a server that says it has written more than it was sent is not believed', async () => {
  const [session, peer] = await open();
  const write = session.request('Twrite', { fid: 1, offset: 0, data: new Uint8Array(10) });
  peer.answer((await peer.next('Twrite')).tag, 'Rwrite', { count: 11 });
  await expect(write).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
  await peer.closed;
});

it('no more than so many requests wait, whoever makes them', async () => {
  const [session, peer] = await open({ window: 1 });
  const errors: unknown[] = [];
  for (let index = 0; index < 65_536 + 2; index++) session.call('Tclunk', { fid: index }, (error) => errors.push(error));
  await peer.next('Tclunk');
  expect(errors).toEqual([expect.objectContaining({ code: 'ENOBUFS' })]);
  session.destroy();
});

describe('by an address', () => {
  /** Whoever dials gets one end of a pair; the other ones. */
  function dialled(): Transport[] {
    const others: Transport[] = [];
    registerScheme('qemu', async () => {
      const [ours, theirs] = memoryPair();
      others.push(theirs);
      return ours;
    });
    return others;
  }

  it('nobody is dialled for a dialect that is none', async () => {
    const others = dialled();
    await expect(openSession('qemu:path=/x?version=foo')).rejects.toMatchObject({
      name: 'AddressError',
      message: expect.stringContaining('"foo"'),
    });
    expect(others).toEqual([]);
  });

  it('whoever says nothing of his version has no longer than connecting may take', async () => {
    const others = dialled();
    const opening = openSession('qemu:path=/x', { connectTimeout: 50 });
    await vi.waitUntil(() => others.length > 0);
    const peer = new Peer(others[0] as Transport, 'silent');
    await expect(opening).rejects.toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect', address: 'qemu:path=/x' });
    await peer.closed;
  });
});

describe('the end', () => {
  it('rejects everything pending with one error', async () => {
    const [session, peer] = await open({ window: 2 });
    const requests = [1, 2, 3].map((fid) => session.request('Tclunk', { fid }));
    await peer.next('Tclunk');
    peer.end();
    const reasons = (await Promise.allSettled(requests)).map((result) => (result.status === 'rejected' ? result.reason : undefined));
    expect(reasons[0]).toBeInstanceOf(ConnectionLostError);
    expect(new Set(reasons).size).toBe(1);
    expect(session.counters).toMatchObject({ inFlight: 0, waiting: 0 });
  });

  it('says where a frame was cut', async () => {
    const [session, peer] = await open();
    const request = session.request('Tclunk', { fid: 1 });
    await peer.next('Tclunk');
    peer.raw(Uint8Array.of(9, 0, 0));
    const second = new Promise((resolve) => session.onClosed(resolve));
    setImmediate(() => peer.end());
    await expect(request).rejects.toBeInstanceOf(ConnectionLostError);
    await second;
  });

  it('close waits for what is in flight, and may be called again', async () => {
    const [session, peer] = await open();
    const request = session.request('Tclunk', { fid: 1 });
    const closing = session.close();
    expect(session.close()).toBe(closing);
    peer.answer((await peer.next('Tclunk')).tag, 'Rclunk', {});
    await request;
    await closing;
    await expect(session.request('Tclunk', { fid: 1 })).rejects.toBeInstanceOf(ConnectionLostError);
  });

  describe('close, of which nothing is heard,', () => {
    beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] }));
    afterEach(() => void vi.useRealTimers());

    it('gives up what is not answered', async () => {
      const [session, peer] = await open();
      const request = session.request('Tfsync', { fid: 1, datasync: 0 });
      const refused = expect(request).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'ETIMEDOUT' });
      await peer.next('Tfsync');
      const closing = session.close();
      vi.advanceTimersByTime(PARTING);
      await closing;
      await refused;
      await peer.closed;
    });

    it('waits on while other answers come', async () => {
      const [session, peer] = await open({ window: 1 });
      const requests = Array.from({ length: 4 }, () => session.request('Tclunk', { fid: 1 }));
      const closing = session.close();
      for (const request of requests) {
        const { tag } = await peer.next('Tclunk');
        vi.advanceTimersByTime(PARTING * 0.75);
        peer.answer(tag, 'Rclunk', {});
        await request;
      }
      await closing;
    });
  });

  it('close gives up at once what may never be answered, in flight or waiting for a tag', async () => {
    const [session, peer] = await open({ window: 1 });
    const body = { fid: 1, type: 1, flags: 1, start: 0, length: 0, procId: 1, clientId: '' };
    const locks = [1, 2].map(() => session.request('Tlock', body, { endless: true }));
    const refused = locks.map((lock) => expect(lock).rejects.toBeInstanceOf(ConnectionLostError));
    await peer.next('Tlock');
    const closing = session.close();
    await Promise.all(refused);
    peer.answer((await peer.next('Tflush')).tag, 'Rflush', {});
    await closing;
  });
});
