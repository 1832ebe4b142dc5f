/** Commands and mounts whose server is an enemy: nothing leads out of where they were told to work, and everything ends. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ORDERED_XATTR } from '../../lib/protocol/constants.js';
import { listen } from '../../lib/transport/index.js';
import type { Listener } from '../../lib/transport/transport.js';
import { run } from '../support/child.js';
import { HostileServer } from '../support/hostile.js';
import { requires } from '../support/requires.js';
import { ninep, startNinep } from '../support/servers/ninep.js';
import { inFull } from '../support/sized.js';
import { TemporaryDirectory } from '../support/temporary.js';

let directory: TemporaryDirectory;
let server: HostileServer;
let listener: Listener;
const at = (name: string) => directory.join(name);
const address = () => `unix:${at('socket')}`;

beforeEach(async () => {
  directory = new TemporaryDirectory('hostile');
  mkdirSync(at('to'));
  mkdirSync(at('outside'));
  writeFileSync(at('outside/file'), 'untouched');
  server = new HostileServer();
  listener = await listen(address(), (transport) => server.serve(transport));
});
afterEach(async () => {
  await listener.close();
  directory.remove();
});

/** Nothing but what was there before. */
function expectUntouched(): void {
  expect(readdirSync(at('outside'))).toEqual(['file']);
  expect(readFileSync(at('outside/file'), 'utf8')).toBe('untouched');
}

const failing = (args: readonly string[]) => ninep(args, { check: false, timeout: 60_000 });

describe('file commands', () => {
  // spec/client goes through such names without a process for each.
  it.each(inFull(['../outside/file', '../outside/new', '/tmp/ninep-hostile'], ['../outside/new']))(
    'copy nothing to where the name %j leads',
    async (name) => {
      server.list = (names) => (names.length < 2 ? [name] : []);
      for (const command of [['cp', '-r'], ['sync']]) {
        const { code, stderr } = await failing([...command, `${address()}#/d`, at('to/copy')]);
        expect(code).not.toBe(0);
        expect(stderr).toMatch(/EPROTO/);
      }
      expectUntouched();
    },
  );

  it.each([['cp', '-r', '-p'], ['cp', '-r'], ['sync']])(
    '%s %s: a symlink of the first copy leads the second one nowhere',
    async (...command) => {
      // "l…" is a symlink the first time; then the server says that it is a directory, or a file.
      server.list = (names) => (names.length === 1 ? ['ldir', 'lfile'] : names.at(-1) === 'ldir' ? ['new'] : []);
      server.answers.Treadlink = (_, file) => ({ target: file?.names.at(-1) === 'ldir' ? at('outside') : at('outside/file') });
      // cp copies into a directory that is there, and sync onto it.
      const to = command[0] === 'cp' ? at('to') : at('to/d');
      await ninep([...command, `${address()}#/d`, to]);
      expect(lstatSync(at('to/d/ldir')).isSymbolicLink()).toBe(true);
      const kind = (names: readonly string[] = []) =>
        names.at(-1) === 'ldir' ? [0x80, 0o040755] : names.at(-1) === 'lfile' ? [0, 0o104755] : [];
      server.answers.Twalk = ({ wnames }, file) => {
        const all = [...(file?.names ?? []), ...wnames];
        return {
          wqids: wnames.map((_, index) => ({
            type: kind(all.slice(0, all.length - wnames.length + index + 1))[0] ?? (all.length === 1 ? 0x80 : 0),
            version: 0,
            path: BigInt(index + all.length),
          })),
        };
      };
      server.answers.Tgetattr = (_, file) => ({
        mode: kind(file?.names)[1] ?? (file !== undefined && file.names.length < 2 ? 0o040755 : 0o104755),
      });
      await failing([...command, `${address()}#/d`, to]);
      expectUntouched();
      const copied = lstatSync(at('to/d/lfile'));
      expect(copied.isFile()).toBe(true);
      expect(copied.mode & 0o6000).toBe(0);
    },
  );

  it('remove nothing where a name is listed under which nothing is', async () => {
    server.list = (names) => (names.length === 1 ? ['ghost', 'file'] : []);
    server.answers.Twalk = ({ wnames }) => (wnames.some((name) => name === 'ghost' || name.endsWith('.part')) ? 2 : {});
    const removals: string[] = [];
    server.answers.Tunlinkat = ({ name }) => {
      removals.push(name);
      return {};
    };
    const missing = [1, `ninep: ${address()}#/d/ghost: no such file or directory (ENOENT)\n`];
    for (const command of [
      ['cp', '-r'],
      ['sync', '--delete'],
    ]) {
      mkdirSync(at('to/d'), { recursive: true });
      writeFileSync(at('to/d/ghost'), 'a good copy');
      const { code, stderr } = await failing([...command, `${address()}#/d`, command[0] === 'sync' ? at('to/d') : at('to')]);
      expect([code, stderr]).toEqual(missing);
      expect([removals, readFileSync(at('to/d/ghost'), 'utf8')]).toEqual([[], 'a good copy']);
    }
    // It goes into no directory that has anything in it.
    rmSync(at('to/d'), { recursive: true });
    const { code, stderr } = await failing(['mv', `${address()}#/d`, at('to')]);
    expect([code, stderr, removals]).toEqual([...missing, []]);
  });

  it('mv removes nothing that has changed since it was copied', async () => {
    let size = 0;
    const removals: string[] = [];
    server.answers.Tgetattr = () => ({ size: size++ });
    server.answers.Tunlinkat = ({ name }) => {
      removals.push(name);
      return {};
    };
    const { code, stderr } = await failing(['mv', `${address()}#/file`, at('to')]);
    expect([code, stderr, removals]).toEqual([1, `ninep: ${address()}#/file: has changed since it was copied, and stays (EBUSY)\n`, []]);
    expect(readdirSync(at('to'))).toEqual(['file']);
  });

  it('end in a tree without end', async () => {
    server.list = () => [`d${'e'.repeat(200)}`];
    for (const command of ['find', 'tree', 'cp', 'rm']) {
      const recursive = command === 'cp' || command === 'rm' ? ['-r'] : [];
      const { code, stderr } = await failing([command, ...recursive, `${address()}#/d`, ...(command === 'cp' ? [at('to/deep')] : [])]);
      expect([command, code !== 0, /ENAMETOOLONG/.test(stderr)]).toEqual([command, true, true]);
    }
  });
});

