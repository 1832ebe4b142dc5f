import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ensureBuilt } from '../support/build.js';
import { run } from '../support/child.js';
import { which } from '../support/requires.js';
import type { Comparison } from './pairs.js';

/** What is counted, and how many of it: enough that V8 has compiled it for good long before the count begins. */
const WORKS: Readonly<Record<string, number>> = {
  'encode Tread': 20_000,
  'encode Twalk of 3 names': 20_000,
  'decode Rgetattr': 20_000,
  'decode Twalk of 3 names': 20_000,
  'frame an Rread of 4 KiB': 20_000,
  'one round trip on a memory pair (Tgetattr)': 5_000,
};

/** Figures of the last release, by the version of Node they hold for: the compiler is Node's. */
interface Figures {
  version: string;
  node: string;
  /** Instructions for one of each. */
  instructions: Record<string, number>;
}

const file = fileURLToPath(new URL('counts.json', import.meta.url));
const script = fileURLToPath(new URL('counted.mjs', import.meta.url));

/** Instructions that one process executes, by callgrind. */
async function instructions(what: string, rounds: number): Promise<number> {
  const { stderr } = await run(
    'valgrind',
    [
      ...['--tool=callgrind', '--callgrind-out-file=/dev/null', process.execPath],
      // One thread in which everything happens in the same order every time.
      ...['--single-threaded', '--predictable', '--random-seed=1', '--hash-seed=1', script, what, String(rounds)],
    ],
    { timeout: 600_000 },
  );
  const found = /Collected : (\d+)/.exec(stderr)?.[1];
  if (found === undefined) throw new Error(`callgrind counts nothing: ${stderr}`);
  return Number(found);
}

/**
 * Instructions that the codec, the framer and a round trip take, against those of the last release, which stand in counts.json. Counts, as
 * times of so little work say more about the machine than about the code. With `record` they become the figures to compare with.
 */
export async function benchCounts({ only, record }: { only: RegExp; record: boolean }): Promise<Comparison[]> {
  if (which('valgrind') === undefined) {
    console.error('left out: counts (apt-get install valgrind)');
    return [];
  }
  await ensureBuilt();
  const before = JSON.parse(readFileSync(file, 'utf8')) as Figures;
  const counted: Record<string, number> = {};
  const comparisons: Comparison[] = [];
  for (const [what, rounds] of Object.entries(WORKS)) {
    if (!only.test(what)) continue;
    // What the process takes to begin and to warm up stands in both.
    const one = (await instructions(what, 3 * rounds)) - (await instructions(what, rounds));
    const each = Math.round(one / (2 * rounds));
    counted[what] = each;
    const last = before.instructions[what];
    console.error(`${what}: ${each} instructions${last === undefined ? '' : `; ${before.version}: ${last}`}`);
    if (last !== undefined) comparisons.push({ what, a: 'this one', b: `${before.version}, Node ${before.node}`, ratios: [last / each] });
  }
  if (record) {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
    const figures: Figures = { version, node: process.versions.node, instructions: { ...before.instructions, ...counted } };
    writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
  }
  return comparisons;
}
