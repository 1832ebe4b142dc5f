import { chownSync, lstatSync, readdirSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { SETATTR_GID, SETATTR_MODE, SETATTR_UID } from '../../../lib/protocol/constants.js';
import { localBackend } from '../../../lib/server/local/index.js';
import { LocalNode } from '../../../lib/server/local/node.js';
import { requires } from '../../support/requires.js';
import { become, ROOT, type User } from '../../support/syscalls.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { caller, Exported, outcome } from './exported.js';

const NOBODY: User = { name: 'nobody', uid: 65534, gid: 65534, groups: [] };

/** Does everything as nobody, and is root again whatever happens. */
async function asNobody(body: () => Promise<void>): Promise<void> {
  become(NOBODY);
  try {
    await body();
  } finally {
    become(ROOT);
  }
}

requires({ root: true, linux: true })('a server without privileges', () => {
  describe.each(['mapped-xattr', 'mapped-file'] as const)('under %s', (securityModel) => {
    test('lets a client have root’s files, devices and setuid programs; on disk they are plain files of its own', async () => {
      const directory = new TemporaryDirectory('local');
      chownSync(directory.path, NOBODY.uid, NOBODY.gid);
      await asNobody(async () => {
        await using e = await Exported.make({ securityModel }, directory);
        await e.create('root', { mode: 0o600, uid: 0, gid: 0, text: 'x' });
        await e.mkdir('d', { mode: 0o000, uid: 0, gid: 0 });
        await e.create('d/inside', { mode: 0o000, uid: 0, gid: 0, text: 'still readable to the server' });
        await e.create('suid', { uid: 0, gid: 0 });
        await e.setattr('suid', SETATTR_MODE, { mode: 0o4755 });
        await e.root.mknod('sda', 0o060660, 8, 0, 6, caller(0));
        await e.root.mknod('fifo', 0o010644, 0, 0, 0, caller(0));
        await e.root.symlink('link', 'root', 0, caller(0));
        await e.setattr('root', SETATTR_UID | SETATTR_GID, { uid: 1, gid: 2 });
        expect(await e.attributes('root')).toMatchObject({ uid: 1, gid: 2, mode: 0o100600 });
        expect(await e.attributes('suid')).toMatchObject({ uid: 0, gid: 0, mode: 0o104755 });
        expect(await e.attributes('sda')).toMatchObject({ uid: 0, gid: 6, mode: 0o060660, rdev: 0x800n });
        expect(await e.attributes('d/inside')).toMatchObject({ uid: 0, mode: 0o100000 });
        // Given away, a file loses setuid.
        await e.setattr('suid', SETATTR_UID, { uid: 5 });
        expect(await e.attributes('suid')).toMatchObject({ uid: 5, mode: 0o100755 });
        for (const name of readdirSync(directory.path, { recursive: true, encoding: 'utf8' })) {
          const stat = lstatSync(directory.join(name));
          expect([name, stat.uid, stat.gid, stat.mode & 0o7077]).toEqual([name, NOBODY.uid, NOBODY.gid, 0]);
          expect(stat.isFile() || stat.isDirectory()).toBe(true);
        }
      });
    });
  });

  test('under none: what may not be set is left, and nothing fails', async () => {
    const directory = new TemporaryDirectory('local');
    chownSync(directory.path, NOBODY.uid, NOBODY.gid);
    await asNobody(async () => {
      await using e = await Exported.make({ securityModel: 'none' }, directory);
      await e.create('f', { mode: 0o640, uid: 0, gid: 0 });
      expect(await e.attributes('f')).toMatchObject({ uid: NOBODY.uid, gid: NOBODY.gid, mode: 0o100640 });
      await e.setattr('f', SETATTR_UID | SETATTR_GID, { uid: 0, gid: 0 });
      expect(await e.attributes('f')).toMatchObject({ uid: NOBODY.uid });
      expect(await outcome(() => e.root.mknod('sda', 0o060660, 8, 0, 6, caller(0)))).toBe('EPERM');
    });
  });

  test('under none: what a user namespace does not map, or a file system does not have, is left, and nothing fails', async () => {
    for (const refusal of [-22, -95]) {
      await using e = await Exported.make({ securityModel: 'none', background: 'always' });
      if (!(e.root instanceof LocalNode)) throw new Error('no node of a host directory');
      const { threads } = e.root.device;
      const call = threads.call.bind(threads);
      const spy = vi
        .spyOn(threads, 'call')
        .mockImplementation((made, words) => (made === 'fchownat' ? Promise.resolve(refusal) : call(made, words)));
      try {
        await e.create('f', { mode: 0o640, uid: 1000, gid: 1000 });
        await e.mkdir('d', { uid: 1000 });
        await e.root.symlink('l', 'f', 1000, caller(1000));
        await e.setattr('f', SETATTR_UID | SETATTR_GID, { uid: 5, gid: 5 });
      } finally {
        spy.mockRestore();
      }
      expect(await e.names()).toEqual(['d', 'f', 'l']);
      expect(await e.attributes('f')).toMatchObject({ uid: ROOT.uid, mode: 0o100640 });
    }
  });

  test('passthrough is refused at the start, with a reason', async () => {
    const directory = new TemporaryDirectory('local');
    await asNobody(async () => {
      await expect(localBackend(directory.path, { securityModel: 'passthrough' })).rejects.toThrow(/passthrough .* takes root/);
    });
  });
});

describe('options', () => {
  test('that are none are refused', async () => {
    await using directory = new TemporaryDirectory('local');
    const of = (options: object) => outcome(() => localBackend(directory.path, options));
    expect(await of({ securityModel: 'mapped-nothing' })).toBe('undefined');
    await expect(localBackend(directory.path, { securityModel: 'none', fmode: 0o600 })).rejects.toThrow(TypeError);
    await expect(localBackend(directory.path, { multidevs: 'ignore' as 'warn' })).rejects.toThrow(TypeError);
    expect(await outcome(() => localBackend(directory.join('nowhere')))).toBe('ENOENT');
    const backend = await localBackend(directory.path, { securityModel: 'mapped', fmode: 0o640 });
    await backend.close();
    await backend.close();
  });
});
