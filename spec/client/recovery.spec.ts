import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Client } from '../../lib/client/client.js';
import { connect } from '../../lib/client/connect.js';
import type { RecoveryEvent } from '../../lib/client/recovery.js';
import {
  AT_REMOVEDIR,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDWR,
  L_O_WRONLY,
  LOCK_SUCCESS,
  LOCK_TYPE_WRLCK,
} from '../../lib/protocol/constants.js';
import { messages } from '../../lib/protocol/messages.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { listen } from '../../lib/transport/index.js';
import { type FaultProxy, type Faults, startProxy } from '../support/proxy.js';
import { requires } from '../support/requires.js';
import { type Diod, diod } from '../support/servers/diod.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { withoutPauses } from './pauses.js';

// A proxy loses the connection; diod behind it keeps the tree, and forgets every fid of a connection that is gone.
requires({ programs: ['diod'] })('a client whose connection is lost', () => {
  let directory: TemporaryDirectory;
  let server: Diod;
  let proxy: FaultProxy;
  let client: Client;
  let events: RecoveryEvent[];

  beforeEach(async () => {
    directory = new TemporaryDirectory('recovery');
    server = await diod(directory.path);
    proxy = await startProxy({ upstream: { path: server.socketPath as string } });
    client = await begin(60);
  });

  afterEach(async () => {
    client.destroy();
    await proxy.close();
    await server.stop();
    directory.remove();
  });

  async function begin(retry: number): Promise<Client> {
    events = [];
    return connect(`${proxy.address}?aname=${encodeURIComponent(directory.path)}`, { retry, onEvent: (event) => events.push(event) });
  }

  const path = (name: string) => directory.join(name);

  /** Has the server answer the next request of that type, but loses the connection with the answer. */
  function loseReplyTo(type: number): void {
    proxy.toServer.tap = (piece) => {
      if (piece[4] !== type) return;
      delete proxy.toServer.tap;
      proxy.toClient.tap = () => {
        delete proxy.toClient.tap;
        proxy.toClient.swallow = true;
        setImmediate(() => {
          proxy.cut();
          delete proxy.toClient.swallow;
        });
      };
    };
  }

  it('has its fids again: walked, open, locked, and those below a directory that it renamed', async () => {
    mkdirSync(path('a/b'), { recursive: true });
    writeFileSync(path('a/b/file'), 'before');
    await using walked = await client.root.walk(['a', 'b', 'file']);
    await using open = await walked.clone();
    await open.open(L_O_RDWR);
    const range = { type: LOCK_TYPE_WRLCK, start: 0, length: 0, procId: 7, clientId: 'me' };
    expect(await open.lock(range, 0)).toBe(LOCK_SUCCESS);
    await client.root.renameat('a', client.root, 'c');
    expect(walked.path).toBe('/c/b/file');
    proxy.cut();
    expect((await walked.getattr()).size).toBe(6);
    await open.write(Buffer.from('after!'), 0);
    expect(readFileSync(path('c/b/file'), 'utf8')).toBe('after!');
    expect(events.map(({ type }) => type)).toEqual(['lost', 'recovered']);
    expect(client.recovery).toMatchObject({ losses: 1, recoveries: 1, casualties: 0 });

    // The lock is held by the new connection: another client finds it taken.
    await using other = await connect(server.address());
    await using rival = await other.root.walk(['c', 'b', 'file']);
    await rival.open(L_O_RDWR);
    expect(await rival.lock({ ...range, clientId: 'other' }, 0)).not.toBe(LOCK_SUCCESS);
  });

  it('looks for an open file by the name it got from a rename whose last message was lost', async () => {
    writeFileSync(path('old'), 'content');
    mkdirSync(path('there'));
    await using open = await client.root.walk(['old']);
    await open.open(L_O_RDWR);
    await using there = await client.root.walk(['there']);
    // diod has no Trenameat: the file is renamed through a fid that ends afterwards.
    loseReplyTo(messages.Tclunk.type);
    await client.root.renameat('old', there, 'new');
    await open.write(Buffer.from('CON'), 0);
    expect(open.path).toBe('/there/new');
    expect(readFileSync(path('there/new'), 'utf8')).toBe('CONtent');
    expect(client.recovery).toMatchObject({ losses: 1, recoveries: 1, casualties: 0 });
  });

  it('does not make again what will only be clunked', async () => {
    writeFileSync(path('file'), 'content');
    const fid = await client.root.walk(['file']);
    await fid.open(L_O_RDWR);
    fid.unneeded = true;
    rmSync(path('file'));
    proxy.cut();
    await client.root.getattr();
    await fid.clunk();
    expect(events).toEqual([
      { type: 'lost', error: expect.any(Error) },
      { type: 'recovered', milliseconds: expect.any(Number), fids: 1, resent: expect.any(Number) },
    ]);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  it('waits with what is asked while the server is away', async () => {
    writeFileSync(path('file'), 'x');
    proxy.refuse();
    proxy.cut();
    const requests = [client.root.walk(['file']), client.root.getattr(), client.root.statfs()];
    await proxy.accept();
    await Promise.all(requests);
    expect(client.recovery?.recoveries).toBe(1);
  });

  it('fails what has waited too long, and goes on when the server is back', async () => {
    await client.close();
    client = await begin(0.2);
    proxy.refuse();
    proxy.cut();
    await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await expect(client.root.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
    await proxy.accept();
    await expect.poll(() => client.recovery?.recoveries, { timeout: 30_000 }).toBe(1);
    await client.root.getattr();
    expect(events.map(({ type }) => type)).toEqual(['lost', 'giving-up', 'recovered']);
  });

  it('gives ESTALE for a file that is another now, and for nothing else', async () => {
    writeFileSync(path('one'), '1');
    writeFileSync(path('two'), '2');
    const one = await client.root.walk(['one']);
    const two = await client.root.walk(['two']);
    proxy.refuse();
    proxy.cut();
    renameSync(path('one'), path('kept'));
    writeFileSync(path('one'), 'another');
    await proxy.accept();
    await expect(one.getattr()).rejects.toMatchObject({ code: 'ESTALE', path: '/one' });
    expect((await two.getattr()).size).toBe(1);
    expect(events).toContainEqual({ type: 'casualty', path: '/one', code: 'ESTALE' });
    await one.clunk();
    await two.clunk();
    // diod keeps the fid of a walk that got only half of the way.
    mkdirSync(path('directory'));
    writeFileSync(path('directory/three'), '3');
    const three = await client.root.walk(['directory', 'three']);
    proxy.refuse();
    proxy.cut();
    rmSync(path('directory/three'));
    await proxy.accept();
    await expect(three.getattr()).rejects.toMatchObject({ code: 'ESTALE', path: '/directory/three' });
    await three.clunk();
    for (const fid of await Promise.all([1, 2, 3].map(() => client.root.clone()))) await fid.clunk();
    const again = await client.root.walk(['one']);
    expect((await again.getattr()).size).toBe(7);
    await again.clunk();
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  it('does not do twice what happened before its reply was lost', async () => {
    writeFileSync(path('old'), 'content');
    await using target = await client.root.walk(['old']);
    const steps: [number, () => Promise<unknown>][] = [
      [messages.Tmkdir.type, () => client.root.mkdir('directory', 0o755, 0)],
      [messages.Tsymlink.type, () => client.root.symlink('symlink', 'to/there', 0)],
      [messages.Tlink.type, () => client.root.link('link', target)],
      [messages.Tmknod.type, () => client.root.mknod('fifo', 0o010644, 0, 0, 0)],
      [messages.Tremove.type, () => client.root.unlinkat('link', 0)],
      [messages.Tremove.type, () => client.root.unlinkat('directory', AT_REMOVEDIR)],
      [messages.Trename.type, () => client.root.renameat('old', client.root, 'new')],
    ];
    for (const [index, [type, step]] of steps.entries()) {
      loseReplyTo(type);
      await step();
      expect(client.recovery?.losses).toBe(index + 1);
    }
    expect(execFileSync('ls', [directory.path], { encoding: 'utf8' }).split('\n').filter(Boolean)).toEqual(['fifo', 'new', 'symlink']);
    expect(client.recovery?.casualties).toBe(0);
  });

  it('does not count as lost what it was removing or replacing', async () => {
    mkdirSync(path('directory'));
    for (const name of ['file', 'old', 'new']) writeFileSync(path(name), name);
    const [directory, file, old] = await Promise.all(['directory', 'file', 'old'].map((name) => client.root.walk([name])));
    loseReplyTo(messages.Tremove.type);
    await client.root.unlinkat('directory', AT_REMOVEDIR);
    loseReplyTo(messages.Tremove.type);
    await client.root.unlinkat('file', 0);
    loseReplyTo(messages.Trename.type);
    await client.root.renameat('new', client.root, 'old');
    expect(client.recovery).toMatchObject({ losses: 3, recoveries: 3, casualties: 0 });
    expect(events.filter(({ type }) => type === 'casualty')).toEqual([]);
    for (const fid of [directory, file, old]) {
      await expect(fid?.getattr()).rejects.toMatchObject({ code: 'ESTALE' });
      await fid?.clunk();
    }
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  it('has created a file once, also exclusively, and appended once', async () => {
    const created = await client.root.clone();
    loseReplyTo(messages.Tlcreate.type);
    await created.create('lock', L_O_RDWR | L_O_CREAT | L_O_EXCL, 0o600, 0);
    expect(client.recovery?.losses).toBe(1);
    await created.write(Buffer.from('mine'), 0);
    await created.clunk();
    expect(readFileSync(path('lock'), 'utf8')).toBe('mine');

    writeFileSync(path('log'), 'first\n');
    const log = await client.root.walk(['log']);
    await log.open(L_O_RDWR | L_O_APPEND);
    loseReplyTo(messages.Twrite.type);
    expect(await log.write(Buffer.from('second\n'), 0)).toBe(7);
    expect(client.recovery?.losses).toBe(2);
    await log.clunk();
    expect(readFileSync(path('log'), 'utf8')).toBe('first\nsecond\n');
  });

  it('lets an exclusive create fail where the file is not its own', async () => {
    writeFileSync(path('theirs'), 'content');
    const fid = await client.root.clone();
    loseReplyTo(messages.Tlcreate.type);
    await expect(fid.create('theirs', L_O_WRONLY | L_O_CREAT | L_O_EXCL, 0o600, 0)).rejects.toMatchObject({ code: 'EEXIST' });
    await fid.clunk();
    expect(readFileSync(path('theirs'), 'utf8')).toBe('content');
  });
});

// diod dies of SIGPIPE when a client goes while it writes; ours does not.
it('a client goes on through losses in the middle of long transfers and listings', () =>
  withoutPauses(async (onEvent) => {
    await using server = new Server({ exports: { '/': new MemoryBackend() } });
    await using directory = new TemporaryDirectory('recovery');
    const socket = directory.join('socket');
    await server.listen((accept) => listen(`unix:${socket}`, accept));
    await using proxy = await startProxy({ upstream: { path: socket } });
    await using client = await connect(proxy.address, { retry: 60, onEvent });
    const size = 8 << 20;
    const data = Buffer.alloc(size, 'abcdefg');
    const fid = await client.root.clone();
    await fid.create('large', L_O_RDWR, 0o644, 0);
    await fid.write(data, 0);
    const back = Buffer.alloc(size);
    for (let round = 0; round < 5; round++) {
      back.fill(0);
      loseAfter(proxy, proxy.toClient, 1 + round * 1_700_001);
      expect(await fid.read(back, 0)).toBe(size);
      expect(back.equals(data)).toBe(true);
      loseAfter(proxy, proxy.toServer, 1 + round * 1_700_001);
      expect(await fid.write(data, 0)).toBe(size);
    }
    expect(client.recovery).toMatchObject({ losses: 10, recoveries: 10, casualties: 0 });
    await fid.clunk();
    for (let index = 0; index < 3000; index++) await client.root.mkdir(`entry-${index}`, 0o755, 0);
    const listing = await client.root.clone();
    await listing.open(L_O_DIRECTORY);
    const names = new Set<string>();
    for (let offset = 0n; ; ) {
      const entries = await listing.readdir(offset, 4096);
      if (entries.length === 0) break;
      for (const entry of entries) names.add(entry.name);
      offset = entries[entries.length - 1]?.offset ?? 0n;
      if (names.size % 7 === 0) proxy.cut();
    }
    await listing.clunk();
    expect(names.size).toBe(3000 + 1 + 2);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  }));

/** Loses the connection once, when that many more bytes have passed in one direction. */
function loseAfter(proxy: FaultProxy, direction: Faults, bytes: number): void {
  let left = bytes;
  direction.tap = (piece) => {
    left -= piece.length;
    if (left > 0) return;
    delete direction.tap;
    setImmediate(() => proxy.cut());
  };
}
