/** Runs a TypeScript file of this repository in a process of its own: whatever touches a mount that the test's process may serve. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface ScriptOptions {
  /** Killed after so many milliseconds; what it said until then is in the error. Default: ten minutes. */
  readonly timeout?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  /** Called with every line of its standard output. */
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface ScriptResult {
  readonly lines: readonly string[];
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

/** How much of each stream is kept. */
const KEEP = 64 * 1024 * 1024;

/** Runs `script` (a path or file: URL) with `args`; resolves when it has ended, however it did. */
export function runScript(script: string | URL, args: readonly string[], options: ScriptOptions = {}): Promise<ScriptResult> {
  const file = typeof script === 'string' ? script : fileURLToPath(script);
  return runProgram(process.execPath, ['--import', 'tsx', file, ...args], options);
}

/** The same for any program; it runs in the repository's root unless `cwd` says otherwise. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: ScriptOptions & { readonly cwd?: string } = {},
): Promise<ScriptResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd ?? root,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    const lines: string[] = [];
    let kept = 0;
    let stderr = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, options.timeout ?? 600_000);
    const abort = (): void => void child.kill('SIGKILL');
    options.signal?.addEventListener('abort', abort, { once: true });
    createInterface({ input: child.stdout }).on('line', (line) => {
      kept += line.length;
      if (kept <= KEEP) lines.push(line);
      options.onLine?.(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < KEEP) stderr += text;
    });
    const done = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
    };
    child.once('error', (error) => {
      done();
      reject(error);
    });
    child.once('close', (code, signal) => {
      done();
      resolve({ lines, stderr, code, signal, timedOut });
    });
  });
}
