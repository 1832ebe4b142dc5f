import type { Socket } from 'node:net';
import { addressName, type VsockUnixAddress } from './address.js';
import { abortError, TransportError } from './error.js';
import { CONNECT_TIMEOUT, type ConnectOptions, type ListenOptions, listenSocket, openSocket } from './socket.js';
import { StreamTransport } from './stream.js';
import type { Listener, Transport } from './transport.js';

/**
 * vsock as Firecracker and Cloud Hypervisor show it to the host: one unix socket for the whole guest. Who connects says
 * `CONNECT port\n` first and is answered `OK port\n` once the guest has accepted; connections that the guest begins arrive at the unix socket
 * `PATH_PORT`, without a greeting. (Firecracker, docs/vsock.md.)
 */
export async function connectVsockUnix(address: VsockUnixAddress, options: ConnectOptions = {}): Promise<Transport> {
  const name = addressName(address);
  const socket = await openSocket({ scheme: 'unix', path: address.path }, options);
  try {
    await greet(socket, address.port, name, options);
  } catch (error) {
    socket.on('error', () => {}).destroy();
    throw error;
  }
  return new StreamTransport(name, socket, socket, options);
}

/** Waits for connections that the guest makes to that port of the host. */
export function listenVsockUnix(
  address: VsockUnixAddress,
  onTransport: (transport: Transport) => void,
  options: ListenOptions = {},
): Promise<Listener> {
  return listenSocket({ scheme: 'unix', path: `${address.path}_${address.port}` }, onTransport, options);
}

/** The longest answer there is: "OK " and a 32-bit number. */
const ANSWER = 32;

function greet(socket: Socket, port: number, name: string, { signal, timeout = CONNECT_TIMEOUT }: ConnectOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = Buffer.alloc(0);
    const refuse = (code: string, detail: string) => settle(new TransportError(code, 'connect', name, detail));
    const timer = timeout > 0 ? setTimeout(() => refuse('ETIMEDOUT', 'no answer to CONNECT'), timeout) : undefined;
    const aborted = () => signal && settle(abortError(signal));
    const ended = () => refuse('ECONNREFUSED', `nobody listens on port ${port} in the guest`);
    const failed = (error: Error) => settle(error);
    const take = () => {
      const bytes: Buffer | null = socket.read();
      if (bytes === null) return;
      answer = Buffer.concat([answer, bytes]);
      const end = answer.indexOf(10);
      if (end < 0) {
        if (answer.length > ANSWER) refuse('EPROTO', 'no vsock greeting');
        return;
      }
      const line = answer.subarray(0, end).toString('latin1');
      const rest = answer.subarray(end + 1);
      if (!/^OK \d+$/.test(line)) {
        refuse('EPROTO', `no vsock greeting '${line.slice(0, ANSWER)}'`);
        return;
      }
      settle();
      // What came right behind the greeting belongs to the stream.
      if (rest.length > 0) socket.unshift(rest);
    };
    const settle = (error?: Error) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
      socket.off('readable', take).off('end', ended).off('error', failed);
      if (error === undefined) resolve();
      else reject(error);
    };
    signal?.addEventListener('abort', aborted);
    socket.on('readable', take).on('end', ended).on('error', failed);
    socket.write(`CONNECT ${port}\n`);
  });
}
