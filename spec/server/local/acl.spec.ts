import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SETATTR_MODE } from '../../../lib/protocol/constants.js';
import { formatAcl, inheritAcl, modeOfAcl, parseAcl } from '../../../lib/server/local/acl.js';
import type { SecurityModelName } from '../../../lib/server/local/index.js';
import { run } from '../../support/child.js';
import { requires } from '../../support/requires.js';
import { caller, Exported, hostXattr, outcome } from './exported.js';

const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';

type Entry = [tag: number, perm: number, id?: number];
const [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER] = [1, 2, 4, 8, 16, 32];

/** The bytes of an ACL, written out here: version 2, then tag, perm, id. */
function acl(...entries: Entry[]): Uint8Array {
  const bytes = Buffer.alloc(4 + entries.length * 8);
  bytes.writeUInt32LE(2);
  entries.forEach(([tag, perm, id = 0xffffffff], index) => {
    bytes.writeUInt16LE(tag, 4 + index * 8);
    bytes.writeUInt16LE(perm, 6 + index * 8);
    bytes.writeUInt32LE(id, 8 + index * 8);
  });
  return new Uint8Array(bytes);
}

const full = acl([USER_OBJ, 6], [USER, 7, 1001], [GROUP_OBJ, 4], [GROUP, 5, 2002], [MASK, 5], [OTHER, 0]);
const models: SecurityModelName[] =
  process.geteuid?.() === 0 ? ['mapped-xattr', 'mapped-file', 'passthrough', 'none'] : ['mapped-xattr', 'mapped-file', 'none'];

describe.each(models)('ACLs under %s', (securityModel) => {
  const uid = securityModel === 'none' ? (process.geteuid?.() ?? 0) : 1000;
  const make = () => Exported.make({ securityModel });

  test('read back as set, and the mode follows the mask', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o666, uid });
    await e.at('f', async (node) => {
      await node.setxattr(ACCESS, full, 0, caller());
      expect(await node.getxattr(ACCESS, caller())).toEqual(full);
      expect((await node.getattr(0n, caller())).mode).toBe(0o100650);
      expect(await node.listxattr(caller())).toContain(ACCESS);
      await e.setattr('f', SETATTR_MODE, { mode: 0o724 });
      expect(await node.getxattr(ACCESS, caller())).toEqual(
        acl([USER_OBJ, 7], [USER, 7, 1001], [GROUP_OBJ, 4], [GROUP, 5, 2002], [MASK, 2], [OTHER, 4]),
      );
      await node.removexattr(ACCESS, caller());
      expect(await outcome(() => node.getxattr(ACCESS, caller()))).toBe('ENODATA');
    });
  });

  test('one that says no more than the mode becomes the mode', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o666, uid });
    await e.at('f', async (node) => {
      await node.setxattr(ACCESS, full, 0, caller());
      await node.setxattr(ACCESS, acl([USER_OBJ, 7], [GROUP_OBJ, 1], [OTHER, 0]), 0, caller());
      expect(await outcome(() => node.getxattr(ACCESS, caller()))).toBe('ENODATA');
      expect((await node.getattr(0n, caller())).mode).toBe(0o100710);
    });
  });

  test('rubbish is refused, as are default ACLs of files', async () => {
    await using e = await make();
    await e.create('f', { uid });
    await e.at('f', async (node) => {
      for (const bytes of [new Uint8Array(3), full.subarray(0, 20), acl([USER_OBJ, 6]), acl([USER_OBJ, 8], [GROUP_OBJ, 0], [OTHER, 0])]) {
        expect(await outcome(() => node.setxattr(ACCESS, bytes, 0, caller()))).toBe('EINVAL');
      }
      expect(await outcome(() => node.setxattr(DEFAULT, full, 0, caller()))).toBe('EACCES');
    });
  });

  test('new files get the directory’s default ACL, as the kernel would do it', async () => {
    await using e = await make();
    await e.mkdir('d', { mode: 0o755, uid });
    const inherited = acl([USER_OBJ, 7], [USER, 7, 1001], [GROUP_OBJ, 5], [MASK, 7], [OTHER, 5]);
    await e.at('d', (node) => node.setxattr(DEFAULT, inherited, 0, caller()));
    await e.create('d/f', { mode: 0o666, uid });
    await e.mkdir('d/sub', { mode: 0o777, uid });
    await e.at('d/f', async (node) => {
      expect((await node.getattr(0n, caller())).mode).toBe(0o100664);
      expect(await node.getxattr(ACCESS, caller())).toEqual(acl([USER_OBJ, 6], [USER, 7, 1001], [GROUP_OBJ, 5], [MASK, 6], [OTHER, 4]));
      expect(await outcome(() => node.getxattr(DEFAULT, caller()))).toBe('ENODATA');
    });
    await e.at('d/sub', async (node) => {
      expect((await node.getattr(0n, caller())).mode & 0o777).toBe(0o775);
      expect(await node.getxattr(DEFAULT, caller())).toEqual(inherited);
      expect(await node.getxattr(ACCESS, caller())).toEqual(inherited);
    });
    await e.create('d/none', { mode: 0o600, uid });
    expect((await e.attributes('d/none')).mode).toBe(0o100600);
  });

  test('what a default ACL takes from a new file, the first write does not give back', async () => {
    await using e = await make();
    await e.mkdir('d', { uid });
    await e.at('d', (node) => node.setxattr(DEFAULT, acl([USER_OBJ, 7], [GROUP_OBJ, 0], [OTHER, 0]), 0, caller()));
    const { node, file } = await e.at('d', (d) => d.create('f', 2, 0o4777, 1000, caller(uid)));
    expect((await node.getattr(0n, caller())).mode).toBe(0o104700);
    await file.write(Buffer.from('x'), 0, caller(uid));
    expect((await node.getattr(0n, caller())).mode).toBe(0o100700);
    await e.create('d/g', { mode: 0o4777, uid, text: 'x' });
    expect((await e.attributes('d/g')).mode).toBe(0o100700);
    await file.close();
    node.release();
  });
});

