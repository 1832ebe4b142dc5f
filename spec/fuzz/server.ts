import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Message } from '../../lib/protocol/codec.js';
import { GETATTR_ALL, type messages } from '../../lib/protocol/index.js';
import type { Body, TName } from '../../lib/protocol/messages.js';
import type { Backend } from '../../lib/server/backend.js';
import { Server } from '../../lib/server/server.js';
import { Random } from '../support/random.js';
import { RawClient } from '../support/raw.js';
import { sized } from '../support/sized.js';

/** A back-end for the fuzzer to work on, and how to see that it stayed in its place. */
export interface FuzzTarget {
  backend: Backend;
  /** Everything outside the export that must not change, as text. */
  outside?(): Promise<string> | string;
  /** What is still held: must be 0 at the end. */
  counts?(): { held: number; locks: number };
  dispose?(): Promise<void> | void;
}

const seconds = sized('NINEP_FUZZ_SECONDS', 60, 2);
/** Requests of one connection before another takes its place. */
const ROUND = 150;
const OUTSTANDING = 24;

const plain = ['a', 'b', 'c', 'dir', 'sub', 'file', 'link', 'fifo', 'x'.repeat(255)];
const evil = [
  '',
  '.',
  '..',
  '/',
  '../outside',
  '../../etc/passwd',
  '/etc/passwd',
  'a/b',
  'a\0b',
  '\udc80\udcff',
  'x'.repeat(256),
  'x'.repeat(60_000),
  '.virtfs_metadata',
  '.virtfs_metadata_root',
  'user.virtfs.uid',
  'user.virtfs.mode',
  'system.posix_acl_access',
  'user.x',
];
const targets = ['a', '..', '../outside', '../outside/secret', '/', '/etc/passwd', 'link', '.', 'x'.repeat(4095), ''];

type Bodies = { [N in TName & keyof typeof messages]: () => Body<N> };

/** Requests that are sound as messages, and ask for anything. */
class Requests {
  readonly #random: Random;
  readonly bodies: Bodies;
  /** Fids that are in use as far as the answers tell, so that most requests get past the first check. */
  readonly #known = new Set([0]);
  readonly #weighted: Array<keyof Bodies>;

