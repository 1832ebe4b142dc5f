import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer, type NetConnectOpts } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { which } from './requires.js';

/** Marks what this process starts, so that children of children are found too. */
const MARK = 'NINEP_LAUNCHED';
const mark = randomUUID();
/** How much of a server's output is kept for failure messages, in characters. */
const KEPT = 64 * 1024;

const live = new Set<ServerProcess>();

/** When a server is ready for its first client: what it prints, or where it listens. */
export type Ready =
  | { line: RegExp; from?: 'stdout' | 'stderr' | 'either' }
  | { connect: { path: string } | { host?: string; port: number } }
  | 'spawned';

export interface Launch {
  /** The program: a path, or a name to be found in PATH or the sbin folders. */
  command: string;
  args?: readonly string[];
  ready: Ready;
  /** Added to this process's environment. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** As of spawn; stdout and stderr stay 'pipe' unless given here. */
  stdio?: SpawnOptions['stdio'];
  /** Milliseconds until a server that is not ready counts as failed. */
  timeout?: number;
  /** How it is asked to end. */
  stopSignal?: NodeJS.Signals;
}

/** A server that runs. It ends with `stop`, with `await using`, with its test file, and with the test process. */
export class ServerProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Resolves with how it ended. Never rejects. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** What group of regular expression a `ready: { line }` matched. */
  readyLine: RegExpExecArray | undefined;
  readonly #name: string;
  readonly #stopSignal: NodeJS.Signals;
  readonly #watchers = new Set<() => void>();
  #stdout = '';
  #stderr = '';
  #ended = false;

  constructor(child: ChildProcess, pid: number, name: string, stopSignal: NodeJS.Signals) {
    this.child = child;
    this.pid = pid;
    this.#name = name;
    this.#stopSignal = stopSignal;
    live.add(this);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-KEPT);
      this.#changed();
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-KEPT);
      this.#changed();
    });
    // 'close' may never come while a grandchild holds the pipe, so 'exit' decides.
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#ended = true;
        live.delete(this);
        this.#changed();
        resolve({ code, signal });
      });
    });
  }

  /** What it wrote so far, the last 64 KiB. */
  get stdout(): string {
    return this.#stdout;
  }
  get stderr(): string {
    return this.#stderr;
  }
  get ended(): boolean {
    return this.#ended;
  }

  /** Waits until its output matches; rejects when it ends before, or after `timeout` ms. */
  output(
    pattern: RegExp,
    { from = 'either', timeout = 60_000 }: { from?: 'stdout' | 'stderr' | 'either'; timeout?: number } = {},
  ): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const done = (finish: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        finish();
      };
      const look = (): void => {
        const text = from === 'either' ? `${this.#stdout}\n${this.#stderr}` : from === 'stdout' ? this.#stdout : this.#stderr;
        const match = pattern.exec(text);
        if (match) done(() => resolve(match));
        else if (this.#ended) done(() => reject(this.failure(`ended before it printed ${pattern}`)));
      };
      const timer = setTimeout(() => done(() => reject(this.failure(`did not print ${pattern} within ${timeout} ms`))), timeout);
      this.#watchers.add(look);
      look();
    });
  }

  /** An error that says what this server wrote. */
  failure(what: string): Error {
    return new Error(`${this.#name} (pid ${this.pid}) ${what}\n--- stdout\n${this.#stdout}\n--- stderr\n${this.#stderr}`);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    if (!this.#ended) this.child.kill(signal);
  }

  /** Asks it to end, insists after `grace` ms, and waits until it has. Idempotent. */
  async stop(grace = 10_000): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.kill(this.#stopSignal);
    const timer = setTimeout(() => this.kill('SIGKILL'), grace);
    const result = await this.exited;
    clearTimeout(timer);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/**
 * Starts a server and resolves once it is ready. The kernel kills it when this process dies, however that happens
 * (PR_SET_PDEATHSIG, by way of setpriv(1)).
 */
export async function launch(options: Launch): Promise<ServerProcess> {
  const { command, args = [], ready, timeout = 60_000, stopSignal = 'SIGTERM' } = options;
  const program = command.includes('/') ? command : which(command);
  if (program === undefined) throw new Error(`${command} is not installed`);
  const setpriv = process.platform === 'linux' ? which('setpriv') : undefined;
  const [file, list] = setpriv === undefined ? [program, [...args]] : [setpriv, ['--pdeathsig', 'KILL', '--', program, ...args]];
  const child = spawn(file, list, {
    stdio: options.stdio ?? ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env, [MARK]: mark },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const pid = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => (child.pid === undefined ? reject(new Error(`${command} has no pid`)) : resolve(child.pid)));
  });
  const server = new ServerProcess(child, pid, command, stopSignal);
  try {
    if (ready === 'spawned') return server;
    if ('line' in ready) server.readyLine = await server.output(ready.line, { timeout, ...(ready.from ? { from: ready.from } : {}) });
    else await reachable(server, ready.connect, timeout);
    return server;
  } catch (error) {
    await server.stop(0);
    throw error;
  }
}

/** Connects, and hangs up, until that works. */
async function reachable(server: ServerProcess, where: { path: string } | { host?: string; port: number }, timeout: number): Promise<void> {
  const options: NetConnectOpts = 'path' in where ? { path: where.path } : { host: where.host ?? '127.0.0.1', port: where.port };
  const deadline = Date.now() + timeout;
  while (!(await connects(options))) {
    if (server.ended) throw server.failure('ended before it listened');
    if (Date.now() > deadline) throw server.failure(`did not listen within ${timeout} ms`);
    await delay(10);
  }
}

function connects(options: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(options);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A tcp port that was free a moment ago. Another process may take it: start again with another one then, or prefer unix sockets. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/**
 * Ends every server that is left, then says which processes that this one started, or that those started, still run:
 * a test that leaves one has failed.
 */
export async function stopAll(): Promise<string[]> {
  const forgotten = [...live].map((server) => `${server.pid} (not stopped by its test)`);
  await Promise.all([...live].map((server) => server.stop(1000)));
  // What ends because its mount or its parent did needs a moment for it.
  const deadline = Date.now() + 20_000;
  while (descendants().length > 0 && Date.now() < deadline) await delay(50);
  const left = descendants();
  for (const line of left) {
    try {
      process.kill(Number.parseInt(line, 10), 'SIGKILL');
    } catch {
      // It has ended by itself meanwhile.
    }
  }
  return [...forgotten, ...left];
}

/** Environment for processes that are started without `launch`, so that the leak check sees them. */
export function markedEnvironment(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { ...process.env, ...env, [MARK]: mark };
}

/** Live processes with this process's mark in their environment, zombies left out. */
export function descendants(): string[] {
  if (process.platform !== 'linux') return [];
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${MARK}=${mark}`)) continue;
      // A process that has ended but was not waited for yet has no executable any more.
      readlinkSync(`/proc/${pid}/exe`);
      found.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`);
    } catch {
      // Gone meanwhile, or somebody else's.
    }
  }
  return found;
}
