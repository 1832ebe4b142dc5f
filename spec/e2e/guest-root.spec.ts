import { chmodSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { bootGuest } from '../support/guest/guest.js';
import { requires } from '../support/requires.js';
import { type NinepServe, serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/** Mounts the export as the new root, fills it the first time, and goes over to it. */
const script = (port: number | undefined, aname: string): string => `
mkdir /newroot
mount -t 9p -o trans=tcp,port=${port},version=9p2000.L,msize=262144,cache=loose,aname=${aname} 10.0.2.2 /newroot
if ! [ -x /newroot/bin/busybox ]; then
  mkdir /newroot/bin /newroot/sbin /newroot/dev /newroot/proc /newroot/sys /newroot/tmp /newroot/etc /newroot/root
  chmod 1777 /newroot/tmp
  cp -a /bin/. /newroot/bin/
  cp -a /test/etc/init /newroot/sbin/init
  cp /etc/passwd /etc/group /newroot/etc/
  mknod -m 600 /newroot/dev/console c 5 1
  mknod -m 666 /newroot/dev/null c 1 3
  chown -h 1000:1000 /newroot/root
  sync
fi
umount /proc /sys
mount -t devtmpfs dev /newroot/dev
exec switch_root /newroot /sbin/init`;

/** The new root's own first process: a shell that somebody types to. */
const INIT = `#!/bin/sh
export PATH=/bin:/sbin PS1='ninep# '
mount -t proc proc /proc
mount -t sysfs sys /sys
setsid -c sh -i < /dev/ttyS1 > /dev/ttyS1 2>&1
sync
poweroff -f`;

requires('guest', 'root')('a root file system served by ninep', () => {
  const directory = new TemporaryDirectory('root');
  let server: NinepServe;

  beforeAll(async () => {
    for (const model of ['passthrough', 'mapped-xattr']) mkdirSync(directory.join(model));
    chmodSync(directory.path, 0o755);
    server = await serve(
      ['passthrough', 'mapped-xattr'].map((model) => `${directory.join(model)},aname=${model},security_model=${model}`),
      { tcp: '127.0.0.1' },
    );
  });
  afterAll(async () => {
    await server?.stop();
    directory.remove();
  });

  test.each(['passthrough', 'mapped-xattr'])('boots to a shell prompt: %s', async (model) => {
    await using guest = await bootGuest({ script: script(server.port, model), files: { '/test/etc/init': INIT }, pid1: true });
    await guest.said(/ninep# /);
    guest.type(
      'grep " / " /proc/mounts; id -u; echo "made inside" > /root/note; ls -l /dev/null /bin/sh; stat -c %u:%g /root; echo END-OF-LOOK\n',
    );
    await guest.said(/\nEND-OF-LOOK/);
    expect(guest.output).toMatch(/ \/ 9p .*aname=/);
    expect(guest.output).toContain('1000:1000');
    guest.type('exit\n');
    await guest.process.exited;

    expect(readFileSync(directory.join(model, 'root', 'note'), 'utf8')).toBe('made inside\n');
    expect(lstatSync(directory.join(model, 'bin', 'sh')).isSymbolicLink()).toBe(model === 'passthrough');
    expect(lstatSync(directory.join(model, 'dev', 'null')).isCharacterDevice()).toBe(model === 'passthrough');

    // What the first boot wrote is what the second one finds.
    await using again = await bootGuest({ script: script(server.port, model), pid1: true });
    await again.said(/ninep# /);
    again.type('cat /root/note; exit\n');
    await again.said(/made inside/);
    await again.process.exited;
  });
});
