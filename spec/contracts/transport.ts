import { describe, expect, test } from 'vitest';
import type { Receiver, Transport } from '../../lib/transport/transport.js';
import { Random } from '../support/random.js';

/** Two ends of one stream. */
export interface Pair {
  a: Transport;
  b: Transport;
  /** Ends b's side as a crash would; default: `b.destroy()`. */
  vanish?(): void;
  dispose?(): Promise<void> | void;
}

export interface Subject {
  /** A fresh pair whose ends have that bound on what waits to be written, in bytes. */
  make(backlog?: number): Promise<Pair>;
  /** Bytes that the stream may hold outside of both transports: kernel buffers, a process between. Default 16 MiB. */
  capacity?: number;
}

const MIB = 1024 * 1024;

/** Takes what arrives and watches over the rules that hold at any time. */
export class Sink implements Receiver {
  readonly transport: Transport;
  /** What a target is sized like: fixed, or by chance. */
  readonly size: () => number;
  total = 0;
  drains = 0;
  pieces = 0;
  ended = false;
  error: Error | undefined;
  violation: string | undefined;
  /** Checks or keeps the bytes; called with their position. */
  take: ((bytes: Uint8Array, position: number) => void) | undefined;
  /** A call into the transport is under way: nothing but `sent` may be called back. */
  inside = false;
  #target: Uint8Array = new Uint8Array(0);
  #waiting: { done: () => boolean; resolve: () => void }[] = [];

  constructor(transport: Transport, size: () => number = () => 64 * 1024) {
    this.transport = transport;
    this.size = size;
  }

  start(): this {
    this.#call(() => this.transport.start(this));
    return this;
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    return this.#call(() => this.transport.send(parts, sent));
  }

  close(): Promise<void> {
    return this.#call(() => this.transport.close());
  }

  destroy(error?: Error): void {
    this.#call(() => this.transport.destroy(error));
  }

  #call<T>(call: () => T): T {
    const outer = this.inside;
    this.inside = true;
    try {
      return call();
    } finally {
      this.inside = outer;
    }
  }

  #called(what: string): void {
    if (this.inside) this.violation ??= `${what} from inside a call`;
    if (this.ended) this.violation ??= `${what} after closed`;
  }

  target(): Uint8Array {
    this.#called('target');
    this.#target = new Uint8Array(this.size());
    return this.#target;
  }

  filled(count: number): void {
    this.#called('filled');
    if (count < 1 || count > this.#target.length) this.violation ??= `filled(${count}) of ${this.#target.length}`;
    this.#arrived(this.#target.subarray(0, count));
  }

  push(chunk: Uint8Array): void {
    this.#called('push');
    if (chunk.length === 0) this.violation ??= 'an empty push';
    this.#arrived(chunk);
  }

  drained(): void {
    this.#called('drained');
    this.drains++;
    this.#changed();
  }

  closed(error?: Error): void {
    this.#called('closed');
    this.ended = true;
    this.error = error;
    this.#changed();
  }

  #arrived(bytes: Uint8Array): void {
    this.pieces++;
    const position = this.total;
    this.total += bytes.length;
    this.take?.(bytes, position);
    this.#changed();
  }

  #changed(): void {
    this.#waiting = this.#waiting.filter(({ done, resolve }) => {
      if (!done()) return true;
      resolve();
      return false;
    });
  }

  /** Resolves when the condition holds; it is looked at whenever anything arrives. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ done, resolve }));
  }
}

/** Bytes that tell their position: any loss, doubling or change of order shows. */
export function pattern(length: number, position = 0): Uint8Array {
  return patternTo(position + length).slice(position, position + length);
}

/** The pattern from its beginning, at least as far as was asked for: every test looks at millions of the same bytes. */
let known = new Uint8Array(0);

function patternTo(end: number): Uint8Array {
  if (end > known.length) {
    const longer = new Uint8Array(Math.max(end, 2 * known.length));
    longer.set(known);
    for (let index = known.length; index < longer.length; index++) longer[index] = byteAt(index);
    known = longer;
  }
  return known;
}

