import { realpathSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

/** How the client's owners, modes and special files are kept on the host (QEMU's -fsdev security_model). */
export type SecurityModelName = 'mapped-xattr' | 'mapped-file' | 'passthrough' | 'none';

/** What an export that spans file systems does about inode numbers that meet (QEMU's multidevs). */
export type MultiDevices = 'remap' | 'forbid' | 'warn';

export interface LocalOptions {
  /**
   * `none`, the default: files are the server's own, ids and modes are set where that is permitted. `passthrough`: the client's ids on the host,
   * for a server that is root. `mapped-xattr` and `mapped-file`: files are the server's, and what the client thinks of them is kept beside.
   * `mapped` is QEMU's other word for mapped-xattr.
   */
  securityModel?: SecurityModelName | 'mapped';
  /** Refuses every change with EROFS. */
  readonly?: boolean;
  /** Permission bits of files on the host under the mapped models; 0600 unless given. */
  fmode?: number;
  /** Permission bits of directories on the host under the mapped models; 0700 unless given. */
  dmode?: number;
  multidevs?: MultiDevices;
  /**
   * Descriptors that nodes keep open at most; the least used are closed and found again. Half of them may be those of files that have no name any more
   * and are not open, which cannot be found again. A quarter of what the process may have, unless given.
   */
  descriptors?: number;
  /**
   * Whether root's clients on this host may have the descriptors of open files over a unix socket, and so need not ask for content (DESCRIPTOR_XATTR). Default:
   * true, unless the export is read-only.
   */
  lend?: boolean;
  /** Where system calls are made: `auto` here unless they may block, `always` on other threads. */
  background?: 'auto' | 'always';
  /**
   * Directories (absolute paths) below the export that are not entered, answered EACCES without a system call on them: mount points that
   * this very process serves, where it would wait for itself.
   */
  except?: readonly string[];
  /** Told of what an administrator should know: the text of a line. */
  warn?: (message: string) => void;
}

/** Options with everything decided. */
export interface Settings {
  path: string;
  securityModel: SecurityModelName;
  readonly: boolean;
  fmode: number;
  dmode: number;
  multidevs: MultiDevices;
  descriptors: number;
  lend: boolean;
  background: 'auto' | 'always';
  /** Names from the export's root to each. */
  except: readonly (readonly string[])[];
  warn: (message: string) => void;
}

const MODELS: readonly string[] = ['mapped-xattr', 'mapped-file', 'passthrough', 'none'];
const MULTIDEVS: readonly string[] = ['remap', 'forbid', 'warn'];

/** Checks and completes options. TypeError for what is none; EPERM for passthrough without root. */
export function settle(path: string, options: LocalOptions, limit: number): Settings {
  const securityModel = options.securityModel === 'mapped' ? 'mapped-xattr' : (options.securityModel ?? 'none');
  if (!MODELS.includes(securityModel)) throw new TypeError(`security_model is ${securityModel}, not one of ${MODELS.join(', ')}`);
  const multidevs = options.multidevs ?? 'remap';
  if (!MULTIDEVS.includes(multidevs)) throw new TypeError(`multidevs is ${multidevs}, not one of ${MULTIDEVS.join(', ')}`);
  const mapped = securityModel === 'mapped-xattr' || securityModel === 'mapped-file';
  for (const key of ['fmode', 'dmode'] as const) {
    const mode = options[key];
    if (mode === undefined) continue;
    if (!mapped) throw new TypeError(`${key} is for mapped security models only`);
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) throw new TypeError(`${key} is not made of permission bits`);
  }
  if (securityModel === 'passthrough' && process.geteuid?.() !== 0 && options.readonly !== true) {
    const error: NodeJS.ErrnoException = new Error(
      `EPERM: security_model=passthrough gives files to the client's users, which takes root; use mapped-xattr, mapped-file or none for '${path}'`,
    );
    error.code = 'EPERM';
    error.errno = -1;
    throw error;
  }
  return {
    path,
    securityModel: securityModel as SecurityModelName,
    readonly: options.readonly ?? false,
    fmode: options.fmode ?? 0o600,
    dmode: options.dmode ?? 0o700,
    multidevs,
    descriptors: Math.max(64, options.descriptors ?? Math.min(65536, Math.floor(limit / 4))),
    lend: (options.lend ?? true) && options.readonly !== true,
    background: options.background ?? 'auto',
    except: (options.except ?? []).map((one) => namesBelow(path, one)).filter((names) => names.length > 0),
    warn: options.warn ?? (() => {}),
  };
}

/** The names that lead from `root` to `path`; none where it does not lie below. */
function namesBelow(root: string, path: string): string[] {
  const way = relative(realpathSync(root), join(realpathSync(dirname(resolve(path))), basename(resolve(path))));
  return way === '' || way === '..' || way.startsWith('../') ? [] : way.split('/');
}
