import { once } from 'node:events';
import { constants } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '../../lib/client/index.js';
import { callbackFs, type FileHandle, type FileSystem, fileSystem, openFs, qidOf } from '../../lib/fs/index.js';
import { MemoryBackend, type Server } from '../../lib/server/index.js';
import { rejection } from '../contracts/fs/errors.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { connectMemory } from './memory.js';
import { settled } from './settled.js';

describe('beyond node:fs, over memory', () => {
  let client: Client;
  let server: Server;
  let fs: FileSystem;
  beforeEach(async () => {
    ({ client, server } = await connectMemory(new MemoryBackend()));
    fs = fileSystem(client);
  });
  afterEach(async () => {
    await fs.close();
    await client.close();
    await server.close();
  });

  test('qids name files, whatever their paths', async () => {
    await fs.writeFile('/a', 'a');
    await fs.link('/a', '/b');
    const qid = await fs.qid('/a');
    expect(qid.path).toBe((await fs.qid('/b')).path);
    expect(qidOf((await fs.stat('/a')) as never)?.path).toBe(qid.path);
    expect((await fs.qid('/')).type).toBe(0x80);
    await fs.symlink('a', '/l');
    expect((await fs.qid('/l')).type).toBe(0x02);
    expect((await fs.qid('/l', { follow: true })).path).toBe(qid.path);
    await using handle = await fs.open('/a');
    expect(handle.qid.path).toBe(qid.path);
  });

  test('a temporary directory that goes when it is disposed of', async () => {
    let path: string;
    {
      await using directory = await fs.mkdtempDisposable('/tmp-');
      path = directory.path;
      expect(path).toMatch(/^\/tmp-.{6}$/);
      await fs.mkdir(`${path}/sub`);
      await fs.writeFile(`${path}/sub/file`, 'x');
    }
    expect((await rejection(fs.stat(path))).code).toBe('ENOENT');
    const directory = await fs.mkdtempDisposable('/tmp-');
    await directory.remove();
    await directory.remove();
    expect(await fs.readdir('/')).toEqual([]);
    expect(await rejection(fs.mkdtempDisposable('/none/x'))).toMatchObject({ code: 'ENOENT', syscall: 'mkdtemp' });
  });

  test('extended attributes', async () => {
    await fs.writeFile('/f', '');
    await fs.setxattr('/f', 'user.one', 'eins');
    await fs.setxattr('/f', 'user.two', Buffer.from([0, 255]));
    expect(String(await fs.getxattr('/f', 'user.one'))).toBe('eins');
    expect(await fs.getxattr('/f', 'user.two')).toEqual(Buffer.from([0, 255]));
    expect((await fs.listxattr('/f')).sort()).toEqual(['user.one', 'user.two']);
    await fs.removexattr('/f', 'user.one');
    expect(await fs.listxattr('/f')).toEqual(['user.two']);
    expect(await rejection(fs.getxattr('/f', 'user.one'))).toMatchObject({ code: 'ENODATA', syscall: 'getxattr', path: '/f' });
    expect((await rejection(fs.setxattr('/f', 'user.two', 'x', { flags: 1 }))).code).toBe('EEXIST');
    await using handle = await fs.open('/f', 'r+');
    await handle.setxattr('user.three', 'drei');
    expect(String(await handle.getxattr('user.three'))).toBe('drei');
    expect((await handle.listxattr()).length).toBe(2);
    await handle.removexattr('user.three');
    await settled(fs, 2);
  });

  test('locks between handles', async () => {
    await fs.writeFile('/f', '0123456789');
    await using one = await fs.open('/f', 'r+');
    await using two = await fs.open('/f', 'r+');
    await one.lock({ start: 0, length: 4 });
    await two.lock({ start: 4, length: 4 });
    expect(await rejection(two.lock({ start: 2, length: 1, wait: false }))).toMatchObject({ code: 'EAGAIN', syscall: 'fcntl' });
    expect(await two.lockHolder({ start: 0, length: 1 })).toMatchObject({ shared: false, start: 0, length: 4, pid: process.pid });
    expect(await two.lockHolder({ start: 20 })).toBe(undefined);
    let granted = false;
    const waiting = two.lock({ start: 0, length: 2 }).then(() => {
      granted = true;
    });
    await fs.stat('/f');
    expect(granted).toBe(false);
    await one.unlock({ start: 0, length: 4 });
    await waiting;
    expect(granted).toBe(true);
    await two.unlock();
    await one.lock({ shared: true });
    await two.lock({ shared: true, wait: false });
    const controller = new AbortController();
    const given = rejection(two.lock({ signal: controller.signal }));
    controller.abort();
    expect((await given).name).toBe('AbortError');
    await one.close();
    await two.lock();
  });

  test('who waits for a lock does not keep a handle from being closed', async () => {
    await fs.writeFile('/f', '');
    await using one = await fs.open('/f', 'r+');
    await one.lock();
    const two = await fs.open('/f', 'r+');
    const waiting = rejection(two.lock());
    await two.close();
    expect(await waiting).toMatchObject({ code: 'EBADF', message: 'file closed', syscall: 'fcntl' });
    const three = await fs.open('/f', 'r+');
    const last = rejection(three.lock());
    await fs.close();
    expect((await last).code).toBe('EBADF');
    await settled(fs);
  });

  test('mknod and mkfifo', async () => {
    await fs.mknod('/dev', 0o020666, 1, 3);
    await fs.mkfifo('/fifo', 0o600);
    const device = await fs.stat('/dev');
    expect(device.isCharacterDevice()).toBe(true);
    expect(device.rdev).toBe(0x103);
    expect((await fs.stat('/fifo')).isFIFO()).toBe(true);
    const kinds = await fs.readdir('/', { withFileTypes: true });
    expect(kinds.map((entry) => [entry.name, entry.isCharacterDevice(), entry.isFIFO()]).sort()).toEqual([
      ['dev', true, false],
      ['fifo', false, true],
    ]);
    expect(await rejection(fs.cp('/fifo', '/copy'))).toMatchObject({ code: 'ERR_FS_CP_FIFO_PIPE' });
    expect(await rejection(fs.mkfifo('/fifo'))).toMatchObject({ code: 'EEXIST', syscall: 'mknod', path: '/fifo' });
  });

  test('names that are not UTF-8', async () => {
    const path = Buffer.from([0x2f, 0x61, 0xff, 0x62]);
    await fs.writeFile(path, 'bytes');
    const [name] = await fs.readdir('/', 'buffer');
    expect(name).toEqual(path.subarray(1));
    const [text] = await fs.readdir('/');
    expect(await fs.readFile(`/${text}`, 'utf8')).toBe('bytes');
    expect(await fs.realpath(path, 'buffer')).toEqual(path);
  });

  test('a root of its own keeps paths below it', async () => {
    await fs.mkdir('/jail/inside', { recursive: true });
    await fs.writeFile('/secret', 'secret');
    await fs.writeFile('/jail/secret', 'decoy');
    await fs.symlink('/secret', '/jail/absolute');
    await fs.symlink('../../secret', '/jail/inside/relative');
    const root = await client.root.walk(['jail']);
    const jail = fileSystem(client, { root });
    for (const path of ['/secret', '../secret', '/inside/../../secret', '/absolute', '/inside/relative', '/../../../secret']) {
      expect([path, await jail.readFile(path, 'utf8')]).toEqual([path, 'decoy']);
    }
    expect(await jail.realpath('/inside/relative')).toBe('/secret');
    expect((await jail.readdir('/..')).sort()).toEqual(['absolute', 'inside', 'secret']);
    await root.clunk();
  });

  test('with a signal, every request ends when it says so', async () => {
    const controller = new AbortController();
    const own = fs.with({ signal: controller.signal });
    await own.writeFile('/f', 'f');
    controller.abort(new Error('enough'));
    for (const work of [
      () => own.stat('/f'),
      () => own.readdir('/'),
      () => own.mkdir('/d'),
      () => own.rename('/f', '/g'),
      () => own.readFile('/f'),
    ]) {
      expect((await rejection(work())).name).toBe('AbortError');
    }
    expect(await fs.readFile('/f', 'utf8')).toBe('f');
    expect((await rejection(fs.stat('/f', { signal: AbortSignal.abort() } as object))).name).toBe('AbortError');
    await settled(fs);
  });

  test('a large transfer can be given up on the way, and leaves nothing', async () => {
    await fs.writeFile('/f', Buffer.alloc(40_000_000));
    const controller = new AbortController();
    const reading = rejection(fs.readFile('/f', { signal: controller.signal }));
    setImmediate(() => controller.abort());
    expect((await reading).name).toBe('AbortError');
    await settled(fs);
  });

  test('umask, group and setgid directories', async () => {
    const { umask } = { umask: 0o077 };
    const own = fs.with({ umask, gid: 77 });
    await own.writeFile('/f', '');
    await own.mkdir('/d');
    expect((await fs.stat('/f')).mode & 0o777).toBe(0o600);
    expect((await fs.stat('/d')).mode & 0o777).toBe(0o700);
    expect((await fs.stat('/f')).gid).toBe(77);
    await fs.mkdir('/shared');
    await fs.chown('/shared', -1, 88);
    await fs.chmod('/shared', 0o2775);
    await own.writeFile('/shared/f', '');
    await own.mkdir('/shared/d');
    expect((await fs.stat('/shared/f')).gid).toBe(88);
    expect((await fs.stat('/shared/d')).gid).toBe(88);
    expect((await fs.stat('/shared/d')).mode & 0o7777).toBe(0o2700);
  });

  test('access asks for whom it is told to', async () => {
    await fs.writeFile('/f', '', { mode: 0o640 });
    await fs.chown('/f', 5, 6);
    const as = (uid: number, gid: number) => fs.with({ uid, gid });
    await as(5, 1).access('/f', constants.R_OK | constants.W_OK);
    await as(1, 6).access('/f', constants.R_OK);
    expect((await rejection(as(1, 6).access('/f', constants.W_OK))).code).toBe('EACCES');
    expect((await rejection(as(1, 1).access('/f', constants.R_OK))).code).toBe('EACCES');
    await as(0, 0).access('/f', constants.W_OK);
    expect((await rejection(as(0, 0).access('/f', constants.X_OK))).code).toBe('EACCES');
  });

  test('too many open files', async () => {
    await fs.writeFile('/f', '');
    const few = fs.with({ maxOpen: 3 });
    const handles: FileHandle[] = [];
    for (let n = 0; n < 3; n++) handles.push(await few.open('/f'));
    expect(await rejection(few.open('/f'))).toMatchObject({ code: 'EMFILE', syscall: 'open', path: '/f' });
    expect((await rejection(few.opendir('/'))).code).toBe('EMFILE');
    expect(new Set(handles.map(({ fd }) => fd)).size).toBe(3);
    await handles[1]?.close();
    handles.push(await few.open('/f'));
    await Promise.all(handles.map((handle) => handle.close()));
    await settled(fs);
  });

  test('a tree is read with as many fids as are being read, however wide it is', async () => {
    for (let n = 0; n < 40; n++) await fs.mkdir(`/d${n}/e/f`, { recursive: true });
    await settled(fs);
    let most = 0;
    const paths: string[] = [];
    for await (const { parentPath, name } of await fs.opendir('/', { recursive: true })) {
      most = Math.max(most, client.fidCount.numbers);
      paths.push(`${parentPath}/${name}`);
    }
    expect(paths.length).toBe(120);
    expect(new Set(paths.map((path) => path.replace(/\d+/, '').replace('//', '/')))).toEqual(new Set(['/d', '/d/e', '/d/e/f']));
    // The root, the top, the one that is read, and one whose clunk is under way.
    expect(most).toBeLessThanOrEqual(4);
    await settled(fs);
    const early = await fs.opendir('/', { recursive: true });
    for (let n = 0; n < 50; n++) await early.read();
    await early.close();
    await settled(fs);
  });

  test('closing ends what is open', async () => {
    await fs.writeFile('/f', 'f');
    const handle = await fs.open('/f');
    const directory = await fs.opendir('/');
    const reading = fs.createReadStream('/f');
    await once(reading, 'readable');
    const writing = fs.createWriteStream('/g');
    writing.write('g');
    await once(writing, 'open');
    await fs.close();
    expect(reading.destroyed).toBe(true);
    expect(writing.writableFinished).toBe(true);
    expect(await fs.readFile('/g', 'utf8')).toBe('g');
    expect((await rejection(handle.read())).message).toBe('file closed');
    expect((await rejection(directory.read())).code).toBe('ERR_DIR_CLOSED');
    await settled(fs);
    await fs.close();
  });

  test('a stream that is refused for its arguments tells nothing later', async () => {
    await fs.writeFile('/f', '0123');
    await using handle = await fs.open('/f', 'r+');
    expect(() => fs.createReadStream('/f', { start: 3, end: 1 })).toThrow(RangeError);
    expect(() => handle.createReadStream({ start: 3, end: 1 })).toThrow(RangeError);
    expect(() => fs.createReadStream('/f', { end: -1 })).toThrow(RangeError);
    expect(() => fs.createWriteStream('/f', { start: -1 })).toThrow(RangeError);
    expect(() => handle.createWriteStream({ start: -1 })).toThrow(RangeError);
    // Streams begin behind the code that made them: what one tells without a listener would end the process then.
    await fs.stat('/f');
    expect((await handle.read(Buffer.alloc(4), 0, 4, null)).bytesRead).toBe(4);
  });

  test('a lost connection fails what is under way and what comes after', async () => {
    await fs.writeFile('/f', 'f');
    const handle = await fs.open('/f');
    client.destroy(new Error('cable'));
    for (const promise of [fs.stat('/f'), handle.read(), handle.stat(), fs.writeFile('/g', 'g'), fs.readdir('/')]) {
      expect((await rejection(promise)).name).toBe('ConnectionLostError');
    }
    await expect(handle.close()).rejects.toThrow('cable');
  });

  test('callbacks', async () => {
    const face = callbackFs(fs);
    const called = <T>(work: (callback: (error: unknown, value?: T) => void) => void): Promise<T> =>
      new Promise((resolve, reject) => work((error, value) => (error ? reject(error) : resolve(value as T))));
    await called((callback) => face.writeFile('/f', 'hello', callback));
    expect(await called((callback) => face.readFile('/f', 'utf8', callback))).toBe('hello');
    expect(await called((callback) => face.stat('/f', callback))).toMatchObject({ size: 5 });
    expect(await rejection(called((callback) => face.lstat('/none', callback)))).toMatchObject({ code: 'ENOENT', syscall: 'lstat' });
    const fd = await called<number>((callback) => face.open('/f', 'r+', callback));
    expect(typeof fd).toBe('number');
    const buffer = Buffer.alloc(3);
    expect(await called((callback) => face.read(fd, buffer, 0, 3, 1, callback))).toBe(3);
    expect(buffer.toString()).toBe('ell');
    expect(await called((callback) => face.write(fd, 'J', 0, callback))).toBe(1);
    expect(await called((callback) => face.fstat(fd, callback))).toMatchObject({ size: 5 });
    await called((callback) => face.ftruncate(fd, 2, callback));
    expect(await called((callback) => face.readFile(fd, 'utf8', callback))).toBe('Je');
    await called((callback) => face.close(fd, callback));
    expect((await rejection(called((callback) => face.close(fd, callback)))).code).toBe('EBADF');
    expect(await new Promise((resolve) => face.exists('/f', resolve))).toBe(true);
    expect(await new Promise((resolve) => face.exists('/none', resolve))).toBe(false);
    expect(() => (face.stat as unknown as (path: string) => void)('/f')).toThrow(/"cb" argument must be of type function/);
    expect(face.promises).toBe(fs);
    await settled(fs);
  });

  test('functions may be handed around without their object', async () => {
    const { writeFile, readFile, stat, getacl, mkfifo, cp } = fs;
    await writeFile('/f', 'free');
    await cp('/f', '/g');
    expect(await readFile('/g', 'utf8')).toBe('free');
    expect((await stat('/g')).size).toBe(4);
    await mkfifo('/p');
    expect((await rejection(getacl('/f'))).code).toMatch(/ENODATA|EOPNOTSUPP/);
  });
});

