import { chownSync, lstatSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Devices } from '../../../lib/server/local/devices.js';
import { HostModel } from '../../../lib/server/local/host.js';
import type { MultiDevices } from '../../../lib/server/local/index.js';
import { LocalNode } from '../../../lib/server/local/node.js';
import { Work } from '../../../lib/server/local/work.js';
import { type Op, run as perform } from '../../../lib/sys/op.js';
import { run } from '../../support/child.js';
import { requires } from '../../support/requires.js';
import { TemporaryDirectory } from '../../support/temporary.js';
import { caller, Exported, outcome } from './exported.js';

requires({ root: true, programs: ['mount'], linux: true })('an export over several file systems', () => {
  let directory: TemporaryDirectory;

  async function make(multidevs: MultiDevices, warn: (message: string) => void = () => {}): Promise<Exported> {
    directory = new TemporaryDirectory('local');
    for (const name of ['m1', 'm2']) {
      mkdirSync(directory.join(name));
      await run('mount', ['-t', 'tmpfs', 'ninep-test', directory.join(name)]);
      mkdirSync(directory.join(name, 'dir'));
      writeFileSync(directory.join(name, 'dir/f'), name);
    }
    writeFileSync(directory.join('f'), '');
    mkdirSync(directory.join('bound'));
    await run('mount', ['--bind', directory.join('m1/dir'), directory.join('bound')]);
    return Exported.make({ multidevs, warn }, directory);
  }

  afterEach(() => directory.remove());

  test('remap: no two files have one qid path, and one file has one', async () => {
    await using e = await make('remap');
    // Two fresh tmpfs give their files the same numbers: that is what this is about.
    expect(statSync(e.host('m1/dir/f')).ino).toBe(statSync(e.host('m2/dir/f')).ino);
    const [one, two, bound] = [await e.attributes('m1/dir/f'), await e.attributes('m2/dir/f'), await e.attributes('bound/f')];
    expect(one.qid.path).not.toBe(two.qid.path);
    expect(bound.qid.path).toBe(one.qid.path);
    expect((await e.attributes('f')).qid.path).toBe(BigInt(statSync(e.host('f')).ino));
    expect(await outcome(() => e.at('m1', (m1) => e.at('f', (f) => m1.link('l', f, caller()))))).toBe('EXDEV');
    expect(await outcome(() => e.at('m1', (m1) => e.root.rename('f', m1, 'f', caller())))).toBe('EXDEV');
    const up = await e.at('bound', (node) => node.parent(caller()));
    expect(up).toBe(e.root);
    up.release();
  });

  test('forbid: other file systems are refused', async () => {
    const warnings: string[] = [];
    await using e = await make('forbid', (message) => warnings.push(message));
    expect(await outcome(() => e.walk('m1'))).toBe('ENODEV');
    expect(await outcome(() => e.walk('bound'))).toBe('ENODEV');
    expect(await outcome(() => e.walk('f').then((node) => node.release()))).toBe('done');
    expect(warnings).toHaveLength(1);
  });

  test('warn: they are served with the numbers they have, and it is said once', async () => {
    const warnings: string[] = [];
    await using e = await make('warn', (message) => warnings.push(message));
    const [one, two] = [await e.attributes('m1/dir/f'), await e.attributes('m2/dir/f')];
    expect(one.qid.path).toBe(two.qid.path);
    expect(warnings).toHaveLength(1);
  });
});

describe('qid paths', () => {
  const statfs = { type: 0xef53, bsize: 4096, blocks: 0n, bfree: 0n, bavail: 0n, files: 0n, ffree: 0n, fsid: 0n, namelen: 255 };

  test('large inode numbers never meet those of another device', () => {
    const devices = new Devices('remap', false, () => {});
    const [first, second] = [devices.add(1, statfs), devices.add(2, statfs)];
    const seen = new Set<bigint>();
    for (const device of [first, second]) {
      for (const ino of [1n, 2n, (1n << 48n) - 1n, 1n << 48n, (1n << 63n) + 5n, (1n << 64n) - 1n]) seen.add(devices.path(device, ino));
    }
    expect(seen.size).toBe(12);
    expect(devices.path(first, 77n)).toBe(77n);
    for (const path of seen) expect(path).toBeLessThan(1n << 64n);
  });
});

