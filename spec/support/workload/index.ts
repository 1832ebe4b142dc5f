/** Workloads over a directory, each in processes of its own. A workload answers a report, or fails with what went wrong. */
import { runScript } from '../script.js';
import type { MetadataOptions, MetadataReport } from './metadata.js';
import type { OperationsOptions, OperationsReport } from './operations.js';
import type { TreeOptions, TreeReport } from './tree.js';

export type { MetadataOptions, MetadataReport } from './metadata.js';
export type { OperationsOptions, OperationsReport } from './operations.js';
export type { TreeOptions, TreeReport } from './tree.js';

/** What run.ts can be asked for, by name, with arguments and answer. */
export interface Workloads {
  operations: { arguments: [file: string, options: OperationsOptions]; answer: OperationsReport };
  metadata: { arguments: [directory: string, options: MetadataOptions]; answer: MetadataReport };
  makeTree: { arguments: [directory: string, options: TreeOptions]; answer: TreeReport };
  /** The differences, none if the trees are the same. */
  compareTrees: { arguments: [one: string, other: string]; answer: readonly string[] };
}

const script = new URL('./run.ts', import.meta.url);

/** Runs one in a child process. Rejects with the child's words when it fails. */
export async function workload<Name extends keyof Workloads>(
  name: Name,
  args: Workloads[Name]['arguments'],
  { timeout = 900_000 }: { timeout?: number } = {},
): Promise<Workloads[Name]['answer']> {
  const ran = await runScript(script, [name, JSON.stringify(args)], { timeout });
  if (ran.timedOut) throw new Error(`${name} was not done after ${timeout} ms\n${ran.stderr}`);
  if (ran.code !== 0)
    throw new Error(`${name} ended with ${ran.code ?? ran.signal}\n${ran.stdout.slice(-4000)}\n${ran.stderr.slice(-8000)}`);
  return JSON.parse(ran.stdout.trimEnd().split('\n').at(-1) ?? '');
}
