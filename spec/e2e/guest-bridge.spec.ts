import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { ensureBuilt, main, root } from '../support/build.js';
import { node, run } from '../support/child.js';
import { bootGuest, type Guest, type GuestOptions } from '../support/guest/guest.js';
import { freePort, launch, markedEnvironment, type ServerProcess } from '../support/launcher.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const FULL = process.env['NINEP_FULL'] === '1';
/** How long both sides work in the tree of each other. */
const SECONDS = FULL ? 60 : 5;
const PATIENCE = FULL ? 500_000 : 200_000;
/** Nobody waits longer for anything, in milliseconds; held against the long run only, which has the machine to itself. */
const STALL = 2000;

/** Random operations in a directory of which every name and byte is known. Plain JavaScript: the guest has Node and nothing else. */
const CHECK = `
import assert from 'node:assert';
import * as fs from 'node:fs';
const [, , directory, seconds, seed] = process.argv;
let state = Number(seed) | 0;
const next = (below) => {
  state = (state + 0x9e3779b9) | 0;
  let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return ((z ^ (z >>> 15)) >>> 0) % below;
};
fs.mkdirSync(directory);
process.chdir(directory);
const model = new Map();
const pick = () => [...model.keys()][next(model.size)];
let count = 0, longest = 0, last = performance.now();
for (const end = Date.now() + seconds * 1000; Date.now() < end; count++) {
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
  const name = 'f' + next(40);
  const what = next(9);
  if (what < 3 || model.size === 0) {
    const old = model.get(name) ?? Buffer.alloc(0);
    const at = next(20000), data = Buffer.alloc(1 + next(30000), next(256));
    const fd = fs.openSync(name, 'a'); fs.closeSync(fd);
    const file = fs.openSync(name, 'r+');
    fs.writeSync(file, data, 0, data.length, at);
    fs.closeSync(file);
    const now = Buffer.alloc(Math.max(old.length, at + data.length));
    old.copy(now); data.copy(now, at);
    model.set(name, now);
  } else if (what < 6) {
    const one = pick();
    assert(fs.readFileSync(one).equals(model.get(one)), one + ' is not what was written');
  } else if (what === 6) {
    const one = pick();
    fs.renameSync(one, name);
    const data = model.get(one);
    model.delete(one); model.set(name, data);
  } else if (what === 7) {
    const one = pick();
    fs.unlinkSync(one); model.delete(one);
  } else {
    const one = pick(), size = next(40000), now = Buffer.alloc(size);
    model.get(one).copy(now);
    fs.truncateSync(one, size); model.set(one, now);
  }
  if (next(10) === 0) assert.deepEqual(fs.readdirSync('.').sort(), [...model.keys()].sort());
}
for (const [name, data] of model) assert(fs.readFileSync(name).equals(data), name);
console.log('no difference in ' + count + ' operations, the longest took ' + Math.round(longest) + ' ms');
`;

/** Reads files of the guest over and over until there is a file `stop`; each must have the content that it has there. */
const READER = `
import assert from 'node:assert';
import * as fs from 'node:fs';
const [, root, stop, release] = process.argv;
const boots = new Set();
let reads = 0, longest = 0;
// Linux numbers the files of /proc/sys anew in each boot: one that is open while the guest reboots is not the same any more, and is looked for once more.
const content = (path) => {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (error.errno !== -116 || error.syscall !== 'read') throw error;
    return fs.readFileSync(path, 'utf8');
  }
};
const read = (path) => {
  const begun = performance.now();
  fs.writeSync(2, path + ' '); // the last of them, should it hang
  const text = content(root + path);
  longest = Math.max(longest, performance.now() - begun);
  reads++;
  return text;
};
while (!fs.existsSync(stop)) {
  assert.equal(read('/proc/sys/kernel/osrelease').trim(), release);
  boots.add(read('/proc/sys/kernel/random/boot_id').trim());
  assert.match(read('/proc/cpuinfo'), /processor/);
  assert.equal(read('/sys/class/net/lo/mtu').trim(), '65536');
}
console.log(JSON.stringify({ reads, longest: Math.round(longest), boots: [...boots] }));
`;

interface Reading {
  reads: number;
  longest: number;
  boots: string[];
}

/** The guest's side: it mounts the host's tree over `address`, works in it, and waits. */
const SCRIPT = (address: string, seed: number) => `
mkdir -p /mnt/host
node /ninep/ninep.mjs bridge ${address} --export /,security_model=passthrough --mount /mnt/host --retry forever &
n=0; while ! [ -e /mnt/host/here ]; do sleep 1; n=$((n + 1)); [ $n -lt 450 ]; done
boot=$(cat /proc/sys/kernel/random/boot_id)
echo "mounted, boot $boot"
node /ninep/check.mjs /mnt/host/work-$boot $(cat /mnt/host/seconds) ${seed}
echo "checked, boot $boot"`;

