import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../build.js';
import { run } from '../child.js';
import { which } from '../requires.js';
import { type CpioEntry, cpio } from './cpio.js';
import { cache, type Kernel } from './kernel.js';

const FILE = 0o100644;
const PROGRAM = 0o100755;
const LINK = 0o120777;

/** A file for the guest: its content, or a file or folder of this host's. */
export type GuestFile = string | Uint8Array | { from: string };

/**
 * Layers of an initramfs are archives laid one behind the other. They are not compressed: under emulation the guest unpacks
 * megabytes of plain archive faster than it inflates them. The layers that tests share are kept by the hash of what is in them.
 */
export async function baseLayer(kernel: Kernel): Promise<Buffer> {
  const busybox = which('busybox');
  if (busybox === undefined) throw new Error('busybox is not installed');
  const { stdout } = await run(busybox, ['--list']);
  const entries: CpioEntry[] = [
    { path: '/init', mode: PROGRAM, data: readFileSync(join(root, 'fixtures', 'guest', 'init')) },
    { path: '/bin/busybox', mode: PROGRAM, data: readFileSync(busybox) },
    ...stdout
      .split('\n')
      .filter((name) => name !== '' && name !== 'busybox')
      .map((name) => ({ path: `/bin/${name}`, mode: LINK, data: Buffer.from('busybox') })),
    { path: '/etc/passwd', mode: FILE, data: Buffer.from('root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n') },
    { path: '/etc/group', mode: FILE, data: Buffer.from('root:x:0:\nuser:x:1000:\n') },
    { path: '/etc/nsswitch.conf', mode: FILE, data: Buffer.from('passwd: files\ngroup: files\nhosts: files\n') },
    { path: '/etc/hosts', mode: FILE, data: Buffer.from('127.0.0.1 localhost\n10.0.2.2 host\n') },
  ];
  for (const name of await readdir(kernel.modules)) {
    entries.push({ path: `/modules/${name}`, mode: FILE, data: readFileSync(join(kernel.modules, name)) });
  }
  return cpio(entries);
}

/** Programs of this host with the shared libraries they load. */
export async function programLayer(programs: readonly string[]): Promise<Buffer> {
  const paths = programs.map((program) => {
    const path = program.includes('/') ? program : which(program);
    if (path === undefined) throw new Error(`${program} is not installed`);
    return path;
  });
  const key = createHash('sha256');
  for (const path of paths) key.update(`${path} ${statSync(path).mtimeMs} ${statSync(path).size}\n`);
  const kept = join(cache, 'layers', key.digest('hex').slice(0, 32));
  if (existsSync(kept)) return readFileSync(kept);
  const entries: CpioEntry[] = [];
  for (const path of paths) {
    entries.push({ path: `/bin/${path.slice(path.lastIndexOf('/') + 1)}`, mode: PROGRAM, data: readFileSync(path) });
    // A static program has no libraries, and ldd answers that with a failure.
    const { stdout } = await run('ldd', [path], { check: false });
    for (const [, library] of stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(/gm)) {
      if (library !== undefined) entries.push({ path: library, mode: PROGRAM, data: readFileSync(realpathSync(library)) });
    }
  }
  const layer = cpio(entries);
  await mkdir(join(cache, 'layers'), { recursive: true });
  await writeFile(`${kept}.${process.pid}`, layer);
  await rename(`${kept}.${process.pid}`, kept);
  return layer;
}

/** Files of one test. */
export async function fileLayer(files: Readonly<Record<string, GuestFile>>): Promise<Buffer> {
  const entries: CpioEntry[] = [];
  for (const [path, file] of Object.entries(files)) {
    if (typeof file === 'string' || file instanceof Uint8Array) {
      const data = Buffer.from(file);
      entries.push({ path, mode: data.subarray(0, 2).toString() === '#!' ? PROGRAM : FILE, data });
    } else await addFromHost(entries, path, file.from);
  }
  return cpio(entries);
}

async function addFromHost(entries: CpioEntry[], path: string, from: string): Promise<void> {
  const stats = statSync(from);
  if (!stats.isDirectory()) {
    entries.push({ path, mode: stats.mode, data: readFileSync(from) });
    return;
  }
  entries.push({ path, mode: stats.mode });
  for (const name of await readdir(from)) await addFromHost(entries, `${path}/${name}`, join(from, name));
}