function byteAt(position: number): number {
  return (Math.imul(position, 0x9e3779b1) >>> 24) ^ (position & 0xff);
}

/** A `take` that holds what arrives against the pattern. */
export function checking(sink: Sink, start = 0): void {
  sink.take = (bytes, position) => {
    const from = start + position;
    const expected = patternTo(from + bytes.length).subarray(from, from + bytes.length);
    if (Buffer.compare(bytes, expected) === 0) return;
    sink.violation ??= `a wrong byte at ${position + bytes.findIndex((byte, index) => byte !== expected[index])}`;
  };
}

/** Lets everything run that is about to. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Sends a large amount in pieces, holding back when told to. */
async function pump(sink: Sink, total: number, piece: number): Promise<void> {
  for (let position = 0; position < total; position += piece) {
    const drains = sink.drains;
    const bytes = pattern(Math.min(piece, total - position), position);
    if (!sink.send([bytes.subarray(0, 7), bytes.subarray(7)])) await sink.until(() => sink.drains > drains || sink.ended);
  }
}

/** Everything that lib/transport/transport.ts promises. */
export function transportContract(name: string, subject: Subject): void {
  const { capacity = 16 * MIB } = subject;
  const withPair = (run: (a: Sink, b: Sink, pair: Pair) => Promise<void>, backlog?: number, size?: () => number) => async () => {
    const pair = await subject.make(backlog);
    const a = new Sink(pair.a, size);
    const b = new Sink(pair.b, size);
    try {
      await run(a, b, pair);
      await turns();
      expect([a.violation, b.violation]).toEqual([undefined, undefined]);
    } finally {
      pair.a.destroy();
      pair.b.destroy();
      await Promise.all([pair.a.close(), pair.b.close()]);
      await pair.dispose?.();
    }
    expect([a.violation, b.violation]).toEqual([undefined, undefined]);
  };

  describe(`transport contract: ${name}`, () => {
    test(
      'parts arrive in order, as bytes, wherever they are cut',
      withPair(async (a, b) => {
        a.start();
        b.start();
        checking(b);
        let position = 0;
        let sent = 0;
        for (let cut = 0; cut <= 40; cut++) {
          const bytes = pattern(40, position);
          a.send([bytes.subarray(0, cut), bytes.subarray(cut)], () => sent++);
          position += 40;
          if (cut % 5 === 0) await b.until(() => b.total === position);
        }
        // One of no parts is sent as well.
        a.send([], () => sent++);
        await b.until(() => b.total === position);
        await turns();
        expect(sent).toBe(42);
      }),
    );

    test(
      'many small messages in one turn keep their order, and each is told sent once, in order',
      withPair(async (a, b) => {
        a.start();
        b.start();
        checking(b);
        const sent: number[] = [];
        let position = 0;
        for (let index = 0; index < 3000; index++) {
          a.send([pattern(11, position), new Uint8Array(0), pattern(5, position + 11)], () => sent.push(index));
          position += 16;
        }
        await b.until(() => b.total === position);
        await b.until(() => true);
        for (let turn = 0; sent.length < 3000 && turn < 1000; turn++) await turns(1);
        expect(sent).toEqual(Array.from({ length: 3000 }, (_, index) => index));
      }),
    );

    const random = new Random();
    test(
      `8 MiB both ways at once into targets of any size (seed ${random.seed})`,
      withPair(
        async (a, b) => {
          a.start();
          b.start();
          checking(a);
          checking(b);
          await Promise.all([pump(a, 8 * MIB, 100_003), pump(b, 8 * MIB, 65_537)]);
          await Promise.all([a.until(() => a.total === 8 * MIB), b.until(() => b.total === 8 * MIB)]);
        },
        undefined,
        () => random.integer(1, 200_000),
      ),
    );

    test(
      'one message of 8 MiB, whose parts may be written to once it is sent',
      withPair(async (a, b) => {
        a.start();
        b.start();
        checking(b);
        const bytes = pattern(8 * MIB);
        let sent = 0;
        expect(
          a.send([bytes.subarray(0, 23), bytes.subarray(23)], () => {
            sent++;
            // In memory the bytes have been taken by now as well.
            bytes.fill(0xee);
          }),
        ).toBe(false);
        await a.until(() => a.drains === 1);
        await b.until(() => b.total === bytes.length);
        expect(sent).toBe(1);
      }),
    );

    test(
      'a taker that pauses holds back its peer, and nothing is lost',
      withPair(async (a, b) => {
        a.start();
        b.start();
        checking(b);
        b.transport.pause();
        const piece = 64 * 1024;
        let position = 0;
        let open = true;
        while (open) {
          open = a.send([pattern(piece, position)]);
          position += piece;
          expect(position, 'bytes taken while nobody reads').toBeLessThan(capacity + 2 * MIB);
          await turns(1);
        }
        expect(a.drains).toBe(0);
        b.transport.resume();
        await b.until(() => b.total === position);
        await a.until(() => a.drains === 1);
        expect(a.send([pattern(10, position)])).toBe(true);
        await b.until(() => b.total === position + 10);
      }, MIB),
    );

    test(
      'nothing is delivered between pause and resume, not even from the same turn',
      withPair(async (a, b) => {
        a.start();
        b.start();
        let paused = false;
        b.take = () => {
          if (paused) b.violation ??= 'bytes while paused';
          paused = true;
          b.transport.pause();
        };
        for (let index = 0; index < 200; index++) a.send([pattern(10_000, index * 10_000)]);
        await b.until(() => paused);
        // The other direction goes on meanwhile.
        for (let round = 1; round <= 3; round++) {
          b.send([pattern(10)]);
          await a.until(() => a.total === round * 10);
        }
        paused = false;
        checking(b);
        b.transport.resume();
        await b.until(() => b.total === 2_000_000);
      }),
    );

    test(
      'close writes what is queued, then both ends are over, once and without an error',
      withPair(async (a, b) => {
        a.start();
        b.start();
        checking(b);
        let sent = 0;
        a.send([pattern(5 * MIB)], () => sent++);
        const first = a.close();
        const second = a.close();
        expect(a.send([pattern(10)], () => sent++)).toBe(false);
        await Promise.all([first, second]);
        expect(a.ended).toBe(true);
        await b.until(() => b.ended);
        expect(b.total).toBe(5 * MIB);
        expect([a.error, b.error]).toEqual([undefined, undefined]);
        expect(sent).toBe(1);
        await a.close();
        await b.close();
      }),
    );

    test(
      'destroy ends at once with the given error, and the peer hears of it',
      withPair(async (a, b) => {
        a.start();
        b.start();
        b.transport.pause();
        let sent = 0;
        a.send([pattern(capacity + 8 * MIB)], () => sent++);
        const error = new Error('enough');
        a.destroy(error);
        a.destroy(new Error('later'));
        expect(a.ended).toBe(false);
        await a.until(() => a.ended);
        expect(a.error).toBe(error);
        b.transport.resume();
        await b.until(() => b.ended);
        await a.close();
        expect(sent).toBe(0);
        expect(a.send([pattern(1)], () => sent++)).toBe(false);
        await turns();
        expect(sent).toBe(0);
      }),
    );

    test(
      'a peer that vanishes ends the stream once, with what was on its way given up',
      withPair(async (a, b, pair) => {
        a.start();
        b.start();
        b.transport.pause();
        let sent = 0;
        a.send([pattern(capacity + 8 * MIB)], () => sent++);
        await turns();
        if (pair.vanish) pair.vanish();
        else b.destroy();
        await a.until(() => a.ended);
        await a.close();
        await turns();
        expect(sent).toBe(0);
      }),
    );

    test(
      'an end before start is told after it',
      withPair(async (a, b) => {
        b.start();
        b.destroy();
        await b.until(() => b.ended);
        await turns();
        a.start();
        expect(a.ended).toBe(false);
        await a.until(() => a.ended);
      }),
    );

    test(
      'a transport that never started closes too',
      withPair(async (a, b) => {
        b.start();
        await a.close();
        await b.until(() => b.ended);
        expect(a.ended).toBe(false);
      }),
    );
  });
}
