import * as fs from 'node:fs/promises';
import { createFsFromVolume, Volume } from 'memfs';
import { describe, expect, test } from 'vitest';
import { GETATTR_BASIC, L_O_APPEND, L_O_RDONLY, L_O_RDWR, L_O_TRUNC, SETATTR_MODE, SETATTR_SIZE } from '../../lib/protocol/constants.js';
import { ErrnoError } from '../../lib/protocol/error.js';
import { NodeFsBackend, type PromisesLike } from '../../lib/server/nodefs/index.js';
import { Server } from '../../lib/server/server.js';
import { backendContract } from '../contracts/backend.js';
import { run } from '../support/child.js';
import { RawClient } from '../support/raw.js';
import { TemporaryDirectory } from '../support/temporary.js';

const shape = { xattrs: false, devices: false, owners: false, nanoseconds: false };

backendContract(
  'memfs',
  () => {
    const volume = Volume.fromJSON({ '/export': null, '/outside/secret': 'not for you' });
    const backend = new NodeFsBackend(createFsFromVolume(volume).promises as unknown as PromisesLike, { root: '/export' });
    return { backend, counts: () => backend.counts() };
  },
  shape,
);

backendContract(
  'node:fs/promises',
  () => {
    const directory = new TemporaryDirectory('nodefs');
    const backend = new NodeFsBackend(fs, { root: directory.path });
    return { backend, counts: () => backend.counts(), dispose: () => directory.remove() };
  },
  shape,
);

test.each(['memfs', 'node:fs/promises'] as const)('%s: whatever changes the content of a file takes setuid from it', async (what) => {
  await using directory = new TemporaryDirectory('setuid');
  const volume = Volume.fromJSON({ '/f': '' });
  const served = what === 'memfs' ? (createFsFromVolume(volume).promises as unknown as PromisesLike) : fs;
  const root = what === 'memfs' ? '/' : directory.path;
  await using server = new Server({ exports: { tree: new NodeFsBackend(served, { root }) } });
  const c = await RawClient.attached(server);
  const fid = await c.create('file', { mode: 0o4755 });
  const time = { sec: 0, nsec: 0 };
  const change = { mode: 0o6751, uid: 0, gid: 0, size: 1, atime: time, mtime: time };
  const mode = async () => (await c.call('Tgetattr', { fid, requestMask: GETATTR_BASIC })).mode & 0o7777;
  expect(await mode()).toBe(0o4755);
  await c.call('Twrite', { fid, offset: 0, data: Buffer.from('text') });
  expect(await mode()).toBe(0o755);
  const closed = await c.walk('file');
  const ways: Record<string, () => Promise<unknown>> = {
    'a write': () => c.call('Twrite', { fid, offset: 0, data: Buffer.from('text') }),
    'an end set through an open fid': () => c.call('Tsetattr', { ...change, fid, valid: SETATTR_SIZE }),
    'an end set through another': () => c.call('Tsetattr', { ...change, fid: closed, valid: SETATTR_SIZE }),
    O_TRUNC: () => c.open('file', L_O_RDWR | L_O_TRUNC),
  };
  for (const [way, action] of Object.entries(ways)) {
    await c.call('Tsetattr', { ...change, fid: closed, valid: SETATTR_MODE });
    expect([way, await mode()]).toEqual([way, 0o6751]);
    await action();
    expect([way, await mode()]).toEqual([way, 0o751]);
  }
  // One that comes with the end is the client's will.
  await c.call('Tsetattr', { ...change, fid, valid: SETATTR_SIZE | SETATTR_MODE });
  expect(await mode()).toBe(0o6751);
});

test('times beyond what a Date holds are cut, and the file stays of use', async () => {
  const volume = Volume.fromJSON({ '/export/f': 'content' });
  const backend = new NodeFsBackend(createFsFromVolume(volume).promises as unknown as PromisesLike, { root: '/export' });
  await using server = new Server({ exports: { tree: backend } });
  const c = await RawClient.attached(server);
  const fid = await c.walk('f');
  const change = { valid: 0x1b0, mode: 0, uid: 0, gid: 0, size: 0 };
  const times = { atime: { sec: 2 ** 52, nsec: 999_999_999 }, mtime: { sec: 2 ** 45, nsec: 0 } };
  await c.call('Tsetattr', { fid, ...change, ...times });
  const { atime, mtime } = await c.call('Tgetattr', { fid, requestMask: GETATTR_BASIC });
  expect([atime.sec, mtime.sec]).toEqual([8.64e12, 8.64e12]);
});

