import { lstat, readFile, unlink } from 'node:fs/promises';
import { createServer, connect as netConnect, type Server, type Socket, type SocketConstructorOpts } from 'node:net';
import { type ConnectionOptions, type TlsOptions, connect as tlsConnect, createServer as tlsCreateServer } from 'node:tls';
import { addressName, formatAddress, type TcpAddress, type TlsAddress, type UnixAddress } from './address.js';
import { abortError, codeOf, TransportError, wrapError } from './error.js';
import { type StreamOptions, StreamTransport } from './stream.js';
import type { Listener, Transport } from './transport.js';

export interface ConnectOptions extends StreamOptions {
  /** Gives up the attempt with an AbortError; has no effect on the connection once it is made. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that making the connection may take, ETIMEDOUT after that. Default 10,000; 0: no limit. */
  timeout?: number | undefined;
  /** For `tls:`, over what the address says. */
  tls?: ConnectionOptions | undefined;
}

export interface ListenOptions extends StreamOptions {
  /** For `tls:`, over what the address says. */
  tls?: TlsOptions | undefined;
  /** More connections than that are closed as they come. */
  maxConnections?: number | undefined;
  /** A connection, or the listener itself, failed before there was a transport to say so. */
  onError?: ((error: Error) => void) | undefined;
}

/** Milliseconds. */
export const CONNECT_TIMEOUT = 10_000;
const KEEP_ALIVE = 30_000;

type SocketAddress = TcpAddress | TlsAddress | UnixAddress;

/** Connects to a tcp, tls or unix address. */
export async function connectSocket(address: SocketAddress, options: ConnectOptions = {}): Promise<Transport> {
  const socket = await openSocket(address, options);
  return new StreamTransport(addressName(address), socket, socket, options);
}

/** The connected socket itself, for who has a handshake of its own before the stream begins. */
export async function openSocket(address: SocketAddress, options: ConnectOptions = {}): Promise<Socket> {
  const name = addressName(address);
  const { signal, timeout = CONNECT_TIMEOUT } = options;
  if (signal?.aborted) throw abortError(signal);
  const tls = address.scheme === 'tls' ? { ...(await tlsFiles(address)), ...options.tls } : undefined;
  if (signal?.aborted) throw abortError(signal);
  const { socket, ready } = begin(address, tls);
  return new Promise((resolve, reject) => {
    const timer = timeout > 0 ? setTimeout(() => fail(new TransportError('ETIMEDOUT', 'connect', name)), timeout) : undefined;
    const aborted = () => signal && fail(abortError(signal));
    const failed = (error: Error) => fail(wrapError(error, 'connect', name));
    const ended = () => fail(new TransportError('ECONNRESET', 'connect', name));
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      socket.off('error', failed).off('close', ended);
    };
    const fail = (error: Error) => {
      settle();
      socket.on('error', () => {}).destroy();
      reject(error);
    };
    signal?.addEventListener('abort', aborted);
    socket.on('error', failed).on('close', ended);
    socket.once(ready, () => {
      settle();
      resolve(socket);
    });
  });
}

function begin(address: SocketAddress, tls: ConnectionOptions | undefined): { socket: Socket; ready: string } {
  const settings: SocketConstructorOpts & { noDelay: boolean; keepAlive: boolean; keepAliveInitialDelay: number } = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE,
  };
  if (address.scheme === 'unix') return { socket: netConnect({ path: address.path, ...settings }), ready: 'connect' };
  if (address.host === '') throw new TransportError('EINVAL', 'connect', addressName(address), 'no host');
  const to = { host: address.host, port: address.port, ...settings };
  if (address.scheme === 'tcp') return { socket: netConnect(to), ready: 'connect' };
  const servername = /^[\d.]+$|:/.test(address.host) ? {} : { servername: address.host };
  return { socket: tlsConnect({ ...servername, ...to, ...tls }), ready: 'secureConnect' };
}

async function tlsFiles(address: TlsAddress): Promise<ConnectionOptions> {
  const options: ConnectionOptions = {};
  if (address.ca !== undefined) options.ca = await readFile(address.ca);
  if (address.cert !== undefined) options.cert = await readFile(address.cert);
  if (address.key !== undefined) options.key = await readFile(address.key);
  if (address.servername !== undefined) options.servername = address.servername;
  if (address.insecure) options.rejectUnauthorized = false;
  return options;
}

/**
 * Waits for connections on a tcp, tls or unix address. A socket file that nobody listens on any more is replaced; it is removed
 * when the listener closes.
 */
