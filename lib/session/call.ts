import { NOTAG } from '../protocol/constants.js';
import type { Reply, TName } from '../protocol/messages.js';

/** Called once: with a reply, or with an error and no reply. */
export type Done<N extends TName> = (error: Error | undefined, reply: Reply<N> | undefined) => void;

export interface CallOptions<N extends TName = TName> {
  /** Gives the request up: AbortError at once, Tflush to the server. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds before the request is given up with ETIMEDOUT; 0: never. Default: the session's. Counted from the call; while others have all tags, anew with
   * each answer to one of them; and anew once it is sent.
   */
  timeout?: number | undefined;
  /**
   * For Tread and Treaddir: takes the data, at least as many bytes as are asked for. The reply's `data` is then a view of it. It
   * belongs to the session until the call back.
   */
  into?: Uint8Array | undefined;
  /**
   * Called once with what became of the request in the end. Differs from the call back only after an abort or time-out, when the
   * server may have done the request all the same: whoever gave a newfid must know.
   */
  late?: Done<N> | undefined;
  /**
   * For a Txattrwalk or Tcreateat whose reply says, by a size or `lent` other than 0, that a descriptor comes with it: is called with that; the descriptor is whose
   * this is, who closes it, also where the request was given up meanwhile. Where none has come: EOPNOTSUPP instead of an Rxattrwalk, nothing beside an Rcreateat.
   */
  descriptor?: ((fd: number) => void) | undefined;
  /** The server may wait with the answer for somebody else, for ever: the end of the conversation does not wait for it. */
  endless?: boolean | undefined;
}

/**
 * The options with another `late`. Written out: a spread of options that come in many shapes takes longer than sending the request (a missing field is an error
 * of the compiler's).
 */
export function withLate<N extends TName>(options: CallOptions<N> | undefined, late: Done<N>): CallOptions<N> {
  const all: { [K in keyof Required<CallOptions<N>>]: CallOptions<N>[K] } = {
    signal: options?.signal,
    timeout: options?.timeout,
    into: options?.into,
    late,
    descriptor: options?.descriptor,
    endless: options?.endless,
  };
  return all;
}

/** A request between its sending and its reply. */
export interface Call<N extends TName = TName> {
  readonly name: N;
  tag: number;
  readonly done: Done<N>;
  readonly into: Uint8Array | undefined;
  readonly options: CallOptions<N> | undefined;
  /** When it is given up, by performance.now(); 0: never. */
  deadline: number;
  /** It was given up, and its Tflush is under way. */
  flushing: boolean;
  /** Its end has been told. */
  finished?: boolean;
  /** Bytes asked for or sent, where the reply may not exceed that. */
  asked?: number;
  unwatch?: () => void;
}

/** A request that has neither a tag nor a deadline yet. */
export function newCall<N extends TName>(name: N, done: Done<N>, options?: CallOptions<N>): Call<N> {
  return { name, tag: NOTAG, done, into: options?.into, options, deadline: 0, flushing: false };
}
