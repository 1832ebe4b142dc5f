import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { bootGuest } from '../support/guest/guest.js';
import { freePort } from '../support/launcher.js';
import { diod } from '../support/servers/diod.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { type Comparison, compare, seconds } from './pairs.js';

const MIB = 1024 * 1024;
/** An emulated processor takes its time: enough for the server to matter, little enough to wait for. */
const MEBIBYTES = 64;
const FILES = 300;

const work: Readonly<Record<string, string>> = {
  [`read ${MEBIBYTES} MiB`]: 'dd if=large of=/dev/null bs=1M 2> /dev/null',
  [`write ${MEBIBYTES} MiB`]: `dd if=/dev/zero of=written bs=1M count=${MEBIBYTES} 2> /dev/null`,
  [`create, list, read and remove ${FILES} files`]: `
    mkdir d; i=0
    while [ $i -lt ${FILES} ]; do echo $i > d/$i; i=$((i + 1)); done
    ls -l d > /dev/null; cat d/* > /dev/null; rm -r d`,
};

/** Linux's own client in an emulated guest, over tcp: on `ninep serve` and on diod. */
export async function benchGuest({ pairs, only }: { pairs: number; only: RegExp }): Promise<Comparison[]> {
  const rows = Object.keys(work).filter((what) => only.test(what));
  if (rows.length === 0) return [];
  const directory = new TemporaryDirectory('bench-guest');
  chmodSync(directory.path, 0o755);
  for (const name of ['ninep', 'diod']) {
    mkdirSync(directory.join(name));
    chmodSync(directory.join(name), 0o777);
    writeFileSync(directory.join(name, 'large'), Buffer.alloc(MEBIBYTES * MIB));
  }
  const ours = await serve(`${directory.join('ninep')},aname=ninep,security_model=passthrough`, { tcp: '127.0.0.1' });
  const port = await freePort();
  const theirs = await diod(directory.join('diod'), { port });
  const peers = { ninep: [ours.port, 'ninep'], diod: [port, directory.join('diod')] } as const;
  const steps: Record<string, string> = {};
  for (const [name, [at, aname]] of Object.entries(peers)) {
    const options = `trans=tcp,port=${at},version=9p2000.L,msize=${MIB},cache=none,aname=${aname},access=user,uname=root`;
    steps[`${name}-mount`] = `mkdir /mnt/${name}; mount -t 9p -o ${options} 10.0.2.2 /mnt/${name}`;
    rows.forEach((what, index) => {
      steps[`${name}-${index}`] = `cd /mnt/${name}; ${work[what]}`;
    });
  }
  const guest = await bootGuest({ steps });
  try {
    for (const name of Object.keys(peers)) await guest.step(`${name}-mount`);
    const comparisons: Comparison[] = [];
    for (const [index, what] of rows.entries()) {
      const timed = (name: string) => () => seconds(() => guest.step(`${name}-${index}`, 600_000));
      comparisons.push(await compare(`Linux in a guest: ${what}`, ['ninep serve', timed('ninep')], ['diod', timed('diod')], pairs));
    }
    return comparisons;
  } finally {
    await guest.kill();
    await ours.stop();
    await theirs.stop();
    directory.remove();
  }
}
