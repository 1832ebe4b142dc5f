import { describe, expect, test } from 'vitest';
import { GETATTR_BASIC, L_O_RDONLY, L_O_RDWR, NOFID, NOTAG } from '../../lib/protocol/constants.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server, type ServerOptions } from '../../lib/server/server.js';
import { memoryPair } from '../../lib/transport/memory.js';
import { RawClient } from '../support/raw.js';

function serverOf(options: ServerOptions = {}): { server: Server; tree: MemoryBackend } {
  const tree = new MemoryBackend();
  tree.writeFile('f', 'text');
  return { tree, server: new Server({ exports: { tree }, ...options }) };
}

const getattr = (fid: number) => ({ fid, requestMask: GETATTR_BASIC });

describe('Tversion', () => {
  test('agrees on the smaller msize, and on 9P2000.L only', async () => {
    const { server } = serverOf({ limits: { msize: 32768 } });
    await using _ = server;
    const c = RawClient.connect(server);
    expect(await c.version(8192)).toEqual({ msize: 8192, version: '9P2000.L' });
    expect(await c.version(1 << 30)).toEqual({ msize: 32768, version: '9P2000.L' });
    expect(await c.version(8192, '9P2000.L.ninep')).toEqual({ msize: 8192, version: '9P2000.L' });
    for (const version of ['9P2000', '9P2000.u', '9P2000.Lx', '', 'x'.repeat(1000)]) {
      expect(await c.version(8192, version)).toMatchObject({ version: 'unknown' });
      expect(await c.outcome('Tattach', { fid: 0, afid: NOFID, uname: '', aname: '', nUname: 0 })).toBe('EPROTO');
    }
    expect((await c.send('Tversion', { msize: 4095, version: '9P2000.L' }, NOTAG)).body).toEqual({ ecode: 90 });
    await c.version();
    await c.attach();
  });

  test('never agrees on more than the transport carries', async () => {
    const { server } = serverOf();
    await using _ = server;
    const [ours, theirs] = memoryPair();
    server.serve(Object.assign(theirs, { maxFrame: 16384 }));
    const c = new RawClient(ours);
    expect(await c.version(65536)).toMatchObject({ msize: 16384 });
  });

  test('comes first', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = RawClient.connect(server);
    expect(await c.outcome('Tgetattr', getattr(0))).toBe('EPROTO');
  });

  test('drops every fid of the session before it', async () => {
    const { server, tree } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    await c.open('f');
    expect(tree.counts().held).toBeGreaterThan(1);
    await c.version();
    expect(tree.counts().held).toBe(0);
    expect(await c.outcome('Tgetattr', getattr(0))).toBe('EBADF');
    await c.attach();
  });
});

