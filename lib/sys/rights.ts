import { address, declare, errno, lazy, native } from './libc.js';

/** Descriptors passed over unix sockets (unix(7), SCM_RIGHTS). The structures are those of 64-bit Linux. */
const calls = lazy(() => ({
  recvmsg: declare<(fd: number, message: number, flags: number) => number>('intptr_t recvmsg(int, uintptr_t, int)'),
}));

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Sizes of struct msghdr, and of struct cmsghdr with one descriptor, on 64-bit hosts. */
const MSGHDR = 56;
const CONTROL = 64;

/**
 * One message with one descriptor in it, close-on-exec: the descriptor, undefined if the message had none (the peer has closed), or an
 * error number negated (-11 on a non-blocking socket where nothing is there yet).
 */
export function receiveDescriptor(socket: number): number | undefined {
  if (native().sizeof('void *') !== 8) throw new Error('descriptors can be received on 64-bit hosts only');
  const data = Buffer.alloc(16);
  const control = Buffer.alloc(CONTROL);
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(address(data)), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const message = Buffer.alloc(MSGHDR);
  message.writeBigUInt64LE(BigInt(address(vector)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(BigInt(address(control)), 32);
  message.writeBigUInt64LE(BigInt(CONTROL), 40);
  const count = calls().recvmsg(socket, address(message), MSG_CMSG_CLOEXEC);
  if (count < 0) return -errno();
  const length = Number(message.readBigUInt64LE(40));
  if (count === 0 || length < 20) return undefined;
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return undefined;
  return control.readInt32LE(16);
}
