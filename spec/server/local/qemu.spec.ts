import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Client as PlainClient } from '../../../lib/client/client.js';
import { type Client, connect } from '../../../lib/index.js';
import { localBackend, Server } from '../../../lib/server/index.js';
import { Session } from '../../../lib/session/session.js';
import { memoryPair } from '../../../lib/transport/memory.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { hostXattr } from './exported.js';

type Model = 'mapped-xattr' | 'mapped-file' | 'passthrough' | 'none';

const O_RDWR = 2;
const NAMES = [
  'user.virtfs.uid',
  'user.virtfs.gid',
  'user.virtfs.mode',
  'user.virtfs.rdev',
  'user.virtfs.system.posix_acl_access',
  'user.mine',
  'system.posix_acl_access',
  'system.posix_acl_default',
];
const acl = Buffer.from('0200000001000600ffffffff02000700e903000004000400ffffffff10000500ffffffff20000000ffffffff', 'hex');

/** Everything about a tree on the host that a file system keeps, except times and numbers. */
function onDisk(root: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const name of ['', ...readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()]) {
    const path = `${root}/${name}`;
    const stat = lstatSync(path);
    const content = stat.isSymbolicLink() ? readlinkSync(path) : stat.isFile() ? readFileSync(path, 'latin1') : undefined;
    const xattrs = NAMES.map((xattr) => (stat.isSymbolicLink() ? -1 : hostXattr(path, xattr)));
    const { mode, uid, gid, nlink, rdev } = stat;
    found[name] = { mode: mode.toString(8), uid, gid, nlink, rdev, content, xattrs };
  }
  return found;
}

/** What the client sees of a tree. */
async function seen(client: Client): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  const look = async (path: readonly string[]): Promise<void> => {
    const fid = await client.root.walk(path);
    const { mode, uid, gid, nlink, rdev, size, qid } = await fid.getattr();
    const target = (mode & 0o170000) === 0o120000 ? await fid.readlink() : undefined;
    const isDevice = [0o020000, 0o060000].includes(mode & 0o170000);
    const directory = (mode & 0o170000) === 0o040000;
    found[path.join('/')] = {
      mode: mode.toString(8),
      uid,
      gid,
      nlink,
      // Of files that are no devices QEMU tells whatever was kept.
      rdev: isDevice ? rdev : 0n,
      size: directory ? 0 : size,
      type: qid.type,
      target,
      xattrs: (mode & 0o170000) === 0o120000 ? [] : (await fid.listxattr()).sort(),
    };
    if (directory) {
      await fid.open(0);
      for await (const { name } of fid.entries()) if (name !== '.' && name !== '..') await look([...path, name]);
    }
    await fid.clunk();
  };
  await look([]);
  return found;
}

/** A bit of everything that leaves something on disk. */
async function script(client: Client, model: Model): Promise<void> {
  const { root } = client;
  const file = async (path: readonly string[], mode: number, gid: number, text: string) => {
    const fid = await root.walk(path.slice(0, -1));
    await fid.create(path.at(-1) ?? '', O_RDWR, mode, gid);
    if (text !== '') await fid.write(Buffer.from(text), 0);
    await fid.clunk();
  };
  await file(['plain'], 0o644, 100, 'hello');
  await file(['secret'], 0o600, 0, '');
  await root.mkdir('dir', 0o755, 100);
  await root.mkdir('sticky', 0o1777, 0);
  await file(['dir', 'inside'], 0o640, 7, 'x'.repeat(5000));
  await root.symlink('link', 'dir/inside', 100);
  await root.symlink('dangling', '/nowhere/at/all', 0);
  const dir = await root.walk(['dir']);
  const plain = await root.walk(['plain']);
  await dir.link('hard', plain);
  // Under the others QEMU refuses to make what it then cannot open to set its mode.
  if (model.startsWith('mapped')) {
    await root.mknod('fifo', 0o010644, 0, 0, 5);
    await root.mknod('null', 0o020666, 1, 3, 5);
    await root.mknod('disk', 0o060660, 259, 300, 6);
  }
  // A mode goes out with its type, as v9fs sends it.
  await plain.setattr({ mode: 0o100604, uid: 55, gid: 66 });
  await root.setattr({ mode: 0o040711 });
  await plain.setxattr('user.mine', Buffer.from('value'));
  const inside = await root.walk(['dir', 'inside']);
  // QEMU leaves it to the client to keep the mode in step.
  if (model !== 'none') await inside.setxattr('system.posix_acl_access', acl);
  await inside.setattr({ mode: 0o100650 });
  await inside.setattr({ size: 17 });
  await file(['moved'], 0o600, 1, '1');
  await file(['replaced'], 0o666, 2, '2');
  await root.renameat('moved', root, 'replaced');
  await file(['away'], 0o600, 3, '3');
  await root.renameat('away', dir, 'arrived');
  await root.mkdir('old', 0o700, 4);
  await file(['old', 'below'], 0o600, 4, '4');
  await root.renameat('old', dir, 'new');
  await file(['gone'], 0o600, 1, '');
  await root.unlinkat('gone');
  await root.mkdir('emptied', 0o755, 0);
  await file(['emptied', 'f'], 0o600, 1, '');
  const emptied = await root.walk(['emptied']);
  await emptied.unlinkat('f');
  await emptied.clunk();
  await root.unlinkat('emptied', 0x200);
  for (const fid of [dir, plain, inside]) await fid.clunk();
}

async function withQemu<T>(path: string, model: Model, action: (client: Client) => Promise<T>): Promise<T> {
  await using client = await connect(`qemu:path=${path},security_model=${model}`, { retry: 0, uid: 1000 });
  return await action(client);
}

async function withOurs<T>(path: string, securityModel: Model, action: (client: Client) => Promise<T>): Promise<T> {
  await using server = new Server({ exports: { '/': await localBackend(path, { securityModel }) } });
  const [near, far] = memoryPair();
  server.serve(far);
  await using client = new PlainClient(await Session.open(near));
  await client.attach({ uid: 1000 });
  return await action(client);
}

requires('qemu', 'root')('one tree, QEMU and this server', () => {
  describe.each(['mapped-xattr', 'mapped-file', 'passthrough', 'none'] as const)('%s', (model) => {
    test('both leave the same on disk, and each sees what the other has made', async () => {
      await using theirs = new TemporaryDirectory('qemu');
      await using ours = new TemporaryDirectory('local');
      const qemuSaw = await withQemu(theirs.path, model, async (client) => {
        await script(client, model);
        return await seen(client);
      });
      const weSaw = await withOurs(ours.path, model, async (client) => {
        await script(client, model);
        return await seen(client);
      });
      expect(onDisk(ours.path)).toEqual(onDisk(theirs.path));
      expect(weSaw).toEqual(qemuSaw);
      // The trees change hands.
      expect(await withOurs(theirs.path, model, seen)).toEqual(qemuSaw);
      expect(await withQemu(ours.path, model, seen)).toEqual(weSaw);
    });
  });
});
