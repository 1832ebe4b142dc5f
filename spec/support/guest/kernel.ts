import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../child.js';
import { which } from '../requires.js';

/** Drivers the guest loads, with what they depend on. */
const MODULES = ['virtio_pci', 'virtio_net', 'virtio_console', 'virtio-rng', '9p', '9pnet_fd', '9pnet_virtio', 'fuse', 'vsock_loopback'];

/** Where downloads are kept between runs and between clones. */
export const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'ninep');

export interface Kernel {
  /** As `uname -r` in the guest says. */
  release: string;
  /** What QEMU's -kernel takes. */
  image: string;
  /** The folder of the modules, with `order` naming them so that each follows what it needs. */
  modules: string;
}

let found: Promise<Kernel> | undefined;

/** Debian's kernel: unpacked from its package, never installed. Fetched with apt-get the first time. */
export function kernel(): Promise<Kernel> {
  found ??= find();
  return found;
}

async function find(): Promise<Kernel> {
  const folder = join(cache, 'kernel');
  const kernel = cached(folder) ?? (await fetchKernel(folder));
  return { ...kernel, image: (await unpacked(kernel.image)) ?? kernel.image };
}

/**
 * The ELF within a bzImage, kept beside it: QEMU starts it through its PVH note, and an emulated processor need not unpack it, which is
 * half of a boot. Undefined where there is no xz, or the kernel was packed with something else; the bzImage does the same then.
 */
async function unpacked(image: string): Promise<string | undefined> {
  const kept = join(dirname(image), 'vmlinux');
  if (existsSync(kept)) return kept;
  const bytes = await readFile(image);
  // Documentation/x86/boot.rst of Linux: setup_sects, payload_offset, payload_length.
  const at = (bytes.readUInt8(0x1f1) + 1) * 512 + bytes.readUInt32LE(0x248);
  const payload = bytes.subarray(at, at + bytes.readUInt32LE(0x24c));
  if (which('xz') === undefined || payload.toString('latin1', 0, 6) !== '\xfd7zXZ\0') return undefined;
  const work = `${kept}.${process.pid}`;
  try {
    await writeFile(`${work}.xz`, payload);
    // Behind the stream is its length.
    await run('xz', ['--decompress', '--single-stream', `${work}.xz`], { timeout: 60_000 });
    await rename(work, kept);
  } finally {
    await rm(`${work}.xz`, { force: true });
  }
  return kept;
}

function cached(folder: string): Kernel | undefined {
  const wanted = MODULES.join(' ');
  for (const release of existsSync(folder) ? readdirSync(folder).sort().reverse() : []) {
    const path = join(folder, release);
    const list = join(path, 'wanted');
    if (existsSync(list) && readFileSync(list, 'utf8') === wanted)
      return { release, image: join(path, 'vmlinuz'), modules: join(path, 'modules') };
  }
  return undefined;
}

async function fetchKernel(folder: string): Promise<Kernel> {
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, '.work-'));
  try {
    const { stdout } = await run('apt-cache', ['depends', '--important', 'linux-image-amd64']);
    const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
    if (name === undefined) throw new Error('apt-cache knows no linux-image-amd64: run apt-get update');
    await run('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', name], { cwd: work, timeout: 300_000 });
    const deb = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (deb === undefined) throw new Error(`apt-get downloaded no ${name}`);
    await run('dpkg-deb', ['-x', join(work, deb), join(work, 'tree')], { timeout: 300_000 });
    const [release] = readdirSync(join(work, 'tree', 'lib', 'modules'));
    if (release === undefined) throw new Error(`${deb} has no modules`);
    await mkdir(join(work, 'kept', 'modules'), { recursive: true });
    await copyFile(join(work, 'tree', 'boot', `vmlinuz-${release}`), join(work, 'kept', 'vmlinuz'));
    const order = await copyModules(join(work, 'tree', 'lib', 'modules', release, 'kernel'), join(work, 'kept', 'modules'));
    await writeFile(join(work, 'kept', 'modules', 'order'), `${order.join('\n')}\n`);
    await writeFile(join(work, 'kept', 'wanted'), MODULES.join(' '));
    await rm(join(folder, release), { recursive: true, force: true });
    // Two workers may get here at once, with the same: the one that comes second finds the place taken.
    await rename(join(work, 'kept'), join(folder, release)).catch((error: unknown) => {
      if (cached(folder) === undefined) throw error;
    });
    return { release, image: join(folder, release, 'vmlinuz'), modules: join(folder, release, 'modules') };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Copies the wanted modules and what they depend on, and names them in an order that loads. */
async function copyModules(from: string, to: string): Promise<string[]> {
  const paths = new Map<string, string>();
  for (const file of readdirSync(from, { recursive: true, encoding: 'utf8' })) {
    if (file.endsWith('.ko')) paths.set(canonical(basename(file, '.ko')), join(from, file));
  }
  const order: string[] = [];
  const visit = async (name: string): Promise<void> => {
    const path = paths.get(canonical(name));
    if (path === undefined) throw new Error(`the kernel has no module ${name}`);
    const label = canonical(name);
    if (order.includes(label)) return;
    // The package holds no modules.dep (depmod makes it when a kernel is installed), but each module names what it needs.
    const depends = /(?<=\0)depends=([^\0]*)\0/.exec(readFileSync(path, 'latin1'))?.[1] ?? '';
    for (const one of depends.split(',').filter((text) => text !== '')) await visit(one);
    order.push(label);
    await copyFile(path, join(to, `${label}.ko`));
  };
  for (const name of MODULES) await visit(name);
  return order;
}

/** Modules are named with "-" or "_" as it happens. */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}

// `.ci/run` fetches it beforehand, so that no test waits for the network.
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(`guest kernel ${(await kernel()).release}`);
