/**
 * Several processes that create, rename, link and remove at once. Each keeps a model of a tree of its own, where every answer is known beforehand, and takes part in
 * directories they share, where only some things are sure: nothing is lost, nothing is there twice, and counts are right.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Random } from '../random.js';
import { runScript } from '../script.js';
import { lstat, outcome, type Status } from '../status.js';
import { loadSyscalls } from '../syscalls.js';
import { SHARED, TOKENS } from './metadata-shared.js';

export interface MetadataOptions {
  readonly processes?: number;
  /** Each process stops after so many operations … */
  readonly operations?: number;
  /** … or after so many seconds, whichever comes first. */
  readonly seconds?: number;
  readonly seed?: number;
}

export interface MetadataReport {
  readonly seed: number;
  readonly operations: number;
  /** How many names were left at the end. */
  readonly names: number;
}

export interface WorkerReport {
  readonly operations: number;
  /** Every name this process knows to be in its own tree: path, type, mode, links, target. */
  readonly journal: readonly string[];
}

const script = new URL('./run.ts', import.meta.url);

/** Runs the processes in `directory`, then recounts. Throws with what does not add up. */
export async function metadata(directory: string, options: MetadataOptions = {}): Promise<MetadataReport> {
  const random = new Random(options.seed);
  const processes = options.processes ?? 4;
  for (let n = 0; n < 3; n++) fs.mkdirSync(path.join(directory, SHARED, `s${n}`), { recursive: true });
  const workers = Array.from({ length: processes }, (_, index) =>
    runScript(script, ['metadataWorker', JSON.stringify([directory, { ...options, index, seed: random.next() }])], {
      timeout: ((options.seconds ?? 600) + 300) * 1000,
    }),
  );
  const reports: WorkerReport[] = [];
  for (const [index, ran] of (await Promise.all(workers)).entries()) {
    if (ran.code !== 0)
      throw new Error(
        `process ${index} of seed ${random.seed} ended with ${ran.code ?? ran.signal}:\n${ran.stdout.slice(-2000)}\n${ran.stderr.slice(-4000)}`,
      );
    reports.push(JSON.parse(ran.stdout.trimEnd().split('\n').at(-1) ?? ''));
  }
  const trouble: string[] = [];
  let names = 0;
  for (const [index, { journal }] of reports.entries()) {
    const found = census(path.join(directory, `own${index}`)).sort();
    const wanted = [...journal].sort();
    names += found.length;
    for (const line of wanted) if (!found.includes(line)) trouble.push(`process ${index} left ${line}, which is not there`);
    for (const line of found) if (!wanted.includes(line)) trouble.push(`process ${index} did not leave ${line}, which is there`);
  }
  trouble.push(...recount(path.join(directory, SHARED), processes));
  if (trouble.length > 0) throw new Error(`seed ${random.seed}: ${trouble.length} differences\n${trouble.slice(0, 40).join('\n')}`);
  return { seed: random.seed, operations: reports.reduce((sum, report) => sum + report.operations, 0), names };
}

/** A name and what it is, in one line. */
export const describe = (name: string, status: Status, target: string): string =>
  `${name} ${status.type} ${status.mode.toString(8)} ${status.type === 'directory' ? '' : status.nlink} ${target}`.trimEnd();

/** A line for each name below `root`. */
function census(root: string): string[] {
  const sys = loadSyscalls();
  const lines: string[] = [];
  const visit = (name: string): void => {
    for (const entry of fs.readdirSync(path.join(root, name))) {
      const at = path.join(name, entry);
      const status = lstat(sys, path.join(root, at));
      if (typeof status === 'number') {
        lines.push(`${at} is listed, but lstat says ${outcome(status)}`);
        continue;
      }
      lines.push(describe(at, status, status.type === 'symlink' ? fs.readlinkSync(path.join(root, at)) : ''));
      if (status.type === 'directory') visit(at);
    }
  };
  visit('');
  return lines;
}

/** What must hold in the shared directories, whoever won which race. */
function recount(root: string, processes: number): string[] {
  const sys = loadSyscalls();
  const trouble: string[] = [];
  const tokens = new Map<string, number>();
  const links = new Map<string, { counted: number; claimed: number; name: string }>();
  const visit = (directory: string): void => {
    let directories = 0;
    const seen = new Set<string>();
    for (const entry of fs.readdirSync(directory)) {
      if (seen.has(entry)) trouble.push(`${directory} lists ${entry} twice`);
      seen.add(entry);
      const at = path.join(directory, entry);
      const status = lstat(sys, at);
      if (typeof status === 'number') {
        trouble.push(`${at} is listed, but lstat says ${outcome(status)}`);
        continue;
      }
      const token = /^token-\d+-\d+/.exec(entry);
      if (token !== null) tokens.set(token[0], (tokens.get(token[0]) ?? 0) + 1);
      if (status.type === 'directory') {
        directories++;
        visit(at);
      } else {
        const key = `${status.dev} ${status.ino}`;
        const known = links.get(key);
        links.set(key, { counted: (known?.counted ?? 0) + 1, claimed: status.nlink, name: at });
      }
    }
    const own = lstat(sys, directory);
    if (typeof own !== 'number' && own.nlink >= 2 && own.nlink !== directories + 2)
      trouble.push(`${directory} claims ${own.nlink} links and holds ${directories} directories`);
  };
  visit(root);
  for (let process = 0; process < processes; process++) {
    for (let n = 0; n < TOKENS; n++) {
      const count = tokens.get(`token-${process}-${n}`) ?? 0;
      if (count !== 1) trouble.push(`token-${process}-${n} is there ${count} times`);
    }
  }
  for (const { counted, claimed, name } of links.values())
    if (counted !== claimed) trouble.push(`${name} claims ${claimed} links and has ${counted}`);
  return trouble;
}
