/**
 * The contract between a stream of bytes and a conversation.
 *
 * A transport moves bytes and knows nothing of 9P. It never calls back from inside `start`, `send` or `close`, except
 * that `send` may call `sent` at once. After `closed` it calls nothing any more.
 */

/** Who takes the bytes that arrive. A transport uses either `target`/`filled` or `push`, as suits it. */
export interface Receiver {
  /**
   * Where the next bytes are to land: never empty. The view is valid until the next call of this object. Transports that
   * read into a buffer of the reader's choice use it, so that a large payload lands where it is wanted without a copy.
   */
  target(): Uint8Array;
  /** The first `count` bytes of the last `target()` have arrived; `count` ≥ 1. */
  filled(count: number): void;
  /** Bytes in a buffer of the transport's own, which may be reused once this returns. */
  push(chunk: Uint8Array): void;
  /** No more bytes will be taken: `send` returned false and the backlog has been written. */
  drained(): void;
  /**
   * The last call ever made: the peer or `close` or `destroy` ended the stream. `error` is there unless the end was orderly.
   */
  closed(error?: Error): void;
}

/** A full-duplex stream of bytes. */
export interface Transport {
  /** What it is connected to, for messages and traces: `tcp://127.0.0.1:564`, `exec:ssh vm diod`, … */
  readonly name: string;
  /** The largest frame it can carry, in bytes, where there is such a limit (virtqueues have one). */
  readonly maxFrame?: number;
  /** Whether descriptors can be passed to the peer, which is trusted with what this process has open: a unix socket of root's on this host. */
  readonly passes?: boolean;
  /** Whether descriptors that the peer passes are taken (`takeDescriptor`), which it is trusted with as well; else they are closed unseen. It may end. */
  readonly takes?: boolean;
  /** Begins to deliver. Called once, before anything is sent. */
  start(receiver: Receiver): void;
  /**
   * Queues the parts, in order, as one message. The parts belong to the transport until it calls `sent` (or until `closed`);
   * nobody may write to them before. Returns false when its backlog has passed its bound: the caller then holds
   * back until `drained`. What was passed is queued all the same. After the end it is ignored.
   *
   * `descriptors`, only where `passes`: reach the peer no later than the first byte. They are the transport's, which closes its own in any case.
   */
  send(parts: readonly Uint8Array[], sent?: () => void, descriptors?: readonly number[]): boolean;
  /** The first of the descriptors that have come and that nobody has taken; the caller's, who closes it. */
  takeDescriptor?(): number | undefined;
  /**
   * Makes copies of the parts that are not written yet, which are their owners' again from then on. Only where a transport can do that while the stream
   * goes on.
   */
  copyQueued?(): void;
  /** Stops and starts reading, so that a slow taker holds back its peer. */
  pause(): void;
  resume(): void;
  /** Writes what is queued, then ends the stream. Idempotent; every call resolves after `closed` was called. */
  close(): Promise<void>;
  /** Ends the stream at once; what is queued is lost. `closed(error)` follows. Idempotent. */
  destroy(error?: Error): void;
}

/** Waits for connections, each of them a Transport. */
export interface Listener {
  /** The address a client would connect to, with the port that was really taken. */
  readonly address: string;
  /** Stops to take new connections; those that are open stay. Idempotent. */
  close(): Promise<void>;
}
