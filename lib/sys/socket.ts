import { close } from './io.js';
import { address, check, declare, lazy, outcome, SystemError } from './libc.js';

/**
 * Sockets as bare descriptors, for what Node's own do not reach: AF_VSOCK, and streams that are driven by the poller. All that are
 * made here are non-blocking and close-on-exec. Addresses are the bytes of a struct sockaddr.
 */
const calls = lazy(() => ({
  socket: declare<(domain: number, type: number, protocol: number) => number>('int socket(int, int, int)'),
  connect: declare<(fd: number, at: Uint8Array, size: number) => number>('int connect(int, const void *, unsigned int)'),
  bind: declare<(fd: number, at: Uint8Array, size: number) => number>('int bind(int, const void *, unsigned int)'),
  listen: declare<(fd: number, backlog: number) => number>('int listen(int, int)'),
  accept4: declare<(fd: number, at: number, size: number, flags: number) => number>('int accept4(int, uintptr_t, uintptr_t, int)'),
  getsockname: declare<(fd: number, at: Uint8Array, size: Uint8Array) => number>('int getsockname(int, void *, void *)'),
  getpeername: declare<(fd: number, at: Uint8Array, size: Uint8Array) => number>('int getpeername(int, void *, void *)'),
  getsockopt: declare<(fd: number, level: number, name: number, value: Uint8Array, size: Uint8Array) => number>(
    'int getsockopt(int, int, int, void *, void *)',
  ),
  setsockopt: declare<(fd: number, level: number, name: number, value: Uint8Array, size: number) => number>(
    'int setsockopt(int, int, int, const void *, unsigned int)',
  ),
  inetPton: declare<(family: number, text: string, out: Uint8Array) => number>('int inet_pton(int, const char *, void *)'),
  inetNtop: declare<(family: number, at: number, out: Uint8Array, size: number) => string | null>(
    'const char *inet_ntop(int, uintptr_t, void *, unsigned int)',
  ),
}));

/** Address families. */
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_VSOCK = 40;

/** Any context, or any port. */
export const VMADDR_ANY = 0xffffffff;

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_KEEPALIVE = 9;
const SO_PASSCRED = 16;
const SO_PEERCRED = 17;
const SO_ACCEPTCONN = 30;
const SO_SNDBUFFORCE = 32;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
/** sizeof(struct sockaddr_storage). */
const STORAGE = 128;

/** Negated error numbers of a connection that is being made. */
export const EINPROGRESS = -115;
const ECONNREFUSED = -111;

const ENAMETOOLONG = 36;

/** What a socket address says. */
export type Endpoint =
  | { family: typeof AF_UNIX; path: string }
  | { family: typeof AF_INET | typeof AF_INET6; host: string; port: number }
  | { family: typeof AF_VSOCK; cid: number; port: number };

