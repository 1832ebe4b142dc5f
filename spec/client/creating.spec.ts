import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client, createAt, type Fid, passesDescriptors } from '../../lib/client/index.js';
import {
  L_O_CREAT,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_WRONLY,
  ORDERED_XATTR,
  QTDIR,
  S_IFMT,
  S_IFREG,
} from '../../lib/protocol/constants.js';
import { decodeText } from '../../lib/protocol/text.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { Session } from '../../lib/session/index.js';
import { socketpair } from '../../lib/sys/io.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { PolledTransport } from '../../lib/transport/polled.js';
import { serverOf } from '../server/local/passing.js';
import { openBelow } from '../support/descriptors.js';
import { door, GatedBackend } from '../support/gated.js';
import { RawPeer } from '../support/raw-peer.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

const MAKING = L_O_RDWR | L_O_CREAT;

/** Has the server keep order, without which it has no Tcreateat. */
async function agree(client: Client): Promise<void> {
  const { fid } = await client.root.xattrwalk(ORDERED_XATTR);
  await fid.clunk();
}

const make = (directory: Fid, name: string, flags = MAKING, mode = 0o640, lend = false) => createAt(directory, name, flags, mode, 7, lend);

async function content(fid: Fid): Promise<string> {
  const bytes = new Uint8Array(100);
  return decodeText(bytes.subarray(0, await fid.read(bytes, 0)));
}