describe('attach', () => {
  test('finds exports by name; none, or "/", is the first', async () => {
    const [one, two] = [new MemoryBackend(), new MemoryBackend()];
    one.writeFile('in-one', '');
    two.writeFile('in-two', '');
    await using server = new Server({ exports: { '/srv/one': one, two: { backend: two, readonly: true } } });
    const c = await RawClient.attached(server);
    expect(await c.list('')).toEqual(['in-one']);
    await c.attach(1, 'two');
    await c.attach(2, '/srv/one');
    await c.attach(3, '/');
    expect(await c.list('', 1)).toEqual(['in-two']);
    expect(await c.list('', 2)).toEqual(['in-one']);
    expect(await c.list('', 3)).toEqual(['in-one']);
    expect(await c.outcome('Tattach', { fid: 9, afid: NOFID, uname: 'u', aname: 'three', nUname: 0 })).toBe('ENOENT');
    expect(await c.outcome('Tattach', { fid: 1, afid: NOFID, uname: 'u', aname: 'two', nUname: 0 })).toBe('EINVAL');
    expect(await c.outcome('Tattach', { fid: 9, afid: 1, uname: 'u', aname: 'two', nUname: 0 })).toBe('EBADF');
    expect(await c.outcome('Tattach', { fid: NOFID, afid: NOFID, uname: 'u', aname: 'two', nUname: 0 })).toBe('EINVAL');
    // Nothing reaches from one into the other.
    expect(await c.outcome('Tlink', { dfid: 2, fid: await c.walk('in-two', 1), name: 'x' })).toBe('EXDEV');
    await using second = new Server({ exports: { one: new MemoryBackend(), two: new MemoryBackend() } });
    const d = await RawClient.attached(second);
    await d.attach(1, 'two');
    await d.write('f', '');
    expect(await d.outcome('Trenameat', { olddirfid: 0, oldname: 'f', newdirfid: 1, newname: 'f' })).toBe('EXDEV');
    expect(await d.outcome('Trename', { fid: await d.walk('f'), dfid: 1, name: 'f' })).toBe('EXDEV');
  });

  test('a user’s name has a length that can be remembered with every fid', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    const attach = (fid: number, uname: string) => c.outcome('Tattach', { fid, afid: NOFID, uname, aname: '', nUname: 0 });
    expect(await attach(1, 'u'.repeat(255))).toBe('ok');
    for (const uname of ['u'.repeat(256), 'ü'.repeat(128), 'u'.repeat(65_000)]) expect(await attach(2, uname)).toBe('ENAMETOOLONG');
    // Nothing has taken the number.
    expect(await attach(2, 'ü'.repeat(127))).toBe('ok');
  });

  test('asks for no authentication, in the way each client understands', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    const auth = { afid: 5, aname: '', nUname: 0 };
    expect(await c.outcome('Tauth', { ...auth, uname: 'root' })).toBe('EOPNOTSUPP');
    // diod's own programs go on only after ENOENT if they have no user name.
    expect(await c.outcome('Tauth', { ...auth, uname: '' })).toBe('ENOENT');
  });

  test('a read-only export refuses every change', async () => {
    const tree = new MemoryBackend();
    tree.writeFile('d/f', 'text');
    await using server = new Server({ exports: { tree: { backend: tree, readonly: true } } });
    const c = await RawClient.attached(server);
    const [d, f] = [await c.walk('d'), await c.walk('d/f')];
    const time = { sec: 0, nsec: 0 };
    expect(await c.outcome('Tlopen', { fid: f, flags: L_O_RDWR })).toBe('EROFS');
    expect(await c.outcome('Tlopen', { fid: f, flags: L_O_RDONLY | 0o1000 })).toBe('EROFS');
    expect(await c.outcome('Tlcreate', { fid: d, name: 'x', flags: 0, mode: 0, gid: 0 })).toBe('EROFS');
    expect(await c.outcome('Tmkdir', { dfid: d, name: 'x', mode: 0, gid: 0 })).toBe('EROFS');
    expect(await c.outcome('Tsymlink', { dfid: d, name: 'x', symtgt: 'y', gid: 0 })).toBe('EROFS');
    expect(await c.outcome('Tmknod', { dfid: d, name: 'x', mode: 0, major: 0, minor: 0, gid: 0 })).toBe('EROFS');
    expect(await c.outcome('Tlink', { dfid: d, fid: f, name: 'x' })).toBe('EROFS');
    expect(await c.outcome('Trename', { fid: f, dfid: d, name: 'x' })).toBe('EROFS');
    expect(await c.outcome('Trenameat', { olddirfid: d, oldname: 'f', newdirfid: d, newname: 'x' })).toBe('EROFS');
    expect(await c.outcome('Tunlinkat', { dirfd: d, name: 'f', flags: 0 })).toBe('EROFS');
    const attributes = { mode: 0, uid: 0, gid: 0, size: 0, atime: time, mtime: time };
    expect(await c.outcome('Tsetattr', { fid: f, valid: 1, ...attributes })).toBe('EROFS');
    expect(await c.outcome('Txattrcreate', { fid: f, name: 'user.x', attrSize: 1, flags: 0 })).toBe('EROFS');
    expect(await c.outcome('Tremove', { fid: f })).toBe('EROFS');
    expect(await c.outcome('Tclunk', { fid: f })).toBe('EBADF');
    expect((await c.read('d/f')).toString()).toBe('text');
  });
});

