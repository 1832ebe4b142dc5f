import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { dial, parseAddress, type Transport } from '../../lib/index.js';
import { type InteropOptions, interop, type Report } from '../../lib/interop/index.js';
import { type Dialect, VERSION_L, VERSION_U } from '../../lib/protocol/index.js';
import { dialQemu } from '../../lib/qemu/index.js';
import { diod } from '../support/servers/diod.js';
import { ganesha } from '../support/servers/ganesha.js';
import { serve } from '../support/servers/ninep.js';
import { qemuVersion } from '../support/servers/qemu.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** A server that may be started more than once: some die of what a check sends them. */
export interface Peer extends AsyncDisposable {
  /** A connection to it, whatever happened to it before. */
  dial(): Promise<Transport>;
  /** Ends it, however it hangs, and starts it anew. */
  restart(): Promise<void>;
  readonly aname: string;
}

/** A column of the matrix. */
export interface Column {
  /** The name of the file with what is expected of it. */
  readonly key: string;
  readonly name: string;
  readonly needs: readonly string[];
  readonly dialect: Dialect;
  /** The version it says it is, as Debian or this package has it. */
  version(): string;
  start(path: string): Promise<Peer>;
}

interface Running {
  readonly process: { readonly ended: boolean };
  address(): string;
  stop(): Promise<void>;
}

/** Keeps a server running for one directory. */
async function keepRunning(aname: string, start: () => Promise<Running>): Promise<Peer> {
  let running = await start();
  const restart = async (): Promise<void> => {
    await running.stop();
    running = await start();
  };
  return {
    aname,
    restart,
    async dial() {
      for (let tries = 1; ; tries++) {
        if (running.process.ended) await restart();
        try {
          return await dial(running.address());
        } catch (error) {
          // It may be just about to end, with its socket still there.
          if (tries === 10) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      }
    },
    [Symbol.asyncDispose]: () => running.stop(),
  };
}

/** Each connection is a QEMU of its own, for the same directory. */
async function emulator(path: string, model: string): Promise<Peer> {
  const address = parseAddress(`qemu:path=${path},security_model=${model}`);
  return { aname: '', dial: () => dialQemu(address), restart: async () => {}, [Symbol.asyncDispose]: async () => {} };
}

function debianVersion(name: string): string {
  return execFileSync('dpkg-query', ['-W', name], { encoding: 'utf8' }).trim().split('\t')[1] ?? 'unknown';
}

const models = ['mapped-xattr', 'mapped-file', 'passthrough', 'none'] as const;

export const columns: readonly Column[] = [
  ...models.flatMap((model) =>
    [VERSION_L, VERSION_U].map(
      (dialect): Column => ({
        key: `qemu-${model}${dialect === VERSION_L ? '' : '-u'}`,
        name: `QEMU ${model}`,
        needs: model === 'passthrough' ? ['qemu', 'root'] : ['qemu'],
        dialect: dialect as Dialect,
        version: qemuVersion,
        start: (path) => emulator(path, model),
      }),
    ),
  ),
  {
    key: 'diod',
    name: 'diod',
    needs: ['diod', 'root'],
    dialect: VERSION_L,
    version: () => debianVersion('diod'),
    start: (path) => keepRunning(path, () => diod(path)),
  },
  {
    key: 'ganesha',
    name: 'nfs-ganesha (VFS)',
    needs: ['ganesha'],
    dialect: VERSION_L,
    version: () => debianVersion('nfs-ganesha'),
    start: (path) => keepRunning(path, () => ganesha(path)),
  },
  ...models.map(
    (model): Column => ({
      key: `ninep-${model}`,
      name: `ninep serve ${model}`,
      needs: model === 'passthrough' ? ['linux', 'root'] : ['linux'],
      dialect: VERSION_L,
      version: () => (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version,
      start: (path) => keepRunning('x', () => serve(`${path},security_model=${model},aname=x`)),
    }),
  ),
];

/** Runs the checks against the server of a column, for a fresh directory below one that nobody else has. */
export async function inspectColumn({ name, dialect, version, start }: Column, options: InteropOptions = {}): Promise<Report> {
  const directory = new TemporaryDirectory('interop');
  try {
    const path = directory.join('export');
    mkdirSync(path);
    await using peer = await start(path);
    const { aname } = peer;
    return await interop(() => peer.dial(), { dialect, aname, server: `${name} ${version()}`, restart: () => peer.restart(), ...options });
  } finally {
    // A server may have left paths longer than PATH_MAX, which only a walk takes away.
    execFileSync('rm', ['-rf', '--', directory.path]);
    directory.remove();
  }
}
