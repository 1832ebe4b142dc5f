import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  AT_REMOVEDIR,
  DT_DIR,
  GETATTR_ALL,
  GETATTR_BASIC,
  L_O_APPEND,
  L_O_CREAT,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_TRUNC,
  L_O_WRONLY,
  LOCK_BLOCKED,
  LOCK_FLAGS_BLOCK,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
  QTDIR,
  QTFILE,
  QTSYMLINK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  SETATTR_ATIME,
  SETATTR_ATIME_SET,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_MTIME_SET,
  SETATTR_SIZE,
  SETATTR_UID,
  XATTR_CREATE,
  XATTR_REPLACE,
} from '../../lib/protocol/constants.js';
import { decodeEntries } from '../../lib/protocol/directory.js';
import type { Body } from '../../lib/protocol/messages.js';
import type { Backend } from '../../lib/server/backend.js';
import { Server } from '../../lib/server/server.js';
import { RawClient } from '../support/raw.js';
import { inFull } from '../support/sized.js';

/** A back-end over an empty tree that the suite may do anything to. */
export interface BackendUnderTest {
  backend: Backend;
  /** What is still held: must be 0 once nobody is attached. */
  counts?(): { held: number; locks: number };
  /** Called after the server has closed the back-end. */
  dispose?(): Promise<void> | void;
}

/** What a back-end can do. What it cannot is checked to be refused with EOPNOTSUPP. */
export interface Capabilities {
  /** Extended attributes named `user.*`. */
  xattrs: boolean;
  /** FIFOs and device nodes. */
  devices: boolean;
  /** Files belong to the client's user and group, and can be given to another. */
  owners: boolean;
  /** Set-id bits are cleared by a write. */
  setid: boolean;
  /** Times keep their nanoseconds. */
  nanoseconds: boolean;
  /** statfs(2). */
  statfs: boolean;
}

const everything: Capabilities = { xattrs: true, devices: true, owners: true, setid: true, nanoseconds: true, statfs: true };

const noChange: Omit<Body<'Tsetattr'>, 'fid' | 'valid'> = {
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  atime: { sec: 0, nsec: 0 },
  mtime: { sec: 0, nsec: 0 },
};

function range(fid: number, type: number, start = 0, length = 0): Body<'Tgetlock'> {
  return { fid, type, start, length, procId: 7, clientId: 'here' };
}

/** A test that there is for back-ends that can do what it is about, and not for others. */
function where(condition: boolean): (name: string, body: () => Promise<void>) => void {
  return condition ? (name, body) => test(name, body) : () => {};
}

/**
 * The export contract, over the wire: whatever is served, clients see the same. Runs on every back-end; what one cannot do it says
 * in `can`.
 */
