import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AT_REMOVEDIR, DT_DIR, DT_UNKNOWN, QTSYMLINK, SETATTR_GID, SETATTR_MODE, SETATTR_UID } from '../../../lib/protocol/constants.js';
import { localBackend } from '../../../lib/server/local/index.js';
import { requires } from '../../support/requires.js';
import { caller, changeOf, child, Exported, hostXattr, outcome, setHostXattr } from './exported.js';

/** What QEMU 7.2 to 10.0 (hw/9pfs/9p-local.c) leave on disk, byte by byte. */
const META = '.virtfs_metadata';

describe('mapped-xattr on disk', () => {
  const make = () => Exported.make({ securityModel: 'mapped-xattr' });

  test('a file: little-endian words in user.virtfs.*', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o4755, uid: 0x01020304, gid: 70000, text: 'abc' });
    expect(hostXattr(e.host('f'), 'user.virtfs.uid')).toBe('04030201');
    expect(hostXattr(e.host('f'), 'user.virtfs.gid')).toBe('70110100');
    // The write has taken setuid away: 0100755.
    expect(hostXattr(e.host('f'), 'user.virtfs.mode')).toBe('ed810000');
    expect(hostXattr(e.host('f'), 'user.virtfs.rdev')).toBe(-61);
    expect(statSync(e.host('f')).mode).toBe(0o100600);
    expect(readFileSync(e.host('f'), 'utf8')).toBe('abc');
  });

  test('a directory, a symlink, devices, a FIFO: plain files with another mode', async () => {
    await using e = await make();
    await e.mkdir('d', { mode: 0o1777 });
    await e.root.symlink('l', '../somewhere', 5, caller(6));
    await e.root.mknod('c', 0o020640, 4, 300, 0, caller(0));
    await e.root.mknod('p', 0o010600, 0, 0, 0, caller(0));
    await e.root.mknod('s', 0o140600, 0, 0, 0, caller(0));
    expect(hostXattr(e.host('d'), 'user.virtfs.mode')).toBe('ff430000');
    expect(statSync(e.host('d')).mode).toBe(0o040700);
    expect(hostXattr(e.host('l'), 'user.virtfs.mode')).toBe('ffa10000');
    expect(hostXattr(e.host('l'), 'user.virtfs.uid')).toBe('06000000');
    expect(hostXattr(e.host('l'), 'user.virtfs.gid')).toBe('05000000');
    expect(readFileSync(e.host('l'), 'utf8')).toBe('../somewhere');
    expect(hostXattr(e.host('c'), 'user.virtfs.mode')).toBe('a0210000');
    // makedev(4, 300)
    expect(hostXattr(e.host('c'), 'user.virtfs.rdev')).toBe('2c04100000000000');
    expect(hostXattr(e.host('p'), 'user.virtfs.rdev')).toBe('0000000000000000');
    for (const name of ['l', 'c', 'p', 's']) expect(lstatSync(e.host(name)).mode).toBe(0o100600);
    expect((await e.attributes('c')).rdev).toBe(0x10042cn);
    expect((await e.attributes('c')).mode).toBe(0o020640);
    expect((await e.attributes('l')).qid.type).toBe(QTSYMLINK);
  });

  test('what QEMU wrote is read: each attribute by itself', async () => {
    await using e = await make();
    writeFileSync(e.host('f'), 'x', { mode: 0o640 });
    const before = await e.attributes('f');
    expect(before).toMatchObject({ uid: process.getuid?.(), mode: 0o100640 });
    setHostXattr(e.host('f'), 'user.virtfs.uid', '39300000');
    expect((await e.attributes('f')).uid).toBe(12345);
    setHostXattr(e.host('f'), 'user.virtfs.mode', 'ffa10000');
    expect((await e.attributes('f')).mode).toBe(0o120777);
    expect(await e.at('f', (node) => node.readlink(caller()))).toBe('x');
  });

  test('a change on the host shows at once, whenever it was last looked at', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o600 });
    await e.at('f', async (node) => {
      for (let mode = 0o101; mode < 0o140; mode++) {
        const word = Buffer.alloc(4);
        word.writeUInt32LE(0o100000 | mode);
        setHostXattr(e.host('f'), 'user.virtfs.mode', word.toString('hex'));
        expect((await node.getattr(0n, caller())).mode).toBe(0o100000 | mode);
        expect((await node.getattr(0n, caller())).mode).toBe(0o100000 | mode);
      }
    });
  });

  test('a type that cannot be is not believed', async () => {
    await using e = await make();
    writeFileSync(e.host('f'), '');
    mkdirSync(e.host('d'));
    setHostXattr(e.host('f'), 'user.virtfs.mode', 'ed410000');
    setHostXattr(e.host('d'), 'user.virtfs.mode', 'ed810000');
    expect((await e.attributes('f')).mode).toBe(0o100755);
    expect((await e.attributes('d')).mode).toBe(0o040755);
    expect(await outcome(() => e.at('f', (node) => node.walk('x', caller())))).toBe('ENOTDIR');
  });

  test('names of its own are hidden and refused', async () => {
    await using e = await make();
    await e.create('f');
    await e.at('f', async (node) => {
      await node.setxattr('user.mine', Buffer.from('1'), 0, caller());
      expect(await node.listxattr(caller())).toEqual(['user.mine']);
      expect(await outcome(() => node.getxattr('user.virtfs.uid', caller()))).toBe('ENODATA');
      expect(await outcome(() => node.setxattr('user.virtfs.uid', Buffer.alloc(4), 0, caller()))).toBe('EACCES');
      expect(await outcome(() => node.setxattr('user.virtfs.system.posix_acl_access', Buffer.alloc(4), 0, caller()))).toBe('EACCES');
      expect(await outcome(() => node.removexattr('user.virtfs.mode', caller()))).toBe('EACCES');
      for (const name of ['trusted.x', 'security.capability', 'system.nfs4_acl', 'user']) {
        expect(await outcome(() => node.getxattr(name, caller()))).toBe('EOPNOTSUPP');
        expect(await outcome(() => node.setxattr(name, Buffer.alloc(1), 0, caller()))).toBe('EOPNOTSUPP');
      }
    });
  });

  test('a symlink of the host is told as it is, and not followed', async () => {
    await using e = await make();
    symlinkSync('/etc/passwd', e.host('l'));
    expect((await e.attributes('l')).qid.type).toBe(QTSYMLINK);
    expect(await e.at('l', (node) => node.readlink(caller()))).toBe('/etc/passwd');
    expect(await outcome(() => e.open('l'))).toBe('ELOOP');
  });

  test('directories are told as such, other entries are left open', async () => {
    await using e = await make();
    await e.create('f');
    await e.mkdir('d');
    const file = await e.open('');
    const entries = await file.readdir(0n, 8192, caller());
    await file.close();
    expect(entries.find(({ name }) => name === 'f')?.type).toBe(DT_UNKNOWN);
    expect(entries.find(({ name }) => name === 'd')?.type).toBe(DT_DIR);
  });
});