describe('a file that is made by one message', () => {
  let tree: MemoryBackend;
  /** Called before each method of the back-end. */
  let hold: (method: string) => Promise<void> | undefined;
  let server: Server;
  let client: Client;

  beforeEach(async () => {
    hold = () => undefined;
    tree = new MemoryBackend();
    server = new Server({ exports: { '/': new GatedBackend(tree, (method) => hold(method)) } });
    const [near, far] = memoryPair();
    server.serve(far);
    client = new Client(await Session.open(near));
    await client.attach();
    tree.writeFile('d/there', 'content');
  });

  afterEach(async () => {
    client.destroy();
    await server.close();
  });

  /** Nothing is left but the root and what was walked to. */
  async function left(...fids: Fid[]): Promise<void> {
    for (const fid of fids) await fid.clunk();
    await expect.poll(() => client.fidCount).toEqual({ alive: 1, numbers: 1 });
    expect(server.status().fids).toBe(1);
    expect(client.session.lost).toBeUndefined();
  }

  test('is open, in its place, and what its directory is now comes along', async () => {
    await agree(client);
    const d = await client.root.walk(['d']);
    const { number, qid, names } = d;
    const { fid, attributes, directory, descriptor } = await make(d, 'new');
    expect([fid.names, fid.path, fid.opened, fid.attachment]).toEqual([
      ['d', 'new'],
      '/d/new',
      { flags: MAKING, iounit: fid.iounit },
      d.attachment,
    ]);
    expect(fid.iounit).toBeGreaterThan(0);
    expect([fid.known, fid.ended, fid.isDirectory, descriptor]).toEqual([true, false, false, undefined]);
    expect(fid.qid).toEqual(attributes.qid);
    expect(attributes).toMatchObject({ mode: S_IFREG | 0o640, gid: 7, size: 0, nlink: 1 });
    expect(directory).toEqual(await d.getattr());
    // The directory's fid is still the directory, and no more open than before.
    expect([d.number, d.qid, d.names, d.opened]).toEqual([number, qid, names, undefined]);
    expect(await fid.write(Buffer.from('written'), 0)).toBe(7);
    expect(await content(fid)).toBe('written');
    await fid.fsync();
    const again = await d.walk(['new']);
    expect(again.qid.path).toBe(fid.qid.path);
    expect((await again.getattr()).size).toBe(7);
    await left(again, fid, d);
  });

  test('is the one that is there, unless it must not be', async () => {
    await agree(client);
    const d = await client.root.walk(['d']);
    const { fid, attributes } = await make(d, 'there');
    expect([attributes.size, attributes.mode & S_IFMT, await content(fid)]).toEqual([7, S_IFREG, 'content']);
    await expect(make(d, 'there', MAKING | L_O_EXCL)).rejects.toMatchObject({ code: 'EEXIST' });
    await left(fid, d);
  });

  test.each([
    ['EEXIST', 'there', MAKING | L_O_EXCL],
    ['EISDIR', 'sub', MAKING],
    ['EINVAL', 'a/b', MAKING],
    ['EEXIST', '..', MAKING],
    ['ENAMETOOLONG', 'x'.repeat(256), MAKING],
    ['EINVAL', 'x', L_O_CREAT | 3],
  ])('fails with %s, its request and its path, and leaves nothing (%#)', async (code, name, flags) => {
    await agree(client);
    tree.mkdir('d/sub');
    const d = await client.root.walk(['d']);
    const found: unknown = await make(d, name, flags).catch((error: unknown) => error);
    expect(found).toMatchObject({ code, syscall: 'Tcreateat', path: `/d/${name}` });
    await left(d);
  });

  test('fails in what is no directory, or is gone, and tells paths below the root without a second slash', async () => {
    await agree(client);
    const there = await client.root.walk(['d', 'there']);
    await expect(make(there, 'x')).rejects.toMatchObject({ code: 'ENOTDIR', path: '/d/there/x' });
    const e = await client.root.clone();
    await client.root.mkdir('e', 0o755, 0);
    const gone = await client.root.walk(['e']);
    await client.root.unlinkat('e', 0x200);
    await expect(make(gone, 'x')).rejects.toMatchObject({ code: 'ENOENT', syscall: 'Tcreateat' });
    await expect(make(client.root, 'd', MAKING | L_O_EXCL)).rejects.toMatchObject({ code: 'EEXIST', path: '/d' });
    await left(there, e, gone);
  });

  test('is EOPNOTSUPP from a server that was not asked to keep order, and nothing is made', async () => {
    const d = await client.root.walk(['d']);
    await expect(make(d, 'x')).rejects.toMatchObject({ code: 'EOPNOTSUPP', path: '/d/x' });
    await expect(d.walk(['x'])).rejects.toMatchObject({ code: 'ENOENT' });
    await left(d);
  });

  test('is clunked when it comes after it was given up', async () => {
    await agree(client);
    const d = await client.root.walk(['d']);
    const [reached, gate] = [door(), door()];
    hold = (method) => {
      if (method !== 'create') return undefined;
      reached.open();
      return gate.promise;
    };
    const given = new AbortController();
    const making = createAt(d, 'late', MAKING, 0o644, 0, false, { signal: given.signal });
    await reached.promise;
    given.abort();
    await expect(making).rejects.toMatchObject({ name: 'AbortError' });
    // Its number is nobody's until the server has said what became of it.
    expect(client.fidCount).toEqual({ alive: 3, numbers: 3 });
    gate.open();
    await left(d);
  });

  test('leaves no number behind where it was given up before it was asked for, or the conversation is over', async () => {
    await agree(client);
    await expect(createAt(client.root, 'x', MAKING, 0o644, 0, false, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    client.destroy();
    await expect(make(client.root, 'x')).rejects.toMatchObject({ name: 'ConnectionLostError' });
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  test('many at once are each the one that was asked for', async () => {
    await agree(client);
    const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
    const made = await Promise.all(names.map((name) => make(client.root, name)));
    await Promise.all(made.map(({ fid }, index) => fid.write(Buffer.from(`${index}`), 0)));
    expect(made.map(({ fid }) => fid.path)).toEqual(names.map((name) => `/${name}`));
    expect(new Set(made.map(({ fid }) => fid.number)).size).toBe(50);
    expect(await Promise.all(made.map(({ fid }) => content(fid)))).toEqual(names.map((_, index) => `${index}`));
    await left(...made.map(({ fid }) => fid));
  });
});

requires('root')('the descriptor of a file that is made by one message', () => {
  let root: TemporaryDirectory;
  let server: Server;
  let client: Client;
  const open = () => openBelow(root.path);
  const path = (name: string) => root.join(`tree/${name}`);

  beforeEach(async () => {
    root = new TemporaryDirectory('creating');
    mkdirSync(root.join('tree'));
    server = await serverOf(root.join('tree'), {}, {});
  });

  afterEach(async () => {
    client.destroy();
    await server.close();
    root.remove();
  });

  /** `takes`: whether descriptors arrive there, however willing the server is to pass them. */
  async function begin(takes = true): Promise<void> {
    const [near, far] = socketpair();
    server.serve(new PolledTransport('theirs', far, far));
    client = new Client(await Session.open(new PolledTransport('ours', near, near, { descriptors: takes })));
    await client.attach({ aname: 'tree' });
    await agree(client);
  }

  test('is that very file, the caller’s own, and comes only where it is wanted', async () => {
    await begin();
    const before = open();
    const { fid, descriptor, attributes } = await make(client.root, 'f', MAKING, 0o644, true);
    if (descriptor === undefined) throw new Error('no descriptor came');
    expect(fstatSync(descriptor, { bigint: true }).ino).toBe(attributes.qid.path);
    expect(fstatSync(descriptor).ino).toBe(statSync(path('f')).ino);
    writeSync(descriptor, 'past them');
    expect(await content(fid)).toBe('past them');
    await fid.clunk();
    // It is none of the server's.
    expect(fstatSync(descriptor).size).toBe(9);
    closeSync(descriptor);
    const plain = await make(client.root, 'g');
    expect(plain.descriptor).toBeUndefined();
    await plain.fid.clunk();
    await expect.poll(open).toBe(before);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  test('allows no more than the file was opened for', async () => {
    await begin();
    const { fid, descriptor } = await make(client.root, 'f', L_O_WRONLY | L_O_CREAT, 0o644, true);
    if (descriptor === undefined) throw new Error('no descriptor came');
    writeSync(descriptor, 'x');
    expect(() => readFileSync(descriptor)).toThrow('EBADF');
    closeSync(descriptor);
    await fid.clunk();
    writeFileSync(path('read'), 'x');
    const reading = await make(client.root, 'read', L_O_RDONLY | L_O_CREAT, 0o644, true);
    const readable = reading.descriptor;
    if (readable === undefined) throw new Error('no descriptor came');
    expect(() => writeSync(readable, 'y')).toThrow('EBADF');
    closeSync(readable);
    await reading.fid.clunk();
  });

  test('is not there where the file is not made', async () => {
    await begin();
    const before = open();
    writeFileSync(path('there'), '');
    await expect(make(client.root, 'there', MAKING | L_O_EXCL, 0o644, true)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(open()).toBe(before);
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  test('many of them among files without one are each their own file’s', async () => {
    await begin();
    const made = await Promise.all(
      Array.from({ length: 40 }, (_, index) => make(client.root, `n${index}`, MAKING, 0o644, index % 3 === 0)),
    );
    for (const [index, { descriptor, fid }] of made.entries()) {
      expect(descriptor === undefined, `${index}`).toBe(index % 3 !== 0);
      if (descriptor !== undefined) {
        expect(fstatSync(descriptor).ino).toBe(statSync(path(`n${index}`)).ino);
        closeSync(descriptor);
      }
      await fid.clunk();
    }
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  test('may be lost on its way: the file is there all the same, and none is believed to come after a few', async () => {
    await begin(false);
    for (const name of ['a', 'b', 'c', 'd']) {
      const { fid, descriptor } = await make(client.root, name, MAKING | L_O_EXCL, 0o644, true);
      expect(descriptor).toBeUndefined();
      await fid.write(Buffer.from(name), 0);
      await fid.clunk();
      expect(readFileSync(path(name), 'utf8')).toBe(name);
    }
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    expect(server.status().fids).toBe(1);
    expect(await passesDescriptors(client.root)).toBe(false);
  });
});

requires('root')('the descriptor of a file that was given up', () => {
  test.each(['after', 'while'])('is closed, and its fid clunked, where it comes %s that happens', async (when) => {
    await using root = new TemporaryDirectory('creating');
    writeFileSync(root.join('f'), '');
    const [near, far] = socketpair();
    const peer = new RawPeer(new PolledTransport('server', far, far));
    const client = new Client(await Session.open(new PolledTransport('client', near, near, { descriptors: true })));
    try {
      await client.attach();
      const told = await client.root.getattr();
      const reading = await client.root.walk(['g']);
      await reading.open(L_O_RDONLY);
      const attributes = { ...told, qid: { ...told.qid, type: told.qid.type & ~QTDIR } };
      const given = new AbortController();
      const { answers } = peer.server;
      let tag = 0;
      let clunked = 0;
      const pass = () =>
        peer.transport.send([peer.codec.encode('Rcreateat', tag, { lent: 1, iounit: 0, attributes, directory: told })], undefined, [
          openSync(root.join('f'), 'r'),
        ]);
      answers.Tclunk = () => {
        clunked++;
        return {};
      };
      if (when === 'after') {
        answers.Tcreateat = (_body, _file, itsTag) => {
          tag = itsTag;
          given.abort();
          return undefined;
        };
        answers.Tflush = () => {
          pass();
          return {};
        };
      } else {
        // What is given up as other data arrives, which is read to its end at once: nothing else has its turn before what comes behind.
        const data = new Uint8Array(60_000);
        let reads = 0;
        answers.Tread = (_body, _file, itsTag) => {
          reads = itsTag;
          return undefined;
        };
        answers.Tcreateat = (_body, _file, itsTag) => {
          tag = itsTag;
          peer.say('Rread', reads, { data });
          pass();
          return undefined;
        };
        client.call('Tread', { fid: reading.number, offset: 0, count: data.length }, () => given.abort());
      }
      const making = createAt(client.root, 'f', MAKING, 0o644, 0, true, { signal: given.signal });
      await expect(making).rejects.toMatchObject({ name: 'AbortError' });
      await expect.poll(() => clunked).toBe(1);
      await expect.poll(() => client.session.counters.inFlight).toBe(0);
      expect(openBelow(root.path)).toBe(0);
      expect(client.fidCount).toEqual({ alive: 2, numbers: 2 });
      expect(client.session.lost).toBeUndefined();
    } finally {
      client.destroy();
      peer.transport.destroy();
    }
  });
});
