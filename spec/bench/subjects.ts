import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { ensureBuilt, main } from '../support/build.js';
import { run } from '../support/child.js';
import { launch, type ServerProcess } from '../support/launcher.js';
import { which } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** A directory to work in, by whatever way it gets to the disk. */
export interface Subject {
  readonly name: string;
  /** Makes it ready; the same files every time. */
  mount(): Promise<string>;
  /** Undoes that, so that the next time begins cold. */
  unmount(): Promise<void>;
  /** Where its files really are. */
  readonly backing: string;
  stop(): Promise<void>;
}

/** The local disk itself. */
export function local(): Subject {
  const directory = new TemporaryDirectory('bench');
  return {
    name: 'local disk',
    backing: directory.path,
    mount: async () => directory.path,
    unmount: async () => {},
    stop: async () => directory.remove(),
  };
}

/** What mounts by a process in the foreground. */
async function mounted(
  name: string,
  prepare: (backing: string) => Promise<{ command: string; args: (mountpoint: string) => string[]; stop?: () => Promise<void> }>,
): Promise<Subject> {
  const directory = new TemporaryDirectory('bench');
  const backing = directory.join('tree');
  const mountpoint = directory.join('mnt');
  mkdirSync(backing);
  mkdirSync(mountpoint);
  const { command, args, stop } = await prepare(backing);
  let process_: ServerProcess | undefined;
  const isMounted = async () => (await run('findmnt', ['-n', mountpoint], { check: false })).code === 0;
  const unmount = async () => {
    if (process_ === undefined) return;
    await run('umount', [mountpoint], { check: false });
    await process_.stop();
    process_ = undefined;
  };
  return {
    name,
    backing,
    async mount() {
      process_ = await launch({ command, args: args(mountpoint), ready: 'spawned' });
      for (const deadline = Date.now() + 30_000; !(await isMounted()); ) {
        if (Date.now() > deadline) throw new Error(`${name} does not mount`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return mountpoint;
    },
    unmount,
    async stop() {
      await unmount();
      await stop?.();
      directory.remove();
    },
  };
}

/** `ninep mount` of a server. */
export async function ninepOf(server: 'ninep serve' | 'diod', options: readonly string[] = []): Promise<Subject> {
  await ensureBuilt();
  return mounted(['ninep mount of', server, ...options].join(' '), async (backing) => {
    const one =
      server === 'diod'
        ? await diod(backing)
        : await serve(`${backing},aname=x,security_model=passthrough`).then((served) => ({
            address: () => served.address('x'),
            stop: () => served.stop(),
          }));
    return {
      command: process.execPath,
      args: (mountpoint) => [main, 'mount', '--foreground', one.address(), mountpoint, ...options],
      stop: () => one.stop(),
    };
  });
}

/** sshfs with its sftp-server as a child: no ssh, no encryption. */
export function sshfs(): Promise<Subject> | undefined {
  const server = '/usr/lib/openssh/sftp-server';
  if (which('sshfs') === undefined || !existsSync(server)) return undefined;
  return mounted('sshfs', async (backing) => {
    const scripts = new TemporaryDirectory('bench');
    const script = scripts.join('ssh');
    writeFileSync(script, `#!/bin/sh\nexec ${server}\n`);
    chmodSync(script, 0o755);
    return {
      command: 'sshfs',
      args: (mountpoint) => ['-f', '-o', `ssh_command=${script}`, `host:${backing}`, mountpoint],
      stop: async () => scripts.remove(),
    };
  });
}

/** libfuse's own passthrough, built from the example that Debian's libfuse3-dev has: what FUSE in C can do at most. */
export function passthrough(): Promise<Subject> | undefined {
  const examples = '/usr/share/doc/libfuse3-dev/examples';
  const source = ['passthrough_ll.c', 'passthrough_ll.c.gz'].map((name) => `${examples}/${name}`).find(existsSync);
  if (source === undefined || which('gcc') === undefined || which('pkg-config') === undefined) return undefined;
  return mounted('passthrough_ll', async (backing) => {
    const build = new TemporaryDirectory('bench');
    const text = readFileSync(source);
    writeFileSync(build.join('passthrough_ll.c'), source.endsWith('.gz') ? gunzipSync(text) : text);
    for (const helper of ['passthrough_helpers.h', 'passthrough_helpers.h.gz']) {
      if (!existsSync(`${examples}/${helper}`)) continue;
      const content = readFileSync(`${examples}/${helper}`);
      writeFileSync(build.join('passthrough_helpers.h'), helper.endsWith('.gz') ? gunzipSync(content) : content);
    }
    const flags = execFileSync('pkg-config', ['fuse3', '--cflags', '--libs'], { encoding: 'utf8' }).trim().split(/\s+/);
    execFileSync('gcc', [
      '-O2',
      '-D_FILE_OFFSET_BITS=64',
      '-o',
      build.join('passthrough_ll'),
      build.join('passthrough_ll.c'),
      ...flags,
      '-lpthread',
    ]);
    return {
      command: build.join('passthrough_ll'),
      args: (mountpoint) => ['-f', '-o', `source=${backing}`, mountpoint],
      stop: async () => build.remove(),
    };
  });
}
