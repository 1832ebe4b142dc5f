/** The queue that tells what names appear in a directory, which comes along with the answer to who asks for it (WATCH_XATTR). */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { L_O_DIRECTORY, L_O_RDONLY, NOFID, WATCH_XATTR } from '../../../lib/protocol/constants.js';
import type { LocalOptions, Server } from '../../../lib/server/index.js';
import { EVENT_MAX, eachEvent } from '../../../lib/sys/inotify.js';
import { close, read } from '../../../lib/sys/io.js';
import { openQueues } from '../../support/descriptors.js';
import type { RawClient } from '../../support/raw.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { passedTo, serverOf } from './passing.js';

requires('root')('watched directories', () => {
  let root: TemporaryDirectory;
  let server: Server;
  const clients: RawClient[] = [];
  const queues: number[] = [];

  beforeEach(() => {
    root = new TemporaryDirectory('watching');
    for (const name of ['tree', 'tree/a', 'tree/b']) mkdirSync(root.join(name));
    writeFileSync(root.join('tree/file'), '');
  });

  afterEach(async () => {
    for (const fd of queues.splice(0)) close(fd);
    for (const { transport } of clients.splice(0)) transport.destroy();
    await server.close();
    root.remove();
  });

  async function client(options: LocalOptions = {}, path = root.join('tree'), exported: { readonly?: boolean } = {}): Promise<RawClient> {
    server = await serverOf(path, options, exported);
    return connected();
  }

  async function connected(): Promise<RawClient> {
    const c = await passedTo(server);
    clients.push(c);
    return c;
  }

  const ask = (fid: number) => ({ fid, newfid: NOFID, name: WATCH_XATTR });
  const opened = (c: RawClient, path: string) => c.open(path, L_O_RDONLY | L_O_DIRECTORY);

  async function watched(c: RawClient, fid: number): Promise<{ watch: number; queue: number }> {
    const { size } = await c.call('Txattrwalk', ask(fid));
    const queue = c.transport.takeDescriptor?.();
    if (queue === undefined) throw new Error('no queue came');
    queues.push(queue);
    return { watch: size, queue };
  }

  function told(queue: number): [number, string][] {
    const buffer = Buffer.alloc(64 * EVENT_MAX);
    const all: [number, string][] = [];
    eachEvent(buffer, Math.max(0, read(queue, buffer)), (watch, _, start, end) => all.push([watch, buffer.toString('utf8', start, end)]));
    return all;
  }

  test('one queue tells of all directories of a conversation, whoever makes the names', async () => {
    const c = await client();
    const a = await watched(c, await opened(c, 'a'));
    const b = await watched(c, await opened(c, 'b'));
    const again = await watched(c, await opened(c, 'a'));
    expect(again.watch).toBe(a.watch);
    expect(b.watch).not.toBe(a.watch);
    writeFileSync(root.join('tree/a/here'), '');
    await c.call('Tmkdir', { dfid: await c.walk('b'), name: 'there', mode: 0o755, gid: 0 });
    renameSync(root.join('tree/a/here'), root.join('tree/b/moved'));
    writeFileSync(root.join('tree/elsewhere'), '');
    expect(told(again.queue)).toEqual([
      [a.watch, 'here'],
      [b.watch, 'there'],
      [b.watch, 'moved'],
    ]);
    expect(told(a.queue)).toEqual([]);
    const other = await connected();
    const another = await watched(other, await opened(other, 'a'));
    writeFileSync(root.join('tree/a/more'), '');
    expect(told(another.queue)).toEqual([[another.watch, 'more']]);
    expect(told(b.queue)).toEqual([[a.watch, 'more']]);
  });

  test('what is no open directory is not watched', async () => {
    const c = await client();
    expect(await c.outcome('Txattrwalk', ask(await c.walk('a')))).toBe('EOPNOTSUPP');
    expect(await c.outcome('Txattrwalk', ask(await c.open('file')))).toBe('EOPNOTSUPP');
    expect(await c.outcome('Txattrwalk', ask(77))).toBe('EBADF');
    expect(await c.outcome('Txattrwalk', { ...ask(await opened(c, 'a')), newfid: 5 })).toMatch(/^(EOPNOTSUPP|ENODATA)$/);
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
  });

  test.each([
    ['an export that does not lend', { lend: false }, undefined, {}],
    ['an export that is only read', {}, undefined, { readonly: true }],
    ['a tree of which something is left out', { except: ['a'] }, undefined, {}],
    ['a tree in which files of our own lie', { securityModel: 'mapped-file' }, undefined, {}],
    ['what the kernel makes up', {}, '/proc/self', {}],
    ['a tree in memory', {}, '', {}],
  ] as const)('nothing is told of %s', async (what, options, path, exported) => {
    const c = await client('except' in options ? { except: options.except.map((one) => root.join('tree', one)) } : options, path, exported);
    const fid = await opened(c, '');
    const before = openQueues();
    expect([what, await c.outcome('Txattrwalk', ask(fid))]).toEqual([what, 'EOPNOTSUPP']);
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
    // Others need the queues.
    expect(openQueues()).toBe(before);
  });

  test('there are only so many queues, and those of conversations that have ended count no more', async () => {
    const c = await client();
    const conversations = [c];
    while (conversations.length < 33) conversations.push(await connected());
    const outcomes: string[] = [];
    for (const each of conversations) {
      const fid = await opened(each, 'a');
      outcomes.push(await each.outcome('Txattrwalk', ask(fid)));
      const queue = each.transport.takeDescriptor?.();
      if (queue !== undefined) queues.push(queue);
    }
    expect(outcomes.indexOf('EMFILE')).toBe(32);
    await c.transport.close();
    await c.closed;
    const last = conversations.at(-1) ?? c;
    await expect.poll(async () => last.outcome('Txattrwalk', ask(await opened(last, 'b')))).not.toBe('EMFILE');
    queues.push(last.transport.takeDescriptor?.() ?? -1);
  });

  test('nothing is left of a conversation that has ended', async () => {
    await client();
    const before = openQueues();
    for (let round = 0; round < 20; round++) {
      const c = await connected();
      close((await watched(c, await opened(c, 'a'))).queue);
      queues.pop();
      await c.transport.close();
      await c.closed;
    }
    await expect.poll(openQueues).toBe(before);
  });
});