describe('mapped-file on disk', () => {
  const make = () => Exported.make({ securityModel: 'mapped-file' });
  const text = (e: Exported, ...names: string[]) => readFileSync(e.host(...names), 'latin1');

  test('lines in .virtfs_metadata, signed and in order', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o640, uid: 4294967294, gid: 7 });
    expect(text(e, META, 'f')).toBe('virtfs.uid=-2\nvirtfs.gid=7\nvirtfs.mode=33184\n');
    expect(statSync(e.host(META)).mode).toBe(0o040700);
    expect(statSync(e.host(META, 'f')).mode).toBe(0o100600);
    expect(statSync(e.host('f')).mode).toBe(0o100600);
    expect(await e.attributes('f')).toMatchObject({ uid: 4294967294, gid: 7, mode: 0o100640 });
    await e.root.mknod('b', 0o060600, 259, 1, 0, caller(0));
    expect(text(e, META, 'b')).toBe('virtfs.uid=0\nvirtfs.gid=0\nvirtfs.mode=24960\nvirtfs.rdev=66305\n');
    await e.root.symlink('l', 'f', 0, caller(0));
    expect(text(e, META, 'l')).toBe('virtfs.uid=0\nvirtfs.gid=0\nvirtfs.mode=41471\n');
    await e.mkdir('d', { mode: 0o750, uid: 1, gid: 2 });
    expect(text(e, META, 'd')).toBe('virtfs.uid=1\nvirtfs.gid=2\nvirtfs.mode=16872\n');
    await e.setattr('f', SETATTR_UID, { uid: 3 });
    expect(text(e, META, 'f')).toBe('virtfs.uid=3\nvirtfs.gid=7\nvirtfs.mode=33184\n');
  });

  test('the root has a file of its own', async () => {
    await using e = await make();
    await e.setattr('', SETATTR_MODE | SETATTR_GID, { mode: 0o711, gid: 9 });
    expect(text(e, '.virtfs_metadata_root')).toBe('virtfs.gid=9\nvirtfs.mode=16841\n');
    expect(await e.attributes('')).toMatchObject({ gid: 9, mode: 0o040711 });
  });

  test('what QEMU wrote is read, also in part', async () => {
    await using e = await make();
    mkdirSync(e.host(META));
    writeFileSync(e.host('f'), 'target');
    writeFileSync(e.host(META, 'f'), 'virtfs.uid=1001\nvirtfs.mode=41471\n');
    expect(await e.attributes('f')).toMatchObject({ uid: 1001, gid: process.getgid?.(), mode: 0o120777 });
    expect(await e.at('f', (node) => node.readlink(caller()))).toBe('target');
    writeFileSync(e.host(META, 'f'), 'rubbish\nvirtfs.uid=\nvirtfs.gid=x\nvirtfs.mode=33188');
    expect(await e.attributes('f')).toMatchObject({ uid: process.getuid?.(), mode: 0o100644 });
  });

  test('metadata go where files go', async () => {
    await using e = await make();
    await e.create('a', { uid: 11 });
    await e.create('b', { uid: 22 });
    await e.mkdir('d');
    const d = await e.walk('d');
    await e.root.rename('a', d, 'b', caller());
    expect(text(e, 'd', META, 'b')).toContain('uid=11');
    expect(readdirSync(e.host(META)).sort()).toEqual(['b', 'd']);
    await d.rename('b', e.root, 'b', caller());
    expect(text(e, META, 'b')).toContain('uid=11');
    expect((await e.attributes('b')).uid).toBe(11);
    // One without metadata must not take over those of the one it replaces.
    writeFileSync(e.host('plain'), '');
    await e.root.rename('plain', e.root, 'b', caller());
    expect((await e.attributes('b')).uid).toBe(process.getuid?.());
    await e.root.unlink('b', 0, caller());
    expect(readdirSync(e.host(META))).toEqual(['d']);
    await e.root.unlink('d', AT_REMOVEDIR, caller());
    expect(readdirSync(e.host())).toEqual([META]);
    expect(readdirSync(e.host(META))).toEqual([]);
    d.release();
  });

  test('what a rename replaces keeps its own for those who hold it', async () => {
    await using e = await make();
    await e.create('f', { mode: 0o640, uid: 1234, gid: 77 });
    await e.root.symlink('l', 'target', 8, caller(9));
    await e.mkdir('d', { mode: 0o711, uid: 33 });
    for (const name of ['g', 'm']) await e.create(name, { mode: 0o600, uid: 5, gid: 6 });
    await e.mkdir('n', { mode: 0o700, uid: 5 });
    const [file, link, directory] = [await e.open('f'), await e.walk('l'), await e.walk('d')];
    await e.root.rename('g', e.root, 'f', caller());
    await e.root.rename('m', e.root, 'l', caller());
    await e.root.rename('n', e.root, 'd', caller());
    expect(await file.getattr(0n, caller())).toMatchObject({ mode: 0o100640, uid: 1234, gid: 77 });
    expect(await link.getattr(0n, caller())).toMatchObject({ mode: 0o120777, uid: 9, gid: 8 });
    expect(await link.readlink(caller())).toBe('target');
    expect(await directory.getattr(0n, caller())).toMatchObject({ mode: 0o040711, uid: 33 });
    for (const name of ['f', 'l']) expect(await e.attributes(name)).toMatchObject({ mode: 0o100600, uid: 5, gid: 6 });
    expect(await e.attributes('d')).toMatchObject({ mode: 0o040700, uid: 5 });
    await file.close();
    link.release();
    directory.release();
  });

  test('a directory that a client has emptied can be replaced by another', async () => {
    await using e = await make();
    for (const name of ['a', 'b']) {
      await e.mkdir(name, { uid: name === 'a' ? 1 : 2 });
      await e.create(`${name}/f`);
    }
    await e.at('b', (node) => node.unlink('f', 0, caller()));
    expect(readdirSync(e.host('b'))).toEqual([META]);
    await e.root.rename('a', e.root, 'b', caller());
    expect(await e.names()).toEqual(['b']);
    expect(await e.names('b')).toEqual(['f']);
    expect((await e.attributes('b')).uid).toBe(1);
    expect(readdirSync(e.host(META))).toEqual(['b']);
  });

  test('a directory that is not empty is as it was when none could take its place', async () => {
    await using e = await make();
    await e.mkdir('a', { uid: 1 });
    await e.mkdir('b', { uid: 2 });
    await e.create('b/f', { uid: 3 });
    expect(await outcome(() => e.root.rename('a', e.root, 'b', caller()))).toBe('ENOTEMPTY');
    expect((await e.attributes('b/f')).uid).toBe(3);
    await e.at('b', (node) => node.unlink('f', 0, caller()));
    writeFileSync(e.host('b', 'plain'), '');
    expect(await outcome(() => e.root.rename('a', e.root, 'b', caller()))).toBe('ENOTEMPTY');
    expect(readdirSync(e.host('b')).sort()).toEqual([META, 'plain']);
    expect([(await e.attributes('a')).uid, (await e.attributes('b')).uid]).toEqual([1, 2]);
  });

  test('hard links share their metadata', async () => {
    await using e = await make();
    await e.create('a', { uid: 11 });
    await e.mkdir('d');
    await e.at('a', (node) => e.at('d', (d) => d.link('b', node, caller())));
    expect(statSync(e.host(META, 'a')).ino).toBe(statSync(e.host('d', META, 'b')).ino);
    await e.setattr('d/b', SETATTR_MODE, { mode: 0o600 });
    expect((await e.attributes('a')).mode).toBe(0o100600);
    await e.at('d', (d) => e.root.rename('a', d, 'b', caller()));
    expect(await e.names()).toEqual(['a', 'd']);
    expect(text(e, META, 'a')).toContain('uid=11');
  });

  test('a file that is held gets its metadata with a new name when the one it was known by is gone', async () => {
    await using e = await make();
    await e.create('a', { uid: 11, mode: 0o640 });
    const node = await e.walk('a');
    await e.root.link('b', node, caller());
    await e.root.unlink('a', 0, caller());
    await node.setattr(changeOf(SETATTR_GID, { gid: 12 }), caller());
    writeFileSync(e.host(META, 'c'), 'virtfs.uid=99\n');
    await e.root.link('c', node, caller());
    node.release();
    expect(await e.attributes('c')).toMatchObject({ uid: 11, gid: 12, mode: 0o100640 });
  });

  test('a directory that a program of the host has emptied can be removed and replaced', async () => {
    await using e = await make();
    for (const name of ['a', 'b', 'c']) await e.mkdir(name, { uid: 5 });
    for (let index = 0; index < 2000; index++) writeFileSync(e.host('c', `f${index}`), '');
    for (const path of ['a/f', 'b/f', 'c/f']) {
      await e.create(path, { uid: 7 });
      rmSync(e.host(path));
    }
    const rmdir = (name: string) => outcome(() => e.root.unlink(name, AT_REMOVEDIR, caller()));
    expect([await rmdir('a'), await rmdir('c')]).toEqual(['done', 'ENOTEMPTY']);
    expect(readdirSync(e.host('c', META))).toEqual(['f']);
    await e.root.rename('c', e.root, 'b', caller());
    expect(await e.names()).toEqual(['b']);
    expect(readdirSync(e.host(META))).toEqual(['b']);
  });

  test('a directory that is not empty keeps its own and its entries’ metadata', async () => {
    await using e = await make();
    await e.mkdir('d', { uid: 5 });
    writeFileSync(e.host('d', 'plain'), '');
    expect(await outcome(() => e.root.unlink('d', AT_REMOVEDIR, caller()))).toBe('ENOTEMPTY');
    expect((await e.attributes('d')).uid).toBe(5);
    await e.create('d/f', { uid: 6 });
    expect(await outcome(() => e.root.unlink('d', AT_REMOVEDIR, caller()))).toBe('ENOTEMPTY');
    expect((await e.attributes('d/f')).uid).toBe(6);
  });

  test('an unlinked file that is open keeps its owner and mode', async () => {
    await using e = await make();
    await e.create('f', { uid: 33, mode: 0o604 });
    const node = await e.walk('f');
    const file = await node.open(2, caller());
    await e.root.unlink('f', 0, caller());
    expect(await file.getattr(0n, caller())).toMatchObject({ uid: 33, mode: 0o100604 });
    await file.setattr(changeOf(SETATTR_MODE, { mode: 0o640 }), caller());
    expect(await file.getattr(0n, caller())).toMatchObject({ uid: 33, mode: 0o100640 });
    await e.create('f', { uid: 44 });
    expect(await node.getattr(0n, caller())).toMatchObject({ uid: 33, mode: 0o100640 });
    await file.close();
    node.release();
  });

  test('its names are hidden, and refused in every operation', async () => {
    await using e = await make();
    await e.create('f');
    await e.mkdir('d');
    await e.create('d/g');
    await e.setattr('', SETATTR_MODE, { mode: 0o755 });
    expect(readdirSync(e.host())).toContain('.virtfs_metadata_root');
    expect(await e.names()).toEqual(['d', 'f']);
    expect(await e.names('d')).toEqual(['g']);
    const f = await e.walk('f');
    for (const name of [META, '.virtfs_metadata_root']) {
      const tries: Record<string, () => unknown> = {
        walk: () => child(e.root, name),
        create: () => e.root.create(name, 0o101, 0o644, 0, caller()),
        mkdir: () => e.root.mkdir(name, 0o755, 0, caller()),
        symlink: () => e.root.symlink(name, 'x', 0, caller()),
        mknod: () => e.root.mknod(name, 0o100644, 0, 0, 0, caller()),
        link: () => e.root.link(name, f, caller()),
        renameFrom: () => e.root.rename(name, e.root, 'x', caller()),
        renameTo: () => e.root.rename('f', e.root, name, caller()),
        unlink: () => e.root.unlink(name, 0, caller()),
        rmdir: () => e.root.unlink(name, AT_REMOVEDIR, caller()),
      };
      for (const [what, action] of Object.entries(tries)) expect([what, await outcome(action)]).toEqual([what, 'EINVAL']);
    }
    f.release();
  });
});

