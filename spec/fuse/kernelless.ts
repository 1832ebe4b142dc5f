import { expect, vi } from 'vitest';
import { Client, Fid } from '../../lib/client/index.js';
import { Bridge } from '../../lib/fuse/bridge.js';
import { ROOT_ID } from '../../lib/fuse/kernel/constants.js';
import type { Body, OperationName, Reply } from '../../lib/fuse/kernel/opcodes.js';
import { Payload } from '../../lib/fuse/kernel/payload.js';
import { Request } from '../../lib/fuse/kernel/request.js';
import { Lent } from '../../lib/fuse/kernel/structs.js';
import { type BridgeOptions, timeouts } from '../../lib/fuse/options.js';
import { VERSION_L } from '../../lib/protocol/constants.js';
import type { Attributes } from '../../lib/protocol/types.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { Session } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { middle, type Saboteur } from '../interop/middle.js';
import { GatedBackend } from '../support/gated.js';

/** A bridge that is asked as the kernel asks, over a tree in memory whose server answers late where it is told to. */
export class Kernelless implements AsyncDisposable {
  readonly tree = new MemoryBackend();
  /** Called before each method of the back-end. */
  hold: (method: string) => Promise<void> | undefined = () => undefined;
  readonly #server: Server;
  client!: Client;
  bridge!: Bridge;
  #unique = 2;

  /** A gate hides what a back-end knows of its own nodes: nothing can be renamed through one. */
  private constructor(gated: boolean) {
    this.#server = new Server({ exports: { tree: gated ? new GatedBackend(this.tree, (method) => this.hold(method)) : this.tree } });
  }

  /** `saboteur`: has its way with what is said; with one, a lost connection is followed by another. */
  static async begin(
    options: Partial<BridgeOptions> = {},
    ordered = false,
    gated = true,
    saboteur?: () => Saboteur | undefined,
  ): Promise<Kernelless> {
    const world = new Kernelless(gated);
    world.tree.writeFile('f', 'content');
    const dial = (): Promise<Session> => {
      const [ours, theirs] = memoryPair();
      world.#server.serve(theirs);
      return Session.open(saboteur === undefined ? ours : middle(ours, VERSION_L, saboteur));
    };
    world.client = new Client(await dial(), saboteur === undefined ? {} : { redial: dial, retry: 60 });
    await world.client.attach();
    world.bridge = new Bridge(world.client, {
      ...timeouts(options.cache ?? 'open'),
      cache: 'open',
      access: 'any',
      locks: 'remote',
      writeBehind: false,
      openAhead: true,
      permissions: false,
      acl: false,
      birthTimes: false,
      direct: false,
      ...options,
    });
    if (ordered) expect(await world.bridge.ordered.ask()).toBe(true);
    return world;
  }

  /** A request as the kernel makes it, each from a thread of its own unless `request` says otherwise; throws the errno of a negative answer. */
  async ask<K extends OperationName>(name: K, nodeid: number, body: Body<K>, request = this.request(nodeid)): Promise<Reply<K>> {
    const operation = this.bridge.operations[name] as (body: Body<K>, request: Request) => Reply<K> | number | Promise<Reply<K> | number>;
    const reply = await operation.call(this.bridge.operations, body, request);
    if (typeof reply === 'number' && reply < 0) throw Object.assign(new Error(`errno ${-reply}`), { errno: reply });
    return reply as Reply<K>;
  }

  request(nodeid: number, thread = this.#unique): Request {
    this.#unique += 2;
    return new Request(this.#unique, nodeid, 0, 0, thread);
  }

  lookup = (name: string, thread?: number) => this.ask('lookup', ROOT_ID, { name }, this.request(ROOT_ID, thread));
  open = (nodeid: number, flags = 0, thread?: number) => this.ask('open', nodeid, { flags, openFlags: 0 }, this.request(nodeid, thread));
  release = (nodeid: number, fh: number) => this.ask('release', nodeid, { fh, flags: 0, releaseFlags: 0, lockOwner: 0n });
  flush = (nodeid: number, fh: number) => this.ask('flush', nodeid, { fh, lockOwner: 1n });
  write = (nodeid: number, fh: number, offset: number, text: string, writeFlags = 0) =>
    this.ask('write', nodeid, { fh, offset, writeFlags, flags: 0, data: new Payload(Buffer.from(text)) });

  /** What a READ gives, and how its buffer goes back. */
  async lent(nodeid: number, fh: number, size = 100, offset = 0): Promise<{ text: string; giveBack: () => void }> {
    const reply = await this.ask('read', nodeid, { fh, offset, size, flags: 0 });
    const bytes = reply instanceof Lent ? reply.bytes : (reply as Uint8Array);
    return { text: Buffer.from(bytes).toString(), giveBack: () => reply instanceof Lent && reply.release() };
  }

  async read(nodeid: number, fh: number, size?: number, offset?: number): Promise<string> {
    const { text, giveBack } = await this.lent(nodeid, fh, size, offset);
    giveBack();
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bridge.close();
    expect(this.client.fidCount).toEqual({ alive: 1, numbers: 1 });
    await this.client.close();
    await this.#server.close();
    expect(this.tree.counts()).toMatchObject({ held: 0 });
  }
}

/** From now on the server tells these attributes of every file, beside its own. */
export function telling(told: () => Partial<Attributes>): void {
  const { getattr } = Fid.prototype;
  vi.spyOn(Fid.prototype, 'getattr').mockImplementation(async function (this: Fid, ...args) {
    const true_ = await getattr.apply(this, args);
    const { qid, ...rest } = told();
    return { ...true_, ...rest, qid: { ...true_.qid, version: qid?.version ?? true_.qid.version } };
  });
}
