import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import debug from 'debug';
import { addressName, type ExecAddress } from './address.js';
import { abortError, TransportError, wrapError } from './error.js';
import { type StreamOptions, StreamTransport } from './stream.js';
import type { Transport } from './transport.js';

const trace = debug('ninep:exec');
/** Lines and bytes of the child's stderr that an error quotes. */
const TAIL_LINES = 5;
const LINE_LENGTH = 300;
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
  const tail = new Tail(child);
  const grace = options.grace ?? GRACE;
  const { stdin, stdout } = child as ChildProcess & { stdin: Socket; stdout: Socket };
  // A child that exits while something it started still holds its stdout would keep the stream open.
  child.once('exit', () => group.signal('SIGTERM'));
  stdin.once('close', () => void group.end(grace));
  return new StreamTransport(name, stdout, stdin, options, {
    async finished(error, closing) {
      const asked = await group.end(grace);
      await tail.done;
      if (error !== undefined || asked || (closing && child.exitCode === 0)) return error;
      const how = child.signalCode === null ? `exited with code ${child.exitCode}` : `was ended by ${child.signalCode}`;
      return new TransportError('ECONNRESET', 'exec', name, [`the command ${how}`, ...tail.lines].join(': '));
    },
  });
}

/** A child and all it started. None of them outlives this process. */
class Group {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #ending: Promise<boolean> | undefined;
  readonly #last = () => this.signal('SIGKILL');

  constructor(child: ChildProcess) {
    this.#child = child;
    process.on('exit', this.#last);
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    void this.#exited.then(() => process.off('exit', this.#last));
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, signal);
    } catch (error) {
      trace('kill %d: %o', this.#child.pid, error);
    }
  }

  /** Resolves when the child is gone, to whether it had to be asked. Its stdin has ended: it may be about to go by itself. */
  end(grace: number): Promise<boolean> {
    this.#ending ??= this.#end(grace);
    return this.#ending;
  }

  async #end(grace: number): Promise<boolean> {
    if (await this.#within(grace)) return false;
    this.signal('SIGTERM');
    if (!(await this.#within(grace))) this.signal('SIGKILL');
    await this.#exited;
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

/** The last lines that a child wrote to stderr. */
class Tail {
  readonly lines: string[] = [];
  readonly done: Promise<void>;

  constructor(child: ChildProcess) {
    const { stderr } = child;
    if (stderr === null) {
      this.done = Promise.resolve();
      return;
    }
    const reader = createInterface({ input: stderr });
    reader.on('line', (line) => {
      trace('%d: %s', child.pid, line);
      this.lines.push(line.slice(0, LINE_LENGTH));
      if (this.lines.length > TAIL_LINES) this.lines.shift();
    });
    // Something that left the child's group may hold stderr for ever: what there is, is enough.
    this.done = new Promise((resolve) => {
      reader.once('close', resolve);
      child.once('exit', () =>
        setTimeout(() => {
          stderr.destroy();
          reader.close();
        }, GRACE / 4).unref(),
      );
    });
  }
}