describe.each(['mapped-xattr', 'mapped-file'] as const)('%s: a file with two names, written through one', (securityModel) => {
  async function twoNames(mode: number): Promise<Exported> {
    const e = await Exported.make({ securityModel });
    await e.create('a', { mode });
    await e.at('a', (node) => e.root.link('b', node, caller()));
    return e;
  }

  test('keeps the mode that it got through the other', async () => {
    await using e = await twoNames(0o4755);
    const a = await e.open('a', 2);
    await e.setattr('b', SETATTR_MODE, { mode: 0o600 });
    await a.write(Buffer.from('x'), 0, caller());
    expect((await e.attributes('b')).mode).toBe(0o100600);
    await a.close();
  });

  test('loses the setuid that it got through the other, each time', async () => {
    await using e = await twoNames(0o755);
    const a = await e.open('a', 2);
    for (const mode of [0o4755, 0o2775, 0o6711]) {
      await e.setattr('b', SETATTR_MODE, { mode });
      expect((await e.attributes('b')).mode).toBe(0o100000 | mode);
      await a.write(Buffer.from('x'), 0, caller());
      expect((await e.attributes('b')).mode).toBe(0o100000 | (mode & 0o777));
      await a.write(Buffer.from('y'), 1, caller());
    }
    await a.close();
  });

  test('loses the setuid that it got through another export of the same tree', async () => {
    await using e = await twoNames(0o755);
    const other = await localBackend(e.host(), { securityModel });
    const root = other.attach();
    const a = await e.open('a', 2);
    const node = await child(root, 'a');
    await node.setattr(changeOf(SETATTR_MODE, { mode: 0o4755 }), caller());
    await a.write(Buffer.from('x'), 0, caller());
    expect((await node.getattr(0n, caller())).mode).toBe(0o100755);
    node.release();
    root.release();
    await other.close();
    await a.close();
  });
});