export async function listenSocket(
  address: SocketAddress,
  onTransport: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  const settings = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE };
  let server: Server;
  if (address.scheme === 'tls') {
    const { ca, cert, key } = await tlsFiles(address);
    // A client that does not show a certificate of the given authority is turned away.
    const files: TlsOptions = { ...(ca && { ca, requestCert: true }), ...(cert && { cert }), ...(key && { key }) };
    server = tlsCreateServer({ ...settings, ...files, ...options.tls });
    server.on('tlsClientError', (error: Error) => options.onError?.(error));
  } else {
    server = createServer(settings);
  }
  const where =
    address.scheme === 'unix'
      ? { path: address.path }
      : address.host === ''
        ? { port: address.port }
        : { host: address.host, port: address.port };
  if (address.scheme === 'unix') await replacingStale(address, () => bind(server, where, addressName(address)));
  else await bind(server, where, addressName(address));
  return serve(server, address, onTransport, options);
}

/** Accepts on a descriptor that is listening already, as a service manager passes it on. */
export async function listenDescriptor(
  fd: number,
  onTransport: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  await bind(server, { fd }, `fd:${fd}`);
  return serve(server, undefined, onTransport, options);
}

function serve(
  server: Server,
  asked: SocketAddress | undefined,
  onTransport: (transport: Transport) => void,
  options: ListenOptions,
): Listener {
  const address = boundAddress(server, asked);
  if (options.maxConnections !== undefined) server.maxConnections = options.maxConnections;
  let count = 0;
  server.on(asked?.scheme === 'tls' ? 'secureConnection' : 'connection', (socket: Socket) => {
    const { remoteAddress, remotePort } = socket;
    const peer =
      remoteAddress === undefined
        ? undefined
        : {
            scheme: asked?.scheme === 'tls' ? asked.scheme : 'tcp',
            host: remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''),
            port: remotePort ?? 0,
          };
    onTransport(
      new StreamTransport(peer === undefined ? `${address}#${++count}` : addressName(peer as TcpAddress), socket, socket, options),
    );
  });
  server.on('error', (error) => options.onError?.(error));
  let closing: Promise<void> | undefined;
  // Node's own `close` waits for the connections too; ours only for the listening socket.
  const close = () => {
    closing ??= new Promise<void>((resolve) => {
      server.close();
      setImmediate(resolve);
    });
    return closing;
  };
  return { address, close };
}

function boundAddress(server: Server, asked: SocketAddress | undefined): string {
  const bound = server.address();
  if (bound === null) return asked === undefined ? 'fd:' : formatAddress(asked);
  if (typeof bound === 'string') return formatAddress({ scheme: 'unix', path: bound });
  // What a client would use: an unspecified interface is reached as this host.
  const host =
    asked !== undefined && asked.scheme !== 'unix' && asked.host !== ''
      ? asked.host
      : unspecified(bound.address)
        ? 'localhost'
        : bound.address;
  return formatAddress({ scheme: asked?.scheme === 'tls' ? 'tls' : 'tcp', host, port: bound.port });
}

function unspecified(host: string): boolean {
  return host === '::' || host === '0.0.0.0';
}

function bind(server: Server, where: { path: string } | { port: number; host?: string } | { fd: number }, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => reject(wrapError(error, 'listen', name));
    server.once('error', failed);
    server.listen(where, () => {
      server.off('error', failed);
      resolve();
    });
  });
}

/**
 * Listens on a unix socket whose file may be left over: it is removed only if it is a socket that nobody has. Of several who begin at once, one at a time:
 * a name that was left over may be another's by the time it is removed.
 */
export async function replacingStale(address: UnixAddress, listen: () => Promise<void>): Promise<void> {
  const { whileAlone } = await import('./alone.js');
  return whileAlone(address.path, async (alone) => {
    try {
      await listen();
    } catch (error) {
      const safe = alone || process.platform !== 'linux';
      if (codeOf(error) !== 'EADDRINUSE' || !safe || !(await stale(address))) throw error;
      await unlink(address.path);
      await listen();
    }
  });
}

async function stale(address: UnixAddress): Promise<boolean> {
  const stats = await lstat(address.path).catch(() => undefined);
  if (stats === undefined || !stats.isSocket()) return false;
  // A connection would be taken for a peer: a bridge gives up the one that it has for one that comes.
  if (process.platform === 'linux') return (await import('../sys/socket.js')).isAbandoned(address.path);
  try {
    (await openSocket(address, { timeout: 1000 })).destroy();
    return false;
  } catch (error) {
    return codeOf(error) === 'ECONNREFUSED';
  }
}
