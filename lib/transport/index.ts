import { type Address, type AddressScheme, formatAddress, parseAddress } from './address.js';
import { connectDescriptor, connectDevice } from './descriptor.js';
import { TransportError, wrapError } from './error.js';
import { connectProcess } from './process.js';
import { type ConnectOptions, connectSocket, listenDescriptor, listenSocket, type ListenOptions as SocketListenOptions } from './socket.js';
import type { Listener, Transport } from './transport.js';
import { connectVsockUnix, listenVsockUnix } from './vsock.js';

export * from './address.js';
export { AddressError, abortError, TransportError } from './error.js';
export { type MemoryOptions, memoryPair } from './memory.js';
export type { Listener, Receiver, Transport } from './transport.js';

export interface DialOptions extends ConnectOptions {
  /**
   * Drive tcp, unix and inherited sockets by system calls of our own instead of Node's streams, where that can be done (Linux):
   * faster, at the price of loading the native module.
   */
  polled?: boolean | undefined;
}

export interface ListenOptions extends SocketListenOptions {
  polled?: boolean | undefined;
  /** For what is one channel rather than a place to connect to (`dev:`, `exec:`): gives up waiting for the other end. */
  signal?: AbortSignal | undefined;
}

/** Makes a transport of an address. */
export type Dialler = (address: Address, options: DialOptions) => Promise<Transport>;

const diallers = new Map<string, Dialler>();

/**
 * Gives a scheme its transport: the way for transports that live outside this folder, as `qemu:` does. The last one counts.
 */
export function registerScheme(scheme: AddressScheme, dialler: Dialler): void {
  diallers.set(scheme, dialler);
}

/** Connects to an address, or to its text. Rejects with AddressError, TransportError, or AbortError when `signal` says so. */
export async function dial(address: string | Address, options: DialOptions = {}): Promise<Transport> {
  const to = typeof address === 'string' ? parseAddress(address) : address;
  const registered = diallers.get(to.scheme);
  if (registered !== undefined) return registered(to, options);
  const polled = options.polled === true && process.platform === 'linux';
  switch (to.scheme) {
    case 'tcp':
    case 'unix':
      return polled ? (await import('./raw.js')).connectRaw(to, options) : connectSocket(to, options);
    case 'tls':
      return connectSocket(to, options);
    case 'exec':
      return connectProcess(to, options);
    case 'fd':
      return connectDescriptor(to, { ...options, polled });
    case 'dev':
      return connectDevice(to, options);
    case 'vsock':
      return (await import('./raw.js')).connectRaw(to, options);
    case 'vsock+unix':
      return connectVsockUnix(to, options);
    case 'qemu':
      throw new TransportError('EPROTONOSUPPORT', 'connect', to.scheme, 'nothing is registered for the scheme');
  }
}

/**
 * Waits for connections and gives each to `onTransport`. `fd:N` is a listening socket that a service manager passed on, or
 * else one connection that is there already. What can only be one channel (`fd:`, `dev:`, `exec:`) is given to `onTransport` before
 * the listener is returned.
 */
export async function listen(
  address: string | Address,
  onTransport: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  const at = typeof address === 'string' ? parseAddress(address) : address;
  const polled = options.polled === true && process.platform === 'linux';
  switch (at.scheme) {
    case 'tcp':
    case 'unix':
      return polled ? (await import('./raw.js')).listenRaw(at, onTransport, options) : listenSocket(at, onTransport, options);
    case 'tls':
      return listenSocket(at, onTransport, options);
    case 'vsock':
      return (await import('./raw.js')).listenRaw(at, onTransport, options);
    case 'vsock+unix':
      return listenVsockUnix(at, onTransport, options);
    case 'fd': {
      const { isListening } = await import('../sys/socket.js');
      if (!isListening(at.read)) return single(at, onTransport, options);
      const [raw, { localEndpoint, AF_VSOCK }] = await Promise.all([import('./raw.js'), import('../sys/socket.js')]);
      if (polled || localEndpoint(at.read)?.family === AF_VSOCK) return raw.listenRawDescriptor(at.read, onTransport, options);
      return listenDescriptor(at.read, onTransport, options);
    }
    default:
      return single(at, onTransport, options);
  }
}

/** A channel that is its own and only connection. */
async function single(at: Address, onTransport: (transport: Transport) => void, options: ListenOptions): Promise<Listener> {
  const address = formatAddress(at);
  try {
    const { signal, backlog, linger, polled } = options;
    onTransport(await dial(at, { signal, backlog, linger, polled, timeout: 0 }));
  } catch (error) {
    throw wrapError(error, 'listen', address);
  }
  return { address, close: () => Promise.resolve() };
}
