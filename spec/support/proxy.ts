import { rmSync } from 'node:fs';
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Random } from './random.js';
import { TemporaryDirectory } from './temporary.js';

/** What is done to the bytes of one direction. Everything may be changed while connections are open. */
export interface Faults {
  /** Bytes are handed on in pieces of at most this many. */
  chunk?: number;
  /** Pieces of 1 to this many bytes, drawn from the seed. */
  randomChunk?: number;
  /** Milliseconds each piece is held back. */
  delay?: number;
  /** The connection is reset once this many bytes of this direction have passed, counted from its start. */
  cutAfter?: number;
  /** Bytes are taken and thrown away: the other end hears nothing more, and no end either (half-open). */
  swallow?: boolean;
  /** Bytes are not even read, so that the sender's buffers fill up. */
  stall?: boolean;
  /** One bit in about this many bytes is flipped. */
  flipOneIn?: number;
  /** Called with each piece that came in, before anything is done to it. */
  tap?: (bytes: Buffer, connection: number) => void;
}

export interface ProxyOptions {
  /** A unix socket's path or a port of 127.0.0.1. */
  upstream: { path: string } | { port: number };
  /** Listens on a free tcp port instead of a unix socket. */
  tcp?: boolean;
  seed?: number;
  toServer?: Faults;
  toClient?: Faults;
}

/** A proxy that stands between a client and a server and does the network's worst, by a seed. */
export class FaultProxy implements AsyncDisposable {
  readonly toServer: Faults;
  readonly toClient: Faults;
  readonly random: Random;
  /** Connections taken so far. */
  connections = 0;
  readonly #options: ProxyOptions;
  readonly #directory = new TemporaryDirectory('proxy');
  readonly #pairs = new Set<{ client: Socket; server: Socket }>();
  #listener: Server | undefined;
  #port: number | undefined;
  #upstream: { path: string } | { port: number };

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#upstream = options.upstream;
    this.random = new Random(options.seed);
    this.toServer = { ...options.toServer };
    this.toClient = { ...options.toClient };
  }

  /** Where clients connect: `unix:/…/socket` or `tcp://127.0.0.1:PORT`. */
  get address(): string {
    return this.#port === undefined ? `unix:${this.socketPath}` : `tcp://127.0.0.1:${this.#port}`;
  }
  get socketPath(): string {
    return join(this.#directory.path, 'socket');
  }
  get port(): number | undefined {
    return this.#port;
  }
  /** Connections that are open now. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Takes connections, at the same address as before if there was one. */
  async accept(): Promise<void> {
    if (this.#listener) return;
    const listener = createServer({ allowHalfOpen: true }, (client) => this.#connected(client));
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      if (this.#options.tcp) listener.listen(this.#port ?? 0, '127.0.0.1', resolve);
      else listener.listen(this.socketPath, resolve);
    });
    const address = listener.address();
    if (address !== null && typeof address !== 'string') this.#port = address.port;
    this.#listener = listener;
  }

  /** Refuses new connections; those that are open stay. */
  refuse(): void {
    this.#listener?.close();
    this.#listener = undefined;
    rmSync(this.socketPath, { force: true });
  }

  /** Resets every open connection, as a killed server would. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      reset(client);
      reset(server);
    }
    this.#pairs.clear();
  }

  /** Sends new connections to another server from now on. */
  redirect(upstream: { path: string } | { port: number }): void {
    this.#upstream = upstream;
  }

  async close(): Promise<void> {
    this.refuse();
    this.cut();
    this.#directory.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #connected(client: Socket): void {
    const upstream: NetConnectOpts = 'path' in this.#upstream ? this.#upstream : { ...this.#upstream, host: '127.0.0.1' };
    const server = connect({ ...upstream, allowHalfOpen: true });
    const pair = { client, server };
    const number = ++this.connections;
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      reset(client);
      reset(server);
    };
    // An error of either end is that end's to tell: here it only ends the pair.
    client.on('error', end);
    server.on('error', end);
    // A direction that has ended is passed on by its pump, which may still be handing out what came before the end.
    const closed = (): void => {
      if (client.destroyed && server.destroyed) this.#pairs.delete(pair);
    };
    client.on('close', closed);
    server.on('close', closed);
    void this.#pump(client, server, this.toServer, number, end);
    void this.#pump(server, client, this.toClient, number, end);
  }

  async #pump(from: Socket, to: Socket, faults: Faults, connection: number, end: () => void): Promise<void> {
    let passed = 0;
    try {
      for await (const bytes of from.iterator({ destroyOnReturn: false })) {
        if (!Buffer.isBuffer(bytes)) throw new TypeError('text in a proxy');
        faults.tap?.(Buffer.from(bytes), connection);
        while (faults.stall && !from.destroyed) await pause(5);
        for (let at = 0; at < bytes.length; ) {
          const most = faults.randomChunk === undefined ? (faults.chunk ?? bytes.length) : this.random.integer(1, faults.randomChunk);
          const left = faults.cutAfter === undefined ? most : Math.min(most, faults.cutAfter - passed);
          const piece = bytes.subarray(at, at + Math.max(left, 0));
          at += piece.length;
          passed += piece.length;
          if (faults.delay !== undefined) await pause(faults.delay);
          if (faults.flipOneIn !== undefined) this.#flip(piece, faults.flipOneIn);
          if (piece.length > 0 && !faults.swallow) await write(to, piece, faults.chunk !== undefined || faults.randomChunk !== undefined);
          if (faults.cutAfter !== undefined && passed >= faults.cutAfter) return end();
        }
      }
      if (!faults.swallow) to.end();
    } catch {
      // The stream was reset: `end` has run or runs now.
      end();
    }
  }

  #flip(piece: Buffer, oneIn: number): void {
    for (let i = 0; i < piece.length; i++) {
      if (this.random.oneIn(oneIn)) piece[i] = (piece[i] ?? 0) ^ (1 << this.random.integer(0, 7));
    }
  }
}

/** A {@link FaultProxy} that already takes connections. */
export async function startProxy(options: ProxyOptions): Promise<FaultProxy> {
  const proxy = new FaultProxy(options);
  await proxy.accept();
  return proxy;
}

function reset(socket: Socket): void {
  if (socket.destroyed) return;
  // A unix socket has no reset; destroying one with unread data does the same to its peer.
  if (socket.remotePort === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

/** Hands on one piece. `alone` waits for a turn of the event loop, so that the pieces reach the peer one by one. */
async function write(to: Socket, piece: Buffer, alone: boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => to.write(piece, (error) => (error ? reject(error) : resolve())));
  if (alone) await new Promise((resolve) => setImmediate(resolve));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
