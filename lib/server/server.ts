import type { Listener, Transport } from '../transport/transport.js';
import type { Backend } from './backend.js';
import { BufferPool } from './buffers.js';
import { Connection } from './connection.js';
import type { ServerContext } from './context.js';
import { Counters } from './counters.js';
import type { ServerEvent } from './events.js';
import { type ExportOptions, Exports } from './exports.js';
import { type Limits, limitsOf } from './limits.js';

export interface ServerOptions {
  /** What is served, by aname: a back-end, or one with options. More can be added by `export`. */
  exports?: Readonly<Record<string, Backend | ({ backend: Backend } & ExportOptions)>>;
  /** What clients may have; see `Limits`. */
  limits?: Partial<Limits>;
  /** Is told who comes, attaches and leaves, and what went wrong. Must not throw. */
  log?: (event: ServerEvent) => void;
}

/** What a server does and has done. */
export interface ServerStatus {
  /** Connections that are open, fids and requests of all of them. */
  connections: number;
  fids: number;
  pending: number;
  /** Connections since the start. */
  accepted: number;
  requests: number;
  errors: number;
  attaches: number;
  bytesIn: number;
  bytesRead: number;
  bytesWritten: number;
  /** Requests by message. */
  messages: Record<string, number>;
}

/**
 * Serves trees to any number of connections. It does not listen itself: whoever does hands over each connection.
 *
 * ```ts
 * await using server = new Server({ exports: { '/': new MemoryBackend() } });
 * await server.listen((accept) => listen('tcp://127.0.0.1:5640', accept));
 * ```
 */
export class Server implements AsyncDisposable {
  readonly #context: ServerContext;
  readonly #connections = new Set<Connection>();
  readonly #listeners = new Set<Listener>();
  #accepted = 0;
  #closing: Promise<void> | undefined;

  constructor({ exports = {}, limits, log = () => {} }: ServerOptions = {}) {
    this.#context = { exports: new Exports(), limits: limitsOf(limits), pool: new BufferPool(), counters: new Counters(), log };
    for (const [aname, one] of Object.entries(exports)) {
      if ('backend' in one) this.export(aname, one.backend, one);
      else this.export(aname, one);
    }
  }

  /** Serves one more tree under a name. The server closes the back-end when it closes. A RangeError for a name that is taken. */
  export(aname: string, backend: Backend, options: ExportOptions = {}): void {
    this.#context.exports.add(aname, backend, options);
  }

  /** The names served, the one that an empty aname means first. */
  get exports(): string[] {
    return this.#context.exports.all().map(({ aname }) => aname);
  }

  get limits(): Readonly<Limits> {
    return this.#context.limits;
  }

  /** The connections that are open. */
  get connections(): readonly Connection[] {
    return [...this.#connections];
  }

  /** Payload buffers in use: 0 when nothing is under way. */
  get buffersLent(): number {
    return this.#context.pool.lent;
  }

  /** Serves one connection until it ends. Undefined if it was turned away: too many, or the server is closing. */
  serve(transport: Transport): Connection | undefined {
    if (this.#closing !== undefined || this.#connections.size >= this.#context.limits.maxConnections) {
      this.#context.log({ type: 'refuse', peer: transport.name });
      transport.destroy();
      return undefined;
    }
    const connection = new Connection(`c${++this.#accepted}`, transport, this.#context);
    this.#connections.add(connection);
    void connection.done.then(() => this.#connections.delete(connection));
    this.#context.log({ type: 'connect', connection });
    connection.start();
    return connection;
  }

  /** For listeners: `serve`, bound to this server. */
  readonly accept = (transport: Transport): void => {
    this.serve(transport);
  };

  /** Has something listen for connections, and ends it when the server closes. Returns the listener. */
  async listen(begin: (accept: (transport: Transport) => void) => Listener | Promise<Listener>): Promise<Listener> {
    const listener = await begin(this.accept);
    if (this.#closing === undefined) this.#listeners.add(listener);
    else await listener.close();
    return listener;
  }

  /** The addresses listened at. */
  get addresses(): string[] {
    return [...this.#listeners].map(({ address }) => address);
  }

  status(): ServerStatus {
    const { requests, errors, attaches, bytesIn, bytesRead, bytesWritten } = this.#context.counters;
    const connections = this.connections;
    return {
      connections: connections.length,
      fids: connections.reduce((sum, { fids }) => sum + fids.size, 0),
      pending: connections.reduce((sum, { pending }) => sum + pending, 0),
      accepted: this.#accepted,
      requests,
      errors,
      attaches,
      bytesIn,
      bytesRead,
      bytesWritten,
      messages: this.#context.counters.byName(),
    };
  }

  /**
   * Takes no more connections, answers what was begun (as long as the limits' grace), ends the connections, closes the back-ends.
   * Idempotent; every call waits for the same end.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const listeners = [...this.#listeners].map((listener) => listener.close());
    const connections = this.connections.map((connection) => connection.stop());
    const outcomes = await Promise.allSettled([...listeners, ...connections]);
    await this.#context.exports.close();
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