/** A non-blocking stream socket. Throws a SystemError. */
export function streamSocket(family: number): number {
  return check(calls().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
}

/** connect(2): 0, or the error number negated: EINPROGRESS is followed by POLLOUT and `socketError`. */
export function connect(fd: number, endpoint: Endpoint): number {
  const at = pack(endpoint);
  return outcome(calls().connect(fd, at, at.length));
}

/** bind(2) and listen(2). A port that was in use a moment ago is taken again. Throws a SystemError. */
export function bindAndListen(fd: number, endpoint: Endpoint, backlog = 511): void {
  const at = pack(endpoint);
  if (endpoint.family !== AF_UNIX) set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  check(calls().bind(fd, at, at.length), 'bind');
  check(calls().listen(fd, backlog), 'listen');
}

/**
 * Whether a unix socket file is nobody's any more. Whoever it is bound to hears nothing of the question: a socket of another kind is refused by
 * its kind (EPROTOTYPE) where there is one, listening or about to, and by nobody (ECONNREFUSED) where there is none.
 */
export function isAbandoned(path: string): boolean {
  const fd = check(calls().socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
  try {
    return connect(fd, { family: AF_UNIX, path }) === ECONNREFUSED;
  } finally {
    close(fd);
  }
}

/** Lets an AF_INET6 socket take IPv4 connections too. */
export function acceptBoth(fd: number): void {
  set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

/** accept4(2): a non-blocking descriptor, or the error number negated. */
export function accept(fd: number): number {
  return outcome(calls().accept4(fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

/** Small messages leave at once, and a peer that is gone is noticed after `idle` seconds and the kernel's own tries. */
export function tuneTcp(fd: number, idle: number): void {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
}

/** SO_ERROR: 0, or the error number negated, of what went wrong since it was last asked. */
export function socketError(fd: number): number {
  return -getNumber(fd, SO_ERROR);
}

/** Whether it is a socket that connections are accepted on. False too for what is no socket. */
export function isListening(fd: number): boolean {
  const value = new Uint8Array(4);
  if (calls().getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, value, sizeBytes(4)) < 0) return false;
  return new Int32Array(value.buffer)[0] === 1;
}

/**
 * Has the kernel take up to `bytes` that the peer has not read yet: past the limit for everybody (net.core.wmem_max) where this process may, else as many as
 * that allows.
 */
export function roomToSend(fd: number, bytes: number): void {
  const value = new Uint8Array(Int32Array.of(bytes).buffer);
  if (calls().setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, value, 4) < 0) set(fd, SOL_SOCKET, SO_SNDBUF, bytes);
}

/** The user whose process connected to this unix socket, or listens on it (unix(7), SO_PEERCRED); undefined where that is not told. */
export function peerUser(fd: number): number | undefined {
  // struct ucred: pid, uid, gid.
  const value = new Uint8Array(12);
  if (calls().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, sizeBytes(12)) < 0) return undefined;
  return new Uint32Array(value.buffer)[1];
}

/** Has a unix socket tell with each message who sent it (SO_PASSCRED): `peerUser` knows only who called listen(2), which may have been done for another. */
export function tellSender(fd: number): void {
  set(fd, SOL_SOCKET, SO_PASSCRED, 1);
}

/** getsockname(2), where it is of a family known here. */
export function localEndpoint(fd: number): Endpoint | undefined {
  return endpointOf(calls().getsockname, fd);
}

/** getpeername(2), likewise. */
export function peerEndpoint(fd: number): Endpoint | undefined {
  return endpointOf(calls().getpeername, fd);
}

function endpointOf(call: (fd: number, at: Uint8Array, size: Uint8Array) => number, fd: number): Endpoint | undefined {
  const at = new Uint8Array(STORAGE);
  const size = sizeBytes(STORAGE);
  if (call(fd, at, size) < 0) return undefined;
  return unpack(at, new Uint32Array(size.buffer)[0] ?? 0);
}

function getNumber(fd: number, name: number): number {
  const value = new Uint8Array(4);
  check(calls().getsockopt(fd, SOL_SOCKET, name, value, sizeBytes(4)), 'getsockopt');
  return new Int32Array(value.buffer)[0] ?? 0;
}

function set(fd: number, level: number, name: number, value: number): void {
  check(calls().setsockopt(fd, level, name, new Uint8Array(Int32Array.of(value).buffer), 4), 'setsockopt');
}

function sizeBytes(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.of(size).buffer);
}

/** struct sockaddr_un, _in, _in6, _vm. Host order is little endian on all that koffi and Node run Linux on. */
function pack(endpoint: Endpoint): Uint8Array {
  switch (endpoint.family) {
    case AF_UNIX: {
      const path = Buffer.from(endpoint.path);
      if (path.length > 107) throw new SystemError(ENAMETOOLONG, 'connect', endpoint.path);
      const bytes = new Uint8Array(path.length + 3);
      bytes[0] = AF_UNIX;
      bytes.set(path, 2);
      return bytes;
    }
    case AF_VSOCK: {
      const view = new DataView(new ArrayBuffer(16));
      view.setUint16(0, AF_VSOCK, true);
      view.setUint32(4, endpoint.port, true);
      view.setUint32(8, endpoint.cid, true);
      return new Uint8Array(view.buffer);
    }
    default: {
      const six = endpoint.family === AF_INET6;
      const bytes = new Uint8Array(six ? 28 : 16);
      const view = new DataView(bytes.buffer);
      view.setUint16(0, endpoint.family, true);
      view.setUint16(2, endpoint.port, false);
      const [host = '', zone] = endpoint.host.split('%');
      const raw = new Uint8Array(16);
      if (calls().inetPton(endpoint.family, host, raw) !== 1) throw new RangeError(`no IP address: '${endpoint.host}'`);
      bytes.set(six ? raw : raw.subarray(0, 4), six ? 8 : 4);
      if (six && zone !== undefined) view.setUint32(24, Number(zone) || 0, true);
      return bytes;
    }
  }
}

function unpack(bytes: Uint8Array, size: number): Endpoint | undefined {
  const view = new DataView(bytes.buffer);
  const family = view.getUint16(0, true);
  if (family === AF_UNIX) {
    const path = bytes.subarray(2, size);
    const end = path.indexOf(0);
    return { family, path: Buffer.from(end < 0 ? path : path.subarray(0, end)).toString() };
  }
  if (family === AF_VSOCK) return { family, port: view.getUint32(4, true), cid: view.getUint32(8, true) };
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const host = calls().inetNtop(family, address(bytes) + (family === AF_INET6 ? 8 : 4), new Uint8Array(64), 64);
  return host === null ? undefined : { family, host, port: view.getUint16(2, false) };
}