export function backendContract(
  name: string,
  make: () => Promise<BackendUnderTest> | BackendUnderTest,
  can: Partial<Capabilities> = {},
): void {
  const able: Capabilities = { ...everything, ...can };

  describe(`export contract: ${name}`, () => {
    let under: BackendUnderTest;
    let server: Server;
    let c: RawClient;
    const problems: unknown[] = [];

    beforeEach(async () => {
      problems.length = 0;
      under = await make();
      server = new Server({ exports: { tree: under.backend }, log: (event) => event.type === 'error' && problems.push(event.error) });
      c = await RawClient.attached(server);
    });

    afterEach(async () => {
      try {
        await server.close();
        expect(server.buffersLent).toBe(0);
        if (under.counts !== undefined) expect(under.counts()).toMatchObject({ held: 0, locks: 0 });
        expect(problems).toEqual([]);
      } finally {
        await under.dispose?.();
      }
    });

    const getattr = (fid: number) => c.call('Tgetattr', { fid, requestMask: GETATTR_ALL });
    const attributes = async (path: string) => {
      const fid = await c.walk(path);
      const all = await getattr(fid);
      await c.clunk(fid);
      return all;
    };
    const lock = (fid: number, type: number, start = 0, length = 0, flags = 0, client = c) =>
      client.call('Tlock', { ...range(fid, type, start, length), flags }).then(({ status }) => status);
    const setattr = (fid: number, valid: number, change: Partial<Body<'Tsetattr'>>) => ({ fid, valid, ...noChange, ...change });

    describe('attach and walk', () => {
      test('the root is a directory, the same one for every attach', async () => {
        const { qid } = await c.attach(1);
        expect(qid.type).toBe(QTDIR);
        const all = await getattr(1);
        expect(all.valid & GETATTR_BASIC).toBe(GETATTR_BASIC);
        expect(all.mode & S_IFMT).toBe(S_IFDIR);
        expect(all.qid.path).toBe((await getattr(0)).qid.path);
      });

      test('names lead to files, and each file has a qid of its own', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'a', mode: 0o755, gid: 0 });
        await c.call('Tmkdir', { dfid: await c.walk('a'), name: 'b', mode: 0o755, gid: 0 });
        await c.write('f', 'text', await c.walk('a/b'));
        const { wqids } = await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['a', 'b', 'f'] });
        expect(wqids.map(({ type }) => type)).toEqual([QTDIR, QTDIR, QTFILE]);
        expect(new Set(wqids.map(({ path }) => path)).size).toBe(3);
        expect((await getattr(1)).qid.path).toBe(wqids[2]?.path);
      });

      test('a missing first name is an error, a later one a short answer without newfid', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'a', mode: 0o755, gid: 0 });
        await c.write('f', '');
        expect(await c.outcome('Twalk', { fid: 0, newfid: 1, wnames: ['none'] })).toBe('ENOENT');
        expect(await c.outcome('Twalk', { fid: 0, newfid: 1, wnames: ['none', 'x'] })).toBe('ENOENT');
        expect((await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['a', 'none', 'x'] })).wqids).toHaveLength(1);
        expect(await c.outcome('Tgetattr', { fid: 1, requestMask: GETATTR_BASIC })).toBe('EBADF');
        expect((await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['f', 'x'] })).wqids).toHaveLength(1);
        const file = await c.walk('f');
        expect(await c.outcome('Twalk', { fid: file, newfid: 1, wnames: ['x'] })).toBe('ENOTDIR');
        // Nothing of that took the number.
        await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['a'] });
      });

      test('".." leads up and stays at the root', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'a', mode: 0o755, gid: 0 });
        const root = (await getattr(0)).qid.path;
        const { wqids } = await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['..', 'a', '..', '..', '..', 'a'] });
        expect(wqids[0]?.path).toBe(root);
        expect(wqids[4]?.path).toBe(root);
        expect(wqids[5]?.path).toBe(wqids[1]?.path);
      });

      test('a symlink is a file of its own and is not followed', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'a', mode: 0o755, gid: 0 });
        await c.write('inside', 'x', await c.walk('a'));
        await c.call('Tsymlink', { dfid: 0, name: 'link', symtgt: 'a', gid: 0 });
        const { wqids } = await c.call('Twalk', { fid: 0, newfid: 1, wnames: ['link', 'inside'] });
        expect(wqids.map(({ type }) => type)).toEqual([QTSYMLINK]);
        expect(await c.outcome('Tlopen', { fid: await c.walk('link'), flags: L_O_RDONLY })).toBe('ELOOP');
      });

      test('fids are cloned, open ones too, and replaced when newfid is fid', async () => {
        await c.write('f', 'text');
        const open = await c.open('f');
        const clone = await c.walk('', open);
        expect((await getattr(clone)).qid.path).toBe((await getattr(open)).qid.path);
        expect(await c.outcome('Twalk', { fid: open, newfid: open, wnames: ['..'] })).toBe('EINVAL');
        await c.call('Twalk', { fid: 0, newfid: 1, wnames: [] });
        await c.call('Twalk', { fid: 1, newfid: 1, wnames: ['f'] });
        expect((await getattr(1)).mode & S_IFMT).toBe(S_IFREG);
      });
    });

    describe('files', () => {
      test('keep what is written, wherever', async () => {
        const fid = await c.create('f', { mode: 0o640 });
        expect(await c.call('Twrite', { fid, offset: 0, data: Buffer.from('hello') })).toEqual({ count: 5 });
        expect(await c.call('Twrite', { fid, offset: 10000, data: Buffer.from('end') })).toEqual({ count: 3 });
        const { data } = await c.call('Tread', { fid, offset: 3, count: 4 });
        expect(Buffer.from(data)).toEqual(Buffer.from('lo\0\0'));
        expect((await c.call('Tread', { fid, offset: 10001, count: 100 })).data).toEqual(new Uint8Array(Buffer.from('nd')));
        expect((await c.call('Tread', { fid, offset: 10003, count: 100 })).data).toHaveLength(0);
        expect((await c.call('Tread', { fid, offset: 2 ** 40, count: 100 })).data).toHaveLength(0);
        expect((await c.call('Tread', { fid, offset: 0, count: 0 })).data).toHaveLength(0);
        const all = await getattr(fid);
        expect(all.size).toBe(10003);
        expect(all.mode).toBe(S_IFREG | 0o640);
        expect(all.nlink).toBe(1);
      });

      test('take large writes and give large reads, never beyond msize', async () => {
        const content = Buffer.alloc(200_000, 'abcdefghijk');
        await c.write('large', content);
        expect((await c.read('large')).equals(content)).toBe(true);
        const fid = await c.open('large');
        expect((await c.call('Tread', { fid, offset: 0, count: 0xffffffff })).data).toHaveLength(65536 - 24);
      });

      test('are truncated on open and by setattr, and grow with zeros', async () => {
        await c.write('f', 'content');
        await c.clunk(await c.open('f', L_O_WRONLY | L_O_TRUNC));
        expect((await attributes('f')).size).toBe(0);
        const fid = await c.open('f', L_O_RDWR);
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('content') });
        await c.call('Tsetattr', setattr(fid, SETATTR_SIZE, { size: 3 }));
        await c.call('Tsetattr', setattr(await c.walk('f'), SETATTR_SIZE, { size: 5 }));
        expect((await c.read('f')).toString()).toBe('con\0\0');
      });

      test('are appended to, whatever offset a write names', async () => {
        await c.write('f', 'one');
        const fid = await c.open('f', L_O_WRONLY | L_O_APPEND);
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('two') });
        await c.call('Twrite', { fid, offset: 1, data: Buffer.from('three') });
        expect((await c.read('f')).toString()).toBe('onetwothree');
      });

      test('are read and written only as they were opened, and opened once', async () => {
        await c.write('f', 'text');
        const reader = await c.open('f');
        const writer = await c.open('f', L_O_WRONLY);
        const unopened = await c.walk('f');
        const write = { offset: 0, data: Buffer.from('x') };
        expect(await c.outcome('Twrite', { fid: reader, ...write })).toBe('EBADF');
        expect(await c.outcome('Tread', { fid: writer, offset: 0, count: 1 })).toBe('EBADF');
        expect(await c.outcome('Tread', { fid: unopened, offset: 0, count: 1 })).toBe('EBADF');
        expect(await c.outcome('Twrite', { fid: unopened, ...write })).toBe('EBADF');
        expect(await c.outcome('Tlopen', { fid: reader, flags: L_O_RDONLY })).toBe('EINVAL');
        expect(await c.outcome('Tlcreate', { fid: reader, name: 'g', flags: 0, mode: 0o644, gid: 0 })).toBe('EINVAL');
        expect(await c.outcome('Tlopen', { fid: unopened, flags: L_O_RDONLY | L_O_DIRECTORY })).toBe('ENOTDIR');
        expect(await c.outcome('Tlopen', { fid: unopened, flags: 3 })).toBe('EINVAL');
        expect(await c.outcome('Tfsync', { fid: unopened, datasync: 0 })).toBe('EBADF');
        expect(await c.outcome('Tfsync', { fid: writer, datasync: 0 })).toBe('ok');
        expect(await c.outcome('Tfsync', { fid: writer, datasync: 1 })).toBe('ok');
      });

      test('are created once with O_EXCL and opened otherwise', async () => {
        await c.write('f', 'text');
        const fid = await c.walk('');
        const create = { fid, name: 'f', mode: 0o644, gid: 0 };
        expect(await c.outcome('Tlcreate', { ...create, flags: L_O_RDWR | L_O_CREAT | L_O_EXCL })).toBe('EEXIST');
        await c.call('Tlcreate', { ...create, flags: L_O_RDONLY | L_O_CREAT });
        expect(Buffer.from((await c.call('Tread', { fid, offset: 0, count: 10 })).data).toString()).toBe('text');
        // The fid is the file's now.
        expect((await getattr(fid)).mode & S_IFMT).toBe(S_IFREG);
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        expect(await c.outcome('Tlcreate', { ...create, fid: await c.walk(''), name: 'd', flags: L_O_RDWR })).toBe('EISDIR');
        expect(await c.outcome('Tlcreate', { ...create, fid: await c.walk('f'), name: 'g', flags: L_O_RDWR })).toBe('ENOTDIR');
      });

      test('a creator may write what the mode lets nobody write', async () => {
        const fid = await c.create('f', { mode: 0o400 });
        expect(await c.call('Twrite', { fid, offset: 0, data: Buffer.from('once') })).toEqual({ count: 4 });
        expect((await attributes('f')).mode & 0o7777).toBe(0o400);
      });

      test('stay usable through an open fid after their last name is gone', async () => {
        const fid = await c.create('f');
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('still here') });
        await c.call('Tunlinkat', { dirfd: 0, name: 'f', flags: 0 });
        expect(await c.outcome('Twalk', { fid: 0, newfid: 1, wnames: ['f'] })).toBe('ENOENT');
        expect(Buffer.from((await c.call('Tread', { fid, offset: 6, count: 9 })).data).toString()).toBe('here');
        await c.call('Tsetattr', setattr(fid, SETATTR_SIZE, { size: 5 }));
        const all = await getattr(fid);
        expect([all.size, all.nlink]).toEqual([5, 0]);
        await c.call('Twrite', { fid, offset: 5, data: Buffer.from('!') });
        expect(Buffer.from((await c.call('Tread', { fid, offset: 0, count: 9 })).data).toString()).toBe('still!');
      });
    });

    describe('attributes', () => {
      test('modes and sizes are set; directories have no size to set', async () => {
        await c.write('f', 'text');
        const fid = await c.walk('f');
        await c.call('Tsetattr', setattr(fid, SETATTR_MODE, { mode: 0o4751 }));
        expect((await getattr(fid)).mode).toBe(S_IFREG | 0o4751);
        expect(await c.outcome('Tsetattr', setattr(0, SETATTR_SIZE, { size: 0 }))).toBe('EISDIR');
        await c.call('Tsetattr', setattr(fid, 0, {}));
        expect(await c.outcome('Tsetattr', setattr(fid, 0x8000, {}))).toBe('EINVAL');
        expect(await c.outcome('Tsetattr', setattr(77, SETATTR_MODE, {}))).toBe('EBADF');
      });

      test('times are set to a value or to now, each by itself', async () => {
        await c.write('f', 'text');
        const fid = await c.walk('f');
        const atime = { sec: 1_000_000_000, nsec: able.nanoseconds ? 123_456_789 : 0 };
        const mtime = { sec: 1_100_000_000, nsec: able.nanoseconds ? 987_654_321 : 500_000_000 };
        const both = SETATTR_ATIME | SETATTR_ATIME_SET | SETATTR_MTIME | SETATTR_MTIME_SET;
        await c.call('Tsetattr', setattr(fid, both, { atime, mtime }));
        expect(await getattr(fid)).toMatchObject({ atime, mtime });
        await c.call('Tsetattr', setattr(fid, SETATTR_MTIME, {}));
        const after = await getattr(fid);
        expect(after.atime.sec).toBe(atime.sec);
        expect(Math.abs(after.mtime.sec - Date.now() / 1000)).toBeLessThan(600);
        expect(await c.outcome('Tsetattr', setattr(fid, both, { atime: { sec: 0, nsec: 1e9 } }))).toBe('EINVAL');
      });

      test('an open file is changed through its fid', async () => {
        const fid = await c.create('f');
        await c.call('Tsetattr', setattr(fid, SETATTR_MODE | SETATTR_SIZE, { mode: 0o600, size: 9 }));
        expect(await attributes('f')).toMatchObject({ mode: S_IFREG | 0o600, size: 9 });
        const reader = await c.open('f');
        await c.call('Tsetattr', setattr(reader, SETATTR_SIZE, { size: 4 }));
        expect((await attributes('f')).size).toBe(4);
      });

      test('the version of a qid changes with the file', async () => {
        const fid = await c.create('f');
        const before = (await getattr(fid)).qid;
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('more than before') });
        const after = (await getattr(fid)).qid;
        expect(after.path).toBe(before.path);
        expect(after.version).not.toBe(0);
        expect(after.version).not.toBe(before.version);
      });

      where(able.owners)('owners are the client’s and can be changed', async () => {
        const other = await RawClient.attached(server, { uid: 1000 });
        await other.create('mine', { gid: 1001 });
        expect(await attributes('mine')).toMatchObject({ uid: 1000, gid: 1001 });
        await c.call('Tsetattr', setattr(await c.walk('mine'), SETATTR_UID | SETATTR_GID, { uid: 5, gid: 6 }));
        expect(await attributes('mine')).toMatchObject({ uid: 5, gid: 6 });
      });

      where(able.setid)('a write takes set-id bits away', async () => {
        const fid = await c.create('f');
        await c.call('Tsetattr', setattr(fid, SETATTR_MODE, { mode: 0o6755 }));
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('x') });
        expect((await getattr(fid)).mode & 0o7777).toBe(0o755);
      });

      test('statfs', async () => {
        const outcome = await c.outcome('Tstatfs', { fid: 0 });
        expect(outcome).toBe(able.statfs ? 'ok' : 'EOPNOTSUPP');
        if (!able.statfs) return;
        const { bsize, blocks, bfree, namelen } = await c.call('Tstatfs', { fid: 0 });
        expect(bsize).toBeGreaterThan(0);
        expect(blocks).toBeGreaterThanOrEqual(bfree);
        expect(namelen).toBeGreaterThanOrEqual(200);
      });
    });

    describe('directories', () => {
      test('list what is in them, with "." and ".."', async () => {
        await c.write('f', '');
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o700, gid: 0 });
        await c.call('Tsymlink', { dfid: 0, name: 'l', symtgt: 'f', gid: 0 });
        const entries = await c.entries(await c.open(''));
        expect(entries.map(({ name }) => name).sort()).toEqual(['.', '..', 'd', 'f', 'l']);
        const byName = new Map(entries.map((entry) => [entry.name, entry]));
        for (const path of ['d', 'f', 'l']) expect(byName.get(path)?.qid.path).toBe((await attributes(path)).qid.path);
        // DT_UNKNOWN is as good as the truth.
        expect([0, DT_DIR]).toContain(byName.get('d')?.type);
        expect(await c.list('d')).toEqual([]);
        expect((await attributes('d')).mode).toBe(S_IFDIR | 0o700);
      });

      test('many entries come once each, in portions of any size', async () => {
        const names = Array.from({ length: inFull(1000, 300) }, (_, index) => `entry-${index}`);
        await Promise.all(names.map(async (entry) => c.clunk(await c.create(entry))));
        for (const count of [300, 4096, 60000]) {
          const fid = await c.open('');
          const found = (await c.entries(fid, count)).map((entry) => entry.name);
          expect(found.filter((entry) => entry !== '.' && entry !== '..').sort()).toEqual([...names].sort());
          await c.clunk(fid);
        }
      });

      test('a cookie goes on where it was taken', async () => {
        for (const entry of ['a', 'b', 'c', 'd']) await c.write(entry, '');
        const fid = await c.open('');
        const all = await c.entries(fid);
        for (const [index, { offset }] of all.entries()) {
          const { data } = await c.call('Treaddir', { fid, offset, count: 4096 });
          expect(decodeEntries(data).map((entry) => entry.name)).toEqual(all.slice(index + 1).map((entry) => entry.name));
        }
      });

      test('entries that come and go disturb no listing: nothing twice, nothing that stayed is missing', async () => {
        const names = Array.from({ length: 100 }, (_, index) => `stays-${index}`);
        for (const [index, entry] of names.entries()) {
          await c.write(entry, '');
          await c.write(`goes-${index}`, '');
        }
        const fid = await c.open('');
        const seen: string[] = [];
        for (let offset = 0n, round = 0; ; round++) {
          const { data } = await c.call('Treaddir', { fid, offset, count: 512 });
          const entries = decodeEntries(data);
          if (entries.length === 0) break;
          seen.push(...entries.map((entry) => entry.name));
          offset = entries.at(-1)?.offset ?? offset;
          for (let index = round * 10; index < Math.min(100, round * 10 + 10); index++) {
            await c.call('Tunlinkat', { dirfd: 0, name: `goes-${index}`, flags: 0 });
            await c.write(`comes-${index}`, '');
          }
        }
        expect(new Set(seen).size).toBe(seen.length);
        expect(names.filter((entry) => !seen.includes(entry))).toEqual([]);
      });

      test('a listing needs an open directory and room for an entry', async () => {
        await c.write('f', '');
        expect(await c.outcome('Treaddir', { fid: 0, offset: 0n, count: 4096 })).toBe('EBADF');
        expect(await c.outcome('Treaddir', { fid: await c.open('f'), offset: 0n, count: 4096 })).toBe('ENOTDIR');
        const fid = await c.open('');
        expect(await c.outcome('Treaddir', { fid, offset: 0n, count: 24 })).toBe('EINVAL');
        expect(await c.outcome('Tread', { fid, offset: 0, count: 100 })).toBe('EISDIR');
        expect(await c.outcome('Twrite', { fid, offset: 0, data: Buffer.from('x') })).toBe('EBADF');
        for (const flags of [L_O_WRONLY, L_O_RDWR, L_O_RDONLY | L_O_TRUNC]) {
          expect(await c.outcome('Tlopen', { fid: await c.walk(''), flags })).toBe('EISDIR');
        }
      });

      test('names that are none are refused', async () => {
        const long = 'x'.repeat(256);
        const mkdir = (entry: string) => c.outcome('Tmkdir', { dfid: 0, name: entry, mode: 0o755, gid: 0 });
        expect(await Promise.all(['', '.', '..', 'a/b', 'a\0b', long].map(mkdir))).toEqual([
          'ENOENT',
          'EEXIST',
          'EEXIST',
          'EINVAL',
          'EINVAL',
          'ENAMETOOLONG',
        ]);
        const walk = (entry: string) => c.outcome('Twalk', { fid: 0, newfid: 1, wnames: [entry] });
        expect(await Promise.all(['', '/etc', '../etc', 'a\0', long].map(walk))).toEqual([
          'ENOENT',
          'EINVAL',
          'EINVAL',
          'EINVAL',
          'ENAMETOOLONG',
        ]);
        expect(await mkdir('ü'.repeat(127))).toBe('ok');
        expect(await mkdir('ü'.repeat(128))).toBe('ENAMETOOLONG');
        for (const entry of ['.', '..', '', 'a/b']) {
          expect(await c.outcome('Tlcreate', { fid: await c.walk(''), name: entry, flags: L_O_RDWR, mode: 0o644, gid: 0 })).not.toBe('ok');
          expect(await c.outcome('Tsymlink', { dfid: 0, name: entry, symtgt: 'x', gid: 0 })).not.toBe('ok');
          expect(await c.outcome('Tmknod', { dfid: 0, name: entry, mode: S_IFREG, major: 0, minor: 0, gid: 0 })).not.toBe('ok');
          expect(await c.outcome('Tlink', { dfid: 0, fid: 0, name: entry })).not.toBe('ok');
          expect(await c.outcome('Tunlinkat', { dirfd: 0, name: entry, flags: 0 })).not.toBe('ok');
          expect(await c.outcome('Tunlinkat', { dirfd: 0, name: entry, flags: AT_REMOVEDIR })).not.toBe('ok');
          expect(await c.outcome('Trenameat', { olddirfid: 0, oldname: entry, newdirfid: 0, newname: 'x' })).not.toBe('ok');
          expect(await c.outcome('Trename', { fid: await c.walk(''), dfid: 0, name: entry })).not.toBe('ok');
        }
      });

      test('odd names come back as they were', async () => {
        for (const entry of [' ', 'new\nline', '..x', '...', '\u{1f600}', '\\', '*', 'x'.repeat(255)]) {
          await c.write(entry, entry);
          expect((await c.read(entry)).toString()).toBe(entry);
          expect(await c.list('')).toEqual([entry]);
          await c.call('Tunlinkat', { dirfd: 0, name: entry, flags: 0 });
        }
      });

      test('what is there is not made again', async () => {
        await c.write('f', '');
        expect(await c.outcome('Tmkdir', { dfid: 0, name: 'f', mode: 0o755, gid: 0 })).toBe('EEXIST');
        expect(await c.outcome('Tsymlink', { dfid: 0, name: 'f', symtgt: 'x', gid: 0 })).toBe('EEXIST');
        expect(await c.outcome('Tmknod', { dfid: 0, name: 'f', mode: S_IFREG, major: 0, minor: 0, gid: 0 })).toBe('EEXIST');
        expect(await c.outcome('Tlink', { dfid: 0, fid: await c.walk('f'), name: 'f' })).toBe('EEXIST');
        expect(await c.outcome('Tmkdir', { dfid: await c.walk('f'), name: 'x', mode: 0o755, gid: 0 })).toBe('ENOTDIR');
      });
    });

    describe('links and special files', () => {
      test('a symlink keeps its target, whatever that is', async () => {
        for (const symtgt of ['f', '/etc/passwd', '../../..', 'x'.repeat(1000), 'ü \n']) {
          const { qid } = await c.call('Tsymlink', { dfid: 0, name: 'l', symtgt, gid: 0 });
          expect(qid.type).toBe(QTSYMLINK);
          const fid = await c.walk('l');
          expect(await c.call('Treadlink', { fid })).toEqual({ target: symtgt });
          expect((await getattr(fid)).mode & S_IFMT).toBe(S_IFLNK);
          await c.call('Tremove', { fid });
        }
        expect(await c.outcome('Tsymlink', { dfid: 0, name: 'l', symtgt: '', gid: 0 })).toBe('ENOENT');
        expect(await c.outcome('Tsymlink', { dfid: 0, name: 'l', symtgt: 'x'.repeat(5000), gid: 0 })).toBe('ENAMETOOLONG');
        expect(await c.outcome('Treadlink', { fid: 0 })).toBe('EINVAL');
      });

      test('hard links are one file', async () => {
        await c.write('f', 'text');
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        await c.call('Tlink', { dfid: await c.walk('d'), fid: await c.walk('f'), name: 'g' });
        const [f, g] = [await attributes('f'), await attributes('d/g')];
        expect([f.nlink, g.nlink, f.qid.path === g.qid.path]).toEqual([2, 2, true]);
        await c.call('Tunlinkat', { dirfd: 0, name: 'f', flags: 0 });
        expect((await c.read('d/g')).toString()).toBe('text');
        expect((await attributes('d/g')).nlink).toBe(1);
        expect(await c.outcome('Tlink', { dfid: 0, fid: await c.walk('d'), name: 'x' })).toBe('EPERM');
      });

      test('mknod makes regular files, and special ones where it can', async () => {
        const mknod = (entry: string, mode: number) => ({ dfid: 0, name: entry, mode, major: 1, minor: 3, gid: 0 });
        await c.call('Tmknod', mknod('plain', S_IFREG | 0o644));
        expect((await attributes('plain')).mode).toBe(S_IFREG | 0o644);
        expect(await c.outcome('Tmknod', mknod('d', S_IFDIR | 0o755))).toBe('EPERM');
        expect(await c.outcome('Tmknod', mknod('fifo', S_IFIFO | 0o600))).toBe(able.devices ? 'ok' : 'EOPNOTSUPP');
        if (!able.devices) return;
        await c.call('Tmknod', mknod('null', S_IFCHR | 0o666));
        const device = await attributes('null');
        expect([device.mode, device.rdev]).toEqual([S_IFCHR | 0o666, 0x103n]);
        // Special files are never opened: what they do is the client's business.
        for (const entry of ['fifo', 'null']) {
          expect(await c.outcome('Tlopen', { fid: await c.walk(entry), flags: L_O_RDONLY })).toBe('ENXIO');
          expect(await c.outcome('Tlopen', { fid: await c.walk(entry), flags: L_O_RDWR | L_O_TRUNC })).toBe('ENXIO');
        }
      });
    });

    describe('rename and remove', () => {
      const renameat = (oldname: string, newname: string, olddirfid = 0, newdirfid = 0) => ({ olddirfid, oldname, newdirfid, newname });

      test('a file moves, over another one too', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        const d = await c.walk('d');
        await c.write('a', 'of a');
        await c.write('b', 'of b', d);
        await c.call('Trenameat', renameat('a', 'b', 0, d));
        expect(await c.list('')).toEqual(['d']);
        expect((await c.read('d/b')).toString()).toBe('of a');
        expect(await c.outcome('Trenameat', renameat('none', 'x'))).toBe('ENOENT');
        await c.call('Trenameat', renameat('b', 'b', d, d));
        expect(await c.list('d')).toEqual(['b']);
      });

      test('directories move only where they may', async () => {
        for (const entry of ['a', 'empty', 'full']) await c.call('Tmkdir', { dfid: 0, name: entry, mode: 0o755, gid: 0 });
        const [a, full] = [await c.walk('a'), await c.walk('full')];
        await c.write('x', '', full);
        await c.write('f', '');
        expect(await c.outcome('Trenameat', renameat('a', 'full'))).toBe('ENOTEMPTY');
        expect(await c.outcome('Trenameat', renameat('a', 'f'))).toBe('ENOTDIR');
        expect(await c.outcome('Trenameat', renameat('f', 'a'))).toBe('EISDIR');
        expect(await c.outcome('Trenameat', renameat('a', 'into', 0, a))).toBe('EINVAL');
        await c.call('Trenameat', renameat('full', 'empty'));
        expect(await c.list('')).toEqual(['a', 'empty', 'f']);
        expect(await c.list('empty')).toEqual(['x']);
      });

      test('fids follow their file, and those below a directory follow it', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'a', mode: 0o755, gid: 0 });
        await c.call('Tmkdir', { dfid: 0, name: 'b', mode: 0o755, gid: 0 });
        const [a, b] = [await c.walk('a'), await c.walk('b')];
        await c.call('Tmkdir', { dfid: a, name: 'sub', mode: 0o755, gid: 0 });
        const sub = await c.walk('sub', a);
        await c.write('f', 'below', sub);
        const f = await c.walk('f', sub);
        const second = await RawClient.attached(server);
        const seen = await second.walk('a/sub/f');
        await c.call('Trenameat', renameat('a', 'moved', 0, b));
        expect((await getattr(f)).size).toBe(5);
        expect((await second.call('Tgetattr', { fid: seen, requestMask: GETATTR_ALL })).size).toBe(5);
        expect(await c.list('', sub)).toEqual(['f']);
        await c.write('g', '', sub);
        expect(await c.list('b/moved/sub')).toEqual(['f', 'g']);
        const up = await c.walk('../..', sub);
        expect((await getattr(up)).qid.path).toBe((await getattr(b)).qid.path);
      });

      test('Trename moves a fid’s file to another directory', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        await c.write('f', 'text');
        const fid = await c.walk('f');
        await c.call('Trename', { fid, dfid: await c.walk('d'), name: 'g' });
        await c.call('Trename', { fid, dfid: 0, name: 'h' });
        expect(await c.list('')).toEqual(['d', 'h']);
        expect((await c.read('h')).toString()).toBe('text');
        expect(await c.outcome('Trename', { fid: await c.walk(''), dfid: await c.walk('d'), name: 'root' })).toBe('EBUSY');
        expect(await c.outcome('Trename', { fid, dfid: fid, name: 'x' })).toBe('ENOTDIR');
      });

      test('Tunlinkat removes files and empty directories, through an open directory too', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        const d = await c.open('d');
        await c.write('f', '', await c.walk('d'));
        const unlink = (dirfd: number, entry: string, flags: number) => c.outcome('Tunlinkat', { dirfd, name: entry, flags });
        expect(await unlink(0, 'd', 0)).toBe('EISDIR');
        expect(await unlink(0, 'd', AT_REMOVEDIR)).toBe('ENOTEMPTY');
        expect(await unlink(d, 'f', AT_REMOVEDIR)).toBe('ENOTDIR');
        expect(await unlink(d, 'f', 0)).toBe('ok');
        expect(await unlink(d, 'f', 0)).toBe('ENOENT');
        expect(await unlink(0, 'd', 1)).toBe('EINVAL');
        expect(await unlink(0, 'd', AT_REMOVEDIR)).toBe('ok');
        expect(await c.list('')).toEqual([]);
      });

      test('Tremove removes what its fid is, and always ends the fid', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        await c.write('f', '', await c.walk('d'));
        const [d, f, root] = [await c.walk('d'), await c.walk('d/f'), await c.walk('')];
        expect(await c.outcome('Tremove', { fid: d })).toBe('ENOTEMPTY');
        expect(await c.outcome('Tclunk', { fid: d })).toBe('EBADF');
        expect(await c.outcome('Tremove', { fid: f })).toBe('ok');
        expect(await c.outcome('Tclunk', { fid: f })).toBe('EBADF');
        expect(await c.outcome('Tremove', { fid: root })).toBe('EBUSY');
        expect(await c.outcome('Tremove', { fid: root })).toBe('EBADF');
        expect(await c.outcome('Tremove', { fid: await c.walk('d') })).toBe('ok');
        expect(await c.list('')).toEqual([]);
      });

      test('a removed directory is empty for good', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        const d = await c.walk('d');
        await c.call('Tunlinkat', { dirfd: 0, name: 'd', flags: AT_REMOVEDIR });
        expect(['ENOENT', 'ESTALE']).toContain(await c.outcome('Tmkdir', { dfid: d, name: 'x', mode: 0o755, gid: 0 }));
        expect(['ENOENT', 'ESTALE']).toContain(await c.outcome('Tremove', { fid: d }));
      });
    });

    describe('extended attributes', () => {
      async function set(path: string, entry: string, value: string, flags = 0): Promise<string> {
        const fid = await c.walk(path);
        const data = Buffer.from(value);
        const outcome = await c.outcome('Txattrcreate', { fid, name: entry, attrSize: data.length, flags });
        if (outcome !== 'ok') return outcome;
        if (data.length > 0) await c.call('Twrite', { fid, offset: 0, data });
        return c.outcome('Tclunk', { fid });
      }
      async function get(path: string, entry: string): Promise<string> {
        const [fid, newfid] = [await c.walk(path), c.nextFid()];
        const { size } = await c.call('Txattrwalk', { fid, newfid, name: entry });
        const { data } = await c.call('Tread', { fid: newfid, offset: 0, count: 65536 });
        expect(data).toHaveLength(size);
        await c.clunk(newfid);
        return Buffer.from(data).toString();
      }

      where(able.xattrs)('are set, read, listed and removed', async () => {
        await c.write('f', '');
        expect(await set('f', 'user.one', 'first')).toBe('ok');
        expect(await set('f', 'user.two', 'second')).toBe('ok');
        expect(await get('f', 'user.one')).toBe('first');
        expect((await get('f', '')).split('\0').filter(Boolean).sort()).toEqual(['user.one', 'user.two']);
        expect(await set('f', 'user.one', 'x', XATTR_CREATE)).toBe('EEXIST');
        expect(await set('f', 'user.three', 'x', XATTR_REPLACE)).toBe('ENODATA');
        expect(await set('f', 'user.one', 'other', XATTR_REPLACE)).toBe('ok');
        expect(await get('f', 'user.one')).toBe('other');
        // Nothing removes; nothing with XATTR_CREATE is an empty value.
        expect(await set('f', 'user.one', '')).toBe('ok');
        expect(await set('f', 'user.one', '')).toBe('ENODATA');
        expect(await set('f', 'user.empty', '', XATTR_CREATE)).toBe('ok');
        expect((await get('f', '')).split('\0').filter(Boolean).sort()).toEqual(['user.empty', 'user.two']);
        expect(await c.outcome('Txattrwalk', { fid: await c.walk('f'), newfid: 1, name: 'user.none' })).toBe('ENODATA');
        expect(await c.outcome('Tgetattr', { fid: 1, requestMask: GETATTR_BASIC })).toBe('EBADF');
      });

      where(able.xattrs)('of directories, and large ones in pieces', async () => {
        await c.call('Tmkdir', { dfid: 0, name: 'd', mode: 0o755, gid: 0 });
        const value = 'v'.repeat(3000);
        const fid = await c.walk('d');
        await c.call('Txattrcreate', { fid, name: 'user.large', attrSize: value.length, flags: 0 });
        for (let at = 0; at < value.length; at += 1000)
          await c.call('Twrite', { fid, offset: at, data: Buffer.from(value.slice(at, at + 1000)) });
        expect(await c.outcome('Twrite', { fid, offset: value.length, data: Buffer.from('x') })).toBe('ENOSPC');
        await c.clunk(fid);
        expect(await get('d', 'user.large')).toBe(value);
        const [walked, newfid] = [await c.walk('d'), c.nextFid()];
        await c.call('Txattrwalk', { fid: walked, newfid, name: 'user.large' });
        expect((await c.call('Tread', { fid: newfid, offset: 2990, count: 100 })).data).toHaveLength(10);
        expect((await c.call('Tread', { fid: newfid, offset: 9999, count: 100 })).data).toHaveLength(0);
      });

      where(able.xattrs)('too little data is an error at the clunk, and sets nothing', async () => {
        await c.write('f', '');
        const fid = await c.walk('f');
        await c.call('Txattrcreate', { fid, name: 'user.short', attrSize: 10, flags: 0 });
        await c.call('Twrite', { fid, offset: 0, data: Buffer.from('12345') });
        expect(await c.outcome('Tclunk', { fid })).toBe('EINVAL');
        expect(await c.outcome('Tclunk', { fid })).toBe('EBADF');
        expect(await c.outcome('Txattrwalk', { fid: await c.walk('f'), newfid: 1, name: 'user.short' })).toBe('ENODATA');
      });

      where(able.xattrs)('limits and misuse', async () => {
        await c.write('f', '');
        const fid = await c.walk('f');
        const create = { fid, name: 'user.x', flags: 0 };
        expect(await c.outcome('Txattrcreate', { ...create, attrSize: 65537 })).toBe('E2BIG');
        expect(await c.outcome('Txattrcreate', { ...create, attrSize: 2 ** 50 })).toBe('E2BIG');
        expect(await c.outcome('Txattrcreate', { ...create, attrSize: 1, flags: 8 })).toBe('EINVAL');
        expect(await c.outcome('Txattrcreate', { ...create, attrSize: 1, name: `user.${'x'.repeat(300)}` })).toBe('ERANGE');
        expect(await c.outcome('Txattrcreate', { ...create, attrSize: 1, fid: await c.open('f') })).toBe('EINVAL');
        await c.call('Txattrcreate', { ...create, attrSize: 1 });
        expect(await c.outcome('Tlopen', { fid, flags: L_O_RDONLY })).toBe('EINVAL');
        expect(await c.outcome('Twalk', { fid, newfid: 1, wnames: [] })).toBe('EINVAL');
        expect(await c.outcome('Tread', { fid, offset: 0, count: 1 })).toBe('EBADF');
      });

      where(!able.xattrs)('are refused', async () => {
        await c.write('f', '');
        expect(await set('f', 'user.one', 'first')).toBe('EOPNOTSUPP');
        expect(await c.outcome('Txattrwalk', { fid: await c.walk('f'), newfid: 1, name: '' })).toBe('EOPNOTSUPP');
      });
    });

    describe('locks', () => {
      test('write locks exclude, read locks share, ranges are ranges', async () => {
        await c.write('f', 'x'.repeat(100));
        const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
        expect(await lock(a, LOCK_TYPE_WRLCK, 10, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_WRLCK, 15, 1)).toBe(LOCK_BLOCKED);
        expect(await lock(b, LOCK_TYPE_RDLCK, 0, 0)).toBe(LOCK_BLOCKED);
        expect(await lock(b, LOCK_TYPE_WRLCK, 0, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_WRLCK, 20, 0)).toBe(LOCK_SUCCESS);
        expect(await lock(a, LOCK_TYPE_RDLCK, 10, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_RDLCK, 10, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(a, LOCK_TYPE_WRLCK, 10, 10)).toBe(LOCK_BLOCKED);
        expect(await lock(b, LOCK_TYPE_UNLCK, 0, 0)).toBe(LOCK_SUCCESS);
        expect(await lock(a, LOCK_TYPE_WRLCK, 0, 0)).toBe(LOCK_SUCCESS);
        // A hole in the middle.
        expect(await lock(a, LOCK_TYPE_UNLCK, 40, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_WRLCK, 40, 10)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_WRLCK, 39, 1)).toBe(LOCK_BLOCKED);
        expect(await lock(b, LOCK_TYPE_WRLCK, 50, 1)).toBe(LOCK_BLOCKED);
      });

      test('of a whole file are exclusive also where it is open for reading, as flock(2) has it', async () => {
        await c.write('f', 'x');
        const [a, b, writer] = [await c.open('f'), await c.open('f'), await c.open('f', L_O_RDWR)];
        expect(await lock(a, LOCK_TYPE_WRLCK)).toBe(LOCK_SUCCESS);
        for (const other of [b, writer]) {
          expect(await lock(other, LOCK_TYPE_WRLCK)).toBe(LOCK_BLOCKED);
          expect(await lock(other, LOCK_TYPE_RDLCK)).toBe(LOCK_BLOCKED);
        }
        expect(await lock(a, LOCK_TYPE_RDLCK)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_RDLCK)).toBe(LOCK_SUCCESS);
        expect(await lock(b, LOCK_TYPE_WRLCK)).toBe(LOCK_BLOCKED);
        await c.clunk(a);
        expect(await lock(b, LOCK_TYPE_WRLCK)).toBe(LOCK_SUCCESS);
        expect(await lock(writer, LOCK_TYPE_RDLCK)).toBe(LOCK_BLOCKED);
        expect(await lock(b, LOCK_TYPE_UNLCK)).toBe(LOCK_SUCCESS);
        expect(await lock(writer, LOCK_TYPE_WRLCK)).toBe(LOCK_SUCCESS);
      });

      test('getlock tells what is in the way', async () => {
        await c.write('f', '');
        const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
        await lock(a, LOCK_TYPE_WRLCK, 100, 50);
        const found = await c.call('Tgetlock', range(b, LOCK_TYPE_RDLCK, 0, 0));
        expect(found).toMatchObject({ type: LOCK_TYPE_WRLCK, start: 100, length: 50 });
        expect(await c.call('Tgetlock', range(b, LOCK_TYPE_WRLCK, 0, 100))).toMatchObject({ type: LOCK_TYPE_UNLCK });
        expect(await c.call('Tgetlock', range(a, LOCK_TYPE_WRLCK))).toMatchObject({ type: LOCK_TYPE_UNLCK });
        // As v9fs asks, whatever lock it is about.
        expect(await c.call('Tgetlock', range(b, LOCK_TYPE_UNLCK))).toMatchObject({ type: LOCK_TYPE_WRLCK, start: 100, length: 50 });
        expect(await c.call('Tgetlock', range(a, LOCK_TYPE_UNLCK))).toMatchObject({ type: LOCK_TYPE_UNLCK });
      });

      test('misuse', async () => {
        await c.write('f', '');
        const [reader, writer] = [await c.open('f'), await c.open('f', L_O_WRONLY)];
        const lockOf = (fid: number, type: number, flags = 0) => c.outcome('Tlock', { ...range(fid, type, 0, 1), flags });
        expect(await lockOf(reader, LOCK_TYPE_WRLCK)).toBe('EBADF');
        expect(await lockOf(writer, LOCK_TYPE_RDLCK)).toBe('EBADF');
        expect(await lockOf(reader, 3)).toBe('EINVAL');
        expect(await lockOf(reader, LOCK_TYPE_RDLCK, 8)).toBe('EINVAL');
        expect(await lockOf(await c.walk('f'), LOCK_TYPE_RDLCK)).toBe('EBADF');
        expect(await c.outcome('Tgetlock', range(await c.walk('f'), LOCK_TYPE_RDLCK))).toBe('EBADF');
      });

      test('a blocking lock waits for its turn and stalls nothing', async () => {
        await c.write('f', '');
        const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
        await lock(a, LOCK_TYPE_WRLCK);
        let granted = false;
        const waiting = lock(b, LOCK_TYPE_WRLCK, 0, 0, LOCK_FLAGS_BLOCK).then((status) => {
          granted = true;
          return status;
        });
        for (let turn = 0; turn < 20; turn++) await getattr(0);
        expect(granted).toBe(false);
        await lock(a, LOCK_TYPE_UNLCK);
        expect(await waiting).toBe(LOCK_SUCCESS);
      });

      test('are given up by a clunk, by Tversion and by a lost connection', async () => {
        await c.write('f', '');
        const fid = await c.open('f', L_O_RDWR);
        const endings: Array<(other: RawClient, held: number) => Promise<unknown>> = [
          (other, held) => other.clunk(held),
          (other) => other.version(),
          async (other) => other.transport.destroy(),
          (other) => other.end(),
        ];
        for (const end of endings) {
          const other = await RawClient.attached(server);
          const held = await other.open('f', L_O_RDWR);
          expect(await lock(held, LOCK_TYPE_WRLCK, 0, 0, 0, other)).toBe(LOCK_SUCCESS);
          const waiting = lock(fid, LOCK_TYPE_WRLCK, 0, 0, LOCK_FLAGS_BLOCK);
          await getattr(0);
          await end(other, held);
          expect(await waiting).toBe(LOCK_SUCCESS);
          await lock(fid, LOCK_TYPE_UNLCK);
        }
      });

      test('a wait ends with Tflush, and its Rflush comes last', async () => {
        await c.write('f', '');
        const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
        await lock(a, LOCK_TYPE_WRLCK);
        const waiting = c.send('Tlock', { ...range(b, LOCK_TYPE_WRLCK), flags: LOCK_FLAGS_BLOCK });
        await getattr(0);
        const flush = c.send('Tflush', { oldtag: waiting.tag });
        expect((await flush).name).toBe('Rflush');
        await getattr(0);
        expect(c.received.filter(({ tag, name }) => tag === waiting.tag && name === 'Rlock')).toEqual([]);
        // Nobody waits any more: the lock goes to whoever asks next.
        await lock(a, LOCK_TYPE_UNLCK);
        expect(await lock(a, LOCK_TYPE_WRLCK)).toBe(LOCK_SUCCESS);
      });

      test('a clunk ends the wait of its own fid', async () => {
        await c.write('f', '');
        const [a, b] = [await c.open('f', L_O_RDWR), await c.open('f', L_O_RDWR)];
        await lock(a, LOCK_TYPE_WRLCK);
        const waiting = c.send('Tlock', { ...range(b, LOCK_TYPE_WRLCK), flags: LOCK_FLAGS_BLOCK });
        await getattr(0);
        await c.clunk(b);
        expect((await waiting).name).toBe('Rlerror');
      });
    });
  });
}
