import { check, declare, lazy } from './libc.js';

/** sd_notify(3) without libsystemd: one datagram to the socket that NOTIFY_SOCKET names. */
const calls = lazy(() => ({
  socket: declare<(domain: number, type: number, protocol: number) => number>('int socket(int, int, int)'),
  sendto: declare<(fd: number, data: Uint8Array, size: number, flags: number, to: Uint8Array, toSize: number) => number>(
    'long sendto(int, const void *, size_t, int, const void *, unsigned int)',
  ),
  close: declare<(fd: number) => number>('int close(int)'),
}));

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;

/** Sends `state` (`READY=1`) to the socket at `path`; a leading "@" means the abstract name space. Throws a SystemError. */
export function notify(path: string, state: string): void {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  const to = new Uint8Array(2 + name.length);
  to[0] = AF_UNIX;
  to.set(name, 2);
  const data = Buffer.from(state);
  const fd = check(calls().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  try {
    check(calls().sendto(fd, data, data.length, MSG_NOSIGNAL, to, to.length), 'sendto', path);
  } finally {
    calls().close(fd);
  }
}
