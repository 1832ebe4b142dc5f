/** Files that are made in real mounts: which messages that takes, and that it comes to the same as on the disk. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import type { MountOptions } from '../../lib/fuse/index.js';
import { shell } from '../support/child.js';
import { openBelow } from '../support/descriptors.js';
import { requires } from '../support/requires.js';
import { mounted, type ServerName } from './mounted.js';
import { talker } from './talker.js';

const timeout = 120_000;

/** Makes files in many ways; says what failed. */
const WORK = `
  set -e; cd "$1"
  umask 027; echo one > a; umask 077; echo two > b; umask 022
  echo more >> a; echo three > c; : > empty; cat a b > both
  set -C; if echo again 2>/dev/null > c; then echo 'made c twice'; fi; set +C
  mkdir -m 2755 shared; chgrp 4321 shared; echo x > shared/in
  mkdir -p d/e; for n in $(seq 30); do echo $n > d/e/$n; done
  rm d/e/7; echo seven > d/e/7; mv d/e/8 d/e/9; echo eight > d/e/8
  [ "$(cat d/e/7 d/e/8 d/e/9)" = "$(printf 'seven\\neight\\n8')" ] || echo 'wrong content'
  [ "$(ls d/e | wc -l)" = 30 ] || echo 'wrong names'
  [ "$(stat -c %h d/e/7)" = 1 ] || echo 'wrong link count'`;

/** How many it makes. */
const FILES = 38;

/** What there is below a directory, and of what kind. */
function told(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const { mode, gid, size } = statSync(`${directory}/${name}`);
      const file = (mode & 0o170000) === 0o100000;
      return `${name} ${mode.toString(8)} ${gid} ${file ? `${size} ${readFileSync(`${directory}/${name}`, 'utf8')}` : ''}`;
    });
}

const ways: [string, ServerName, MountOptions, boolean][] = [
  ['passing content to the kernel', 'passthrough', {}, true],
  ['with a client that takes no descriptors', 'passthrough', {}, false],
  ['with passthrough off', 'passthrough', { passthrough: false }, true],
  ['with cache none', 'passthrough', { cache: 'none' }, true],
  ['with cache loose', 'passthrough', { cache: 'loose' }, true],
  ['with -o sync', 'passthrough', { sync: true }, true],
  ['with one view for all', 'passthrough', { access: 'any' }, true],
  ['without permissions checked by the kernel', 'passthrough', { defaultPermissions: false }, true],
  ['without ACLs', 'passthrough', { acl: false }, true],
  ['of a server that maps owners', 'mapped-xattr', {}, true],
];

requires('mount')('files made in a mount', () => {
  test.each(ways)('%s are made by one message each', { timeout }, async (_, server, options, descriptors) => {
    await using at = await mounted(server, options, descriptors);
    const disk = at.root.join('disk');
    mkdirSync(disk);
    const calls = vi.spyOn(at.client, 'call');
    const { stdout } = await shell(WORK, [at.directory]);
    const names = calls.mock.calls.map(([name]) => name);
    expect(stdout).toBe('');
    expect((await shell(WORK, [disk])).stdout).toBe('');
    if (server === 'passthrough') expect(told(at.source)).toEqual(told(disk));
    expect(names).not.toContain('Tlcreate');
    expect(names.filter((name) => name === 'Tcreateat')).toHaveLength(FILES);
    expect(at.mount.counters()).toMatchObject({ requests: { create: FILES } });
    await expect.poll(() => at.mount.counters()).toMatchObject({ openFiles: 0, backed: 0 });
    await at.mount.unmount();
    expect(at.client.fidCount).toEqual({ alive: 1, numbers: 1 });
    // The server is another process: what was passed is closed here.
    expect(openBelow(at.source)).toBe(0);
  });

  requires({ programs: ['diod'] })('of another server', () => {
    test('are made by the messages it has', { timeout }, async () => {
      await using at = await mounted('diod');
      const disk = at.root.join('disk');
      mkdirSync(disk);
      const calls = vi.spyOn(at.client, 'call');
      expect((await shell(WORK, [at.directory])).stdout).toBe('');
      const names = calls.mock.calls.map(([name]) => name);
      expect((await shell(WORK, [disk])).stdout).toBe('');
      expect(told(at.source)).toEqual(told(disk));
      expect(names).not.toContain('Tcreateat');
      expect(names.filter((name) => name === 'Tlcreate')).toHaveLength(FILES);
      await at.mount.unmount();
      expect(at.client.fidCount).toEqual({ alive: 1, numbers: 1 });
    });
  });

  test('in a directory that others have just made anew are in that one', { timeout }, async () => {
    await using at = await mounted('passthrough', { entryTimeout: 60_000 });
    mkdirSync(`${at.source}/d`);
    await using shells = talker(`
      import fs from 'node:fs'; import readline from 'node:readline';
      for await (const path of readline.createInterface({ input: process.stdin })) {
        let said = 'done';
        try { fs.writeFileSync(path, path, { flag: 'wx' }); } catch (error) { said = error.code; }
        process.stdout.write(said + '\\n');
      }`);
    expect(await shells.tell(`${at.directory}/d/before`)).toBe('done');
    rmSync(`${at.source}/d`, { recursive: true });
    mkdirSync(`${at.source}/d`);
    expect(await shells.tell(`${at.directory}/d/x`)).toBe('done');
    expect(readdirSync(`${at.source}/d`)).toEqual(['x']);
    rmSync(`${at.source}/d`, { recursive: true });
    expect(await shells.tell(`${at.directory}/d/y`)).toBe('ENOENT');
  });
});
