import { lookup } from 'node:dns/promises';
import { closeSync, lstatSync, unlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { close, EAGAIN, EINTR } from '../sys/io.js';
import { POLLIN, POLLOUT, poller } from '../sys/poller.js';
import {
  AF_INET,
  AF_INET6,
  AF_UNIX,
  AF_VSOCK,
  accept,
  acceptBoth,
  bindAndListen,
  connect,
  EINPROGRESS,
  type Endpoint,
  localEndpoint,
  peerEndpoint,
  roomToSend,
  socketError,
  streamSocket,
  tuneTcp,
  VMADDR_ANY,
} from '../sys/socket.js';
import { type Address, addressName, formatAddress, type TcpAddress, type UnixAddress, type VsockAddress } from './address.js';
import { abortable, abortError, errorName, TransportError, wrapError } from './error.js';
import { PolledTransport } from './polled.js';
import { CONNECT_TIMEOUT, type ConnectOptions, type ListenOptions, replacingStale } from './socket.js';
import type { Listener, Transport } from './transport.js';

/** Seconds of silence after which the kernel asks whether a tcp peer is still there. */
const KEEP_IDLE = 30;
/** Connections taken for one event. */
const ACCEPT_BOUND = 64;
/** Bytes on a unix socket that its reader has not got round to: a few of the largest frames. By itself it holds not one of 256 KiB. */
const ROOM = 4 * 1024 * 1024;
/** Milliseconds to wait when there are no descriptors left for a connection. */
const ACCEPT_PAUSE = 100;

/** Milliseconds between two tries at a unix socket that has no room for one more connection. */
const FULL_QUEUE = 5;
/** Milliseconds that one of a name's addresses is waited for while there are others: a route for IPv6 may lead nowhere. */
const NEXT_ADDRESS = 2000;

type RawAddress = TcpAddress | UnixAddress | VsockAddress;

/** Connects a socket of our own making, driven by the poller. */
export async function connectRaw(address: RawAddress, options: ConnectOptions = {}): Promise<Transport> {
  const name = addressName(address);
  const { signal, timeout = CONNECT_TIMEOUT } = options;
  if (signal?.aborted) throw abortError(signal);
  const limit = timeout > 0 ? AbortSignal.timeout(timeout) : undefined;
  const either = anyOf(signal, limit);
  let failure: unknown;
  try {
    // Asking for a name's addresses cannot be given up, and may take longer than anybody waits.
    const asking = endpoints(address, name);
    const all = await (either === undefined ? asking : abortable(asking, either));
    const patience = timeout > 0 ? Math.min(NEXT_ADDRESS, Math.ceil(timeout / all.length)) : NEXT_ADDRESS;
    for (const [index, endpoint] of all.entries()) {
      const share = index + 1 < all.length ? AbortSignal.timeout(patience) : undefined;
      try {
        const fd = await reach(endpoint, name, anyOf(either, share));
        if (endpoint.family === AF_UNIX) roomToSend(fd, ROOM);
        return new PolledTransport(name, fd, fd, options);
      } catch (error) {
        if (either?.aborted) throw error;
        failure = share?.aborted ? new TransportError('ETIMEDOUT', 'connect', name) : error;
      }
    }
  } catch (error) {
    if (signal?.aborted) throw abortError(signal);
    if (limit?.aborted) throw new TransportError('ETIMEDOUT', 'connect', name);
    throw error;
  }
  throw wrapError(failure, 'connect', name);
}

function anyOf(one: AbortSignal | undefined, other: AbortSignal | undefined): AbortSignal | undefined {
  return one === undefined ? other : other === undefined ? one : AbortSignal.any([one, other]);
}

async function endpoints(address: RawAddress, name: string): Promise<Endpoint[]> {
  if (address.scheme === 'unix') return [{ family: AF_UNIX, path: address.path }];
  if (address.scheme === 'vsock') {
    if (address.cid === undefined) throw new TransportError('EINVAL', 'connect', name, 'no CID');
    return [{ family: AF_VSOCK, cid: address.cid, port: address.port }];
  }
  if (address.host === '') throw new TransportError('EINVAL', 'connect', name, 'no host');
  try {
    const found = await lookup(address.host, { all: true });
    return found.map(({ address: host, family }) => ({ family: family === 6 ? AF_INET6 : AF_INET, host, port: address.port }));
  } catch (error) {
    throw wrapError(error, 'connect', name);
  }
}

/** A connected descriptor. */
async function reach(endpoint: Endpoint, name: string, signal: AbortSignal | undefined): Promise<number> {
  const fd = streamSocket(endpoint.family);
  try {
    let status = connect(fd, endpoint);
    // A unix socket whose queue is full has no way to tell when it is not.
    for (; status === EAGAIN && endpoint.family === AF_UNIX; status = connect(fd, endpoint)) await delay(FULL_QUEUE, undefined, { signal });
    if (status === EINPROGRESS) {
      await writable(fd, signal);
      status = socketError(fd);
    }
    if (status < 0) throw new TransportError(errorName(status), 'connect', name);
    if (endpoint.family === AF_INET || endpoint.family === AF_INET6) tuneTcp(fd, KEEP_IDLE);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

function writable(fd: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      watch.remove();
      reject(signal?.reason);
    };
    const watch = poller().add(fd, POLLOUT, () => {
      signal?.removeEventListener('abort', aborted);
      watch.remove();
      resolve();
    });
    if (signal?.aborted) aborted();
    else signal?.addEventListener('abort', aborted, { once: true });
  });
}

