import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import debug from 'debug';
import { addressName, type ExecAddress } from './address.js';
import { atExit, signalProcess } from './children.js';
import { abortError, codeOf, TransportError, wrapError } from './error.js';
import { type StreamOptions, StreamTransport } from './stream.js';
import { Tail } from './tail.js';
import type { Transport } from './transport.js';

const trace = debug('ninep:exec');
/** Milliseconds a child has to end by itself once its stdin has, and again between asking it to and ending it. */
const GRACE = 2000;

export interface ProcessOptions extends StreamOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds from the end of its stdin to SIGTERM, and from there to SIGKILL. Default 2000. */
  grace?: number | undefined;
  env?: NodeJS.ProcessEnv | undefined;
}

/**
 * The stdin and stdout of a command, run by the shell in a process group (and session) of its own: what the command starts ends
 * with it, and a Ctrl-C meant for this process does not reach it. So it cannot ask for a password on the terminal either.
 */
export async function connectProcess(address: ExecAddress, options: ProcessOptions = {}): Promise<Transport> {
  const name = addressName(address);
  if (options.signal?.aborted) throw abortError(options.signal);
  const child = spawn('/bin/sh', ['-c', address.command], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: options.env ?? process.env,
  });
  const group = new Group(child);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => reject(wrapError(error, 'spawn', name)));
  });
  const tail = new Tail(child, (line) => trace('%d: %s', child.pid, line));
  const grace = options.grace ?? GRACE;
  const { stdin, stdout } = child as ChildProcess & { stdin: Socket; stdout: Socket };
  // A child that exits while something it started still holds its stdout would keep the stream open.
  child.once('exit', () => group.signal('SIGTERM'));
  stdin.once('close', () => void group.end(grace));
  return new StreamTransport(name, stdout, stdin, options, {
    async finished(error, closing) {
      const asked = await group.end(grace);
      // A pipe that broke says less than the command that was behind it.
      const broken = error !== undefined && ['EPIPE', 'ECONNRESET'].includes(codeOf(error) ?? '') && 'syscall' in error;
      if ((error !== undefined && !broken) || asked) return error;
      await tail.done;
      if (error === undefined && closing && child.exitCode === 0) return undefined;
      const how = child.signalCode === null ? `exited with code ${child.exitCode}` : `was ended by ${child.signalCode}`;
      return new TransportError('ECONNRESET', 'exec', name, [`the command ${how}`, ...tail.lines].join(': '), { cause: error });
    },
  });
}

/** A child and all it started. None of them outlives this process. */
class Group {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #ending: Promise<boolean> | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    const forget = atExit(() => this.signal('SIGKILL'));
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    void this.#exited.then(forget);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#child.pid !== undefined) signalProcess(-this.#child.pid, signal);
  }

  /** Resolves when the child is gone, or cannot be made to go, to whether it had to be asked. Its stdin has ended: it may be about to go by itself. */
  end(grace: number): Promise<boolean> {
    this.#ending ??= this.#end(grace);
    return this.#ending;
  }

  async #end(grace: number): Promise<boolean> {
    if (await this.#within(grace)) return false;
    this.signal('SIGTERM');
    if (!(await this.#within(grace))) this.signal('SIGKILL');
    // Another user's process cannot be ended from here, nor one that hangs in the kernel: neither holds up whoever closes, nor the end of this process.
    if (!(await this.#within(grace))) {
      this.#child.unref();
      this.#child.stderr?.destroy();
    }
    return true;
  }

  async #within(milliseconds: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(resolve, milliseconds, false);
    });
    const gone = await Promise.race([this.#exited.then(() => true), late]);
    clearTimeout(timer);
    return gone;
  }
}