test('mapped-xattr keeps them under names of its own', async () => {
  await using e = await Exported.make({ securityModel: 'mapped-xattr' });
  await e.create('f');
  await e.at('f', (node) => node.setxattr(ACCESS, full, 0, caller()));
  expect(hostXattr(e.host('f'), `user.virtfs.${ACCESS}`)).toBe(Buffer.from(full).toString('hex'));
  expect(hostXattr(e.host('f'), ACCESS)).toBe(-61);
});

test('mapped-file never loses its own access to a file on the host', async () => {
  await using e = await Exported.make({ securityModel: 'mapped-file' });
  await e.create('f', { text: 'x' });
  const closed = acl([USER_OBJ, 0], [USER, 7, 1001], [GROUP_OBJ, 0], [MASK, 0], [OTHER, 0]);
  await e.at('f', async (node) => {
    await node.setxattr(ACCESS, closed, 0, caller());
    expect(await node.getxattr(ACCESS, caller())).toEqual(closed);
    expect((await node.getattr(0n, caller())).mode).toBe(0o100000);
    expect(Buffer.from(String(hostXattr(e.host('f'), ACCESS)), 'hex').readUInt16LE(6)).toBe(6);
  });
});

requires('getfacl', 'setfacl')('with getfacl and setfacl on the host', () => {
  test('both see the same', async () => {
    await using e = await Exported.make({ securityModel: 'none' });
    await e.create('f', { uid: process.geteuid?.() ?? 0 });
    await e.at('f', (node) => node.setxattr(ACCESS, full, 0, caller()));
    const { stdout } = await run('getfacl', ['-n', '--omit-header', '-E', e.host('f')]);
    expect(stdout.trim().split('\n')).toEqual(['user::rw-', 'user:1001:rwx', 'group::r--', 'group:2002:r-x', 'mask::r-x', 'other::---']);
    writeFileSync(e.host('g'), '', { mode: 0o640 });
    await run('setfacl', ['-m', 'u:1001:r', e.host('g')]);
    const entries = await e.at('g', async (node) => parseAcl(await node.getxattr(ACCESS, caller())));
    expect(entries).toContainEqual({ tag: USER, perm: 4, id: 1001 });
  });
});

test('the arithmetic', () => {
  const entries = parseAcl(full);
  if (entries === undefined) throw new Error('not an ACL');
  expect(Buffer.from(formatAcl(entries)).equals(Buffer.from(full))).toBe(true);
  expect(modeOfAcl(entries)).toBe(0o650);
  expect(inheritAcl(entries, 0o4777).mode).toBe(0o4650);
  expect(inheritAcl(entries, 0o100622).mode).toBe(0o100600);
});
