import { fork } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { S_IFMT, SETATTR_MODE, SETATTR_SIZE } from '../../../lib/protocol/constants.js';
import { ErrnoError } from '../../../lib/protocol/error.js';
import type { BackendNode } from '../../../lib/server/backend.js';
import { LocalNode } from '../../../lib/server/local/node.js';
import { Server } from '../../../lib/server/server.js';
import { run } from '../../support/child.js';
import { markedEnvironment } from '../../support/launcher.js';
import { RawClient } from '../../support/raw.js';
import { sized } from '../../support/sized.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { caller, changeOf, child, Exported, hold, intercept, outcome, setHostXattr, sys } from './exported.js';

const TRIES = sized('NINEP_RACES', 100_000, 2000);
const models = ['none', 'mapped-xattr', 'mapped-file'] as const;

describe('nothing outside the export is reached', () => {
  test('by any name', async () => {
    for (const securityModel of models) {
      const directory = new TemporaryDirectory('local');
      mkdirSync(directory.join('export/d'), { recursive: true });
      writeFileSync(directory.join('secret'), 'secret');
      writeFileSync(directory.join('export/f'), 'x');
      await using e = await Exported.make({ securityModel }, directory, 'export');
      const f = await e.walk('f');
      const names = ['', '.', '..', '/', '../secret', 'd/../../secret', '/etc/passwd', './f', 'd/', 'f\0', '\0'];
      for (const name of names) {
        const tries: (() => unknown)[] = [
          () => e.root.walk(name, caller()),
          () => e.root.create(name, 0o101, 0o644, 0, caller()),
          () => e.root.mkdir(name, 0o755, 0, caller()),
          () => e.root.symlink(name, 'x', 0, caller()),
          () => e.root.mknod(name, 0o100644, 0, 0, 0, caller()),
          () => e.root.link(name, f, caller()),
          () => e.root.rename(name, e.root, 'x', caller()),
          () => e.root.rename('f', e.root, name, caller()),
          () => e.root.unlink(name, 0, caller()),
          () => e.root.unlink(name, 0x200, caller()),
        ];
        for (const action of tries) expect([name, await outcome(action)]).toEqual([name, 'EINVAL']);
      }
      f.release();
      expect(await outcome(() => e.root.walk('n'.repeat(256), caller()))).toBe('ENAMETOOLONG');
      const up = await e.root.parent(caller());
      expect(up).toBe(e.root);
      up.release();
      expect(readdirSync(directory.path).sort()).toEqual(['export', 'secret']);
      expect(readFileSync(directory.join('secret'), 'utf8')).toBe('secret');
    }
  });

  test('by symlinks of the host, absolute or relative', async () => {
    for (const securityModel of models) {
      const directory = new TemporaryDirectory('local');
      mkdirSync(directory.join('export'));
      mkdirSync(directory.join('outside'));
      writeFileSync(directory.join('outside/secret'), 'secret');
      symlinkSync(directory.join('outside'), directory.join('export/absolute'));
      symlinkSync('../outside', directory.join('export/relative'));
      symlinkSync('../outside/secret', directory.join('export/file'));
      await using e = await Exported.make({ securityModel }, directory, 'export');
      for (const name of ['absolute', 'relative', 'file']) {
        await e.at(name, async (node) => {
          expect(await outcome(() => node.walk('secret', caller()))).toBe('ENOTDIR');
          expect(await outcome(() => node.open(0, caller()))).toBe('ELOOP');
          expect(await outcome(() => node.create('new', 0o101, 0o644, 0, caller()))).toBe('ENOTDIR');
          expect(await outcome(() => node.mkdir('new', 0o755, 0, caller()))).toBe('ENOTDIR');
          expect(await outcome(() => node.unlink('secret', 0, caller()))).toBe('ENOTDIR');
          expect(await outcome(() => e.setattr(name, SETATTR_SIZE, { size: 0 }))).toBe('EINVAL');
          await outcome(() => e.setattr(name, SETATTR_MODE, { mode: 0o777 }));
          await outcome(() => node.setxattr('user.x', Buffer.from('x'), 0, caller()));
        });
        expect(await outcome(() => e.root.create(name, 0o101, 0o644, 0, caller()))).toBe('ELOOP');
      }
      expect(readdirSync(directory.join('outside'))).toEqual(['secret']);
      expect(readFileSync(directory.join('outside/secret'), 'utf8')).toBe('secret');
      expect(statSync(directory.join('outside/secret')).mode & 0o777).not.toBe(0o777);
    }
  });

  test('by a metadata directory that is a symlink', async () => {
    const directory = new TemporaryDirectory('local');
    mkdirSync(directory.join('export'));
    mkdirSync(directory.join('outside'));
    writeFileSync(directory.join('outside/f'), 'virtfs.uid=7\n');
    writeFileSync(directory.join('export/f'), '');
    symlinkSync('../outside', directory.join('export/.virtfs_metadata'));
    await using e = await Exported.make({ securityModel: 'mapped-file' }, directory, 'export');
    expect((await e.attributes('f')).uid).toBe(process.getuid?.());
    expect(await outcome(() => e.setattr('f', SETATTR_MODE, { mode: 0o777 }))).toBe('ENOTDIR');
    await e.root.unlink('f', 0, caller());
    expect(readFileSync(directory.join('outside/f'), 'utf8')).toBe('virtfs.uid=7\n');
  });

  test(`while a directory is swapped for a symlink, ${TRIES} times`, { timeout: 600_000 }, async () => {
    const directory = new TemporaryDirectory('local');
    for (const name of ['export/d', 'outside/sub']) mkdirSync(directory.join(name), { recursive: true });
    for (const name of ['export/d/secret', 'outside/secret', 'outside/sub/secret']) writeFileSync(directory.join(name), name);
    mkdirSync(directory.join('export/d/sub'));
    writeFileSync(directory.join('export/d/sub/secret'), 'export/d/sub/secret');
    symlinkSync(directory.join('outside'), directory.join('export/link'));
    // Few descriptors, so that nodes are found again all the time, by names that are being swapped.
    await using e = await Exported.make({ securityModel: 'none', descriptors: 64 }, directory, 'export');
    const names = [directory.join('export/d'), directory.join('export/link'), directory.join('export/aside')];
    const swapper = fork(fileURLToPath(new URL('swapper.mjs', import.meta.url)), names, { env: markedEnvironment() });
    await new Promise((resolve) => swapper.once('message', resolve));
    let reached = 0;
    try {
      for (let turn = 0; turn < TRIES; turn++) {
        let node: BackendNode | undefined;
        try {
          node = await e.walk(turn % 2 === 0 ? 'd/secret' : 'd/sub/secret');
          const file = await node.open(0, caller());
          const buffer = Buffer.alloc(64);
          const text = buffer.toString('utf8', 0, await file.read(buffer, 0, caller()));
          await file.close();
          expect(text).toMatch(/^export\//);
          reached++;
          if (turn % 16 === 0)
            await e
              .at('d', (d) => d.create(`new${turn}`, 0o101, 0o644, 0, caller()))
              .then(async (made) => {
                await made.file.close();
                made.node.release();
              });
          if (turn % 16 === 8) await e.at('d', (d) => d.unlink('none', 0, caller()));
        } catch (error) {
          expect(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']).toContain((error as NodeJS.ErrnoException).code);
        } finally {
          node?.release();
        }
        if (turn % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      swapper.disconnect();
      await new Promise((resolve) => swapper.once('exit', resolve));
    }
    expect(reached).toBeGreaterThan(0);
    expect(readdirSync(directory.join('outside')).sort()).toEqual(['secret', 'sub']);
    expect(readFileSync(directory.join('outside/secret'), 'utf8')).toBe('outside/secret');
  });

  test('by ".." from a directory that was moved out of it', async () => {
    const directory = new TemporaryDirectory('local');
    mkdirSync(directory.join('export/a/b'), { recursive: true });
    mkdirSync(directory.join('outside'));
    await using e = await Exported.make({}, directory, 'export');
    const a = await e.walk('a');
    const b = await e.walk('a/b');
    renameSync(directory.join('export/a/b'), directory.join('outside/b'));
    const up = await b.parent(caller());
    expect(up).toBe(a);
    for (const node of [up, a, b]) node.release();
  });
});

describe('special files are never opened', () => {
  test('neither a FIFO, which would wait for a writer, nor a socket or device', async () => {
    for (const securityModel of models) {
      await using e = await Exported.make({ securityModel });
      expect(sys.mkfifo(e.host('fifo'), 0o644)).toBe(0);
      const specials = ['fifo'];
      if (process.geteuid?.() === 0 && sys.mknod(e.host('null'), 0o020666, (1 << 8) | 3) === 0) specials.push('null');
      for (const name of specials) {
        for (const flags of [0, 1, 2, 0o1000, 0o4000, 0o200000]) {
          expect([name, flags, await outcome(() => e.open(name, flags))]).toEqual([name, flags, 'ENXIO']);
        }
        expect(await outcome(() => e.root.create(name, 0o101, 0o644, 0, caller()))).toBe('ENXIO');
        expect(await outcome(() => e.setattr(name, SETATTR_SIZE, { size: 0 }))).toBe('EINVAL');
        expect((await e.attributes(name)).mode & S_IFMT).toBe(name === 'fifo' ? 0o010000 : 0o020000);
      }
    }
  });

  test('nor what a mapped model makes one', async () => {
    for (const securityModel of ['mapped-xattr', 'mapped-file'] as const) {
      await using e = await Exported.make({ securityModel });
      for (const [name, mode] of [
        ['p', 0o010666],
        ['c', 0o020666],
        ['b', 0o060666],
        ['s', 0o140666],
      ] as const) {
        await e.root.mknod(name, mode, 1, 3, 0, caller(0));
        expect(await outcome(() => e.open(name, 2))).toBe('ENXIO');
        expect(await outcome(() => e.setattr(name, SETATTR_SIZE, { size: 0 }))).toBe('EINVAL');
      }
    }
  });
});

describe('nodes keep to their file', () => {
  test('when it is renamed by others, and not to what takes its name', async () => {
    await using e = await Exported.make();
    writeFileSync(e.host('a'), 'first');
    const node = await e.walk('a');
    renameSync(e.host('a'), e.host('elsewhere'));
    writeFileSync(e.host('a'), 'second one');
    expect((await node.getattr(0n, caller())).size).toBe(5);
    expect((await e.attributes('a')).size).toBe(10);
    node.release();
  });

  test('when it is removed or renamed itself, and another has its name by then', async () => {
    await using e = await Exported.make({ background: 'always' });
    for (const by of ['client', 'host'] as const) {
      await e.create('a', { text: 'first' });
      const node = await e.walk('a');
      if (by === 'client') await e.root.rename('a', e.root, 'b', caller());
      else renameSync(e.host('a'), e.host('b'));
      await e.create('a', { text: 'second' });
      expect(await outcome(() => e.root.unlink('a', 0, caller(), node))).toBe('ENOENT');
      expect(await outcome(() => e.root.rename('a', e.root, 'c', caller(), node))).toBe('ENOENT');
      expect(await e.names()).toEqual(['a', 'b']);
      if (by === 'client') await e.root.unlink('b', 0, caller(), node);
      else rmSync(e.host('b'));
      await e.root.unlink('a', 0, caller());
      node.release();
    }
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test.each(models)('when one of its names is renamed to another, which leaves both: %s', async (securityModel) => {
    await using e = await Exported.make({ securityModel });
    await e.create('a', { uid: 1000 });
    await e.at('a', (node) => e.root.link('b', node, caller()));
    const node = await e.walk('b');
    await e.root.rename('a', e.root, 'b', caller());
    expect(await e.names()).toEqual(['a', 'b']);
    expect(node.name()).toBe('b');
    expect((await node.getattr(0n, caller())).uid).toBe(1000);
    await node.setattr(changeOf(SETATTR_MODE, { mode: 0o751 }), caller());
    node.release();
    expect((await e.attributes('b')).mode & 0o777).toBe(0o751);
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test('when few descriptors are allowed, and many nodes and renames', async () => {
    await using e = await Exported.make({ descriptors: 64 });
    const before = readdirSync('/proc/self/fd').length;
    const nodes: BackendNode[] = [];
    for (let d = 0; d < 10; d++) {
      mkdirSync(e.host(`d${d}/sub`), { recursive: true });
      for (let f = 0; f < 100; f++) writeFileSync(e.host(`d${d}/sub/f${f}`), 'x'.repeat(d * 100 + f));
    }
    for (let d = 0; d < 10; d++) for (let f = 0; f < 100; f++) nodes.push(await e.walk(`d${d}/sub/f${f}`));
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThanOrEqual(70);
    for (let d = 0; d < 10; d++) await e.root.rename(`d${d}`, e.root, `moved${d}`, caller());
    const sizes = [];
    for (const node of nodes) sizes.push((await node.getattr(0n, caller())).size);
    expect(sizes).toEqual(Array.from({ length: 1000 }, (_, index) => index));
    // What others do to a name whose descriptor was taken back shows as a stale or missing file, never as another file.
    renameSync(e.host('moved0/sub/f0'), e.host('moved0/sub/f1'));
    writeFileSync(e.host('moved0/sub/f0'), 'another');
    rmSync(e.host('moved0/sub/f2'));
    expect(await outcome(() => nodes[0]?.getattr(0n, caller()))).toBe('ESTALE');
    expect(await outcome(() => nodes[1]?.getattr(0n, caller()))).toBe('ESTALE');
    expect(await outcome(() => nodes[2]?.getattr(0n, caller()))).toBe('ENOENT');
    // What we remove ourselves stays, descriptor or not.
    await e.at('moved0/sub', (sub) => sub.unlink('f3', 0, caller()));
    expect((await nodes[3]?.getattr(0n, caller()))?.nlink).toBe(0);
    for (const node of nodes) node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0 });
  });

  test.each(['auto', 'always'] as const)('when what is open has lost its name to others, and its descriptor: %s', async (background) => {
    await using e = await Exported.make({ descriptors: 64, background });
    const server = new Server({ exports: { tree: e.backend } });
    const c = await RawClient.attached(server);
    for (const name of ['removed', 'replaced']) {
      writeFileSync(e.host(name), name);
      setHostXattr(e.host(name), 'user.name', Buffer.from(name).toString('hex'));
    }
    for (const name of ['d', ...Array.from({ length: 80 }, (_, index) => `x${index}`)]) mkdirSync(e.host(name));
    const fids = { removed: await c.open('removed'), replaced: await c.open('replaced'), d: await c.open('d') };
    const clones = { removed: c.nextFid(), replaced: c.nextFid(), d: c.nextFid() };
    const names = ['removed', 'replaced', 'd'] as const;
    for (const name of names) await c.call('Twalk', { fid: fids[name], newfid: clones[name], wnames: [] });
    const forget = async () => {
      for (let d = 0; d < 80; d++) await c.call('Tgetattr', { fid: await c.walk(`x${d}`), requestMask: 0n });
    };
    await forget();
    rmSync(e.host('removed'));
    writeFileSync(e.host('another'), 'another');
    renameSync(e.host('another'), e.host('replaced'));
    rmSync(e.host('d'), { recursive: true });
    for (const name of ['removed', 'replaced'] as const) {
      const newfid = c.nextFid();
      await c.call('Txattrwalk', { fid: fids[name], newfid, name: 'user.name' });
      expect(Buffer.from((await c.call('Tread', { fid: newfid, offset: 0, count: 100 })).data).toString()).toBe(name);
    }
    await forget();
    for (const name of names) {
      await c.call('Tsetattr', { fid: clones[name], ...changeOf(SETATTR_MODE, { mode: 0o711 }) });
      expect((await c.call('Tgetattr', { fid: fids[name], requestMask: 0x3fffn })).mode & 0o777).toBe(0o711);
    }
    expect(statSync(e.host('replaced')).mode & 0o777).not.toBe(0o711);
    // With the last that is open goes what it was found by.
    await forget();
    for (const name of names) await c.call('Tclunk', { fid: fids[name] });
    for (const name of names) {
      expect(await c.outcome('Tgetattr', { fid: clones[name], requestMask: 0x3fffn })).toMatch(/^(ESTALE|ENOENT)$/);
    }
    c.transport.destroy();
    await expect.poll(() => server.connections.length).toBe(0);
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
    await server.close();
  });

  test('when a client holds on to more than may be kept of what it has removed', async () => {
    await using e = await Exported.make({ descriptors: 64 });
    const before = readdirSync('/proc/self/fd').length;
    const nodes: BackendNode[] = [];
    for (let f = 0; f < 100; f++) {
      await e.create(`f${f}`, { text: `${f}` });
      nodes.push(await e.walk(`f${f}`));
    }
    const file = await nodes[0]?.open(0, caller());
    for (let f = 0; f < 100; f++) await e.root.unlink(`f${f}`, 0, caller());
    expect(readdirSync('/proc/self/fd').length - before).toBeLessThanOrEqual(40);
    const told: string[] = [];
    for (const node of nodes) told.push(await outcome(() => node.getattr(0n, caller())));
    // What is open, and what was removed last.
    expect(told.map((code) => (code === 'done' ? 1 : 0)).join('')).toBe(`1${'0'.repeat(68)}${'1'.repeat(31)}`);
    expect(new Set(told)).toEqual(new Set(['done', 'ESTALE']));
    // There is room for what others use.
    for (let d = 0; d < 20; d++) mkdirSync(e.host(`d${d}`));
    for (let d = 0; d < 20; d++) nodes.push(await e.walk(`d${d}`));
    expect(e.backend.counts().descriptors).toBeGreaterThanOrEqual(50);
    await file?.close();
    for (const node of nodes) node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
    expect(readdirSync('/proc/self/fd').length).toBe(before);
  });

  test('when an operation is about two of them, and to find one takes more descriptors than are allowed', async () => {
    await using e = await Exported.make({ descriptors: 64 });
    const deep = Array.from({ length: 100 }, () => 'd').join('/');
    mkdirSync(e.host(deep), { recursive: true });
    mkdirSync(e.host('t'));
    writeFileSync(e.host('g'), 'g');
    for (let d = 0; d < 80; d++) mkdirSync(e.host(`x${d}`));
    await e.create(`${deep}/f`, { text: 'f' });
    const from = await e.walk(deep);
    const to = await e.walk('t');
    const g = await e.walk('g');
    const others: BackendNode[] = [];
    /** Takes the descriptor back from every node but the given one, which comes last. */
    const forget = async (last: BackendNode) => {
      for (let d = 0; d < 80; d++) others.push(await e.walk(`x${d}`));
      await last.getattr(0n, caller());
    };
    const places = () => readdirSync(e.host(), { recursive: true, encoding: 'utf8' }).filter((name) => /(^|\/)[fgh]$/.test(name));
    await forget(to);
    await from.rename('f', to, 'f', caller());
    expect(places().sort()).toEqual(['g', 't/f']);
    await forget(g);
    await from.link('h', g, caller());
    expect(places().sort()).toEqual([`${deep}/h`, 'g', 't/f']);
    expect(readFileSync(e.host(deep, 'h'), 'utf8')).toBe('g');
    expect(e.backend.counts().descriptors).toBeLessThanOrEqual(64);
    for (const node of [from, to, g, ...others]) node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test('when the process has no descriptors left but those of nodes', async () => {
    const directory = new TemporaryDirectory('local');
    for (let f = 0; f < 600; f++) writeFileSync(directory.join(`f${f}`), 'x'.repeat(f));
    // A limit of its own, so another process: it holds 600 nodes, opens files and makes some, and other things than files.
    const code = `
      const { openSync } = await import('node:fs');
      const { localBackend } = await import(${JSON.stringify(new URL('../../../lib/server/local/index.ts', import.meta.url).href)});
      const backend = await localBackend(${JSON.stringify(directory.path)}, { descriptors: 100000 });
      const caller = { uid: 0, connection: '', signal: new AbortController().signal };
      const root = backend.attach();
      const nodes = [];
      for (let f = 0; f < 600; f++) nodes.push(await root.walk('f' + f, caller));
      for (let f = 0; f < 600; f++) {
        const file = await nodes[f].open(0, caller);
        if ((await file.read(new Uint8Array(1000), 0, caller)) !== f) throw new Error('f' + f);
        await file.close();
      }
      for (let f = 0; f < 600; f++) {
        const made = await root.create('new' + f, 0o101, 0o644, 0, caller);
        await made.file.close();
        nodes.push(made.node);
      }
      const makes = [
        () => root.mkdir('d', 0o755, 0, caller),
        () => root.symlink('l', 'd', 0, caller),
        () => root.mknod('p', 0o010644, 0, 0, 0, caller),
      ];
      for (const make of makes) {
        try {
          for (;;) openSync('/dev/null');
        } catch {}
        await make();
      }
      console.log('served', nodes.length);`;
    const script = `ulimit -n 400; exec ${process.execPath} --import tsx --input-type=module -e "$0"`;
    expect((await run('sh', ['-c', script, code])).stdout).toContain('served 1200');
  });

  test('when nodes of another export have the descriptors that are left', async () => {
    const directory = new TemporaryDirectory('local');
    for (let f = 0; f < 600; f++) writeFileSync(directory.join(`f${f}`), 'x'.repeat(f));
    const code = `
      const { localBackend } = await import(${JSON.stringify(new URL('../../../lib/server/local/index.ts', import.meta.url).href)});
      const caller = { uid: 0, connection: '', signal: new AbortController().signal };
      const backends = [];
      for (let b = 0; b < 3; b++) backends.push(await localBackend(${JSON.stringify(directory.path)}, { descriptors: 100000 }));
      const [one, two, three] = backends.map((backend) => backend.attach());
      const nodes = [];
      for (let f = 0; f < 600; f++) nodes.push(await one.walk('f' + f, caller));
      const files = [];
      for (let f = 0; f < 100; f++) {
        const node = await two.walk('f' + f, caller);
        nodes.push(node);
        files.push(await node.open(0, caller));
      }
      await backends[1].close();
      for (let f = 0; f < 600; f++) nodes.push(await three.walk('f' + f, caller));
      console.log('served', nodes.length, (await nodes[599].getattr(0n, caller)).size);`;
    const script = `ulimit -n 300; exec ${process.execPath} --import tsx --input-type=module -e "$0"`;
    expect((await run('sh', ['-c', script, code])).stdout).toContain('served 1300 599');
    directory.remove();
  });

  test('when directories move below each other, here and by others', async () => {
    await using e = await Exported.make();
    mkdirSync(e.host('a/b/c'), { recursive: true });
    const [a, b, c] = [await e.walk('a'), await e.walk('a/b'), await e.walk('a/b/c')];
    // By others: b comes out of a. Then, through us, a goes into b.
    renameSync(e.host('a/b'), e.host('b'));
    await e.root.rename('a', b, 'a', caller());
    expect(readdirSync(e.host('b')).sort()).toEqual(['a', 'c']);
    expect(await outcome(() => c.getattr(0n, caller()))).toBe('done');
    expect(a.name()).toBe('a');
    const up = await a.parent(caller());
    expect(up).toBe(b);
    const top = await b.parent(caller());
    expect(top).toBe(e.root);
    for (const node of [up, top, a, b, c]) node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });
});

test('an open that fails when the file is open already leaves no descriptor', async () => {
  await using e = await Exported.make({ securityModel: 'mapped-file' });
  await e.create('f', { text: 'text' });
  const f = await e.walk('f');
  if (!(f instanceof LocalNode)) throw new Error('no node of a host directory');
  vi.spyOn(f.tree.model, 'disarm').mockImplementation(() => {
    throw new ErrnoError('EIO');
  });
  await (await f.open(0, caller())).close();
  const before = readdirSync('/proc/self/fd').length;
  for (let turn = 0; turn < 3; turn++) expect(await outcome(() => f.open(0o1002, caller()))).toBe('EIO');
  expect(readdirSync('/proc/self/fd').length).toBe(before);
  f.release();
  expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
});

describe('with calls on other threads', () => {
  test('a walk that a rename or a removal overtakes does not keep the old name', async () => {
    for (const gone of ['renamed', 'removed'] as const) {
      await using e = await Exported.make({ background: 'always' });
      mkdirSync(e.host('d'));
      const { reached, door } = hold(e, 'openat', 'answer');
      const walked = outcome(() => child(e.root, 'd'));
      await reached;
      if (gone === 'renamed') await e.root.rename('d', e.root, 'e', caller());
      else await e.root.unlink('d', 0x200, caller());
      door.open();
      expect(await walked).toBe('ENOENT');
      await e.mkdir('d');
      await e.at('d', (node) => expect(node.name()).toBe('d'));
    }
  });

  test('whoever is renamed is known by the new name, whatever is walked to before the answer is here', async () => {
    await using e = await Exported.make({ background: 'always' });
    mkdirSync(e.host('d'));
    const node = await e.walk('d');
    const { reached, door } = hold(e, 'renameat', 'answer');
    const renamed = e.root.rename('d', e.root, 'e', caller());
    await reached;
    const old = outcome(() => child(e.root, 'd'));
    const walked = e.root.walk('e', caller());
    // Whoever does not wait for the answer has looked by then.
    for (let turn = 0; turn < 16; turn++) await e.root.getattr(0n, caller());
    door.open();
    await renamed;
    expect(node.name()).toBe('e');
    expect(await old).toBe('ENOENT');
    expect(await walked).toBe(node);
    node.release();
    node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test.each(['mapped-xattr', 'mapped-file'] as const)('a process without descriptors loses nothing: %s', async (securityModel) => {
    await using e = await Exported.make({ securityModel, background: 'always' });
    await e.create('f', { uid: 11, mode: 0o640 });
    await e.create('g', { uid: 12, mode: 0o600 });
    const node = await e.walk('f');
    let none = true;
    intercept(e, 'openat', async (make) => (none ? -24 : make()));
    expect(await outcome(() => e.root.mkdir('d', 0o755, 0, caller()))).toBe('EMFILE');
    const renamed = await outcome(() => e.root.rename('f', e.root, 'g', caller()));
    const linked = await outcome(() => e.root.link('h', node, caller()));
    const seen = await outcome(async () => expect(await node.getattr(0n, caller())).toMatchObject({ uid: 11, mode: 0o100640 }));
    // Attributes need no descriptor.
    const expected = securityModel === 'mapped-file' ? 'EMFILE' : 'done';
    expect({ renamed, linked, seen }).toEqual({ renamed: expected, linked: expected, seen: expected });
    none = false;
    expect(await e.names()).toEqual(securityModel === 'mapped-file' ? ['f', 'g'] : ['g', 'h']);
    const name = securityModel === 'mapped-file' ? 'f' : 'g';
    expect(await e.attributes(name)).toMatchObject({ uid: 11, mode: 0o100640 });
    if (securityModel === 'mapped-file') expect(await e.attributes('g')).toMatchObject({ uid: 12, mode: 0o100600 });
    node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test('a file keeps its owner and mode for those who look while it is renamed, its metadata first', async () => {
    await using e = await Exported.make({ securityModel: 'mapped-file', background: 'always' });
    await e.create('f', { uid: 11, mode: 0o640 });
    const node = await e.walk('f');
    // The first descriptor that a rename closes is the one by which it has moved the metadata.
    const { reached, door } = hold(e, 'close', 'before');
    const renamed = e.root.rename('f', e.root, 'g', caller());
    await reached;
    expect(await node.getattr(0n, caller())).toMatchObject({ uid: 11, mode: 0o100640 });
    door.open();
    await renamed;
    expect(await node.getattr(0n, caller())).toMatchObject({ uid: 11, mode: 0o100640 });
    node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test.each(['a write', 'O_TRUNC'])('a file that loses setuid while it is renamed loses it under its new name: %s', async (way) => {
    for (const known of [true, false]) {
      await using e = await Exported.make({ securityModel: 'mapped-file', background: 'always' });
      await e.create('f', { uid: 11, mode: known ? 0o4755 : 0o755 });
      const [node, file] = [await e.walk('f'), await e.open('f', 2)];
      if (!known) {
        // Through another name, so that this node does not know.
        await e.mkdir('d');
        await e.at('d', (d) => d.link('other', node, caller()));
        await e.setattr('d/other', SETATTR_MODE, { mode: 0o4755 });
      }
      const { reached, door } = hold(e, 'close', 'before');
      const renamed = e.root.rename('f', e.root, 'g', caller());
      await reached;
      const changed = way === 'a write' ? file.write(Buffer.from('x'), 0, caller()) : node.open(0o1002, caller());
      // Whoever does not wait for the rename is done by then.
      for (let turn = 0; turn < 32; turn++) await e.root.getattr(0n, caller());
      door.open();
      await renamed;
      const opened = await changed;
      if (typeof opened !== 'number') await opened.close();
      expect(readdirSync(e.host('.virtfs_metadata'))).toEqual(known ? ['g'] : ['d', 'g']);
      expect(await e.attributes('g')).toMatchObject({ uid: 11, mode: 0o100755 });
      await file.close();
      node.release();
      expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
    }
  });

  test.each([
    ['renameat', 'answer'],
    ['openat', 'before'],
  ] as const)('what has no descriptor is found below a directory that is renamed: %s, %s', async (name, when) => {
    await using e = await Exported.make({ background: 'always', descriptors: 64 });
    mkdirSync(e.host('a/b'), { recursive: true });
    writeFileSync(e.host('a/b/f'), 'text');
    for (let d = 0; d < 80; d++) mkdirSync(e.host(`x${d}`));
    const nodes = [await e.walk('a/b/f')];
    for (let d = 0; d < 80; d++) nodes.push(await e.walk(`x${d}`));
    const { reached, door } = hold(e, name, when);
    const look = () => nodes[0]?.getattr(0n, caller());
    const rename = () => e.root.rename('a', e.root, 'c', caller());
    const [first, second] = name === 'openat' ? [look, rename] : [rename, look];
    const begun = outcome(first);
    await reached;
    expect(await outcome(second)).toBe('done');
    door.open();
    expect(await begun).toBe('done');
    for (const node of nodes) node.release();
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test('listings of one directory that are asked for at once are those that are asked for one by one', async () => {
    await using e = await Exported.make({ background: 'always' });
    for (let f = 0; f < 1500; f++) writeFileSync(e.host(`f${f}`), '');
    const directory = await e.open('');
    const list = async (offset: bigint) => (await directory.readdir(offset, 40_000, caller())).map(({ name }) => name).join();
    const last = (await directory.readdir(0n, 40_000, caller())).at(-1)?.offset ?? 0n;
    const offsets = [0n, last, 0n, last];
    const alone: string[] = [];
    for (const offset of offsets) alone.push(await list(offset));
    expect(await Promise.all(offsets.map(list))).toEqual(alone);
    const closing = offsets.map((offset) => outcome(() => list(offset)));
    await directory.close();
    expect(await Promise.all(closing)).toContain('EBADF');
    expect(e.backend.counts()).toMatchObject({ descriptors: 0, held: 1 });
  });

  test('a walk that is overtaken again and again takes its turn among the changes', async () => {
    await using e = await Exported.make({ background: 'always' });
    for (const name of ['d', 'x']) mkdirSync(e.host(name));
    let looks = 0;
    intercept(e, 'openat', async (make) => {
      const fd = await make();
      if (looks++ < 8) {
        await e.root.rename('x', e.root, 'y', caller());
        await e.root.rename('y', e.root, 'x', caller());
      }
      return fd;
    });
    await e.at('d', (node) => expect(node.name()).toBe('d'));
    expect(looks).toBe(9);
  });
});
