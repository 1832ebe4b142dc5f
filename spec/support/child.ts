import { spawn } from 'node:child_process';
import { markedEnvironment } from './launcher.js';

export interface RunOptions {
  /** Written to its standard input, which is then closed. */
  input?: string | Uint8Array;
  cwd?: string;
  /** Added to this process's environment. */
  env?: Readonly<Record<string, string>>;
  /** Milliseconds after which it and what it started are killed, and `run` rejects. */
  timeout?: number;
  /** Rejects when it does not exit with 0 (the default). */
  check?: boolean;
}

export interface RunResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** The same bytes as stdout, undecoded. */
  output: Buffer;
}

/**
 * Runs a program to its end in a process group of its own. What touches a mount that this process serves must go through here:
 * a synchronous call of our own into it would wait for ourselves.
 */
export function run(command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  const { timeout = 60_000, check = true } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: markedEnvironment(options.env),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    const text = (): string =>
      `--- stdout\n${Buffer.concat(stdout).toString().slice(-8192)}\n--- stderr\n${Buffer.concat(stderr).toString().slice(-8192)}`;
    const line = [command, ...args].join(' ').slice(0, 300);
    // The promise does not wait for the death: a process that hangs in a dead mount cannot die before the mount does.
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      reject(new Error(`${line}: still running after ${timeout} ms\n${text()}`));
    }, timeout);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      const output = Buffer.concat(stdout);
      if (check && code !== 0) reject(new Error(`${line}: ${signal ?? `exit ${code}`}\n${text()}`));
      else resolve({ code, signal, output, stdout: output.toString(), stderr: Buffer.concat(stderr).toString() });
    });
    // A program that ends without reading its input breaks the pipe; its exit code says what became of it.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input);
  });
}

/** Runs a shell script (`sh -eu`), with `$1`, `$2`, … as given. */
export function shell(script: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  return run('/bin/sh', ['-euc', script, 'sh', ...args], options);
}

/** Runs JavaScript (an ES module, may await) in a fresh Node; `process.argv.slice(1)` are `args`. */
export function node(source: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  return run(process.execPath, ['--input-type=module', '--eval', source, '--', ...args], options);
}