/** Listens on a socket of our own making, driven by the poller, as are the connections it takes. */
export async function listenRaw(
  address: RawAddress,
  onTransport: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  const name = addressName(address);
  let fd = -1;
  const open = async () => {
    const endpoint = await toBind(address, name);
    fd = streamSocket(endpoint.family);
    try {
      if (endpoint.family === AF_INET6 && address.scheme === 'tcp' && address.host === '') acceptBoth(fd);
      bindAndListen(fd, endpoint);
    } catch (error) {
      closeSync(fd);
      throw wrapError(error, 'listen', name);
    }
  };
  if (address.scheme === 'unix') await replacingStale(address, open);
  else await open();
  return new RawListener(fd, address, onTransport, options);
}

/** Accepts, by the poller, on a descriptor that is listening already. */
export function listenRawDescriptor(fd: number, onTransport: (transport: Transport) => void, options: ListenOptions = {}): Listener {
  return new RawListener(fd, undefined, onTransport, options);
}

async function toBind(address: RawAddress, name: string): Promise<Endpoint> {
  if (address.scheme === 'vsock')
    return { family: AF_VSOCK, cid: address.cid ?? VMADDR_ANY, port: address.port === 0 ? VMADDR_ANY : address.port };
  if (address.scheme === 'tcp' && address.host === '') {
    // Hosts without IPv6 have only the other kind of "any".
    try {
      close(streamSocket(AF_INET6));
      return { family: AF_INET6, host: '::', port: address.port };
    } catch {
      return { family: AF_INET, host: '0.0.0.0', port: address.port };
    }
  }
  const [first] = await endpoints(address, name);
  if (first === undefined) throw new TransportError('ENOTFOUND', 'listen', name);
  return first;
}

class RawListener implements Listener {
  readonly address: string;
  readonly #fd: number;
  readonly #onTransport: (transport: Transport) => void;
  readonly #options: ListenOptions;
  readonly #watch;
  /** The socket file that is ours to remove, and its inode. */
  readonly #file: { path: string; ino: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #count = 0;
  #open = 0;
  #closed = false;

  constructor(fd: number, asked: RawAddress | undefined, onTransport: (transport: Transport) => void, options: ListenOptions) {
    this.#fd = fd;
    this.#onTransport = onTransport;
    this.#options = options;
    const local = localEndpoint(fd);
    this.address = local === undefined ? (asked === undefined ? `fd:${fd}` : formatAddress(asked)) : formatAddress(reachable(local, asked));
    if (asked?.scheme === 'unix') this.#file = { path: asked.path, ino: inode(asked.path) };
    this.#watch = poller().add(fd, POLLIN, () => this.#accept());
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      clearTimeout(this.#timer);
      this.#watch.remove();
      close(this.#fd);
      if (this.#file !== undefined) removeOwn(this.#file);
    }
    return Promise.resolve();
  }

  #accept(): void {
    for (let turn = 0; turn < ACCEPT_BOUND && !this.#closed; turn++) {
      const fd = accept(this.#fd);
      if (fd >= 0) {
        this.#take(fd);
      } else if (fd === EAGAIN) {
        return;
      } else if (fd !== EINTR && errorName(fd) !== 'ECONNABORTED') {
        // EMFILE above all: the connection stays in the queue, and would be reported again and again.
        this.#options.onError?.(new TransportError(errorName(fd), 'accept', this.address));
        this.#watch.update(0);
        this.#timer = setTimeout(() => this.#watch.update(POLLIN), ACCEPT_PAUSE);
        return;
      }
    }
  }

  #take(fd: number): void {
    if (this.#open >= (this.#options.maxConnections ?? Number.POSITIVE_INFINITY)) {
      close(fd);
      return;
    }
    const peer = peerEndpoint(fd);
    const named = peer === undefined || (peer.family === AF_UNIX && peer.path === '') ? undefined : peer;
    try {
      if (peer?.family === AF_INET || peer?.family === AF_INET6) tuneTcp(fd, KEEP_IDLE);
      else if (peer?.family === AF_UNIX) roomToSend(fd, ROOM);
      const name = named === undefined ? `${this.address}#${++this.#count}` : formatAddress(addressOf(named));
      const transport = new PolledTransport(name, fd, fd, this.#options);
      this.#open++;
      transport.onEnd = () => this.#open--;
      this.#onTransport(transport);
    } catch (error) {
      this.#options.onError?.(wrapError(error, 'accept', this.address));
    }
  }
}

/** What cannot be removed (by a process that is another user's by now) is stale from then on, and replaced by whoever listens there next. */
function removeOwn({ path, ino }: { path: string; ino: number }): void {
  try {
    if (inode(path) === ino) unlinkSync(path);
  } catch {
    // The listener is closed all the same.
  }
}

function inode(path: string): number {
  return lstatSync(path, { throwIfNoEntry: false })?.ino ?? -1;
}

function addressOf(endpoint: Endpoint): Address {
  switch (endpoint.family) {
    case AF_UNIX:
      return { scheme: 'unix', path: endpoint.path };
    case AF_VSOCK:
      return endpoint.cid === VMADDR_ANY
        ? { scheme: 'vsock', port: endpoint.port }
        : { scheme: 'vsock', cid: endpoint.cid, port: endpoint.port };
    default:
      return { scheme: 'tcp', host: endpoint.host.replace(/^::ffff:(?=\d+\.)/, ''), port: endpoint.port };
  }
}

/** What a client on this host would use. */
function reachable(local: Endpoint, asked: RawAddress | undefined): Address {
  const address = addressOf(local);
  if (address.scheme === 'tcp') {
    if (asked?.scheme === 'tcp' && asked.host !== '') return { ...address, host: asked.host };
    if (address.host === '::' || address.host === '0.0.0.0') return { ...address, host: 'localhost' };
  }
  return address;
}