describe('a symlink on the host is shown and never followed', () => {
  async function served(): Promise<{ directory: TemporaryDirectory; server: Server; c: RawClient; root: string }> {
    const directory = new TemporaryDirectory('confined');
    const root = directory.join('export');
    await fs.mkdir(directory.join('outside'));
    await fs.writeFile(directory.join('outside', 'secret'), 'secret');
    await fs.mkdir(root);
    const server = new Server({ exports: { tree: new NodeFsBackend(fs, { root }) } });
    return { directory, server, root, c: await RawClient.attached(server) };
  }

  test('one that was there before', async () => {
    const { server, c, directory, root } = await served();
    await using _ = server;
    await fs.symlink(directory.join('outside'), `${root}/absolute`);
    await fs.symlink('../outside', `${root}/relative`);
    await fs.symlink('../outside/secret', `${root}/file`);
    for (const link of ['absolute', 'relative']) {
      const fid = await c.walk(link);
      expect(await c.outcome('Twalk', { fid, newfid: 1, wnames: ['secret'] })).toBe('ENOTDIR');
      expect(await c.outcome('Tmkdir', { dfid: fid, name: 'x', mode: 0o755, gid: 0 })).toBe('ENOTDIR');
      expect(await c.outcome('Tlcreate', { fid, name: 'x', flags: L_O_RDWR, mode: 0o644, gid: 0 })).toBe('ENOTDIR');
    }
    expect(await c.outcome('Tlopen', { fid: await c.walk('file'), flags: L_O_RDONLY })).toBe('ELOOP');
    expect(await c.outcome('Tlcreate', { fid: await c.walk(''), name: 'file', flags: L_O_RDWR, mode: 0o644, gid: 0 })).toBe('ELOOP');
    const time = { sec: 5, nsec: 0 };
    const change = { mode: 0o777, uid: 0, gid: 0, size: 0, atime: time, mtime: time };
    expect(await c.outcome('Tsetattr', { fid: await c.walk('file'), valid: 1, ...change })).toBe('EOPNOTSUPP');
    expect(await c.outcome('Tsetattr', { fid: await c.walk('file'), valid: 8, ...change })).toBe('ENXIO');
    expect(await c.outcome('Tsetattr', { fid: await c.walk('file'), valid: 0x1b0, ...change })).toBe('ok');
    expect((await fs.stat(directory.join('outside', 'secret'))).mtimeMs).toBeGreaterThan(6000);
    expect(await fs.readdir(directory.join('outside'))).toEqual(['secret']);
  });

  test('one that takes the place of a directory that was walked', async () => {
    const { server, c, directory, root } = await served();
    await using _ = server;
    await fs.mkdir(`${root}/d/e`, { recursive: true });
    await fs.writeFile(`${root}/d/e/secret`, 'ours');
    const [d, e, file] = [await c.walk('d'), await c.walk('d/e'), await c.walk('d/e/secret')];
    const listing = await c.open('d/e');
    await fs.rename(`${root}/d/e`, `${root}/moved`);
    await fs.symlink(directory.join('outside'), `${root}/d/e`);
    const stale = ['ESTALE', 'ENOTDIR', 'ENOENT'];
    expect(stale).toContain(await c.outcome('Tlopen', { fid: file, flags: L_O_RDONLY }));
    expect(stale).toContain(await c.outcome('Tgetattr', { fid: file, requestMask: GETATTR_BASIC }));
    expect(stale).toContain(await c.outcome('Twalk', { fid: e, newfid: 1, wnames: ['secret'] }));
    expect(stale).toContain(await c.outcome('Tunlinkat', { dirfd: e, name: 'secret', flags: 0 }));
    expect(stale).toContain(await c.outcome('Tlcreate', { fid: e, name: 'x', flags: L_O_RDWR, mode: 0o644, gid: 0 }));
    expect(stale).toContain(await c.outcome('Treaddir', { fid: listing, offset: 0n, count: 4096 }));
    expect(await c.list('', d)).toEqual(['e']);
    expect(await fs.readdir(directory.join('outside'))).toEqual(['secret']);
  });

  test('two clients that race a walk against a swap never get out', async () => {
    const { server, c, directory, root } = await served();
    await using _ = server;
    await fs.mkdir(`${root}/d`);
    await fs.writeFile(`${root}/d/secret`, 'ours');
    const mover = await RawClient.attached(server);
    await mover.call('Tsymlink', { dfid: 0, name: 'link', symtgt: directory.join('outside'), gid: 0 });
    const swap = (oldname: string, newname: string) => mover.outcome('Trenameat', { olddirfid: 0, oldname, newdirfid: 0, newname });
    const moving = (async () => {
      for (let round = 0; round < 150; round++) {
        await swap('d', 'away');
        await swap('link', 'd');
        await swap('d', 'link');
        await swap('away', 'd');
      }
    })();
    let moved = false;
    void moving.then(() => {
      moved = true;
    });
    let reads = 0;
    while (!moved) {
      try {
        expect((await c.read('d/secret')).toString()).toBe('ours');
        reads++;
      } catch (error) {
        if (!(error instanceof ErrnoError)) throw error;
      }
    }
    await moving;
    expect((await c.read('d/secret')).toString()).toBe('ours');
    expect(reads).toBeGreaterThan(0);
  });
});

