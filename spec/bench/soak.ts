/**
 * `npm run soak [MINUTES]`: mixed load through a mount of `ninep serve`, with the memory of both processes every ten seconds: all of it, and what is
 * left of the heap and of buffers after a full collection. The first is up to the collector and the allocator; if the second grows, something leaks.
 * Not part of CI.
 */
import { mkdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { shell } from '../support/child.js';
import { stopAll } from '../support/launcher.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { workload } from '../support/workload/index.js';
import { collecting, left, rss } from './footprint.js';

const minutes = Number(process.argv[2] ?? 120);
const directory = new TemporaryDirectory('soak');
for (const name of ['tree', 'mnt', 'local']) mkdirSync(directory.join(name));
await using server = await serve(`${directory.join('tree')},aname=t,security_model=passthrough`, { env: collecting });
const mount = await startNinep(['mount', '--foreground', server.address('t'), directory.join('mnt')], /mounted at/, collecting);
const end = Date.now() + minutes * 60_000;
const rounds = { files: 0, operations: 0, large: 0, listings: 0 };

async function repeat(name: keyof typeof rounds, work: (round: number) => Promise<unknown>): Promise<void> {
  while (Date.now() < end) await work(rounds[name]++);
}

const at = (name: string) => directory.join('mnt', name);
const jobs = [
  repeat('files', (round) =>
    shell(
      'mkdir "$1"; for n in $(seq 300); do echo $n > "$1/$n"; done; cat "$1"/* > /dev/null; mv "$1" "$1.moved"; rm -r "$1.moved"',
      [at(`files${round}`)],
      { timeout: 600_000 },
    ),
  ),
  repeat('operations', (round) => workload('operations', [at('operations'), { operations: 2000, seed: round }])),
  repeat('large', () =>
    shell('head -c 64M /dev/zero > "$1"; cmp -n 67108864 "$1" /dev/zero; rm "$1"', [at('large')], { timeout: 600_000 }),
  ),
  repeat('listings', () =>
    shell(
      'mkdir -p "$1"; cd "$1"; for n in $(seq 1000); do : > "entry$n"; done; ls -l > /dev/null; find . -type f -delete',
      [at('listing')],
      { timeout: 600_000 },
    ),
  ),
];

const descriptors = async (pid: number): Promise<string> => (await shell('ls /proc/$1/fd | wc -l', [String(pid)])).stdout.trim();
const report = async (): Promise<void> => {
  const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
  console.log(
    [
      `${seconds} s to go`,
      `mount ${rss(mount.pid)} MiB (${await left(mount)}) ${await descriptors(mount.pid)} fds`,
      `server ${rss(server.process.pid)} MiB (${await left(server.process)}) ${await descriptors(server.process.pid)} fds`,
      JSON.stringify(rounds),
    ].join('  '),
  );
};
const all = Promise.all(jobs);
let over = false;
void all
  .finally(() => {
    over = true;
  })
  .catch(() => undefined);
while (!over) {
  await report();
  await Promise.race([delay(10_000), all]);
}
try {
  await all;
  await report();
} finally {
  await mount.stop();
  await server.stop();
  await stopAll();
  directory.remove();
}