/** What programs say of an attribute that no attribute can be. */
const TOO_LONG = /Argument list too long|too large|too long/;

requires('mount')('a mount', () => {
  const shell = (script: string) => run('sh', ['-c', script, 'sh', at('to')], { check: false, timeout: 30_000, env: { LC_ALL: 'C' } });
  const oversized: HostileServer['answers']['Txattrwalk'] = ({ name }) => (name === ORDERED_XATTR ? 95 : { size: 2 ** 40 });
  const mounted = () => startNinep(['mount', '--foreground', address(), at('to')], /mounted at/);

  it('shows names that can be ones, opens no device, runs nothing as root, and outlives all of it', async () => {
    server.list = (names) => (names.length === 0 ? ['fine', 'a/b', '', 'x'.repeat(300), 'device'] : []);
    server.answers.Tgetattr = (_, file) => {
      if (file?.names.at(-1) === 'device') return { mode: 0o020666, rdev: 0x103n };
      return file?.names.length === 1 ? { size: 2 ** 53 - 1, blocks: 2 ** 53 - 1, nlink: 2 ** 40, blksize: 2 ** 32 } : {};
    };
    server.answers.Txattrwalk = oversized;
    const mount = await mounted();
    try {
      expect(await shell('ls -1 "$1"')).toMatchObject({ stdout: 'device\nfine\n', stderr: '' });
      expect((await shell('cat "$1/device"')).stderr).toMatch(/Permission denied|No such device|Input\/output error/);
      expect((await run('findmnt', ['-n', '-o', 'OPTIONS', at('to')])).stdout).toMatch(/nosuid.*nodev/);
      expect((await shell('stat -c %s "$1/fine"')).stdout).toBe(`${2 ** 53 - 1}\n`);
      // The qid says file, the mode directory; and the other way round.
      server.answers.Tgetattr = (_, file) => ({ mode: file?.names.length === 0 ? 0o040755 : 0o040777 });
      expect((await shell('ls "$1/new"')).code).toBe(0);
      server.answers.Tgetattr = (_, file) => ({ mode: file?.names.length === 0 ? 0o040755 : 0o177777 });
      expect((await shell('cat "$1/other"')).stderr).toMatch(/Input\/output error/);
      server.answers = {};
      expect((await shell('cat "$1/again" && echo read')).stdout).toBe('read\n');
      expect(mount.ended).toBe(false);
    } finally {
      await mount.stop();
    }
  });

  requires('getfattr')('and attributes', () => {
    it('that claim to be large are refused', async () => {
      server.list = (names) => (names.length === 0 ? ['fine'] : []);
      server.answers.Txattrwalk = oversized;
      await using _mount = await mounted();
      expect((await shell('getfattr -n user.x "$1/fine"')).stderr).toMatch(TOO_LONG);
      expect((await shell('getfattr -d "$1/fine"')).stderr).toMatch(TOO_LONG);
    });
  });
});
