import { EINTR, vectorOf } from './io.js';
import { address, declare, lazy, native, outcome } from './libc.js';

/** Descriptors passed over unix sockets (unix(7), SCM_RIGHTS). The structures are those of 64-bit Linux. */
const calls = lazy(() => ({
  recvmsg: declare<(fd: number, message: number, flags: number) => number>('intptr_t recvmsg(int, uintptr_t, int)'),
  sendmsg: declare<(fd: number, message: number, flags: number) => number>('intptr_t sendmsg(int, uintptr_t, int)'),
}));

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
const MSG_CTRUNC = 0x8;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

/** Descriptors that one message carries at most (SCM_MAX_FD). */
export const MAX_PASSED = 253;

/** This process may not open so many descriptors. Negated, as what calls give. */
export const EMFILE = -24;
/** As many of this user's descriptors are on their way, sent and not yet received, as a process may have open. Negated. */
export const ETOOMANYREFS = -109;

/** Sizes of struct msghdr, struct cmsghdr and struct ucred, in bytes. */
const MSGHDR = 56;
const CMSGHDR = 16;
const UCRED = 12;
/** Where struct msghdr has msg_iov, msg_iovlen, msg_control, msg_controllen (each of two words of 32 bits) and msg_flags. */
const IOV = 4;
const IOV_COUNT = 6;
const CONTROL = 8;
const CONTROL_SIZE = 10;
const FLAGS = 12;

/** One struct msghdr with room for what it may carry, for each thread: a call never outlasts itself. */
const message = lazy(() => {
  if (native().sizeof('void *') !== 8) throw new Error('descriptors can be passed on 64-bit hosts only');
  // With buffers of their own: what small arrays keep in the heap moves.
  const control = new Int32Array(new ArrayBuffer(2 * CMSGHDR + aligned(MAX_PASSED * 4) + aligned(UCRED)));
  const header = new Uint32Array(new ArrayBuffer(MSGHDR));
  pointer(header, CONTROL, address(control));
  return { header, at: address(header), control };
});

/** CMSG_ALIGN */
function aligned(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function pointer(words: Uint32Array, index: number, value: number): void {
  words[index] = value % 0x100000000;
  words[index + 1] = Math.floor(value / 0x100000000);
}

/**
 * As `writev`, and passes descriptors along with the first byte: once that is written they are the peer's too. Those given here stay the caller's.
 * At most MAX_PASSED.
 */
export function sendWith(socket: number, parts: readonly Uint8Array[], skip: number, descriptors: readonly number[]): number {
  const { header, at, control } = message();
  const vector = vectorOf(parts, skip);
  pointer(header, IOV, vector.at);
  pointer(header, IOV_COUNT, vector.count);
  const length = CMSGHDR + descriptors.length * 4;
  control[0] = length;
  control[1] = 0;
  control[2] = SOL_SOCKET;
  control[3] = SCM_RIGHTS;
  control.set(descriptors, CMSGHDR / 4);
  header[CONTROL_SIZE] = aligned(length);
  return outcome(calls().sendmsg(socket, at, MSG_NOSIGNAL));
}

/** What came along with bytes. */
export interface Received {
  /** Close-on-exec, in the order in which they were passed; the caller's. */
  readonly descriptors: number[];
  /** The user whose process passed the last of them, where the socket tells (`tellSender`). */
  sender: number | undefined;
  /** Some were lost, for want of room in this process: which answer was to have which cannot be told any more. */
  lost: boolean;
}

/** As `read`, and adds what comes along to `received`. */
export function receiveWith(socket: number, buffer: Uint8Array, received: Received): number {
  const { header, at, control } = message();
  const vector = vectorOf([buffer]);
  pointer(header, IOV, vector.at);
  pointer(header, IOV_COUNT, vector.count);
  header[CONTROL_SIZE] = control.byteLength;
  header[FLAGS] = 0;
  const count = outcome(calls().recvmsg(socket, at, MSG_CMSG_CLOEXEC));
  if (count > 0) unpack(control, (header[CONTROL_SIZE] ?? 0) / 4, received);
  if (count > 0 && ((header[FLAGS] ?? 0) & MSG_CTRUNC) !== 0) received.lost = true;
  return count;
}

/** The struct cmsghdr in the first `end` words, and what follows each. */
function unpack(control: Int32Array, end: number, received: Received): void {
  let sender: number | undefined;
  let passed = false;
  for (let at = 0; at + CMSGHDR / 4 <= end; ) {
    const length = control[at] ?? 0;
    if (length < CMSGHDR) break;
    const data = at + CMSGHDR / 4;
    if (control[at + 2] === SOL_SOCKET && control[at + 3] === SCM_RIGHTS) {
      passed = true;
      for (let index = data; index < at + length / 4; index++) received.descriptors.push(control[index] as number);
    } else if (control[at + 2] === SOL_SOCKET && control[at + 3] === SCM_CREDENTIALS) {
      // struct ucred: pid, uid, gid.
      sender = (control[data + 1] ?? 0) >>> 0;
    }
    at += aligned(length) / 4;
  }
  if (passed) received.sender = sender;
}

/**
 * One message with one descriptor in it, close-on-exec: the descriptor, undefined if the message had none (the peer has closed), or an
 * error number negated (-11 on a non-blocking socket where nothing is there yet).
 */
export function receiveDescriptor(socket: number): number | undefined {
  const received: Received = { descriptors: [], sender: undefined, lost: false };
  const data = new Uint8Array(16);
  let count: number;
  do count = receiveWith(socket, data, received);
  while (count === EINTR);
  if (count < 0) return count;
  return received.lost ? EMFILE : received.descriptors[0];
}
