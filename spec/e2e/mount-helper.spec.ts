/** mount(8), fstab and findmnt, by way of a name in /sbin that leads to the program; it is taken away on every path. */
import { lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { descendants } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

const HELPER = '/sbin/mount.fuse.ninep';
const TIMEOUT = 180_000;
const patience = { timeout: 60_000, interval: 100 };

/** Whether the name is free, or was left by a run of ours that was killed. */
function isOurs(): boolean {
  try {
    return lstatSync(HELPER).isSymbolicLink() && readlinkSync(HELPER) === main;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function takeAway(): void {
  try {
    if (isOurs()) unlinkSync(HELPER);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

requires('mount', 'findmnt')('mount -t fuse.ninep', () => {
  describe.skipIf(!isOurs())('with the helper in place', () => {
    beforeAll(async () => {
      await ensureBuilt();
      process.on('exit', takeAway);
      takeAway();
      symlinkSync(main, HELPER);
    });
    afterAll(takeAway);

    async function ground() {
      const temporary = new TemporaryDirectory('helper');
      mkdirSync(temporary.join('tree'));
      mkdirSync(temporary.join('mnt'));
      writeFileSync(temporary.join('tree/file'), 'content\n');
      const server = await serve(`${temporary.join('tree')},aname=t,security_model=passthrough`);
      return {
        directory: temporary.join('mnt'),
        address: server.address('t'),
        file: (name: string) => temporary.join(name),
        async [Symbol.asyncDispose]() {
          await server.stop();
          temporary.remove();
        },
      };
    }

    const findmnt = async (directory: string) =>
      (await run('findmnt', ['-n', '-o', 'FSTYPE,OPTIONS', directory], { check: false })).stdout.trim();
    /** Processes that serve a mount there. */
    const serving = (directory: string) => descendants().filter((line) => line.includes(directory) && line.includes(' mount '));

    it('mounts, shows up in findmnt, and ends with umount', { timeout: TIMEOUT }, async () => {
      await using here = await ground();
      await run('mount', ['-t', 'fuse.ninep', '-o', 'noatime,nodev,cache=none', here.address, here.directory]);
      expect(await findmnt(here.directory)).toMatch(/^fuse\.ninep +rw,.*nodev.*noatime/);
      expect((await run('findmnt', ['-n', '-t', 'fuse.ninep', '-o', 'TARGET'])).stdout).toContain(here.directory);
      expect((await run('cat', [`${here.directory}/file`])).stdout).toBe('content\n');
      await run('sh', ['-c', 'echo written > "$1"', 'sh', `${here.directory}/new`]);
      expect((await run('cat', [here.file('tree/new')])).stdout).toBe('written\n');
      expect(serving(here.directory)).toHaveLength(1);
      await run('umount', [here.directory]);
      expect(await findmnt(here.directory)).toBe('');
      await expect.poll(() => serving(here.directory), patience).toEqual([]);
    });

    it('mounts what a line of fstab says', { timeout: TIMEOUT }, async () => {
      await using here = await ground();
      const options = 'ro,noexec,noauto,nofail,_netdev,x-systemd.automount,msize=65560,retry=5';
      writeFileSync(here.file('fstab'), `# a server\n${here.address} ${here.directory} fuse.ninep ${options} 0 0\n`);
      await run('mount', ['-T', here.file('fstab'), here.directory]);
      expect(await findmnt(here.directory)).toMatch(/^fuse\.ninep +ro,.*noexec/);
      expect((await run('cat', [`${here.directory}/file`])).stdout).toBe('content\n');
      expect((await run('touch', [`${here.directory}/new`], { check: false, env: { LC_ALL: 'C' } })).stderr).toMatch(
        /Read-only file system/,
      );
      await run('umount', [here.directory]);
      await expect.poll(() => serving(here.directory), patience).toEqual([]);
    });

    it('mounts what the unit in README.md says, as systemd does (systemd.mount(5))', { timeout: TIMEOUT }, async () => {
      await using here = await ground();
      const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
      const unit = /```ini\n\[Mount\]\n([^`]*)```/.exec(readme)?.[1] ?? '';
      const said = new Map([...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, key, value]) => [key, value ?? '']));
      expect([...said.keys()]).toEqual(['What', 'Where', 'Type', 'Options']);
      const [type, options] = [said.get('Type') ?? '', said.get('Options') ?? ''];
      await run('mount', [here.address, here.directory, '-t', type, '-o', options]);
      expect(await findmnt(here.directory)).toMatch(/^fuse\.ninep +rw,nosuid,nodev/);
      expect((await run('cat', [`${here.directory}/file`])).stdout).toBe('content\n');
      await run('umount', [here.directory, '-c']);
      await expect.poll(() => serving(here.directory), patience).toEqual([]);
    });

    it('fails with the reason', { timeout: TIMEOUT }, async () => {
      await using here = await ground();
      const refused = await run('mount', ['-t', 'fuse.ninep', 'tcp://127.0.0.1:1/', here.directory], { check: false });
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/^ninep: tcp:\/\/127\.0\.0\.1:1: connection refused \(ECONNREFUSED\)$/m);
      const unknown = await run('mount', ['-t', 'fuse.ninep', '-o', 'nonsense', here.address, here.directory], { check: false });
      expect(unknown.code).not.toBe(0);
      expect(unknown.stderr).toMatch(/nonsense: no such option/);
      expect(await findmnt(here.directory)).toBe('');
    });
  });
});
