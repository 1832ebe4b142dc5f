import { closeSync, constants, fstatSync, open } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { addressName, type DevAddress, type FdAddress } from './address.js';
import { abortError, TransportError, wrapError } from './error.js';
import { CONNECT_TIMEOUT, type ConnectOptions } from './socket.js';
import { StreamTransport } from './stream.js';
import type { Transport } from './transport.js';

/** Milliseconds between two looks at a port whose other end is not there yet. */
const LOOK = 100;

/** An inherited descriptor: a socket or pipe through Node, anything else that poll(2) can wait for through the poller. */
export async function connectDescriptor(
  address: FdAddress,
  options: ConnectOptions & { polled?: boolean | undefined } = {},
): Promise<Transport> {
  const name = addressName(address);
  const { read, write } = address;
  try {
    const ours = new Set([read, write]);
    const nodes = [...ours].every((fd) => {
      const stats = fstatSync(fd);
      return stats.isSocket() || stats.isFIFO();
    });
    if (!nodes || options.polled) {
      const { PolledTransport } = await import('./polled.js');
      return new PolledTransport(name, read, write, options);
    }
    const input = new Socket({ fd: read, readable: true, writable: read === write, allowHalfOpen: true });
    const output = read === write ? input : new Socket({ fd: write, readable: false, writable: true, allowHalfOpen: true });
    return new StreamTransport(name, input, output, options);
  } catch (error) {
    throw wrapError(error, 'open', name);
  }
}

/**
 * A character device. A virtio-serial port whose host side nobody has opened reads as ended: it is waited for, as long as the
 * time-out allows. A serial line is made to carry plain bytes.
 */
export async function connectDevice(address: DevAddress, options: ConnectOptions = {}): Promise<Transport> {
  const name = addressName(address);
  const [{ PolledTransport }, { makeRaw }, { poll, POLLHUP, POLLIN }] = await Promise.all([
    import('./polled.js'),
    import('../sys/terminal.js'),
    import('../sys/io.js'),
  ]);
  const { O_RDWR, O_NONBLOCK, O_NOCTTY } = constants;
  const fd = await promisify(open)(address.path, O_RDWR | O_NONBLOCK | O_NOCTTY).catch((error: unknown) => {
    throw wrapError(error, 'open', name);
  });
  let owned = true;
  try {
    if (!fstatSync(fd).isCharacterDevice()) throw new TransportError('ENODEV', 'open', name, 'not a character device');
    makeRaw(fd);
    const entries = new Int32Array(2);
    const until = performance.now() + ((options.timeout ?? CONNECT_TIMEOUT) || Number.POSITIVE_INFINITY);
    for (;;) {
      entries[0] = fd;
      entries[1] = POLLIN;
      if (poll(entries, 1, 0) <= 0 || ((entries[1] >>> 16) & POLLHUP) === 0) break;
      if (options.signal?.aborted) throw abortError(options.signal);
      if (performance.now() >= until) throw new TransportError('ETIMEDOUT', 'open', name, 'nobody at the other end');
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
    owned = false;
    return new PolledTransport(name, fd, fd, options);
  } finally {
    if (owned) closeSync(fd);
  }
}
