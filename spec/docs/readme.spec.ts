import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { release } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ensureBuilt, main, root } from '../support/build.js';
import { shell } from '../support/child.js';
import { freePort, launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { blocksOf } from './blocks.js';

const blocks = blocksOf(readFileSync(join(root, 'README.md'), 'utf8')).filter(({ language }) => language === 'sh');

/** The lines of the one shell block that has `words`, without comments. */
function linesWith(words: string): string[] {
  const [block, ...more] = blocks.filter(({ text }) => text.includes(words));
  if (block === undefined || more.length > 0) throw new Error(`README.md has ${more.length + (block ? 1 : 0)} blocks with "${words}"`);
  return block.text
    .split('\n')
    .map((line) => line.replace(/(^|\s+)#.*$/, ''))
    .filter((line) => line !== '');
}

/** A directory to do as the README says in: its absolute paths lead there, and `ninep` in its shell is this one. */
class Place extends TemporaryDirectory {
  readonly #port: number;

  constructor(port: number) {
    super('readme');
    this.#port = port;
    for (const name of ['bin', 'mnt', 'run', 'srv']) mkdirSync(this.join(name));
    writeFileSync(this.join('bin/ninep'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
    chmodSync(this.join('bin/ninep'), 0o755);
  }

  static async make(): Promise<Place> {
    await ensureBuilt();
    return new Place(await freePort());
  }

  get env(): Record<string, string> {
    return { PATH: `${this.join('bin')}:${process.env['PATH']}:/usr/sbin:/sbin`, XDG_RUNTIME_DIR: this.join('run') };
  }

  /** A line of the README, brought here. */
  line(text: string): string {
    return text
      .replaceAll(/(?<=[\s:=]|^)\/(mnt|srv|run)(?=[/\s,.]|$)/g, this.join('$1'))
      .replaceAll('127.0.0.1:5640/srv', `127.0.0.1:5640${this.join('srv')}`)
      .replaceAll('0.0.0.0:564', `127.0.0.1:${this.#port}`)
      .replaceAll('127.0.0.1:5640', `127.0.0.1:${this.#port}`)
      .replaceAll('npx ninep', 'ninep');
  }

  start(text: string, line: RegExp) {
    return launch({ command: 'sh', args: ['-c', `exec ${this.line(text)}`], env: this.env, ready: { line } });
  }
}

requires('diod', 'mount')('a guest is mounted on its host', () => {
  test('as the first example of the README says', { timeout: 120_000 }, async () => {
    await using place = await Place.make();
    const [server = '', ...host] = linesWith('ninep mount tcp://');
    expect(server).toMatch(/^diod /);
    for (const name of ['guest-proc', 'guest-sys', 'guest']) mkdirSync(place.join('mnt', name));
    const address = { port: Number(/:(\d+)/.exec(place.line('127.0.0.1:5640'))?.[1]) };
    await using _diod = await launch({
      command: 'sh',
      args: ['-c', `exec ${place.line(server)}`],
      env: place.env,
      cwd: place.path,
      ready: { connect: address },
    });
    const { stdout } = await shell(host.map((line) => place.line(line)).join('\n'), [], { env: place.env });
    expect(stdout).toContain(`${release()}\n`);
    const left = 'ls "$1/guest-sys/kernel" > /dev/null; cat "$1/guest/etc/passwd"; ninep unmount "$1/guest-sys"; ninep unmount "$1/guest"';
    expect((await shell(left, [place.join('mnt')], { env: place.env })).stdout).toBe(readFileSync('/etc/passwd', 'utf8'));
  });
});

requires('linux', 'root')('directories are served', () => {
  test('as the README says, each of its commands', { timeout: 120_000 }, async () => {
    const lines = linesWith('ninep serve --export /srv/data');
    expect(lines).toHaveLength(3);
    for (const line of lines) {
      await using place = await Place.make();
      for (const name of ['data', 'vm']) {
        mkdirSync(place.join('srv', name));
        writeFileSync(place.join('srv', name, 'file'), name);
      }
      await using server = await place.start(line, /serving (.*) at (.*)/);
      const [, exported = '', address = ''] = server.readyLine ?? [];
      const name = line.includes('/srv/vm') ? 'vm' : 'data';
      const aname = line.includes('/srv/vm') ? 'vm' : place.join('srv/data');
      expect([exported, address]).toEqual([expect.stringContaining(name), expect.stringMatching(/^(tcp|unix):/)]);
      const { stdout } = await shell('ninep cat "$1?aname=$2#/file"', [address, aname], { env: place.env });
      expect(stdout).toBe(name);
    }
  });
});

requires(
  'linux',
  'root',
  'qemu',
)('a server is inspected', () => {
  test('as the README says, over tcp and without a guest', { timeout: 120_000 }, async () => {
    await using place = await Place.make();
    mkdirSync(place.join('srv/data'));
    await using _server = await place.start(linesWith('ninep serve --export /srv/data')[0] ?? '', /serving .* at /);
    const lines = linesWith('ninep interop');
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      const { stdout } = await shell(`${place.line(line)} --suite version`, [], { env: place.env });
      expect(stdout).toMatch(/^\d+ pass, \d+ deviate, \d+ unsupported, 0 errors$/m);
    }
  });
});

/** What lies between the two ends of a serial port: two sockets, each other's peer. */
async function cable(one: string, other: string): Promise<AsyncDisposable> {
  const ends: (Socket | undefined)[] = [undefined, undefined];
  const servers: Server[] = [];
  for (const [index, path] of [one, other].entries()) {
    const server = createServer((socket) => {
      ends[index] = socket.on('error', () => undefined);
      // Whoever dials again finds the other end doing so, too.
      socket.on('close', () => {
        for (const [at, end] of ends.splice(0, 2, undefined, undefined).entries()) if (at !== index) end?.destroy();
      });
      const [a, b] = ends;
      if (a !== undefined && b !== undefined) a.pipe(b).pipe(a);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    servers.push(server);
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const socket of ends) socket?.destroy();
      for (const server of servers) await new Promise((resolve) => server.close(resolve));
    },
  };
}

requires('mount')('both sides of one port serve and mount', () => {
  test('as the README says', { timeout: 120_000 }, async () => {
    await using place = await Place.make();
    for (const name of ['mnt/host', 'mnt/vm1', 'srv/vm1', 'guest']) mkdirSync(place.join(name));
    writeFileSync(place.join('guest/name'), 'the guest');
    writeFileSync(place.join('srv/vm1/name'), 'the host');
    await using _cable = await cable(place.join('run/vm1.sock'), place.join('run/guest.sock'));
    const [guest = '', host = ''] = linesWith('ninep bridge');
    const port = guest
      .replace('dev:/dev/virtio-ports/org.ninep.0', 'unix:/run/guest.sock')
      .replace('--export / ', `--export ${place.join('guest')} `);
    expect(port).not.toBe(guest);
    const mounted = /ninep: mounted/;
    const [one, other] = await Promise.all([place.start(port, mounted), place.start(host, mounted)]);
    try {
      const { stdout } = await shell('cat "$1/mnt/host/name" "$1/mnt/vm1/name"', [place.path]);
      expect(stdout).toBe('the hostthe guest');
    } finally {
      await other.stop();
      await one.stop();
    }
  });
});