test('a symlink is moved, replaced and written over as itself, whatever the file system thinks', async () => {
  const volume = Volume.fromJSON({ '/export/d/f': 'ours', '/outside/secret': 'secret', '/outside/empty': null });
  const backend = new NodeFsBackend(createFsFromVolume(volume).promises as unknown as PromisesLike, { root: '/export' });
  await using server = new Server({ exports: { tree: backend } });
  const c = await RawClient.attached(server);
  const outside = JSON.stringify(volume.toJSON('/outside'));
  const link = (name: string, symtgt: string) => c.call('Tsymlink', { dfid: 0, name, symtgt, gid: 0 });
  for (const symtgt of ['../outside', '../outside/secret', '../outside/none', '.', '..']) {
    await link('l', symtgt);
    await c.call('Trenameat', { olddirfid: 0, oldname: 'l', newdirfid: await c.walk('d'), newname: 'm' });
    expect(await c.call('Treadlink', { fid: await c.walk('d/m') })).toEqual({ target: symtgt });
    await link('l', symtgt);
    for (const flags of [0o2, 0o102, 0o302, 0o1002]) {
      expect(['EEXIST', 'ELOOP']).toContain(await c.outcome('Tlcreate', { fid: await c.walk(''), name: 'l', flags, mode: 0o644, gid: 0 }));
    }
    expect(await c.outcome('Tmkdir', { dfid: 0, name: 'l', mode: 0o755, gid: 0 })).toBe('EEXIST');
    expect(await c.outcome('Tsymlink', { dfid: 0, name: 'l', symtgt: 'x', gid: 0 })).toBe('EEXIST');
    expect(await c.outcome('Tmknod', { dfid: 0, name: 'l', mode: 0o100644, major: 0, minor: 0, gid: 0 })).toBe('EEXIST');
    await c.call('Trenameat', { olddirfid: 0, oldname: 'l', newdirfid: await c.walk('d'), newname: 'm' });
    await c.call('Tunlinkat', { dirfd: await c.walk('d'), name: 'm', flags: 0 });
    expect(await c.list('')).toEqual(['d']);
    expect(await c.list('d')).toEqual(['f']);
  }
  expect(JSON.stringify(volume.toJSON('/outside'))).toBe(outside);
});

test('special files of the host are never opened', async () => {
  await using directory = new TemporaryDirectory('special');
  await run('mkfifo', [directory.join('fifo')]);
  await using server = new Server({ exports: { tree: new NodeFsBackend(fs, { root: directory.path }) } });
  const c = await RawClient.attached(server);
  for (const flags of [L_O_RDONLY, L_O_RDWR]) expect(await c.outcome('Tlopen', { fid: await c.walk('fifo'), flags })).toBe('ENXIO');
});

test('a listing has a limit', async () => {
  await using directory = new TemporaryDirectory('many');
  for (let index = 0; index < 11; index++) await fs.writeFile(directory.join(`${index}`), '');
  await using server = new Server({ exports: { tree: new NodeFsBackend(fs, { root: directory.path, maxEntries: 10 }) } });
  const c = await RawClient.attached(server);
  expect(await c.outcome('Treaddir', { fid: await c.open(''), offset: 0n, count: 4096 })).toBe('EOVERFLOW');
});