/** Both ends of a vsock in one guest, each in the tree of the other. */
const VSOCK = `
mkdir -p /tmp/listening /tmp/dialling /mnt/listening /mnt/dialling
node /ninep/ninep.mjs bridge vsock://:5640 --listen --export /tmp/listening,security_model=passthrough --mount /mnt/listening --retry forever &
node /ninep/ninep.mjs bridge vsock://1:5640 --export /tmp/dialling,security_model=passthrough --mount /mnt/dialling --retry forever &
touch /tmp/listening/here /tmp/dialling/here
n=0; while ! [ -e /mnt/dialling/here ] || ! [ -e /mnt/listening/here ]; do sleep 1; n=$((n + 1)); [ $n -lt 450 ]; done
grep -c fuse.ninep /proc/mounts
node /ninep/check.mjs /mnt/listening/work ${FULL ? 20 : 3} 1 & first=$!
node /ninep/check.mjs /mnt/dialling/work ${FULL ? 20 : 3} 2
wait $first
ls -d /tmp/listening/work /tmp/dialling/work
echo "both ways over vsock"`;

requires(
  'guest',
  'node',
  'mount',
)('a bridge between a guest and its host', () => {
  let bundle: TemporaryDirectory;
  let directory: TemporaryDirectory;
  let guest: Guest | undefined;
  let host: ServerProcess | undefined;
  const at = (name: string) => directory.join(name);
  const holders: ChildProcess[] = [];
  const random = new Random();
  const seed = random.seed & 0x7fffffff;

  beforeAll(async () => {
    await ensureBuilt();
    bundle = new TemporaryDirectory('bundle');
    await run(process.execPath, [join(root, 'cli/bundle.mjs'), bundle.path]);
  });
  afterAll(() => bundle.remove());
  beforeEach(() => {
    directory = new TemporaryDirectory('guest-bridge');
    for (const name of ['tree', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('tree/here'), 'here\n');
    writeFileSync(at('tree/seconds'), String(SECONDS));
    console.log(`seed ${random.seed}`);
  });
  afterEach(async ({ task }) => {
    // What hangs tells nothing itself.
    if (task.result?.state === 'fail')
      console.log(`--- guest\n${guest?.output}\n--- console\n${guest?.console.slice(-4000)}\n--- host\n${host?.stderr}`);
    for (const child of holders.splice(0)) child.kill();
    await host?.stop();
    await guest?.kill();
    host = guest = undefined;
    directory.remove();
  });

  const boot = (options: GuestOptions): Promise<Guest> =>
    bootGuest({
      programs: ['node'],
      files: {
        '/ninep/ninep.mjs': { from: bundle.join('ninep.mjs') },
        '/ninep/koffi.node': { from: bundle.join('koffi.node') },
        '/ninep/check.mjs': CHECK,
      },
      memory: 1024,
      ...options,
    });
  const bridge = (...args: string[]): Promise<ServerProcess> =>
    launch({
      command: process.execPath,
      args: [main, 'bridge', ...args, '--export', `${at('tree')},security_model=passthrough`, '--mount', at('mnt'), '--retry', '300'],
      ready: { line: /ninep: mounted/ },
      timeout: PATIENCE,
    });
  const guestFile = async (path: string) => (await run('cat', [`${at('mnt')}${path}`], { timeout: PATIENCE })).stdout;

  /** Reads the guest until `until` resolves. */
  async function readMeanwhile(release: string, until: Promise<unknown>): Promise<Reading> {
    const stop = at(`stop${Math.random()}`);
    const reading = node(READER, [at('mnt'), stop, release], { timeout: PATIENCE });
    try {
      // Whoever fails to read tells of it at once.
      await Promise.race([until, reading.then(() => Promise.reject(new Error('nobody reads any more')))]);
    } finally {
      writeFileSync(stop, '');
    }
    return JSON.parse((await reading).stdout) as Reading;
  }

  /** No difference, and in the long run no stall. */
  function expectSmooth({ reads, longest }: Reading, output: string): void {
    const [line, operation] = [...output.matchAll(/no difference in \d+ operations, the longest took (\d+) ms/g)].at(-1) ?? [];
    console.log(`${reads} files read, the longest took ${longest} ms; ${line}`);
    expect(reads).toBeGreaterThan(0);
    expect(line).toBeDefined();
    if (FULL) expect([longest < STALL, Number(operation) < STALL], `${longest} and ${operation} ms`).toEqual([true, true]);
  }

  /** A process of this host that has a file of the guest open; `read` tells what it can still read of it, and ends it. */
  async function hold(path: string): Promise<{ read(): Promise<string> }> {
    const script = 'exec 3< "$1"; echo open; read -r line; cat <&3 2>&1 || stat -L /proc/self/fd/3 2>&1';
    const child = spawn('sh', ['-c', script, 'sh', at(`mnt${path}`)], {
      env: markedEnvironment({ LC_ALL: 'C' }),
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    holders.push(child);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    await expect.poll(() => said, { timeout: PATIENCE }).toContain('open\n');
    return {
      async read() {
        child.stdin.write('\n');
        await ended;
        return said.slice('open\n'.length);
      },
    };
  }

  test('over one virtio-serial port: each in the tree of the other, through two reboots of the guest', async () => {
    guest = await boot({
      script: `${SCRIPT('dev:/dev/virtio-ports/org.ninep.0', seed)}\nread -r line`,
      serial: ['org.ninep.0'],
      reboot: true,
    });
    host = await bridge(`unix:${guest.serial('org.ninep.0')}`, '--resync');
    const [, first] = await guest.said(/mounted, boot (\S+)\n/, PATIENCE);
    const reading = await readMeanwhile(guest.release, guest.said(/checked, boot/, PATIENCE));
    expect(reading.boots).toEqual([first]);
    expectSmooth(reading, guest.output);

    // One file that does not outlive the guest, and one that is the same in each boot.
    await run('sh', ['-c', 'echo lost > "$1"', 'sh', at('mnt/tmp/lost')], { timeout: PATIENCE });
    const [lost, same] = [await hold('/tmp/lost'), await hold('/proc/version')];
    const reboots = (async (running: Guest) => {
      // Longer than anybody waits: the next reset is certainly in the middle of it.
      writeFileSync(at('tree/seconds'), String(PATIENCE / 1000));
      await running.control('system_reset');
      const [, second] = await running.said(/checked, boot \S+\n[\s\S]*mounted, boot (\S+)\n/, PATIENCE);
      // The second time in the middle of its work.
      await expect
        // Any file will do: a slow guest may do so few operations that there are never more.
        .poll(() => readdirSync(at('tree')).includes(`work-${second}`) && readdirSync(at(`tree/work-${second}`)).length > 0, {
          timeout: PATIENCE,
        })
        .toBe(true);
      // This side may still be finding its files again: a loss meanwhile would be the same one to it.
      await expect.poll(() => host?.stderr.match(/back after/g)?.length, { timeout: PATIENCE }).toBe(1);
      writeFileSync(at('tree/seconds'), String(SECONDS));
      await running.control('system_reset');
      const [, third] = await running.said(new RegExp(`mounted, boot ${second}\\n[\\s\\S]*mounted, boot (\\S+)\\n`), PATIENCE);
      await running.said(new RegExp(`checked, boot ${third}`), PATIENCE);
      return [second, third];
    })(guest);
    const { boots } = await readMeanwhile(guest.release, reboots);
    const [second, third] = await reboots;
    expect(new Set([first, second, third]).size).toBe(3);
    expect(boots.at(-1)).toBe(third);
    expect((await guestFile('/proc/sys/kernel/random/boot_id')).trim()).toBe(third);
    expect(await lost.read()).toMatch(/[Ss]tale file handle/);
    expect(await same.read()).toContain(`Linux version ${guest.release}`);
    expect(host.stderr.match(/back after/g)).toHaveLength(2);
    expect(host.stderr).toMatch(/tmp\/lost: not the same file any more/);
    expect(guest.output.match(/no difference/g)).toHaveLength(2);
    const works = [first, second, third].map((id) => `work-${id}`);
    expect(
      readdirSync(at('tree'))
        .filter((name) => name.startsWith('work-'))
        .sort(),
    ).toEqual(works.sort());
    expect(existsSync(at('tree/here')) && readFileSync(at('tree/here'), 'utf8')).toBe('here\n');
  });

  test('over tcp, and over vsock with both ends in the guest', async () => {
    const port = await freePort();
    const address = `tcp://127.0.0.1:${port}`;
    const bridging = bridge(address, '--listen');
    bridging.catch(() => undefined);
    guest = await boot({ script: `${SCRIPT(`tcp://10.0.2.2:${port}`, seed)}\n${VSOCK}` });
    host = await bridging;
    const [, first] = await guest.said(/mounted, boot (\S+)\n/, PATIENCE);
    const reading = await readMeanwhile(guest.release, guest.said(/checked, boot/, PATIENCE));
    expect(reading.boots).toEqual([first]);
    expectSmooth(reading, guest.output);
    await guest.said(/both ways over vsock\n/, PATIENCE);
    expect(guest.output.match(/no difference/g)).toHaveLength(3);
  });
});
