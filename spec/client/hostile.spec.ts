import { afterEach, describe, expect, it } from 'vitest';
import { Client } from '../../lib/client/client.js';
import { type FileSystem, fileSystem } from '../../lib/fs/index.js';
import { Codec } from '../../lib/protocol/codec.js';
import { NOTAG, VERSION_L } from '../../lib/protocol/constants.js';
import { encodeEntries } from '../../lib/protocol/directory.js';
import { ProtocolError } from '../../lib/protocol/error.js';
import { Session } from '../../lib/session/session.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { HostileServer } from '../support/hostile.js';
import { withoutPauses } from './pauses.js';

const codec = new Codec(VERSION_L);
let client: Client | undefined;

afterEach(() => client?.destroy());

/** A client of a server that makes things up. */
async function of(server: HostileServer): Promise<Client> {
  const [near, far] = memoryPair();
  server.serve(far);
  client = new Client(await Session.open(near));
  await client.attach();
  return client;
}

async function fsOf(server: HostileServer): Promise<FileSystem> {
  return fileSystem(await of(server));
}

describe('a listing', () => {
  const next: Record<string, (offset: bigint) => bigint> = {
    'that never advances': () => 7n,
    'whose cookies go in circles': (offset) => (offset % 1000n) + 1n,
  };
  it.each(Object.keys(next))('%s ends with an error', async (which) => {
    const server = new HostileServer();
    server.answers.Treaddir = ({ offset, count }) => {
      const entry = { qid: { type: 0, version: 0, path: 9n }, offset: next[which]?.(offset) ?? 0n, type: 8, name: 'again' };
      return { data: encodeEntries([entry], count) };
    };
    const fs = await fsOf(server);
    await expect(fs.readdir('/')).rejects.toMatchObject({ code: 'EPROTO' });
    const fid = await (client as Client).root.clone();
    await fid.open(0);
    const taken = async () => {
      for await (const { name } of fid.entries()) expect(name).not.toBe('');
    };
    await expect(taken()).rejects.toBeInstanceOf(ProtocolError);
  });

  it.each(['../up', '/etc', 'a/../../b', '', 'nul\0'])('with the name %j in it ends with an error', async (name) => {
    const server = new HostileServer();
    server.list = () => ['fine', name];
    const fs = await fsOf(server);
    await expect(fs.readdir('/')).rejects.toMatchObject({ code: 'EPROTO' });
    await expect(fs.readdir('/', { recursive: true })).rejects.toMatchObject({ code: 'EPROTO' });
    await expect((await fs.opendir('/')).read()).rejects.toMatchObject({ code: 'EPROTO' });
    await expect(fs.rm('/dir', { recursive: true })).rejects.toMatchObject({ code: 'EPROTO' });
    await expect(fs.cp('/dir', '/dother', { recursive: true })).rejects.toMatchObject({ code: 'EPROTO' });
  });

  it('may hold "." and "..": nobody goes there', async () => {
    const server = new HostileServer();
    server.list = (names) => (names.length < 2 ? ['.', '..', 'd1', 'f'] : ['.', '..']);
    const fs = await fsOf(server);
    expect((await fs.readdir('/', { recursive: true })).sort()).toEqual(['d1', 'd1/d1', 'd1/f', 'f']);
  });
});

it('directories without end: listing, removing and copying them ends with ENAMETOOLONG', async () => {
  const server = new HostileServer();
  server.list = () => [`d${'e'.repeat(200)}`];
  const fs = await fsOf(server);
  await expect(fs.readdir('/', { recursive: true })).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  await expect(fs.rm('/d', { recursive: true })).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  await expect(
    (async () => {
      for await (const entry of await fs.opendir('/', { recursive: true })) expect(entry.isDirectory()).toBe(true);
    })(),
  ).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
  const fids = (client as Client).fidCount;
  await expect.poll(() => (client as Client).fidCount.alive).toBeLessThan(4);
  expect(fids.alive).toBeLessThan(100);
});

it('a symlink leads nowhere but into the tree that it is in, and one to itself is ELOOP', async () => {
  const server = new HostileServer();
  const walked: string[] = [];
  server.answers.Twalk = ({ wnames }) => {
    walked.push(...wnames);
    return {};
  };
  server.answers.Treadlink = () => ({ target: '../../../../etc/shadow' });
  const fs = await fsOf(server);
  await fs.stat('/d/link');
  expect(walked).not.toContain('..');
  expect(walked.slice(-2)).toEqual(['etc', 'shadow']);
  server.answers.Treadlink = () => ({ target: 'link' });
  await expect(fs.stat('/d/link')).rejects.toMatchObject({ code: 'ELOOP' });
  server.answers.Treadlink = () => ({ target: 'x/'.repeat(20_000) });
  await expect(fs.stat('/d/link')).rejects.toMatchObject({ code: 'ENAMETOOLONG' });
});

