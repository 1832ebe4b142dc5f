import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client, type Fid, memoryPair, Session } from '../../lib/index.js';
import {
  AT_REMOVEDIR,
  GETATTR_BTIME,
  GETATTR_SIZE,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_TRUNC,
  L_O_WRONLY,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../lib/protocol/index.js';
import { Plan9Server } from '../support/plan9.js';

describe.each([
  { dialect: '9P2000.u', extended: true },
  { dialect: '9P2000', extended: false },
])('a client that falls back to $dialect', ({ dialect, extended }) => {
  let server: Plan9Server;
  let client: Client;
  let root: Fid;

  beforeEach(async () => {
    const [near, far] = memoryPair();
    server = new Plan9Server(far, { extended });
    client = new Client(await Session.open(near));
    root = await client.attach({ uname: 'glenda' });
  });

  afterEach(async () => {
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    expect(server.fids.size).toBe(1);
    await client.close();
  });

  async function put(name: string, content: string, flags = L_O_CREAT | L_O_WRONLY): Promise<void> {
    await using fid = await root.clone();
    await fid.create(name, flags, 0o644, 0);
    await fid.write(Buffer.from(content), 0);
  }

  async function get(name: string): Promise<string> {
    await using fid = await root.walk([name]);
    await fid.open(L_O_RDONLY);
    const buffer = Buffer.alloc(65536);
    return buffer.toString('utf8', 0, await fid.read(buffer, 0));
  }

  async function attributes(name: string) {
    await using fid = await root.walk([name]);
    return fid.getattr();
  }

  async function names(): Promise<string[]> {
    await using fid = await root.clone();
    await fid.open(L_O_RDONLY | L_O_DIRECTORY);
    const found: string[] = [];
    for await (const { name } of fid.entries()) found.push(name);
    return found;
  }

  test('takes the dialect that the server knows, newest first', () => {
    expect(client.dialect).toBe(dialect);
    expect(server.seen.filter((type) => type === 100)).toHaveLength(extended ? 2 : 3);
  });

  test('creates, writes and reads more than fits in one message', async () => {
    const content = 'plan nine '.repeat(4000);
    await put('f', content);
    expect(await get('f')).toBe(content);
    expect(server.root.children?.get('f')?.mode).toBe(0o644);
  });

  test('create without EXCL opens what is there, and the fid is that file', async () => {
    await put('f', 'old content');
    await put('f', 'new');
    expect(await get('f')).toBe('new content');
    await put('f', 'cut', L_O_CREAT | L_O_WRONLY | L_O_TRUNC);
    expect(await get('f')).toBe('cut');
  });

  test('create with EXCL refuses what is there, and the fid still is the directory', async () => {
    await put('f', 'content');
    await using fid = await root.clone();
    await expect(fid.create('f', L_O_CREAT | L_O_EXCL | L_O_RDWR, 0o600, 0)).rejects.toMatchObject({ code: 'EEXIST' });
    await expect(fid.walk(['f']).then((child) => child.clunk())).resolves.toBeUndefined();
  });

  test('appends wherever the caller thinks the end is', async () => {
    await put('f', 'one');
    await using fid = await root.walk(['f']);
    await fid.open(L_O_WRONLY | L_O_APPEND);
    await fid.write(Buffer.from('two'), 0);
    expect(await get('f')).toBe('onetwo');
  });

  test('errors have numbers, by errno or by the words of Rerror', async () => {
    await expect(root.walk(['missing'])).rejects.toMatchObject({ code: 'ENOENT', syscall: 'Twalk', path: '/missing' });
    await put('f', '');
    await expect(root.mkdir('f', 0o755, 0)).rejects.toMatchObject({ code: 'EEXIST' });
    await root.mkdir('d', 0o755, 0);
    await using fid = await root.walk(['d']);
    await expect(fid.open(L_O_WRONLY)).rejects.toMatchObject({ code: 'EISDIR' });
    await using file = await root.walk(['f']);
    await expect(file.open(L_O_DIRECTORY)).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  test('attributes are what the stat tells', async () => {
    await put('f', '12345');
    const { valid, mode, size, nlink, mtime } = await attributes('f');
    expect({ mode, size, nlink, mtime }).toEqual({ mode: S_IFREG | 0o644, size: 5, nlink: 1, mtime: { sec: 1e9, nsec: 0 } });
    expect(valid & GETATTR_SIZE).toBe(GETATTR_SIZE);
    expect(valid & GETATTR_BTIME).toBe(0n);
    expect((await root.getattr()).mode).toBe(S_IFDIR | 0o755);
  });

  test('setattr changes what is asked and nothing else', async () => {
    await put('f', '12345');
    await using fid = await root.walk(['f']);
    await fid.setattr({ size: 3 });
    expect(await get('f')).toBe('123');
    await fid.setattr({ mode: 0o600 });
    await fid.setattr({ mtime: { sec: 1234, nsec: 999 }, atime: { sec: 77, nsec: 0 } });
    const file = server.root.children?.get('f');
    expect(file).toMatchObject({ mode: 0o600, mtime: 1234, atime: 77, name: 'f' });
    await fid.setattr({ ctime: true });
    await fid.setattr({ mtime: 'now' });
    expect(file?.mtime).toBeGreaterThan(1e9);
    await root.setattr({ mode: 0o700 });
    expect((await root.getattr()).mode).toBe(S_IFDIR | 0o700);
  });

  test('owners change where the dialect has numbers for them', async () => {
    await put('f', '');
    await using fid = await root.walk(['f']);
    const change = fid.setattr({ uid: 12, gid: 13 });
    if (!extended) return expect(change).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
    await change;
    expect(await attributes('f')).toMatchObject({ uid: 12, gid: 13 });
    await fid.setattr({ gid: 14 });
    return expect(await attributes('f')).toMatchObject({ uid: 12, gid: 14 });
  });

  test('lists a directory that takes many reads, from any cookie', async () => {
    const many = Array.from({ length: 400 }, (_, index) => `file-${index}`);
    for (const name of many) await put(name, '');
    expect(await names()).toEqual(many);
    await using fid = await root.clone();
    await fid.open(L_O_RDONLY);
    const seen: string[] = [];
    const cookies: bigint[] = [];
    for (let offset = 0n; ; ) {
      const entries = await fid.readdir(offset, 300);
      if (entries.length === 0) break;
      for (const entry of entries) {
        seen.push(entry.name);
        cookies.push(entry.offset);
        offset = entry.offset;
      }
    }
    expect(seen).toEqual(many);
    expect(new Set(cookies).size).toBe(many.length);
    for (const index of [399, 3, 200, 0, 398]) {
      const after = await fid.readdir(cookies[index], 300);
      expect(after[0]?.name).toBe(many[index + 1]);
    }
    const [first, second] = await Promise.all([fid.readdir(cookies[10], 300), fid.readdir(cookies[300], 300)]);
    expect([first[0]?.name, second[0]?.name]).toEqual([many[11], many[301]]);
  });

  test('renames within a directory, replacing; says EXDEV for another one', async () => {
    await put('a', 'a');
    await put('b', 'b');
    await root.mkdir('d', 0o755, 0);
    await root.renameat('a', root, 'b');
    expect(await names()).toEqual(expect.arrayContaining(['b', 'd']));
    expect(await names()).toHaveLength(2);
    expect(await get('b')).toBe('a');
    await using directory = await root.walk(['d']);
    await expect(root.renameat('b', directory, 'b')).rejects.toMatchObject({ code: 'EXDEV' });
    await using fid = await root.walk(['b']);
    await expect(fid.rename(directory, 'b')).rejects.toMatchObject({ code: 'EXDEV' });
    await fid.rename(root, 'c');
    expect(fid.names).toEqual(['c']);
    expect(await get('c')).toBe('a');
    await root.renameat('c', root, 'c');
    expect(await get('c')).toBe('a');
  });

  test('unlinks files and directories, each as such', async () => {
    await put('f', '');
    await root.mkdir('d', 0o755, 0);
    await expect(root.unlinkat('d')).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(root.unlinkat('f', AT_REMOVEDIR)).rejects.toMatchObject({ code: 'ENOTDIR' });
    await root.unlinkat('d', AT_REMOVEDIR);
    await root.unlinkat('f');
    expect(await names()).toEqual([]);
  });

  test('symlinks, devices, pipes, sockets and links, where the dialect has them', async () => {
    await put('f', 'shared');
    await using file = await root.walk(['f']);
    const made = async (make: Promise<unknown>): Promise<boolean> => {
      if (extended) return make.then(() => true);
      await expect(make).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
      return false;
    };
    if (await made(root.symlink('s', '../else where', 0))) {
      await using link = await root.walk(['s']);
      expect(await link.readlink()).toBe('../else where');
      expect(await link.getattr()).toMatchObject({ mode: S_IFLNK | 0o777, size: 13 });
    }
    if (await made(root.mknod('c', S_IFCHR | 0o600, 5, 300, 0))) {
      const { mode, rdev } = await attributes('c');
      expect({ mode, rdev }).toEqual({ mode: S_IFCHR | 0o600, rdev: 0x10052cn });
    }
    if (await made(root.mknod('p', S_IFIFO | 0o640, 0, 0, 0))) expect((await attributes('p')).mode).toBe(S_IFIFO | 0o640);
    if (await made(root.mknod('k', S_IFSOCK | 0o640, 0, 0, 0))) expect((await attributes('k')).mode & S_IFMT).toBe(S_IFSOCK);
    if (await made(root.link('hard', file))) expect(await get('hard')).toBe('shared');
    await expect(file.readlink()).rejects.toMatchObject({ code: 'EINVAL' });
    await root.mknod('r', S_IFREG | 0o604, 0, 0, 0);
    expect((await attributes('r')).mode).toBe(S_IFREG | 0o604);
  });

  test('fsync is a wstat that changes nothing', async () => {
    await put('f', 'x');
    await using fid = await root.walk(['f']);
    await fid.open(L_O_RDWR);
    const before = { ...server.root.children?.get('f') };
    server.seen.length = 0;
    await fid.fsync();
    expect(server.seen).toEqual([126]);
    expect(server.root.children?.get('f')).toEqual(before);
  });

  test('what the dialect has no words for is EOPNOTSUPP, and nothing is sent', async () => {
    await put('f', 'x');
    await using fid = await root.walk(['f']);
    await fid.open(L_O_RDWR);
    server.seen.length = 0;
    const range = { type: 1, start: 0, length: 0, procId: 1, clientId: 'me' };
    for (const attempt of [fid.statfs(), fid.lock(range, 0), fid.getlock(range), fid.getxattr('user.a'), fid.xattrcreate('user.a', 1, 0)]) {
      await expect(attempt).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
    }
    expect(server.seen).toEqual([]);
  });
});
