import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ensureBuilt, main, root } from '../support/build.js';
import { run } from '../support/child.js';
import { bootGuest, type Guest } from '../support/guest/guest.js';
import { launch, markedEnvironment, type ServerProcess } from '../support/launcher.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const SECONDS = 20;
const PATIENCE = 500_000;

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
let count = 0;
for (const end = Date.now() + seconds * 1000; Date.now() < end; count++) {
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
console.log('no difference in ' + count + ' operations');
`;

const SCRIPT = (seed: number) => `
mkdir -p /mnt/host
node /ninep/ninep.mjs bridge dev:/dev/virtio-ports/org.ninep.0 --export /,security_model=passthrough --mount /mnt/host --retry forever &
n=0; while ! [ -e /mnt/host/here ]; do sleep 1; n=$((n + 1)); [ $n -lt 450 ]; done
boot=$(cat /proc/sys/kernel/random/boot_id)
echo "mounted, boot $boot"
node /ninep/check.mjs /mnt/host/work-$boot ${SECONDS} ${seed}
echo "checked, boot $boot"
read -r line`;

requires(
  'guest',
  'node',
  'mount',
)('a bridge over one virtio-serial port', () => {
  let guest: Guest;
  let host: ServerProcess;
  const directory = new TemporaryDirectory('guest-bridge');
  const at = (name: string) => directory.join(name);
  const random = new Random();

  beforeAll(async () => {
    await ensureBuilt();
    await run(process.execPath, [join(root, 'cli/bundle.mjs'), at('bundle')]);
    for (const name of ['tree', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('tree/here'), 'here\n');
    guest = await bootGuest({
      script: SCRIPT(random.seed & 0x7fffffff),
      programs: ['node'],
      files: {
        '/ninep/ninep.mjs': { from: at('bundle/ninep.mjs') },
        '/ninep/koffi.node': { from: at('bundle/koffi.node') },
        '/ninep/check.mjs': CHECK,
      },
      serial: ['org.ninep.0'],
      memory: 1024,
      reboot: true,
    });
    host = await launch({
      command: process.execPath,
      args: [
        main,
        'bridge',
        `unix:${guest.serial('org.ninep.0')}`,
        '--resync',
        '--export',
        `${at('tree')},security_model=passthrough`,
        '--mount',
        at('mnt'),
        '--retry',
        '300',
      ],
      ready: { line: /ninep: mounted/ },
      timeout: PATIENCE,
    });
  });
  afterAll(async () => {
    await host?.stop();
    await guest?.kill();
    directory.remove();
  });

  const guestFile = async (path: string) => (await run('cat', [`${at('mnt')}${path}`], { timeout: PATIENCE })).stdout;

  test('the host reads the guest while the guest works in the tree of the host, and goes on with it after a reboot', async () => {
    console.log(`seed ${random.seed}`);
    const [, first] = await guest.said(/mounted, boot (\S+)\n/, PATIENCE);
    let reads = 0;
    const checked = guest.said(/checked, boot/, PATIENCE);
    let over = false;
    void checked
      .catch(() => undefined)
      .then(() => {
        over = true;
      });
    do {
      expect((await guestFile('/proc/sys/kernel/osrelease')).trim()).toBe(guest.release);
      expect((await guestFile('/proc/sys/kernel/random/boot_id')).trim()).toBe(first);
      expect(await guestFile('/proc/cpuinfo')).toContain('processor');
      expect((await guestFile('/sys/class/net/lo/mtu')).trim()).toBe('65536');
      reads += 4;
    } while (!over);
    await checked;
    expect(guest.output).toMatch(/no difference in \d+ operations/);
    console.log(`${reads} files read; ${/no difference.*/.exec(guest.output)?.[0]}`);

    // Somebody has a file open that does not outlive the guest.
    await run('sh', ['-c', 'echo lost > "$1"', 'sh', at('mnt/tmp/lost')], { timeout: PATIENCE });
    const holder = spawn('sh', ['-c', 'exec 3< "$1"; echo open; read -r line; stat -L /proc/self/fd/3', 'sh', at('mnt/tmp/lost')], {
      env: markedEnvironment({ LC_ALL: 'C' }),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [holder.stdout, holder.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    const ended = new Promise((resolve) => holder.once('close', resolve));
    await expect.poll(() => said, { timeout: PATIENCE }).toContain('open');

    await guest.control('system_reset');
    const [, second] = await guest.said(/checked, boot \S+\n[\s\S]*mounted, boot (\S+)\n/, PATIENCE);
    expect(second).not.toBe(first);
    expect((await guestFile('/proc/sys/kernel/random/boot_id')).trim()).toBe(second);
    expect((await guestFile('/proc/sys/kernel/osrelease')).trim()).toBe(guest.release);
    holder.stdin.write('\n');
    await ended;
    expect(said).toMatch(/[Ss]tale file handle/);
    await guest.said(/checked, boot [\s\S]*checked, boot /, PATIENCE);
    expect(guest.output.match(/no difference/g)).toHaveLength(2);
    expect(
      readdirSync(at('tree'))
        .filter((name) => name.startsWith('work-'))
        .sort(),
    ).toEqual([`work-${first}`, `work-${second}`].sort());
  });
});