it('sizes that are claimed take no memory', async () => {
  const server = new HostileServer();
  const before = process.memoryUsage().arrayBuffers;
  const fs = await fsOf(server);
  for (const size of [65537, 2 ** 40, 2 ** 53 - 1]) {
    server.answers.Txattrwalk = () => ({ size });
    await expect(fs.getxattr('/f', 'user.x')).rejects.toMatchObject({ code: 'E2BIG' });
    await expect(fs.listxattr('/f')).rejects.toMatchObject({ code: 'E2BIG' });
  }
  server.answers.Tgetattr = () => ({ size: 2 ** 53 - 1, blocks: 2 ** 53 - 1 });
  await expect(fs.readFile('/f')).rejects.toMatchObject({ code: 'ERR_FS_FILE_TOO_LARGE' });
  server.answers.Tgetattr = () => ({ size: 2 ** 31 - 2 });
  expect(await fs.readFile('/f')).toHaveLength(0);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * 1024 * 1024);
});

describe('an answer that cannot be ends that conversation, clearly', () => {
  const answers: Record<string, (server: HostileServer) => void> = {
    'more bytes than were asked for': ({ answers }) => {
      answers.Tread = ({ count }) => ({ data: new Uint8Array(count + 1) });
    },
    'another kind of message': ({ answers }) => {
      answers.Tread = (_, __, tag) => codec.encode('Rclunk', tag, {});
    },
    'a tag that nobody asked with': ({ answers }) => {
      answers.Tread = (_, __, tag) => codec.encode('Rread', tag + 100, { data: new Uint8Array(1) });
    },
    'a version that nobody asked for': ({ answers }) => {
      answers.Tread = () => codec.encode('Rversion', NOTAG, { msize: 8192, version: VERSION_L });
    },
    'a request': ({ answers }) => {
      answers.Tread = (_, __, tag) => codec.encode('Tclunk', tag, { fid: 0 });
    },
    'a frame longer than msize': ({ answers }) => {
      answers.Tread = () => Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 117, 0, 0);
    },
    'a frame of no size': ({ answers }) => {
      answers.Tread = () => new Uint8Array(7);
    },
  };
  it.each(Object.keys(answers))('%s', async (which) => {
    const server = new HostileServer();
    answers[which]?.(server);
    const fid = await (await of(server)).root.walk(['f']);
    await fid.open(0);
    await expect(fid.read(new Uint8Array(10), 0)).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
    await expect(fid.getattr()).rejects.toMatchObject({ name: 'ConnectionLostError' });
  });

  it('more qids than names', async () => {
    const server = new HostileServer();
    const root = (await of(server)).root;
    server.answers.Twalk = ({ wnames }) => ({ wqids: Array.from({ length: wnames.length + 1 }, () => root.qid) });
    await expect(root.walk(['a', 'b'])).rejects.toBeInstanceOf(ProtocolError);
    await expect(fileSystem(client as Client).stat('/a/b')).rejects.toMatchObject({ code: 'EPROTO' });
    await expect.poll(() => client?.fidCount).toEqual({ alive: 1, numbers: 1 });
  });

  it.each([0, 7, 4095, 0xffffffff])('msize %i', async (msize) => {
    const server = new HostileServer();
    server.answers.Tversion = () => ({ msize });
    await expect(of(server)).rejects.toMatchObject({ code: 'EPROTO' });
  });
});

it.each([0, 1, 0xffffffff])('iounit %i: what is asked for at once stays between 1 and what msize allows', async (iounit) => {
  const server = new HostileServer();
  const counts: number[] = [];
  server.answers.Tlopen = () => ({ iounit });
  server.answers.Tread = ({ count }) => {
    counts.push(count);
    return { data: new Uint8Array(count) };
  };
  const fid = await (await of(server)).root.walk(['f']);
  await fid.open(0);
  expect(await fid.read(new Uint8Array(2000), 0)).toBe(2000);
  expect(Math.max(...counts)).toBeLessThanOrEqual((client as Client).session.maxPayload);
  expect(Math.min(...counts)).toBeGreaterThan(0);
});

it('every request refused: an error each, and nothing left', async () => {
  const server = new HostileServer();
  const fs = await fsOf(server);
  for (const code of [5, 4095, 0, 0xffffffff]) {
    server.answers = { Twalk: () => code, Tgetattr: () => code, Tlopen: () => code };
    for (const work of [fs.stat('/f'), fs.readFile('/f'), fs.readdir('/d'), fs.rm('/d', { recursive: true })]) {
      await expect(work).rejects.toBeInstanceOf(Error);
    }
  }
  server.answers = {};
  expect((await fs.stat('/f')).isFile()).toBe(true);
  await expect.poll(() => (client as Client).fidCount).toEqual({ alive: 1, numbers: 1 });
});

it('a server that breaks off over one request, again and again, is not asked that for ever', () =>
  withoutPauses(async (onEvent) => {
    const server = new HostileServer();
    server.answers.Tread = () => new Uint8Array(7);
    const dial = () => {
      const [near, far] = memoryPair();
      server.serve(far);
      return Session.open(near);
    };
    client = new Client(await dial(), { redial: dial, retry: Number.POSITIVE_INFINITY, onEvent });
    await client.attach();
    const fid = await client.root.walk(['f']);
    await fid.open(0);
    const before = server.requests;
    await expect(fid.read(new Uint8Array(10), 0)).rejects.toMatchObject({ name: 'ConnectionLostError', code: 'EPROTO' });
    expect(server.requests - before).toBeLessThan(200);
    expect((await fid.getattr()).mode).toBe(0o100644);
  }));
