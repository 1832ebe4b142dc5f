import { expect, test } from 'vitest';
import { GETATTR_BASIC, L_O_RDONLY, L_O_RDWR } from '../../lib/protocol/constants.js';
import { decodeEntries } from '../../lib/protocol/directory.js';
import { MemoryBackend, type MemoryOptions } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { backendContract } from '../contracts/backend.js';
import { RawClient } from '../support/raw.js';

backendContract('memory', () => {
  const backend = new MemoryBackend();
  return { backend, counts: () => backend.counts() };
});

const attached = async (options: MemoryOptions, uid = 0): Promise<{ tree: MemoryBackend; server: Server; c: RawClient }> => {
  const tree = new MemoryBackend(options);
  const server = new Server({ exports: { tree } });
  return { tree, server, c: await RawClient.attached(server, { uid }) };
};

test('bytes and files beyond the quota are ENOSPC, and removing gives room', async () => {
  const { tree, server, c } = await attached({ maxBytes: 256 * 1024, maxFiles: 4 });
  await using _ = server;
  const before = await c.call('Tstatfs', { fid: 0 });
  expect(before.blocks).toBe(64n);
  const fid = await c.create('f');
  const data = new Uint8Array(60_000);
  const written: string[] = [];
  for (let offset = 0; offset < 600_000; offset += data.length) written.push(await c.outcome('Twrite', { fid, offset, data }));
  expect(written[0]).toBe('ok');
  expect(written.at(-1)).toBe('ENOSPC');
  expect(tree.counts().bytes).toBeLessThanOrEqual(256 * 1024);
  expect((await c.call('Tstatfs', { fid: 0 })).bfree).toBe(0n);
  expect(await c.outcome('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 })).toBe('ok');
  await c.write('g', '');
  expect(await c.outcome('Tmkdir', { dfid: 0, name: 'e', mode: 0o755, gid: 0 })).toBe('ENOSPC');
  await c.clunk(fid);
  await c.call('Tunlinkat', { dirfd: 0, name: 'f', flags: 0 });
  expect(tree.counts()).toMatchObject({ bytes: 0, files: 3 });
  // A size costs nothing before something is written there.
  const hole = await c.create('hole');
  const time = { sec: 0, nsec: 0 };
  await c.call('Tsetattr', { fid: hole, valid: 8, mode: 0, uid: 0, gid: 0, size: 2 ** 52, atime: time, mtime: time });
  expect(tree.counts().bytes).toBe(0);
  expect((await c.call('Tread', { fid: hole, offset: 2 ** 51, count: 10 })).data).toEqual(new Uint8Array(10));
});

test('whatever a client can have remembered is part of the quota: names, targets, and the names of attributes', async () => {
  const { tree, server, c } = await attached({ maxBytes: 1000, maxFiles: 4 });
  await using _ = server;
  const before = tree.counts();
  await c.write('f', '');
  const fid = await c.walk('f');
  const link = (name: string) => c.outcome('Tlink', { dfid: 0, fid, name });
  expect([await link('g'), await link('h'), await link('i')]).toEqual(['ok', 'ok', 'ENOSPC']);
  await c.call('Tunlinkat', { dirfd: 0, name: 'f', flags: 0 });
  expect(tree.counts().files).toBe(3);
  const symlink = (name: string, size: number) => c.outcome('Tsymlink', { dfid: 0, name, symtgt: 't'.repeat(size), gid: 0 });
  expect([await symlink('long', 1001), await symlink('s', 600)]).toEqual(['ENOSPC', 'ok']);
  expect(tree.counts()).toMatchObject({ files: 4, bytes: 600 });
  const xattr = async (name: string) => {
    const at = await c.walk('g');
    await c.call('Txattrcreate', { fid: at, name, attrSize: 0, flags: 1 });
    return c.outcome('Tclunk', { fid: at });
  };
  expect([await xattr(`user.${'x'.repeat(200)}`), await xattr(`user.${'y'.repeat(200)}`)]).toEqual(['ok', 'ENOSPC']);
  expect(tree.counts().bytes).toBe(805);
  await c.call('Trenameat', { olddirfid: 0, oldname: 's', newdirfid: 0, newname: 'g' });
  await c.call('Tunlinkat', { dirfd: 0, name: 'h', flags: 0 });
  expect(tree.counts()).toMatchObject({ files: 3, bytes: 805 });
  await c.clunk(fid);
  await c.call('Tunlinkat', { dirfd: 0, name: 'g', flags: 0 });
  expect(tree.counts()).toMatchObject({ files: before.files, bytes: 0 });
});

test('permissions are enforced where that was asked for, and not otherwise', async () => {
  for (const enforcePermissions of [true, false]) {
    const { tree, server, c } = await attached({ enforcePermissions }, 1000);
    await using _ = server;
    const expected = enforcePermissions ? 'EACCES' : 'ok';
    tree.writeFile('secret', 'x', 0o600);
    expect(await c.outcome('Tlopen', { fid: await c.walk('secret'), flags: L_O_RDONLY })).toBe(expected);
    expect(await c.outcome('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 })).toBe(expected);
    const time = { sec: 0, nsec: 0 };
    const chmod = { valid: 1, mode: 0o777, uid: 0, gid: 0, size: 0, atime: time, mtime: time };
    expect(await c.outcome('Tsetattr', { fid: await c.walk('secret'), ...chmod })).toBe(enforcePermissions ? 'EPERM' : 'ok');
    await c.attach(1, '', 0);
    expect(await c.outcome('Tlopen', { fid: await c.walk('secret', 1), flags: L_O_RDONLY })).toBe('ok');
  }
});

test('a synthetic file is computed when it is opened, and read to its end in one state', async () => {
  const { tree, server, c } = await attached({});
  await using _ = server;
  let count = 0;
  tree.synthetic('count', () => `${++count}\n`);
  const fid = await c.open('count');
  const first = (await c.call('Tread', { fid, offset: 0, count: 1 })).data;
  expect((await c.call('Tread', { fid, offset: 0, count: 1 })).data).toEqual(first);
  expect((await c.read('count')).toString()).not.toBe(`${first}\n`);
  expect(await c.outcome('Tlopen', { fid: await c.walk('count'), flags: L_O_RDWR })).toBe('EACCES');
});

test('a set-group-id directory gives its group to what is made in it', async () => {
  const { server, c } = await attached({});
  await using _ = server;
  await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o2775, gid: 50 });
  const d = await c.walk('d');
  await c.call('Tmkdir', { dfid: d, name: 'sub', mode: 0o755, gid: 7 });
  const all = await c.call('Tgetattr', { fid: await c.walk('sub', d), requestMask: GETATTR_BASIC });
  expect([all.gid, all.mode & 0o7777]).toEqual([50, 0o2755]);
});

test('cookies stay good while most of a large directory is removed', async () => {
  const { server, c } = await attached({});
  await using _ = server;
  for (let index = 0; index < 300; index++) await c.clunk(await c.create(`f${index}`));
  const fid = await c.open('');
  const { data } = await c.call('Treaddir', { fid, offset: 0n, count: 3000 });
  const first = decodeEntries(data);
  for (let index = 0; index < 290; index++) await c.call('Tunlinkat', { dirfd: 0, name: `f${index}`, flags: 0 });
  for (let index = 0; index < 5; index++) await c.clunk(await c.create(`late${index}`));
  const offset = first.at(-1)?.offset ?? 0n;
  const rest = decodeEntries((await c.call('Treaddir', { fid, offset, count: 30_000 })).data).map(({ name }) => name);
  const stayed = Array.from({ length: 10 }, (_unused, index) => `f${290 + index}`);
  expect(rest).toEqual([...stayed, ...Array.from({ length: 5 }, (_unused, index) => `late${index}`)]);
});
