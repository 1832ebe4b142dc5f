import { type Codec, typeOf } from '../protocol/codec.js';
import { HEADER_SIZE } from '../protocol/constants.js';
import { answeredError, ErrnoError, ProtocolError } from '../protocol/error.js';
import { type MessageName, messagesU, type Reply, replyName, type TName } from '../protocol/messages.js';
import type { Call } from './call.js';
import { legacyErrno } from './ename.js';

/** Whether a message is the one that grants such a request. */
export function isReplyTo(asked: TName, name: MessageName | undefined): name is MessageName {
  return name !== undefined && name === replyName(asked);
}

/** The reply in a frame, of which nothing points into it. A ProtocolError where it promises what was not asked for. */
export function replyIn(call: Call, codec: Codec, frame: Uint8Array, name: MessageName): Reply<TName> {
  const reply = codec.decodeBody(name, frame) as Reply<TName>;
  if (name === 'Rread' || name === 'Rreaddir') return ownData(call, reply as Reply<'Tread'>);
  if (name === 'Rwrite' && (reply as Reply<'Twrite'>).count > (call.asked ?? 0)) {
    throw new ProtocolError(`${(reply as Reply<'Twrite'>).count} bytes; ${call.asked} were sent`, 'Rwrite.count', HEADER_SIZE);
  }
  return reply;
}

/** What a reply that could not be decoded means to who asked, where it is an answer all the same; else throws it again. */
export function answering({ name }: Call, problem: unknown): Error {
  if (!(problem instanceof ProtocolError) || problem.answer === undefined) throw problem;
  return new ErrnoError(problem.answer, { syscall: name }, { cause: problem });
}

/** The error in a frame that is no reply. A ProtocolError where it is no error either. */
export function errorIn({ name: syscall }: Call, codec: Codec, frame: Uint8Array, name: MessageName | undefined): Error {
  // nfs-ganesha 4.3 answers errors of 9P2000.L with Rlerror's body under Rerror's number (interop: walk.missing).
  if (name === 'Rlerror' || (name === undefined && typeOf(frame) === messagesU.Rerror.type)) {
    return answeredError(codec.decodeBody('Rlerror', frame).ecode, { syscall });
  }
  if (name === 'Rerror') {
    const { ename, errno } = codec.decodeBody('Rerror', frame);
    return answeredError(errno || legacyErrno(ename), { syscall }, { cause: ename });
  }
  throw new ProtocolError(`a ${name ?? `message of type ${typeOf(frame)}`} in answer to ${syscall}`, 'type', 4);
}

/** What arrived whole lies in the framer's buffer: gives it the place it was meant for. */
function ownData(call: Call, { data }: Reply<'Tread'>): Reply<'Tread'> {
  checkCount(call, data.length);
  if (call.into === undefined || call.flushing) return { data: data.slice() };
  call.into.set(data);
  return { data: call.into.subarray(0, data.length) };
}

/** A ProtocolError for more bytes than a Tread or Treaddir asked for. */
export function checkCount(call: Call, count: number): void {
  if (count > (call.asked ?? 0)) throw new ProtocolError(`${count} bytes; ${call.asked} were asked for`, 'Rread.count', HEADER_SIZE);
}