  constructor(random: Random) {
    this.#random = random;
    const any = () => random.integer(0, random.oneIn(30) ? 0xffffffff : 40);
    const fid = () => (random.oneIn(6) || this.#known.size === 0 ? any() : random.pick([...this.#known]));
    const newfid = () => (random.oneIn(6) ? fid() : any());
    const name = () => (random.oneIn(4) ? random.pick(evil) : random.pick(plain));
    const u32 = () => random.pick([0, 1, 2, 0o644, 0o755, 0o4755, 0o1777, 0xffff, 0xffffffff, random.next()]);
    const flags = () => random.pick([0, 1, 2, 3, 0o100, 0o200, 0o1000, 0o1002, 0o2001, 0o200000, 0o400000, random.next()]);
    const size = () => random.pick([0, 1, 100, 4096, 65536, 2 ** 31, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER, random.next()]);
    const count = () => random.pick([0, 1, 23, 24, 100, 4096, 60_000, 0xffffffff, random.next()]);
    const cookie = () => BigInt.asUintN(64, BigInt(random.pick([0, 1, 2, 3, 10, 2 ** 40, -1])));
    const time = () => ({ sec: random.pick([0, 1, -1, 2 ** 31, 1e9]), nsec: random.pick([0, 1, 999_999_999, 1e9, 2 ** 40]) });
    const data = () => random.bytes(random.pick([0, 1, 10, 1000, 17_000, 40_000]));
    const range = () => ({
      fid: fid(),
      type: random.integer(0, 3),
      start: random.pick([0, 5, 10, size()]),
      length: random.pick([0, 5, 10, size()]),
      procId: 1,
      clientId: random.pick(['', 'me', 'x'.repeat(300)]),
    });
    this.bodies = {
      Tversion: () => ({
        msize: random.pick([65536, 8192, 4096, 4095, 0, 0xffffffff]),
        version: random.pick(['9P2000.L', '9P2000.L', '9P2000', '']),
      }),
      Tauth: () => ({ afid: newfid(), uname: name().slice(0, 100), aname: '', nUname: u32() }),
      Tattach: () => ({
        fid: newfid(),
        afid: random.oneIn(5) ? fid() : 0xffffffff,
        uname: 'fuzz',
        aname: random.oneIn(5) ? name() : '',
        nUname: u32(),
      }),
      Tflush: () => ({ oldtag: random.integer(0, 64) }),
      Twalk: () => ({ fid: fid(), newfid: newfid(), wnames: Array.from({ length: random.pick([0, 1, 1, 1, 2, 3, 16]) }, name) }),
      Tread: () => ({ fid: fid(), offset: size(), count: count() }),
      Twrite: () => ({ fid: fid(), offset: random.pick([0, 10, 1000, size()]), data: data() }),
      Tclunk: () => ({ fid: fid() }),
      Tremove: () => ({ fid: fid() }),
      Tstatfs: () => ({ fid: fid() }),
      Tlopen: () => ({ fid: fid(), flags: flags() }),
      Tlcreate: () => ({ fid: fid(), name: name(), flags: flags(), mode: u32(), gid: u32() }),
      Tcreateat: () => ({
        dfid: fid(),
        newfid: newfid(),
        lend: random.integer(0, 1),
        name: name(),
        flags: flags(),
        mode: u32(),
        gid: u32(),
      }),
      Tsymlink: () => ({ dfid: fid(), name: name(), symtgt: random.pick(targets), gid: u32() }),
      Tmknod: () => ({
        dfid: fid(),
        name: name(),
        mode: random.pick([0o100644, 0o010600, 0o020666, 0o060600, 0o140600, u32()]),
        major: 1,
        minor: 3,
        gid: 0,
      }),
      Trename: () => ({ fid: fid(), dfid: fid(), name: name() }),
      Treadlink: () => ({ fid: fid() }),
      Tgetattr: () => ({ fid: fid(), requestMask: GETATTR_ALL }),
      Tsetattr: () => ({
        fid: fid(),
        valid: random.pick([1, 2, 4, 8, 0x1b0, 0x1ff, random.next()]),
        mode: u32(),
        uid: u32(),
        gid: u32(),
        size: size(),
        atime: time(),
        mtime: time(),
      }),
      Txattrwalk: () => ({ fid: fid(), newfid: newfid(), name: name() }),
      Txattrcreate: () => ({
        fid: fid(),
        name: name(),
        attrSize: random.pick([0, 1, 10, 65536, 65537, size()]),
        flags: random.integer(0, 4),
      }),
      Treaddir: () => ({ fid: fid(), offset: cookie(), count: count() }),
      Tfsync: () => ({ fid: fid(), datasync: random.integer(0, 1) }),
      Tlock: () => ({ ...range(), flags: random.integer(0, 4) }),
      Tgetlock: range,
      Tlink: () => ({ dfid: fid(), fid: fid(), name: name() }),
      Tmkdir: () => ({ dfid: fid(), name: name(), mode: u32(), gid: u32() }),
      Trenameat: () => ({ olddirfid: fid(), oldname: name(), newdirfid: fid(), newname: name() }),
      Tunlinkat: () => ({ dirfd: fid(), name: name(), flags: random.pick([0, 0, 0x200, 1, u32()]) }),
    };
    const names = Object.keys(this.bodies) as Array<keyof Bodies>;
    // Walks keep fids in play; a session that begins anew every other request gets nowhere.
    this.#weighted = names.flatMap(
      (one) => (one === 'Twalk' ? new Array(8).fill(one) : one === 'Tversion' ? [] : [one, one]) as Array<keyof Bodies>,
    );
    this.#weighted.push('Tversion');
  }

  /** Notes what a request that was answered well did to the fids. */
  done(name: keyof Bodies, body: Record<string, unknown>): void {
    const { fid, newfid } = body;
    if (name === 'Tversion') this.#known.clear();
    if (name === 'Tclunk' || name === 'Tremove') this.#known.delete(fid as number);
    if (name === 'Tattach') this.#known.add(fid as number);
    if (name === 'Twalk' || name === 'Txattrwalk' || name === 'Tcreateat') this.#known.add(newfid as number);
  }