requires('diod')('paths over a server that follows symlinks itself', () => {
  test('lead nowhere outside of what is attached', async () => {
    const outside = new TemporaryDirectory('outside');
    const directory = new TemporaryDirectory('export');
    const server = await diod(directory.path);
    const fs = await openFs(server.address());
    await fs.with({}).writeFile('/marker', 'inside');
    await fs.symlink(outside.path, '/absolute');
    await fs.symlink('../../../../../../etc', '/climbing');
    const depth = directory.path.split('/').length;
    await fs.symlink(`${'../'.repeat(depth)}etc/passwd`, '/passwd');
    for (const path of ['/absolute', '/climbing', '/climbing/passwd', '/passwd', '/absolute/x', `${'/..'.repeat(depth)}/etc/passwd`]) {
      expect([path, (await rejection(fs.stat(path))).code]).toEqual([path, 'ENOENT']);
    }
    expect((await rejection(fs.writeFile('/absolute/new', 'x'))).code).toBe('ENOENT');
    await fs.mkdir('/etc');
    await fs.writeFile('/etc/passwd', 'ours');
    for (const path of ['/climbing/passwd', '/passwd', '/../../etc/passwd']) expect(await fs.readFile(path, 'utf8')).toBe('ours');
    await settled(fs);
    await fs.close();
    await server.stop();
    directory.remove();
    outside.remove();
  });
});
