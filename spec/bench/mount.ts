import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../support/child.js';
import { type Comparison, compare, seconds } from './pairs.js';
import { local, ninepOf, passthrough, type Subject, sshfs } from './subjects.js';

export interface MountBenchOptions {
  pairs: number;
  /** Size of the file that is read and written at one go, in MiB. */
  mebibytes: number;
  files: number;
  /** Only rows whose name this matches. */
  only: RegExp;
  /** Further words for `ninep mount`. */
  options: readonly string[];
}

const script = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const MIB = 1024 * 1024;

/** Forgets what the kernel keeps of any file, so that the next read is cold for everybody. */
function dropCaches(): void {
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

const dd = (args: string[]) => seconds(() => run('dd', [...args, 'status=none'], { timeout: 600_000 }));

const SMALL_STEPS = ['create', 'stat', 'read', 'list', 'remove'] as const;

/** What is known before a step of small files: by a mount that has just begun nothing, by one in use nothing of these files, and all. */
const STATES = ['cold', 'cold, mount in use', 'warm'] as const;

async function onSmallFiles(step: string, directory: string, files: number): Promise<number> {
  return Number((await run(process.execPath, [script('files.mjs'), step, directory, String(files)], { timeout: 600_000 })).stdout);
}

/** A step of small files by a mount that has done all of them before, with other files; these come from behind its back. */
async function inUse(subject: Subject, step: string, files: number): Promise<number> {
  const path = await subject.mount();
  try {
    for (const each of SMALL_STEPS) await onSmallFiles(each, join(path, 'others'), files);
    if (step !== 'create') await onSmallFiles('create', join(subject.backing, 'small'), files);
    dropCaches();
    return await onSmallFiles(step, join(path, 'small'), files);
  } finally {
    await subject.unmount();
    await run('rm', ['-rf', join(subject.backing, 'small')]);
  }
}

/** The steps of small files, each with the state it needs before it. */
async function smallFiles(subject: Subject, step: string, files: number, cold: boolean): Promise<number> {
  const before: Readonly<Record<string, string[]>> = {
    create: [],
    stat: ['create'],
    read: ['create'],
    list: ['create'],
    remove: ['create'],
  };
  const node = (name: string, path: string) => onSmallFiles(name, join(path, 'small'), files);
  let path = await subject.mount();
  try {
    for (const name of before[step] ?? []) await node(name, path);
    if (cold) {
      await subject.unmount();
      dropCaches();
      path = await subject.mount();
    } else if (step !== 'create') await node('stat', path);
    return await node(step, path);
  } finally {
    await subject.unmount();
    await run('rm', ['-rf', join(subject.backing, 'small')]);
  }
}

/** The mount against what users would pick instead. */
export async function benchMount(options: MountBenchOptions): Promise<Comparison[]> {
  const { pairs, mebibytes, files, only } = options;
  const mounts = [await ninepOf('ninep serve', options.options), await ninepOf('diod', options.options)];
  const [remote, limit] = await Promise.all([sshfs(), passthrough()]);
  if (remote === undefined) console.error('left out: sshfs (apt-get install sshfs openssh-sftp-server)');
  if (limit === undefined) console.error('left out: passthrough_ll (apt-get install gcc pkg-config libfuse3-dev)');
  const others = [remote, limit].filter((one): one is Subject => one !== undefined);
  others.push(local());
  const comparisons: Comparison[] = [];
  const row = async (what: string, work: (subject: Subject) => Promise<number>) => {
    for (const mount of mounts) {
      for (const other of others) {
        if (!only.test(`${what} ${mount.name} ${other.name}`)) continue;
        const comparison = await compare(what, [mount.name, () => work(mount)], [other.name, () => work(other)], pairs);
        comparisons.push(comparison);
        console.error(`${what}: ${mount.name} / ${other.name}: ${comparison.ratios.map((ratio) => ratio.toFixed(2)).join(' ')}`);
      }
    }
  };
  /** The large file, behind the mount's back. */
  const large = (subject: Subject) =>
    run('dd', ['if=/dev/zero', `of=${join(subject.backing, 'large')}`, 'bs=1M', `count=${mebibytes}`, 'status=none']);
  const withMount = async (subject: Subject, work: (path: string) => Promise<number>) => {
    const path = await subject.mount();
    try {
      return await work(path);
    } finally {
      await subject.unmount();
    }
  };
  try {
    for (const block of [8192, 65536, 131072, MIB, 2 * MIB]) {
      const name = block >= MIB ? `${block / MIB} MiB` : `${block / 1024} KiB`;
      const count = Math.floor((mebibytes * MIB) / block);
      await row(`write ${mebibytes} MiB at ${name}`, (subject) =>
        withMount(subject, (path) => dd(['if=/dev/zero', `of=${join(path, 'large')}`, `bs=${block}`, `count=${count}`])),
      );
      await row(`read ${mebibytes} MiB at ${name}, cold`, async (subject) => {
        await large(subject);
        return withMount(subject, (path) => {
          dropCaches();
          return dd([`if=${join(path, 'large')}`, 'of=/dev/null', `bs=${block}`]);
        });
      });
    }
    await row(`read ${mebibytes} MiB at 1 MiB again`, async (subject) => {
      await large(subject);
      return withMount(subject, async (path) => {
        await dd([`if=${join(path, 'large')}`, 'of=/dev/null', 'bs=1M']);
        return dd([`if=${join(path, 'large')}`, 'of=/dev/null', 'bs=1M']);
      });
    });
    for (const jobs of [1, 4]) {
      await row(`4 KiB random reads, ${jobs} at a time`, async (subject) => {
        await large(subject);
        return withMount(subject, async (path) => {
          dropCaches();
          const job = (seed: number) =>
            run(process.execPath, [script('random.mjs'), join(path, 'large'), String(2000 / jobs), String(seed)]);
          const times = await Promise.all(Array.from({ length: jobs }, (_, seed) => job(seed + 1)));
          return Math.max(...times.map(({ stdout }) => Number(stdout)));
        });
      });
    }
    for (const step of SMALL_STEPS) {
      for (const state of STATES) {
        // A file that is made is known to nobody before.
        if (step === 'create' && state === 'warm') continue;
        await row(`${step} ${files} files of 1 KiB, ${state}`, (subject) =>
          state === 'cold, mount in use' ? inUse(subject, step, files) : smallFiles(subject, step, files, state === 'cold'),
        );
      }
    }
  } finally {
    for (const subject of [...mounts, ...others]) await subject.stop();
  }
  return comparisons;
}
