import { join } from 'node:path';
import { launch, type ServerProcess } from '../launcher.js';
import { which } from '../requires.js';
import { TemporaryDirectory } from '../temporary.js';

export interface DiodOptions {
  /** Listens on this tcp port of 127.0.0.1 instead of a unix socket. */
  port?: number;
  /** More arguments, such as `-S` or `-o ro`. */
  args?: readonly string[];
}

/** A diod that runs, and the addresses of its exports. */
export interface Diod extends AsyncDisposable {
  readonly process: ServerProcess;
  /** Where it listens: a socket's path, unless a port was asked for. */
  readonly socketPath: string | undefined;
  readonly port: number | undefined;
  /** The address of an export, as `connect` takes it; the first one by default. */
  address(path?: string): string;
  stop(): Promise<void>;
}

/** Starts Debian's diod in the foreground, without authentication, for these directories (absolute paths, which are also the anames). */
export async function diod(exported: string | readonly string[], options: DiodOptions = {}): Promise<Diod> {
  const paths = typeof exported === 'string' ? [exported] : exported;
  const directory = new TemporaryDirectory('diod');
  const socketPath = options.port === undefined ? join(directory.path, 'socket') : undefined;
  const listen = socketPath ?? `127.0.0.1:${options.port}`;
  // Without a configuration of its own, Debian's would be read and would bring its own exports.
  const args = [
    '-f',
    '-n',
    '-c',
    '/dev/null',
    '-L',
    'stderr',
    '-l',
    listen,
    ...paths.flatMap((path) => ['-e', path]),
    ...(options.args ?? []),
  ];
  const process = await launch({
    command: 'diod',
    args,
    // Malformed requests can crash it, and a core file belongs to nobody's tree.
    cwd: directory.path,
    ready: { connect: socketPath === undefined ? { port: options.port ?? 564 } : { path: socketPath } },
  });
  const stop = async (): Promise<void> => {
    await process.stop();
    directory.remove();
  };
  return {
    process,
    socketPath,
    port: options.port,
    address: (path = paths[0] ?? '/') =>
      socketPath === undefined ? `tcp://127.0.0.1:${options.port}${path}` : `unix:${socketPath}?aname=${encodeURIComponent(path)}`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The command, for `exec:` addresses, of a diod that serves the one client on its standard input and output. */
export function diodCommand(exported: string | readonly string[]): string {
  const paths = typeof exported === 'string' ? [exported] : exported;
  return [which('diod') ?? 'diod', '-f -n -c /dev/null -L stderr -r 0 -w 1', ...paths.map((path) => `-e ${path}`)].join(' ');
}
