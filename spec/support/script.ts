/** Runs a TypeScript file of this repository in a process of its own: whatever touches a mount that the test's process may serve. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { markedEnvironment } from './launcher.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface ScriptOptions {
  /** Killed after so many milliseconds. Default: ten minutes. */
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** Called with every line of its standard output. */
  readonly onLine?: (line: string) => void;
}

export interface ScriptResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

/** How much of each stream is kept. */
const KEEP = 16 * 1024 * 1024;

/**
 * Runs `script` with `args`, in a process group of its own; resolves when it has ended, or when its time is up: that a process which hangs in a dead mount dies is
 * not waited for.
 */
export function runScript(script: URL, args: readonly string[], options: ScriptOptions = {}): Promise<ScriptResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(script), ...args], {
      cwd: root,
      env: markedEnvironment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    let stdout = '';
    let stderr = '';
    const end = (code: number | null, signal: NodeJS.Signals | null, timedOut: boolean): void => {
      clearTimeout(timer);
      resolve({ stdout, stderr, code, signal, timedOut });
    };
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      end(null, 'SIGKILL', true);
    }, options.timeout ?? 600_000);
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (stdout.length < KEEP) stdout += `${line}\n`;
      options.onLine?.(line);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < KEEP) stderr += text;
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code, signal) => end(code, signal, false));
  });
}
