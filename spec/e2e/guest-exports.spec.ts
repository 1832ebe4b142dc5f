import { mkdirSync } from 'node:fs';
import { release } from 'node:os';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { shell } from '../support/child.js';
import { bootGuest, type Guest } from '../support/guest/guest.js';
import { requires } from '../support/requires.js';
import { ninep } from '../support/servers/ninep.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const exported = ['/', '/proc', '/sys'] as const;
type Exported = (typeof exported)[number];

/** diod does not go from one file system into another: each is exported by its name. */
const DIOD = `diod -f -n -c /dev/null -L stderr ${exported.map((aname) => `-e ${aname}`).join(' ')}`;

const START = `
echo 'only in the guest' > /root/note
ln -s note /root/link
${DIOD} -l 0.0.0.0:5640 > /dev/null 2>&1 &
until netstat -ltn | grep -q :5640; do sleep 0.1; done
mount -t debugfs debugfs /sys/kernel/debug`;

/** A virtio-serial port carries one conversation, and reads as ended until its host is there: diod is started then. */
const serveOn = (port: string): string => `
device=$(readlink -f /dev/virtio-ports/${port})
{
  until grep -q 'host_connected: 1' /sys/kernel/debug/virtio-ports/\${device##*/}; do sleep 0.1; done
  exec ${DIOD} -r 3 -w 3 3<> "$device"
} > /dev/null 2>&1 &`;

requires(
  'guest',
  'diod',
  'mount',
)('a guest exports its files', () => {
  const directory = new TemporaryDirectory('exports');
  const ports = Array.from({ length: 8 }, (_, index) => `org.ninep.${index}`);
  const free = [...ports];
  let guest: Guest;

  beforeAll(async () => {
    guest = await bootGuest({
      steps: { start: START, ...Object.fromEntries(ports.map((port) => [port, serveOn(port)])) },
      programs: ['diod'],
      forward: [5640],
      serial: ports,
    });
    await guest.step('start');
  });
  afterAll(async () => {
    await guest?.kill();
    directory.remove();
  });

  const overTcp = (aname: Exported): Promise<string> => Promise.resolve(`tcp://127.0.0.1:${guest.port(5640)}${aname}`);
  const overSerial = async (aname: Exported): Promise<string> => {
    const port = free.pop() ?? '';
    await guest.step(port);
    return `unix:${guest.serial(port)}?aname=${aname}`;
  };

  describe.each([
    ['a forwarded tcp port', overTcp],
    ['virtio-serial', overSerial],
  ])('over %s', (way, address) => {
    test('the API reads the guest’s kernel, not the host’s', async () => {
      await using client = await connect(await address('/proc'));
      await using fid = await client.root.walk(['sys', 'kernel', 'osrelease']);
      await fid.open(0);
      const buffer = new Uint8Array(4096);
      const count = await fid.read(buffer, 0);
      expect(Buffer.from(buffer.subarray(0, count)).toString()).toBe(`${guest.release}\n`);
      expect(guest.release).not.toBe(release());
    });

    test('ninep cat and ls', async () => {
      expect((await ninep(['cat', `${await address('/proc')}#/sys/kernel/osrelease`])).stdout).toBe(`${guest.release}\n`);
      expect((await ninep(['cat', `${await address('/')}#/root/note`])).stdout).toBe('only in the guest\n');
      expect((await ninep(['ls', `${await address('/sys')}#/class/net`])).stdout.split('\n')).toContain('eth0');
    });

    test('ninep mount shows /, /proc and /sys on the host', async () => {
      const mounts: string[] = [];
      const at = (aname: Exported): string => directory.join(way.replaceAll(' ', '-'), aname.slice(1) || 'root');
      try {
        for (const aname of exported) {
          mkdirSync(at(aname), { recursive: true });
          await ninep(['mount', await address(aname), at(aname)]);
          mounts.push(at(aname));
        }
        const { stdout } = await shell(
          `cat "$1/sys/kernel/osrelease"
          cat "$2/root/note" "$2/root/link"
          ls "$3/class/net"
          grep -c . "$1/cpuinfo" > /dev/null
          grep QEMU "$1/cpuinfo" > /dev/null
          cat "$3/class/net/eth0/address"
          echo 'from the host' > "$2/root/written"
          mkdir "$2/root/made"; touch "$2/root/made/file"; mv "$2/root/made/file" "$2/root/made/other"; ls "$2/root/made"; rm -r "$2/root/made"
          cat "$2/root/written"`,
          [at('/proc'), at('/'), at('/sys')],
        );
        const lines = stdout.split('\n');
        expect(lines.slice(0, 3)).toEqual([guest.release, 'only in the guest', 'only in the guest']);
        expect(lines).toContain('eth0');
        expect(stdout).toMatch(/\nother\nfrom the host\n$/);
      } finally {
        for (const mount of mounts) await ninep(['unmount', mount]);
      }
      expect(mountsBelow(directory.path)).toEqual([]);
    });
  });

  test('a mount outlives the guest’s reboot', async () => {
    await using rebooted = await bootGuest({
      script: `${START}\necho serving; read -r line`,
      programs: ['diod'],
      forward: [5640],
      reboot: true,
    });
    await rebooted.said(/serving/);
    const at = directory.join('reboot');
    mkdirSync(at);
    await ninep(['mount', `tcp://127.0.0.1:${rebooted.port(5640)}/proc`, at, '--retry', 'forever']);
    try {
      const boot = async (): Promise<string> => (await shell('cat "$1/sys/kernel/random/boot_id"', [at], { timeout: 250_000 })).stdout;
      const before = await boot();
      expect(before).toMatch(/^[-0-9a-f]{36}\n$/);
      await rebooted.control('system_reset');
      await rebooted.said(/serving[\s\S]*serving/);
      const after = await boot();
      expect(after).toMatch(/^[-0-9a-f]{36}\n$/);
      expect(after).not.toBe(before);
    } finally {
      await ninep(['unmount', at]);
    }
  });
});
