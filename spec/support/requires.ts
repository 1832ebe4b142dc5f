import { accessSync, constants, existsSync } from 'node:fs';
import { release } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test } from 'vitest';

/** What a suite stands on besides Node. */
export interface Needs {
  /** Programs that must be found in PATH (or the sbin folders, where Debian puts servers). */
  programs?: readonly string[];
  /** Device files that must be there and readable and writable. */
  devices?: readonly string[];
  /** Files that must be there. */
  files?: readonly string[];
  /** Whether the effective user must be root. */
  root?: boolean;
  /** Whether the host must be Linux. Implied by `devices`. */
  linux?: boolean;
}

/** Whether the kernel of this host is Linux of that version or later. */
export function isLinux(major: number, minor: number): boolean {
  const [ours = 0, least = 0] = release().split('.').map(Number);
  return process.platform === 'linux' && (ours > major || (ours === major && least >= minor));
}

type Body = () => void;

/** A `describe` that runs its suite, skips it, or fails in its place: see {@link requires}. */
export interface Requirement {
  (name: string, body: Body): void;
  /** What is missing and how to get it, in one line; undefined where all is there. */
  readonly missing: string | undefined;
}

/** The Debian package that has a program, where the names differ. */
const PACKAGES: Readonly<Record<string, string>> = {
  'ganesha.nfsd': 'nfs-ganesha nfs-ganesha-vfs',
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  keyctl: 'keyutils',
  'mkfs.ext4': 'e2fsprogs',
  e4crypt: 'e2fsprogs',
  diodcat: 'diod',
  diodls: 'diod',
  fusermount3: 'fuse3',
  getfacl: 'acl',
  getfattr: 'attr',
  setfacl: 'acl',
  setfattr: 'attr',
  setpriv: 'util-linux',
  unshare: 'util-linux',
};

/** Short names for what many suites need together. */
const SETS = {
  fuse: { devices: ['/dev/fuse'], programs: ['setpriv'] },
  mount: { devices: ['/dev/fuse'], programs: ['setpriv'], root: true },
  // A mount by whoever runs the tests: root by itself, others through fusermount3.
  'own mount': { devices: ['/dev/fuse'], programs: process.geteuid?.() === 0 ? ['setpriv'] : ['fusermount3'] },
  root: { root: true },
  linux: { linux: true },
  diod: { programs: ['diod'] },
  qemu: { programs: ['qemu-system-x86_64'] },
  ganesha: { programs: ['ganesha.nfsd'], root: true },
  guest: { programs: ['qemu-system-x86_64', 'busybox', 'dpkg-deb', 'apt-get'], linux: true },
} satisfies Record<string, Needs>;

function isSet(name: string): name is keyof typeof SETS {
  return Object.hasOwn(SETS, name);
}

/** The path of a program, looked for in PATH and the sbin folders; undefined where it is not installed. */
export function which(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => can(path, constants.X_OK));
}

/** What of `needs` is not here and how to get it, in one line; undefined if all is. */
export function missing(...needs: readonly (Needs | string)[]): string | undefined {
  const lines = new Set<string>();
  for (const need of needs) {
    const one: Needs = typeof need !== 'string' ? need : isSet(need) ? SETS[need] : { programs: [need] };
    if ((one.linux || one.devices) && process.platform !== 'linux') lines.add('Linux');
    if (one.root && process.geteuid?.() !== 0) lines.add('root (run as root)');
    for (const device of one.devices ?? []) {
      if (!can(device, constants.R_OK | constants.W_OK)) lines.add(`${device} (a kernel and container that offer it)`);
    }
    for (const file of one.files ?? []) if (!existsSync(file)) lines.add(file);
    for (const program of one.programs ?? []) {
      if (which(program) === undefined) lines.add(`${program} (apt-get install ${PACKAGES[program] ?? program})`);
    }
  }
  return lines.size === 0 ? undefined : [...lines].join(', ');
}

/**
 * A `describe` for suites that need a program, a device or root: `requires('diod', 'mount')('a mount of diod', () => …)`.
 * Names are the sets above or else programs. Where something is missing the suite is skipped and the run says once what to
 * install; with NINEP_REQUIRE=all, as in CI, it fails instead.
 */
export function requires(...needs: readonly (Needs | string)[]): Requirement {
  const reason = missing(...needs);
  const run = (name: string, body: Body): void => {
    if (reason === undefined) describe(name, body);
    else if (process.env['NINEP_REQUIRE'] !== 'all') describe.skip(name, { meta: { needs: reason } }, body);
    else {
      describe(name, () => {
        test('has what it requires', () => {
          throw new Error(`needs ${reason}`);
        });
      });
    }
  };
  return Object.assign(run, { missing: reason });
}

function can(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