test('names and targets that are no UTF-8 are the host’s bytes, both ways', async () => {
  for (const securityModel of ['none', 'mapped-xattr', 'mapped-file'] as const) {
    await using e = await Exported.make({ securityModel });
    const raw = Buffer.concat([Buffer.from(e.host()), Buffer.from([0x2f, 0xff, 0x61, 0xc3])]);
    writeFileSync(raw, 'x');
    const [name] = await e.names();
    expect(name).toBe('\udcffa\udcc3');
    expect((await e.attributes(name ?? '')).size).toBe(1);
    await e.root.symlink('link', '\udcfe', 0, caller(process.getuid?.()));
    expect(await e.at('link', (node) => node.readlink(caller()))).toBe('\udcfe');
    // Four thousand bytes: thrice that, were escapes counted as they are in UTF-8.
    const long = '\udcfe/'.repeat(2000);
    await e.root.symlink('long', long, 0, caller(process.getuid?.()));
    expect(await e.at('long', (node) => node.readlink(caller()))).toBe(long);
    await e.root.unlink('long', 0, caller());
    expect(await outcome(() => e.root.symlink('long', '\udcfe'.repeat(4097), 0, caller()))).toBe('ENAMETOOLONG');
    await e.root.rename(name ?? '', e.root, '\udcfd', caller());
    const names = readdirSync(e.host(), { encoding: 'buffer' }).map((bytes) => bytes.toString('hex'));
    expect(names).toContain('fd');
    await e.root.unlink('\udcfd', 0, caller());
    expect(await e.names()).toEqual(['link']);
  }
});