describe('what a client sends amiss', () => {
  test('requests of other dialects are refused one by one', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    // Topen, Tcreate, Tstat, Twstat of 9P2000; and a type that nobody has.
    for (const type of [112, 114, 124, 126, 254]) {
      const answer = c.expect(33);
      c.bytes(Uint8Array.of(12, 0, 0, 0, type, 33, 0, 0, 0, 0, 0, 0));
      expect((await answer).body).toEqual({ ecode: 95 });
    }
    await c.call('Tgetattr', getattr(0));
  });

  test('too many names, and sizes beyond all files, are errors of that request only', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    const fid = await c.open('f', L_O_RDWR);
    // A Twalk of 17 empty names.
    const walk = Buffer.alloc(7 + 10 + 34);
    walk.writeUInt32LE(walk.length, 0);
    walk[4] = 110;
    walk.writeUInt16LE(40, 5);
    walk.writeUInt32LE(1, 11);
    walk.writeUInt16LE(17, 15);
    const answer = c.expect(40);
    c.bytes(walk);
    expect((await answer).body).toEqual({ ecode: 22 });
    for (const offset of [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1]) {
      expect(await c.outcome('Twrite', { fid, offset, data: new Uint8Array(3) })).toBe('EFBIG');
      expect(await c.outcome('Twrite', { fid, offset, data: new Uint8Array(40000) })).toBe('EFBIG');
    }
    for (const size of [3, 40000]) {
      const frame = c.frame('Twrite', { fid, offset: 0, data: new Uint8Array(size) }, 41).slice();
      frame.fill(0xff, 11, 19);
      const refused = c.expect(41);
      c.bytes(frame);
      expect((await refused).name).toBe('Rlerror');
    }
    await c.call('Tgetattr', getattr(0));
  });

  const malformed: Record<string, (c: RawClient) => Uint8Array> = {
    'a size under 7': () => Uint8Array.of(6, 0, 0, 0, 120, 1, 0),
    'a size over msize': () => Uint8Array.of(0xff, 0xff, 0xff, 0x7f, 118, 1, 0),
    'an answer': () => Uint8Array.of(7, 0, 0, 0, 121, 1, 0),
    'an Rread': () => Uint8Array.of(15, 0, 0, 0, 117, 1, 0, 4, 0, 0, 0, 1, 2, 3, 4),
    'a body that ends early': () => Uint8Array.of(9, 0, 0, 0, 120, 1, 0, 0, 0),
    'a body that goes on': () => Uint8Array.of(13, 0, 0, 0, 120, 1, 0, 0, 0, 0, 0, 0, 0),
    'a name longer than its frame': () => Uint8Array.of(19, 0, 0, 0, 110, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0xff, 0xff),
    'a count that disagrees with the size': (c) => {
      const frame = c.frame('Twrite', { fid: 0, offset: 0, data: new Uint8Array(40000) }, 1).slice();
      frame[19] = 9;
      return frame;
    },
    'a second Tversion cut short': () => Uint8Array.of(11, 0, 0, 0, 100, 0xff, 0xff, 0, 0, 0, 0),
  };
  for (const [what, bytes] of Object.entries(malformed)) {
    test(`${what} ends that connection and no other`, async () => {
      const errors: unknown[] = [];
      const { server, tree } = serverOf({ log: (event) => event.type === 'error' && errors.push(event.error) });
      await using _ = server;
      const [c, other] = [await RawClient.attached(server), await RawClient.attached(server)];
      await c.open('f');
      c.bytes(bytes(c));
      await c.closed;
      expect(errors).toHaveLength(1);
      expect(errors[0]).toMatchObject({ name: 'ProtocolError', code: 'EPROTO' });
      await other.call('Tgetattr', getattr(0));
      // Whatever was answered was an Rlerror of the tag that could be read.
      expect(c.received.slice(4).filter(({ name }) => name !== 'Rlerror')).toEqual([]);
      await other.end();
      await server.close();
      expect(tree.counts().held).toBe(0);
    });
  }

  test('a body that makes no sense is answered before the end', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = await RawClient.attached(server);
    const answer = c.expect(77);
    c.bytes(Uint8Array.of(9, 0, 0, 0, 120, 77, 0, 0, 0));
    expect((await answer).body).toEqual({ ecode: 71 });
    await c.closed;
  });
});

describe('many answers at once', () => {
  test('what arrives together leaves together', async () => {
    const { server } = serverOf();
    await using _ = server;
    const [ours, theirs] = memoryPair();
    let sends = 0;
    const send = theirs.send.bind(theirs);
    theirs.send = (parts, sent) => {
      sends++;
      return send(parts, sent);
    };
    server.serve(theirs);
    const c = new RawClient(ours);
    await c.version();
    await c.attach();
    sends = 0;
    const frames: Uint8Array[] = [];
    const answers = [];
    for (let tag = 100; tag < 132; tag++) {
      frames.push(c.frame('Tgetattr', getattr(0), tag));
      answers.push(c.expect(tag));
    }
    c.bytes(Buffer.concat(frames));
    for (const answer of answers) expect((await answer).name).toBe('Rgetattr');
    expect(sends).toBe(1);
  });

  test('bytes may come in any portions', async () => {
    const { server } = serverOf();
    await using _ = server;
    const c = RawClient.connect(server, { chunk: 3 });
    await c.version();
    await c.attach();
    const content = Buffer.from(Array.from({ length: 50_000 }, (_, index) => index * 7));
    await c.write('g', content);
    expect((await c.read('g')).equals(content)).toBe(true);
  });
});

test('a client that still had something to say when the server left comes to its end', async () => {
  const { server } = serverOf();
  await using _ = server;
  const c = await RawClient.attached(server);
  c.bytes(Uint8Array.of(7, 0, 0, 0, 121, 1, 0));
  await server.close();
  for (let index = 0; index < 10; index++) c.bytes(new Uint8Array(100_000));
  await c.end();
});
