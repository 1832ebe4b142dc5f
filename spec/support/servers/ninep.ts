import { join } from 'node:path';
import { ensureBuilt, main } from '../build.js';
import { node, type RunOptions, type RunResult, run } from '../child.js';
import { launch, type ServerProcess } from '../launcher.js';
import { inFull } from '../sized.js';
import { TemporaryDirectory } from '../temporary.js';

export interface NinepServeOptions {
  /** Also listens on a free tcp port of this address (`127.0.0.1`, or `0.0.0.0` to be reached from guests). */
  tcp?: string;
  /** More arguments. */
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
}

/** A `ninep serve` that runs in a process of its own. */
export interface NinepServe extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly socketPath: string;
  readonly port: number | undefined;
  /** The address of an export by its aname, as `connect` takes it. */
  address(aname?: string): string;
  stop(): Promise<void>;
}

/** Runs `ninep …` to its end. */
export async function ninep(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  await ensureBuilt();
  return run(process.execPath, [main, ...args], options);
}

/** What {@link ninepInTurn} runs: each import of the program with another query is another run of it. */
const IN_TURN = `const { main, lines } = JSON.parse(process.argv[1]);
const write = process.stdout.write.bind(process.stdout);
const results = [];
for (const [index, line] of lines.entries()) {
  const result = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) process[name].write = (text) => { result[name] += text; return true; };
  process.argv = [process.argv[0], main, ...line];
  process.exitCode = 0;
  await import('file://' + main + '?' + index);
  results.push({ code: process.exitCode, ...result });
}
process.exitCode = 0;
write(JSON.stringify(results));`;

/**
 * Runs `ninep …` to its end for each command line, in one process: to start it takes longer than a command does that fails at once, which is
 * what this is for. In a process each where nothing may be skipped.
 */
export async function ninepInTurn(lines: readonly (readonly string[])[]): Promise<Pick<RunResult, 'code' | 'stdout' | 'stderr'>[]> {
  if (inFull(true, false)) {
    const results: RunResult[] = [];
    for (const line of lines) results.push(await ninep(line, { check: false }));
    return results;
  }
  await ensureBuilt();
  return JSON.parse((await node(IN_TURN, [JSON.stringify({ main, lines })])).stdout);
}

/** Starts `ninep …` (a mount, say) and waits until it prints a line. */
export async function startNinep(
  args: readonly string[],
  line: RegExp,
  env: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  await ensureBuilt();
  return launch({ command: process.execPath, args: [main, ...args], ready: { line }, env });
}

/** Starts `ninep serve` for exports in the command line's own form (`/srv/data,security_model=none,aname=data`). */
export async function serve(exported: string | readonly string[], options: NinepServeOptions = {}): Promise<NinepServe> {
  await ensureBuilt();
  const exports = typeof exported === 'string' ? [exported] : exported;
  const directory = new TemporaryDirectory('serve');
  const socketPath = join(directory.path, 'socket');
  const listen = [`unix:${socketPath}`, ...(options.tcp === undefined ? [] : [`tcp://${options.tcp}:0`])];
  const process_ = await launch({
    command: process.execPath,
    args: [
      main,
      'serve',
      ...exports.flatMap((one) => ['--export', one]),
      ...listen.flatMap((one) => ['--listen', one]),
      ...(options.args ?? []),
    ],
    // One line for each address, with the port that was really taken.
    ready: { line: new RegExp(`(?:serving .* at .*\\n[\\s\\S]*){${listen.length}}`), from: 'stderr' },
    ...(options.env ? { env: options.env } : {}),
  });
  const text = /at tcp:\/\/.*:(\d+)/.exec(process_.stderr)?.[1];
  const port = text === undefined ? undefined : Number(text);
  const stop = async (): Promise<void> => {
    await process_.stop();
    directory.remove();
  };
  return {
    process: process_,
    socketPath,
    port,
    address: (aname) => `unix:${socketPath}${aname === undefined ? '' : `?aname=${encodeURIComponent(aname)}`}`,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