  pick(): keyof Bodies {
    if (this.#known.size === 0) return 'Tattach';
    if (this.#known.size > 30) return 'Tclunk';
    return this.#random.pick(this.#weighted);
  }
}

/** Sends sound requests, some of them out of turn, and checks that each answer answers its request. */
async function speak(client: RawClient, random: Random): Promise<void> {
  const requests = new Requests(random);
  const outstanding = new Set<Promise<void>>();
  const problems: string[] = [];
  const send = <N extends keyof Bodies>(name: N): void => {
    const body = requests.bodies[name]() as Body<N>;
    const answer = client.send(name, body, name === 'Tversion' ? 0xffff : undefined).then(
      (message: Message) => {
        const right = message.name === `R${name.slice(1)}`;
        if (right) requests.done(name, body as Record<string, unknown>);
        const refusal = message.name === 'Rlerror' && message.body.ecode > 0 && message.body.ecode < 4096;
        if (!right && !refusal) problems.push(`${name} answered with ${message.name} ${JSON.stringify(message.body)}`);
        const asked = 'count' in body && typeof body.count === 'number' ? body.count : 0;
        if ((message.name === 'Rread' || message.name === 'Rreaddir') && message.body.data.length > asked)
          problems.push(`${name} gave more than asked`);
      },
      // The connection ended: Tversion and protocol errors do that.
      () => {},
    );
    const entry = answer.finally(() => outstanding.delete(entry));
    outstanding.add(entry);
  };
  for (let index = 0; index < ROUND && !client.isClosed; index++) {
    send(requests.pick());
    if (outstanding.size >= OUTSTANDING || random.oneIn(3)) {
      await Promise.race([...outstanding, turn()]);
      // Locks that wait and requests that Tversion dropped are not answered.
      if (outstanding.size >= OUTSTANDING) {
        for (let turns = 0; turns < 20; turns++) await turn();
        if (outstanding.size >= OUTSTANDING) break;
      }
    }
  }
  expect(problems).toEqual([]);
}

/** Sends frames that were cut, swapped, doubled and changed. Whatever comes back must decode (RawClient throws if not). */
async function babble(client: RawClient, random: Random): Promise<void> {
  const requests = new Requests(random);
  for (let index = 0; index < ROUND && !client.isClosed; index++) {
    const frames: Uint8Array[] = [];
    for (let count = random.integer(1, 6); count > 0; count--) {
      const name = requests.pick();
      frames.push(mutate(client.frame(name, requests.bodies[name]() as never, random.integer(0, 64)).slice(), random));
    }
    if (random.oneIn(3)) frames.reverse();
    const bytes = Buffer.concat(frames);
    const cut = random.integer(0, bytes.length);
    client.bytes(bytes.subarray(0, cut), bytes.subarray(cut));
    await turn();
  }
}

function mutate(frame: Uint8Array, random: Random): Uint8Array {
  if (!random.oneIn(3)) return frame;
  switch (random.integer(0, 4)) {
    case 0:
      return frame.subarray(0, random.integer(0, frame.length));
    case 1:
      // Another type, of a body that may even fit.
      frame[4] = random.integer(0, 255);
      return frame;
    case 2: {
      // Cut, but with a size that says so.
      const cut = frame.slice(0, random.integer(7, frame.length));
      new DataView(cut.buffer).setUint32(0, cut.length, true);
      return cut;
    }
    case 3:
      for (let count = random.integer(1, 4); count > 0; count--)
        frame[random.integer(7, frame.length - 1)] = random.pick([0, 1, 0x7f, 0x80, 0xff]);
      return frame;
    default:
      frame[random.integer(0, frame.length - 1)] = random.next();
      return frame;
  }
}

/** What a promise resolves to, or an error of `problem`'s words if that takes too long. */
async function within<T>(ms: number, promise: Promise<T>, problem: () => string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(problem())), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Throws anything at a back-end's server for NINEP_FUZZ_SECONDS: it lives, answers are sound, another client is served all the
 * while, nothing outside the export changes, and in the end nothing is held. NINEP_SEED repeats a run. Several of one file may share
 * the time (`test.concurrent`).
 */
export function fuzzServer(
  name: string,
  make: () => Promise<FuzzTarget> | FuzzTarget,
  declare: typeof test | typeof test.concurrent = test,
): void {
  declare(
    `fuzz: ${name}`,
    async () => {
      const random = new Random();
      console.log(`fuzz ${name}: NINEP_SEED=${random.seed}`);
      const target = await make();
      const outside = await target.outside?.();
      const mistakes: unknown[] = [];
      const server = new Server({
        exports: { tree: target.backend },
        limits: { maxFids: 64, maxRequests: 32, maxXattrBytes: 200_000, grace: 1000 },
        log: (event) => {
          if (event.type === 'error' && !(event.error instanceof Error && 'code' in event.error)) mistakes.push(event.error);
        },
      });
      try {
        const witness = await RawClient.attached(server);
        const end = Date.now() + seconds * 1000;
        let rounds = 0;
        let phase = 'begin';
        const fuzz = async () => {
          do {
            const clients = await Promise.all([RawClient.attached(server), RawClient.attached(server)]);
            phase = 'talk';
            await Promise.all(clients.map((client) => (random.oneIn(2) ? speak(client, random) : babble(client, random))));
            phase = 'serve another client';
            await witness.call('Tgetattr', { fid: 0, requestMask: GETATTR_ALL });
            phase = 'end connections';
            for (const client of clients) {
              if (random.oneIn(2)) client.transport.destroy();
              await client.end();
            }
            rounds++;
          } while (Date.now() < end);
          await witness.end();
          phase = 'close the server';
          await server.close();
          phase = 'let go of everything';
          while (server.connections.length > 0 || server.buffersLent > 0) await turn();
        };
        const stuck = () =>
          `stuck, could not ${phase}: ${JSON.stringify({ ...server.status(), lent: server.buffersLent, ...target.counts?.() })}`;
        await within(seconds * 1000 + 60_000, fuzz(), stuck);
        expect(rounds).toBeGreaterThan(0);
        expect(mistakes).toEqual([]);
        if (target.counts !== undefined) expect(target.counts()).toMatchObject({ held: 0, locks: 0 });
        if (outside !== undefined) expect(await target.outside?.()).toBe(outside);
      } catch (error) {
        throw new Error(`fuzz ${name}: repeat with NINEP_SEED=${random.seed}`, { cause: error });
      } finally {
        for (const connection of server.connections) connection.destroy();
        await server.close();
        await target.dispose?.();
      }
    },
    seconds * 1000 + 120_000,
  );
}