test('fmode and dmode are what files have on the host', async () => {
  await using e = await Exported.make({ securityModel: 'mapped-xattr', fmode: 0o640, dmode: 0o750 });
  await e.create('f', { mode: 0o777 });
  await e.mkdir('d', { mode: 0o777 });
  expect(statSync(e.host('f')).mode).toBe(0o100640);
  expect(statSync(e.host('d')).mode).toBe(0o040750);
  expect((await e.attributes('f')).mode).toBe(0o100777);
});

test('read-only exports refuse every change', async () => {
  await using e = await Exported.make({ readonly: true });
  writeFileSync(e.host('f'), 'x');
  mkdirSync(e.host('d'));
  const f = await e.walk('f');
  const tries: Record<string, () => unknown> = {
    write: () => f.open(1, caller()),
    truncate: () => f.open(0o1000, caller()),
    setattr: () => e.setattr('f', SETATTR_MODE, { mode: 0o600 }),
    create: () => e.root.create('n', 0o101, 0o644, 0, caller()),
    mkdir: () => e.root.mkdir('n', 0o755, 0, caller()),
    symlink: () => e.root.symlink('n', 'x', 0, caller()),
    mknod: () => e.root.mknod('n', 0o100644, 0, 0, 0, caller()),
    link: () => e.root.link('n', f, caller()),
    rename: () => e.root.rename('f', e.root, 'n', caller()),
    unlink: () => e.root.unlink('f', 0, caller()),
    setxattr: () => f.setxattr('user.x', Buffer.alloc(1), 0, caller()),
    removexattr: () => f.removexattr('user.x', caller()),
  };
  for (const [what, action] of Object.entries(tries)) expect([what, await outcome(action)]).toEqual([what, 'EROFS']);
  const file = await f.open(0, caller());
  expect(await file.read(Buffer.alloc(4), 0, caller())).toBe(1);
  await file.close();
  f.release();
});

