/**
 * `npm run soak [MINUTES]`: mixed load through a mount of `ninep serve`, with the memory of both processes every ten seconds: all of it, and what is
 * left of the heap and of buffers after a full collection. The first is up to the collector and the allocator; if the second grows, something leaks.
 * Not part of CI.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { shell } from '../support/child.js';
import { type ServerProcess, stopAll } from '../support/launcher.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { workload } from '../support/workload/index.js';

const minutes = Number(process.argv[2] ?? 120);
const directory = new TemporaryDirectory('soak');
for (const name of ['tree', 'mnt', 'local']) mkdirSync(directory.join(name));
/** Has a process collect and say on SIGUSR2 what is left, in MiB: the heap, and buffers. Those are given back by the next collection only. */
const MEMORY = `process.on('SIGUSR2', () => {
  gc();
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  process.stderr.write('left ' + (heapUsed / 1048576).toFixed(1) + '+' + (arrayBuffers / 1048576).toFixed(1) + ' MiB\\n');
});`;
const env = { NODE_OPTIONS: `--expose-gc --import=data:text/javascript,${encodeURIComponent(MEMORY)}` };
await using server = await serve(`${directory.join('tree')},aname=t,security_model=passthrough`, { env });
const mount = await startNinep(['mount', '--foreground', server.address('t'), directory.join('mnt')], /mounted at/, env);
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

const rss = (pid: number): string =>
  `${Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)} MiB`;
const descriptors = async (pid: number): Promise<string> => (await shell('ls /proc/$1/fd | wc -l', [String(pid)])).stdout.trim();
const left = async (process: ServerProcess): Promise<string> => {
  const said = () => [...process.stderr.matchAll(/^left (.*)$/gm)].at(-1);
  const before = said()?.index ?? -1;
  process.kill('SIGUSR2');
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await delay(20)) {
    const now = said();
    if (now !== undefined && now.index !== before) return now[1] as string;
  }
  return '?';
};
const report = async (): Promise<void> => {
  const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
  console.log(
    [
      `${seconds} s to go`,
      `mount ${rss(mount.pid)} (${await left(mount)}) ${await descriptors(mount.pid)} fds`,
      `server ${rss(server.process.pid)} (${await left(server.process)}) ${await descriptors(server.process.pid)} fds`,
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
