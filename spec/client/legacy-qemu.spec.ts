import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Client, type Fid, parseAddress, Session } from '../../lib/index.js';
import {
  AT_REMOVEDIR,
  L_O_CREAT,
  L_O_EXCL,
  L_O_RDONLY,
  L_O_RDWR,
  L_O_TRUNC,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  VERSION_U,
} from '../../lib/protocol/index.js';
import { dialQemu } from '../../lib/qemu/index.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

requires('qemu')('9P2000.u with QEMU', () => {
  let directory: TemporaryDirectory;
  let client: Client;
  let root: Fid;

  beforeAll(async () => {
    directory = new TemporaryDirectory('legacy');
    mkdirSync(directory.join('export'));
    const transport = await dialQemu(parseAddress(`qemu:path=${directory.join('export')},security_model=mapped-xattr`));
    client = new Client(await Session.open(transport, { version: VERSION_U }));
    root = await client.attach();
  });

  afterAll(async () => {
    expect(client.fidCount).toEqual({ alive: 1, numbers: 1 });
    await client.close();
    directory.remove();
  });

  async function put(name: string, content: string, flags = L_O_CREAT | L_O_RDWR): Promise<void> {
    await using fid = await root.clone();
    await fid.create(name, flags, 0o644, 0);
    await fid.write(Buffer.from(content), 0);
  }

  test('files are on the host’s disk', async () => {
    const content = 'written in .u '.repeat(10_000);
    await put('file', content);
    expect(readFileSync(directory.join('export', 'file'), 'utf8')).toBe(content);
    writeFileSync(directory.join('export', 'file'), 'from the host');
    await using fid = await root.walk(['file']);
    await fid.open(L_O_RDONLY);
    const buffer = Buffer.alloc(100);
    expect(buffer.toString('utf8', 0, await fid.read(buffer, 0))).toBe('from the host');
    await expect(put('file', '', L_O_CREAT | L_O_EXCL | L_O_RDWR)).rejects.toMatchObject({ code: 'EEXIST' });
    await put('file', 'cut', L_O_CREAT | L_O_TRUNC | L_O_RDWR);
    expect(readFileSync(directory.join('export', 'file'), 'utf8')).toBe('cut');
  });

  test('attributes are told and changed', async () => {
    await put('attributes', '12345');
    await using fid = await root.walk(['attributes']);
    expect(await fid.getattr()).toMatchObject({ size: 5, mode: S_IFREG | 0o644, nlink: 1 });
    await fid.setattr({ mode: 0o600, size: 2 });
    await fid.setattr({ mtime: { sec: 1234567, nsec: 0 } });
    await fid.setattr({ uid: 12, gid: 13 });
    expect(await fid.getattr()).toMatchObject({ size: 2, mode: S_IFREG | 0o600, mtime: { sec: 1234567 }, uid: 12, gid: 13 });
    await fid.open(L_O_RDWR);
    await fid.fsync();
    await root.link('hard', fid);
    expect((await fid.getattr()).nlink).toBe(2);
  });

  test('directories are listed, also with names that come and go', async () => {
    await root.mkdir('d', 0o755, 0);
    await using d = await root.walk(['d']);
    const names = Array.from({ length: 200 }, (_, index) => `name-${index}`).sort();
    for (const name of names) {
      await using fid = await d.clone();
      await fid.create(name, L_O_CREAT | L_O_RDWR, 0o644, 0);
    }
    const list = async (): Promise<string[]> => {
      await using fid = await d.clone();
      await fid.open(L_O_RDONLY);
      const found: string[] = [];
      for await (const { name } of fid.entries()) found.push(name);
      return found.sort();
    };
    expect(await list()).toEqual(names);
    const churn = (async () => {
      for (let round = 0; round < 30; round++) {
        await using fid = await d.clone();
        await fid.create('comes', L_O_CREAT | L_O_RDWR, 0o644, 0);
        await d.unlinkat('comes');
      }
    })();
    churn.catch(() => undefined);
    for (let round = 0; round < 5; round++) {
      // QEMU answers ENOENT where a file vanishes while it is listed (interop: concurrency.list-and-change).
      const found = await list();
      expect(found.filter((name) => name !== 'comes')).toEqual(names);
    }
    await churn;
    for (const name of names) await d.unlinkat(name);
    await root.unlinkat('d', AT_REMOVEDIR);
  });

  test('links, pipes and renames', async () => {
    await root.symlink('link', 'some/where', 0);
    await using link = await root.walk(['link']);
    expect(await link.readlink()).toBe('some/where');
    expect((await link.getattr()).mode & S_IFMT).toBe(S_IFLNK);
    await root.mknod('pipe', S_IFIFO | 0o644, 0, 0, 0);
    await using pipe = await root.walk(['pipe']);
    expect((await pipe.getattr()).mode & S_IFMT).toBe(S_IFIFO);
    await put('a', 'of a');
    await put('b', 'of b');
    await root.renameat('a', root, 'b');
    expect(readFileSync(directory.join('export', 'b'), 'utf8')).toBe('of a');
    await root.mkdir('e', 0o755, 0);
    await using e = await root.walk(['e']);
    await expect(root.renameat('b', e, 'b')).rejects.toMatchObject({ code: 'EXDEV' });
    await expect(root.unlinkat('e')).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(root.statfs()).rejects.toMatchObject({ code: 'EOPNOTSUPP' });
  });
});