requires('root')('passthrough and none on disk', () => {
  for (const securityModel of ['passthrough', 'none'] as const) {
    test(`${securityModel}: the client’s ids and modes, and never setuid root in between`, async () => {
      await using e = await Exported.make({ securityModel });
      await e.create('f', { mode: 0o4711, uid: 1234, gid: 2345 });
      await e.mkdir('d', { mode: 0o3775, uid: 1234, gid: 2345 });
      await e.root.symlink('l', 'nowhere', 2345, caller(1234));
      await e.root.mknod('p', 0o010604, 0, 0, 2345, caller(1234));
      expect(lstatSync(e.host('f'))).toMatchObject({ uid: 1234, gid: 2345, mode: 0o104711 });
      expect(lstatSync(e.host('d'))).toMatchObject({ uid: 1234, gid: 2345, mode: 0o043775 });
      expect(lstatSync(e.host('l'))).toMatchObject({ uid: 1234, gid: 2345, mode: 0o120777 });
      expect(lstatSync(e.host('p'))).toMatchObject({ uid: 1234, gid: 2345, mode: 0o010604 });
    });
  }

  test('a directory with setgid hands its group down', async () => {
    for (const securityModel of ['passthrough', 'mapped-xattr', 'mapped-file'] as const) {
      await using e = await Exported.make({ securityModel });
      await e.mkdir('d', { mode: 0o2775, gid: 50 });
      await e.create('d/f', { gid: 60 });
      await e.mkdir('d/e', { gid: 60 });
      expect(await e.attributes('d/f')).toMatchObject({ gid: 50, mode: 0o100644 });
      expect(await e.attributes('d/e')).toMatchObject({ gid: 50, mode: 0o042755 });
    }
  });
});
