/** How new files are made: by one message where the server has it, by a row of them elsewhere; what comes of it is the same. */
import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FOPEN_KEEP_CACHE, ROOT_ID } from '../../lib/fuse/kernel/constants.js';
import { Request } from '../../lib/fuse/kernel/request.js';
import type { BridgeOptions } from '../../lib/fuse/options.js';
import { AT_REMOVEDIR, ORDERED_XATTR, S_IFREG } from '../../lib/protocol/constants.js';
import type { Saboteur } from '../interop/middle.js';
import { door } from '../support/gated.js';
import { Kernelless } from './kernelless.js';

const { O_RDWR: RDWR, O_WRONLY: WRONLY, O_TRUNC: TRUNC, O_EXCL: EXCL, O_APPEND: APPEND } = constants;
const ways = ['by one message', 'by a row of messages', 'one message after another'] as const;

describe.each(ways)('a new file that is made %s', (way) => {
  let world: Kernelless;
  let saboteur: Saboteur | undefined;
  /** What the server is asked, fids that are let go of left out. */
  let asked: string[];

  /** What the server says of order: ours as it is, as it once was without that message, and any other. */
  const offers: Saboteur = {
    request(request) {
      if (way !== 'one message after another' || request.name !== 'Txattrwalk' || request.body.name !== ORDERED_XATTR) return undefined;
      return { answer: { name: 'Rlerror', tag: request.tag, body: { ecode: 95 } } };
    },
    reply(reply, request) {
      if (way !== 'by a row of messages' || request.name !== 'Txattrwalk' || request.body.name !== ORDERED_XATTR) return undefined;
      return { pass: { name: 'Rxattrwalk', tag: reply.tag, body: { size: 1 } } };
    },
  };

  async function begin(options: Partial<BridgeOptions> = {}): Promise<void> {
    saboteur = undefined;
    asked = [];
    const spy: Saboteur = {
      request(request) {
        if (request.name !== 'Tclunk') asked.push(request.name);
        return saboteur?.request?.(request) ?? offers.request?.(request);
      },
      reply: (reply, request) => saboteur?.reply?.(reply, request) ?? offers.reply?.(reply, request),
    };
    world = await Kernelless.begin(options, false, true, () => spy);
    expect(await world.bridge.ordered.ask()).toBe(way !== 'one message after another');
    expect(world.bridge.ordered.creates).toBe(way === 'by one message');
    world.tree.writeFile('d/there', 'content');
  }

  beforeEach(() => begin());
  afterEach(() => end());

  /** Once all is answered, and whatever has begun of itself with it. */
  async function end(): Promise<void> {
    await expect.poll(() => world.client.session.counters.inFlight).toBe(0);
    await world[Symbol.asyncDispose]();
  }

  const create = (parent: number, name: string, flags = RDWR, request = world.request(parent), mode = 0o644) =>
    world.ask('create', parent, { flags, mode: S_IFREG | mode, umask: 0o022, openFlags: 0, name }, request);
  const directory = async (): Promise<number> => (await world.lookup('d')).nodeid;
  /** A request of somebody. */
  const by = (uid: number, gid: number, nodeid: number) => new Request(1_000_001, nodeid, uid, gid, 1);

  test('takes what it is meant to take', async () => {
    const d = await directory();
    asked = [];
    const { entry, open } = await create(d, 'new', RDWR, by(0, 7, d));
    await expect.poll(() => world.bridge.tree.clunker.idle()).toBeUndefined();
    if (way === 'by one message') expect(asked).toEqual(['Tcreateat']);
    else expect(asked.filter((name) => name !== 'Twalk')).toEqual(['Tlcreate', 'Tgetattr']);
    expect(entry.attr).toMatchObject({ mode: S_IFREG | 0o644, gid: 7, size: 0, nlink: 1 });
    expect(open.flags & FOPEN_KEEP_CACHE).toBe(FOPEN_KEEP_CACHE);
    await world.write(entry.nodeid, open.fh, 0, 'written');
    await world.flush(entry.nodeid, open.fh);
    expect(await world.read(entry.nodeid, open.fh)).toBe('written');
    await world.release(entry.nodeid, open.fh);
    expect(await world.ask('lookup', d, { name: 'new' })).toMatchObject({ nodeid: entry.nodeid, attr: { size: 7 } });
  });

  test.each([0, TRUNC, APPEND])(
    'is the file that others have made meanwhile: one inode, and nothing is kept of its content (flags %d)',
    async (how) => {
      const d = await directory();
      // The kernel has asked for it in vain.
      expect(await world.ask('lookup', d, { name: 'mine' })).toMatchObject({ nodeid: 0 });
      world.tree.writeFile('d/mine', 'theirs');
      const { entry, open } = await create(d, 'mine', RDWR | how);
      expect(entry.attr.size).toBe(how === TRUNC ? 0 : 6);
      // Where it was cut off nothing is left that could be stale.
      if (how !== TRUNC) expect(open.flags & FOPEN_KEEP_CACHE).toBe(0);
      expect(await world.read(entry.nodeid, open.fh)).toBe(how === TRUNC ? '' : 'theirs');
      await world.release(entry.nodeid, open.fh);
      expect(await world.ask('lookup', d, { name: 'mine' })).toMatchObject({ nodeid: entry.nodeid });
      // Known by now, and open: it still is the one.
      const again = await world.open(entry.nodeid, RDWR);
      const second = await create(d, 'mine', RDWR);
      expect(second.entry.nodeid).toBe(entry.nodeid);
      expect(second.open.flags & FOPEN_KEEP_CACHE).toBe(0);
      for (const { fh } of [again, second.open]) await world.release(entry.nodeid, fh);
    },
  );

  test('is refused where it must be new and is not, and leaves nothing open', async () => {
    const d = await directory();
    await expect(create(d, 'there', RDWR | EXCL)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(world.bridge.files.size).toBe(0);
  });

  test('is not made in a directory that others have removed', async () => {
    world.tree.mkdir('e');
    const { nodeid } = await world.lookup('e');
    await world.client.root.unlinkat('e', AT_REMOVEDIR);
    // The kernel then looks by name whether there is another.
    await expect(create(nodeid, 'x')).rejects.toMatchObject({ code: 'ESTALE' });
    await expect(world.ask('mkdir', nodeid, { name: 'x', mode: 0o755, umask: 0 })).rejects.toMatchObject({ code: 'ESTALE' });
    expect(world.bridge.files.size).toBe(0);
  });

  test('has its user’s own attach for its maker', async () => {
    await end();
    await begin({ access: 'user' });
    for (const uid of [1001, 1002]) {
      const name = `of-${uid}`;
      const { entry, open } = await create(ROOT_ID, name, RDWR, by(uid, uid + 1000, ROOT_ID));
      expect(entry.attr).toMatchObject({ uid, gid: uid + 1000 });
      expect(world.bridge.files.get(open.fh).pin.fid.attachment.uid).toBe(uid);
      await world.release(entry.nodeid, open.fh);
    }
  });

  test('is nobody’s whom the mount does not let in', async () => {
    await end();
    await begin({ access: 1001 });
    const request = by(1002, 1002, ROOT_ID);
    await expect(create(ROOT_ID, 'x', RDWR, request)).rejects.toMatchObject({ code: 'EACCES' });
  });

  test('can be written only, also where the kernel writes back', async () => {
    await end();
    await begin({ cache: 'loose' });
    const { entry, open } = await create(ROOT_ID, 'x', WRONLY | APPEND, world.request(ROOT_ID), 0o200);
    expect(entry.attr.mode & 0o777).toBe(0o200);
    expect(world.bridge.files.get(open.fh).flags).toBe(RDWR);
    await world.release(entry.nodeid, open.fh);
  });

  test('changes its directory, about which whoever asks next hears without asking the server again', async () => {
    await end();
    await begin({ permissions: true });
    const d = await directory();
    const found = await world.client.root.walk(['d']);
    await found.setattr({ mtime: { sec: 1, nsec: 0 } });
    expect((await world.ask('getattr', d, { flags: 0, fh: 0 })).attr.mtime).toMatchObject({ sec: 1 });
    const { entry, open } = await create(d, 'new');
    asked = [];
    const { attr } = await world.ask('getattr', d, { flags: 0, fh: 0 });
    // Where each waits for the one before, the directory is asked for again meanwhile, and walked to for the next file.
    if (way !== 'one message after another') expect(asked).toEqual([]);
    expect(attr.mtime.sec).toBeGreaterThan(1);
    expect(attr.mtime).toEqual((await found.getattr()).mtime);
    await found.clunk();
    await world.release(entry.nodeid, open.fh);
  });

  test('that is given up while the server makes it is let go of', async () => {
    const d = await directory();
    const [reached, gate] = [door(), door()];
    world.hold = (method) => {
      if (method !== 'create') return undefined;
      reached.open();
      return gate.promise;
    };
    const request = world.request(d);
    const making = create(d, 'x', RDWR, request);
    await reached.promise;
    request.abort();
    await expect(making).rejects.toMatchObject({ name: 'AbortError' });
    gate.open();
    expect(world.bridge.files.size).toBe(0);
  });

  test('is made where the connection is lost while its directory is walked to', async () => {
    const d = await directory();
    world.bridge.tree.unpin(world.bridge.tree.nodes.get(d));
    let cut = false;
    saboteur = {
      request: ({ name }) => {
        if (name !== 'Twalk' || cut) return undefined;
        cut = true;
        return 'close';
      },
    };
    const { entry, open } = await create(d, 'new');
    expect(world.client.recovery?.recoveries).toBe(1);
    await world.write(entry.nodeid, open.fh, 0, 'written');
    await world.flush(entry.nodeid, open.fh);
    expect(await world.read(entry.nodeid, open.fh)).toBe('written');
    await world.release(entry.nodeid, open.fh);
  });

  test.each(['request', 'reply'] as const)('is made once where the connection is lost with the %s', async (what) => {
    const d = await directory();
    let cut = false;
    const deed = ({ name }: { name: string }) => {
      if ((name !== 'Tcreateat' && name !== 'Tlcreate') || cut) return undefined;
      cut = true;
      return 'close' as const;
    };
    saboteur = what === 'request' ? { request: deed } : { reply: (_, request) => deed(request) };
    const { entry, open } = await create(d, 'new', RDWR | EXCL);
    expect([cut, entry.attr.size, world.client.recovery?.recoveries]).toEqual([true, 0, 1]);
    await world.release(entry.nodeid, open.fh);
  });
});
