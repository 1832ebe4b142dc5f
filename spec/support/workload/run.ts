/** The process a workload runs in: `run.ts NAME '[arguments]'`. Its last line of output is the answer as JSON. */
import { metadata } from './metadata.js';
import { metadataWorker } from './metadata-worker.js';
import { operations } from './operations.js';
import { compareTrees, makeTree } from './tree.js';

const workloads: Readonly<Record<string, (...args: never[]) => unknown>> = { operations, metadata, metadataWorker, makeTree, compareTrees };

const [name = '', text = '[]'] = process.argv.slice(2);
const run = workloads[name];
if (run === undefined) throw new Error(`no workload ${name}`);
const args: never[] = JSON.parse(text);
const answer = await run(...args);
process.stdout.write(`${JSON.stringify(answer)}\n`);
