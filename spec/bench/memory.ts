import { mkdirSync } from 'node:fs';
import { shell } from '../support/child.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { collecting, left, rss } from './footprint.js';

const COPIED = 10 * 1024;
const LISTED = 1_000_000;
const PATIENCE = { timeout: 3_600_000 };

/**
 * What a mount of `ninep serve` and the server have in memory: at the beginning, after a file of 10 GiB was written and read, after a million files
 * were listed by name and with their attributes, and once the kernel has let go of them.
 */
export async function benchMemory(): Promise<[]> {
  const directory = new TemporaryDirectory('memory');
  for (const name of ['tree', 'mnt']) mkdirSync(directory.join(name));
  try {
    await using server = await serve(`${directory.join('tree')},aname=t,security_model=passthrough`, { env: collecting });
    const mount = await startNinep(['mount', '--foreground', server.address('t'), directory.join('mnt')], /mounted at/, collecting);
    const say = async (when: string): Promise<void> => {
      const of = async (one: typeof mount) => `${rss(one.pid)} MiB (${await left(one)} after a collection)`;
      console.error(`memory ${when}: mount ${await of(mount)}, server ${await of(server.process)}`);
    };
    try {
      await say('at the beginning');
      await shell('dd if=/dev/zero of="$1/large" bs=1M count="$2" status=none', [directory.join('mnt'), String(COPIED)], PATIENCE);
      await say(`after ${COPIED} MiB were written`);
      await shell('dd if="$1/large" of=/dev/null bs=1M status=none; rm "$1/large"', [directory.join('mnt')], PATIENCE);
      await say('after they were read');
      await shell('mkdir "$1/many"; cd "$1/many"; seq "$2" | xargs -n 2000 touch', [directory.join('tree'), String(LISTED)], PATIENCE);
      const names = await shell('ls -U "$1/many" | wc -l', [directory.join('mnt')], PATIENCE);
      if (Number(names.stdout) !== LISTED) throw new Error(`${names.stdout.trim()} files were listed`);
      await say(`after ${LISTED} files were listed`);
      await shell('ls -lU "$1/many" > /dev/null', [directory.join('mnt')], PATIENCE);
      await say('after their attributes were, too');
      await shell('echo 3 > /proc/sys/vm/drop_caches', [], PATIENCE);
      await say('after the kernel forgot them');
    } finally {
      await mount.stop();
    }
  } finally {
    directory.remove();
  }
  return [];
}
