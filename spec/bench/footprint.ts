import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerProcess } from '../support/launcher.js';

/** Has a process collect and say on SIGUSR2 what is left, in MiB: the heap, and buffers. Those are given back by the next collection only. */
const MEMORY = `process.on('SIGUSR2', () => {
  gc();
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  process.stderr.write('left ' + (heapUsed / 1048576).toFixed(1) + '+' + (arrayBuffers / 1048576).toFixed(1) + ' MiB\\n');
});`;

/** The environment for a process that is to be asked by `left`. */
export const collecting = { NODE_OPTIONS: `--expose-gc --import=data:text/javascript,${encodeURIComponent(MEMORY)}` };

/** What a process has in memory, in MiB. */
export function rss(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024);
}

/** What a full collection leaves of a process's heap and buffers; `?` where it does not say within five seconds. */
export async function left(process: ServerProcess): Promise<string> {
  const said = () => [...process.stderr.matchAll(/^left (.*)$/gm)].at(-1);
  const before = said()?.index ?? -1;
  process.kill('SIGUSR2');
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await delay(20)) {
    const now = said();
    if (now !== undefined && now.index !== before) return now[1] as string;
  }
  return '?';
}