describe('what is made without a descriptor', () => {
  const SHOWN = 4242;
  const uid = process.getuid?.() ?? 0;
  const owner = { uid, gid: process.getgid?.() ?? 0, mode: 0o040755 };

  /** The host as sshfs -o uid=4242 and its like show it. */
  class Foreign extends Work {
    override *statOf(fd: number): Op<number> {
      const result = yield* super.statOf(fd);
      this.stat.uid = SHOWN;
      return result;
    }
  }

  /** A directory, a symlink and a FIFO, made by that work: what came of each. */
  async function make(e: Exported, work: Work): Promise<string[]> {
    const { root } = e;
    if (!(root instanceof LocalNode)) throw new Error('no node of a host directory');
    const model = new HostModel('none');
    const made = async (op: Op<number>) => outcome(async () => perform(work.close(await perform(op))));
    return [
      await made(model.mkdir(work, root, root.fd, 'd', owner)),
      await made(model.symlink(work, root, root.fd, 'l', 'target', { ...owner, mode: 0o120777 })),
      await made(model.mknod(work, root, root.fd, 'p', { ...owner, mode: 0o010644 }, 0n)),
    ];
  }

  test('is the server’s where the file system shows another owner of all that the server makes', async () => {
    await using e = await Exported.make();
    expect(await make(e, new Foreign())).toEqual(['done', 'done', 'done']);
    expect(readdirSync(e.host()).sort()).toEqual(['d', 'l', 'p']);
    expect(lstatSync(e.host('d')).mode).toBe(0o040755);
    expect(lstatSync(e.host('p')).mode).toBe(0o010644);
  });

  requires({ root: true })('or put there by somebody else', () => {
    test('is not given away', async () => {
      await using e = await Exported.make();
      let swaps = 0;
      class Swapped extends Work {
        override *mkdirat(dirfd: number, name: string, mode: number): Op<number> {
          const result = yield* super.mkdirat(dirfd, name, mode);
          renameSync(e.host(name), e.host(`aside${swaps++}`));
          mkdirSync(e.host('d'), { mode: 0o711 });
          if (swaps === 2) writeFileSync(e.host('d/f'), '');
          chownSync(e.host('d'), SHOWN, SHOWN);
          return result;
        }
      }
      expect(await make(e, new Swapped())).toEqual(['EBUSY', 'done', 'done']);
      expect(swaps).toBe(2);
      expect(lstatSync(e.host('d'))).toMatchObject({ uid: SHOWN, mode: 0o040711 });
      expect(lstatSync(e.host('l')).uid).toBe(uid);
    });
  });
});

describe('a slow disk', () => {
  const statfs = { type: 0xef53, bsize: 4096, blocks: 0n, bfree: 0n, bavail: 0n, files: 0n, ffree: 0n, fsid: 0n, namelen: 255 };
  /** A count of sleeps that this thread never had: whatever took its time then was asleep. */
  const ASLEEP = Number.MAX_SAFE_INTEGER;

  test('may keep the event loop for a moment, then its calls go to other threads for a while', () => {
    const device = new Devices('remap', false, () => {}).add(1, statfs);
    let now = 1_000_000;
    for (let call = 0; call < 100; call++) device.took(5, now++, ASLEEP);
    expect(device.here(now)).toBe(true);
    for (let call = 0; call < 5; call++) device.took(10, now++, ASLEEP);
    expect(device.here(now)).toBe(true);
    device.took(10, now, ASLEEP);
    expect(device.here(now)).toBe(false);
    expect(device.here(now + 200)).toBe(true);
    // Slow again at once: away for longer.
    now += 201;
    device.took(60, now, ASLEEP);
    expect(device.here(now + 200)).toBe(false);
    expect(device.here(now + 400)).toBe(true);
  });

  test('is not one whose calls were only interrupted, nor one in memory', () => {
    const disk = new Devices('remap', false, () => {}).add(1, statfs);
    const memory = new Devices('remap', false, () => {}).add(1, { ...statfs, type: 0x01021994 });
    for (let call = 0; call < 100; call++) {
      // The first call that takes long is watched by nobody.
      disk.took(20, 1_000_000 + call * 2000, disk.begin(1_000_000 + call * 2000));
      memory.took(20, 1_000_000 + call, ASLEEP);
      expect(disk.here(1_000_000 + call * 2000)).toBe(true);
      expect(memory.here(1_000_000 + call)).toBe(true);
    }
  });
});