test('a file has a limit, for who asks for one', async () => {
  await using directory = new TemporaryDirectory('large');
  await fs.writeFile(directory.join('f'), '12345678');
  await using server = new Server({ exports: { tree: new NodeFsBackend(fs, { root: directory.path, maxFileSize: 10 }) } });
  const c = await RawClient.attached(server);
  for (const flags of [L_O_RDWR, L_O_RDWR | L_O_APPEND]) {
    await fs.writeFile(directory.join('f'), '12345678');
    const fid = await c.open('f', flags);
    expect(await c.call('Twrite', { fid, offset: 8, data: Buffer.from('9ABCDEF') })).toEqual({ count: 2 });
    expect(await c.outcome('Twrite', { fid, offset: 10, data: Buffer.from('B') })).toBe('EFBIG');
    expect(await c.call('Twrite', { fid, offset: 10, data: Buffer.from('') })).toEqual({ count: 0 });
    expect(await fs.readFile(directory.join('f'), 'utf8')).toBe('123456789A');
  }
  const time = { sec: 0, nsec: 0 };
  const fid = await c.walk('f');
  const size = (bytes: number) =>
    c.outcome('Tsetattr', { fid, valid: SETATTR_SIZE, mode: 0, uid: 0, gid: 0, size: bytes, atime: time, mtime: time });
  expect(await size(11)).toBe('EFBIG');
  expect(await size(2 ** 40)).toBe('EFBIG');
  expect(await size(10)).toBe('ok');
});

test('what a client has listed leaves room for the listings of others', async () => {
  const volume = Volume.fromJSON({ '/export/d': null });
  for (let index = 0; index < 10_000; index++) volume.writeFileSync(`/export/d/${index}`, '');
  const memfs = createFsFromVolume(volume).promises as unknown as PromisesLike;
  await using server = new Server({ exports: { tree: new NodeFsBackend(memfs, { root: '/export', maxEntries: 16_382 }) } });
  const [greedy, modest] = [await RawClient.attached(server), await RawClient.attached(server)];
  const list = (client: RawClient, fid: number, offset = 0n) => client.outcome('Treaddir', { fid, offset, count: 4096 });
  const fids: number[] = [];
  for (let turn = 0; turn < 4; turn++) fids.push(await greedy.open('d'));
  const told: string[] = [];
  for (const fid of fids) told.push(await list(greedy, fid));
  expect(told).toEqual(['ok', 'ok', 'ok', 'ENOMEM']);
  // What is listed once more takes no more room, and one that found none is as it was.
  const [first = 0, , , last = 0] = fids;
  expect([await list(greedy, first), await list(greedy, first, 5n), await list(greedy, last)]).toEqual(['ok', 'ok', 'ENOMEM']);
  expect(await list(modest, await modest.open('d'))).toBe('ok');
  await greedy.call('Tclunk', { fid: first });
  expect(await list(greedy, last)).toBe('ENOMEM');
  await modest.version();
  expect(await list(greedy, last)).toBe('ok');
});

test('a file system that lacks methods refuses what needs them', async () => {
  await using directory = new TemporaryDirectory('poor');
  await fs.writeFile(directory.join('f'), 'text');
  const { lstat, open, readdir } = fs;
  await using server = new Server({ exports: { tree: new NodeFsBackend({ lstat, open, readdir }, { root: directory.path }) } });
  const c = await RawClient.attached(server);
  expect((await c.read('f')).toString()).toBe('text');
  expect(await c.outcome('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 })).toBe('EOPNOTSUPP');
  expect(await c.outcome('Tsymlink', { dfid: 0, name: 'l', symtgt: 'f', gid: 0 })).toBe('EOPNOTSUPP');
  expect(await c.outcome('Trenameat', { olddirfid: 0, oldname: 'f', newdirfid: 0, newname: 'g' })).toBe('EOPNOTSUPP');
  expect(await c.outcome('Tunlinkat', { dirfd: 0, name: 'f', flags: 0 })).toBe('EOPNOTSUPP');
  expect(await c.outcome('Tstatfs', { fid: 0 })).toBe('EOPNOTSUPP');
});
