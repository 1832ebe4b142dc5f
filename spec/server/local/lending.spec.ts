/** The descriptors of open files, which come along with the answers to who asks for them (DESCRIPTOR_XATTR). */
import { closeSync, fstatSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DESCRIPTOR_XATTR, L_O_RDONLY, L_O_RDWR, NOFID, NOTAG } from '../../../lib/protocol/constants.js';
import type { LocalOptions, Server } from '../../../lib/server/index.js';
import { MAX_PASSED } from '../../../lib/sys/rights.js';
import { openBelow } from '../../support/descriptors.js';
import { RawClient } from '../../support/raw.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { passedTo, serverOf } from './passing.js';

requires('root')('descriptors of open files', () => {
  let root: TemporaryDirectory;
  let server: Server;
  const clients: RawClient[] = [];
  /** Descriptors of the tree's files: what else a process has open comes and goes. */
  const open = () => openBelow(root.path);

  beforeEach(async () => {
    root = new TemporaryDirectory('lending');
    await mkdir(root.join('tree'));
    for (let n = 0; n < 20; n++) writeFileSync(root.join(`tree/f${n}`), `content ${n}`);
  });

  afterEach(async () => {
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

  const ask = (fid: number) => ({ fid, newfid: NOFID, name: DESCRIPTOR_XATTR });
  const taken = (c: RawClient): number => {
    const fd = c.transport.takeDescriptor?.();
    if (fd === undefined) throw new Error('no descriptor came');
    return fd;
  };

  test('are the files that they were asked for, and can be read and written as far as those were opened for that', async () => {
    const c = await client();
    const fid = await c.open('f3', L_O_RDWR);
    expect(await c.call('Txattrwalk', ask(fid))).toEqual({ size: 1 });
    const fd = taken(c);
    const buffer = Buffer.alloc(20);
    expect(buffer.toString('utf8', 0, readSync(fd, buffer, 0, 20, 0))).toBe('content 3');
    expect(writeSync(fd, 'C', 0)).toBe(1);
    expect((await c.call('Tread', { fid, offset: 0, count: 20 })).data).toEqual(new Uint8Array(Buffer.from('Content 3')));
    // The server's own is another.
    await c.call('Tclunk', { fid });
    expect(fstatSync(fd).ino).toBe(statSync(root.join('tree/f3')).ino);
    closeSync(fd);
    const readable = await c.open('f4', L_O_RDONLY);
    await c.call('Txattrwalk', ask(readable));
    const reading = taken(c);
    expect(() => writeSync(reading, 'x', 0)).toThrow('EBADF');
    closeSync(reading);
  });

  test('come in the order of the answers, however many are asked for at once, and none is left behind', async () => {
    const c = await client();
    const fids: number[] = [];
    for (let n = 0; n < 20; n++) fids.push(await c.open(`f${n}`));
    const unopened = await c.walk('f0');
    const before = open();
    for (const count of [1, 20, MAX_PASSED, MAX_PASSED + 1, 600]) {
      const numbers = Array.from({ length: count }, (_, index) => (index * 7) % 20);
      const frames: Uint8Array[] = [];
      const answers = numbers.map((n, index) => {
        const tag = c.nextTag();
        // Between them answers without one: errors, sizes of 0.
        if (index % 5 === 0) frames.push(c.frame('Txattrwalk', ask(unopened), NOTAG - 2), c.frame('Tclunk', { fid: 9999 }, NOTAG - 3));
        frames.push(c.frame('Txattrwalk', ask(fids[n] ?? 0), tag));
        return c.expect(tag);
      });
      c.bytes(...frames);
      for (const answer of answers) expect(await answer).toMatchObject({ name: 'Rxattrwalk', body: { size: 1 } });
      const names = numbers.map(() => {
        const fd = taken(c);
        const buffer = Buffer.alloc(20);
        const text = buffer.toString('utf8', 0, readSync(fd, buffer, 0, 20, 0));
        closeSync(fd);
        return text;
      });
      expect(names).toEqual(numbers.map((n) => `content ${n}`));
      expect(c.transport.takeDescriptor?.()).toBeUndefined();
    }
    expect(open()).toBe(before);
  });

  test('of what is not open there is none, though they would be given', async () => {
    const c = await client();
    expect(await c.call('Txattrwalk', ask(0))).toEqual({ size: 0 });
    expect(await c.outcome('Txattrwalk', ask(77))).toBe('EBADF');
    // With a number for a fid it is an attribute like any other.
    expect(await c.outcome('Txattrwalk', { ...ask(0), newfid: 5 })).toMatch(/^(EOPNOTSUPP|ENODATA)$/);
    const directory = await c.open('');
    expect(await c.outcome('Txattrwalk', ask(directory))).toBe('EOPNOTSUPP');
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
  });

  test.each([
    ['an export that does not lend', { lend: false }, undefined, {}],
    ['a tree that is only read', { readonly: true }, undefined, {}],
    ['an export that is only read', {}, undefined, { readonly: true }],
    ['what the kernel makes up', {}, '/proc/self', {}],
    ['a tree in memory', {}, '', {}],
  ] as const)('there is none of %s', async (what, options, path, exported) => {
    const c = await client(options, path, exported);
    const name = path === '' ? undefined : path === undefined ? 'f1' : 'status';
    if (name === undefined) await c.call('Tlcreate', { fid: await c.walk(''), name: 'f', flags: L_O_RDWR, mode: 0o600, gid: 0 });
    const fid = await c.open(name ?? 'f');
    expect([what, await c.outcome('Txattrwalk', ask(fid))]).toEqual([what, 'EOPNOTSUPP']);
    expect(c.transport.takeDescriptor?.()).toBeUndefined();
  });

  test('a conversation that does not pass them says so', async () => {
    await client();
    const c = await RawClient.attached(server, { aname: 'tree' });
    expect(await c.outcome('Txattrwalk', ask(0))).toBe('EOPNOTSUPP');
    expect(await c.outcome('Txattrwalk', ask(await c.open('f1')))).toBe('EOPNOTSUPP');
    await c.transport.close();
    await c.closed;
  });

  test('those that nobody is left to get are closed', async () => {
    const other = await client();
    await other.call('Txattrwalk', ask(0));
    const before = open();
    const c = await connected();
    const fid = await c.open('f1');
    c.transport.pause();
    c.bytes(...Array.from({ length: 100 }, (_, index) => c.frame('Txattrwalk', ask(fid), index + 100)));
    await expect.poll(() => server.connections.map(({ pending }) => pending)).toEqual([0, 0]);
    await other.call('Txattrwalk', ask(0));
    c.transport.destroy();
    await c.closed;
    await expect.poll(open).toBe(before);
  });
});
