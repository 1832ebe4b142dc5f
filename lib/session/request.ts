import debug from 'debug';
import type { Codec } from '../protocol/codec.js';
import { ErrnoError } from '../protocol/error.js';
import { format } from '../protocol/format.js';
import type { Body, TName } from '../protocol/messages.js';
import type { Call } from './call.js';

const trace = debug('ninep:session');

/**
 * What a request is on the wire; of a Twrite the data as it lies. It notes with the call what its reply may hold. EMSGSIZE for what no message has room for;
 * a RangeError for a buffer that is too short for what is asked.
 */
export function partsOf<N extends TName>(call: Call<N>, codec: Codec, msize: number, body: Body<N>): Uint8Array[] {
  const { name, tag } = call;
  if (name === 'Twrite') {
    const { fid, offset, data } = body as Body<'Twrite'>;
    const head = codec.encodeTwrite(tag, fid, offset, data.length);
    call.asked = data.length;
    if (head.length + data.length > msize) throw new ErrnoError('EMSGSIZE', { syscall: name });
    if (trace.enabled) trace('→ Twrite tag %d fid %d offset %d data %d bytes', tag, fid, offset, data.length);
    return data.length === 0 ? [head] : [head, data];
  }
  if (name === 'Tread') {
    const { fid, offset, count } = body as Body<'Tread'>;
    call.asked = count;
    if (call.into !== undefined && call.into.length < count) throw new RangeError(`${count} bytes into a buffer of ${call.into.length}`);
    if (trace.enabled) trace('→ Tread tag %d fid %d offset %d count %d', tag, fid, offset, count);
    return [codec.encodeTread(tag, fid, offset, count)];
  }
  if (name === 'Treaddir') call.asked = (body as Body<'Treaddir'>).count;
  const frame = codec.encode(name, tag, body);
  if (frame.length > msize) throw new ErrnoError('EMSGSIZE', { syscall: name });
  if (trace.enabled) trace('→ %s', format(codec.decode(frame)));
  return [frame];
}
