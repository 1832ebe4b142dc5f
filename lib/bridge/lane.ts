import { ProtocolError } from '../protocol/error.js';
import { messages } from '../protocol/messages.js';
import type { Receiver, Transport } from '../transport/transport.js';

/** What a lane needs of the stream it shares. */
export interface Road {
  readonly name: string;
  readonly maxFrame: number | undefined;
  /** A message of this lane waits to be sent. */
  pump(): void;
  /** A lane took in more than it may hold, or has worked that off. */
  balance(): void;
  /** A lane has ended because the peer broke the protocol. What its receiver had to say about that has been sent; an error, if it is known. */
  refused(error?: ProtocolError): void;
  /** A lane has ended, and whoever sent by it may do with the parts what he likes. `lent`: some of a caller's own are not written yet. */
  ended(lent: boolean): void;
}

interface Message {
  readonly parts: readonly Uint8Array[];
  readonly bytes: number;
  readonly sent: (() => void) | undefined;
  /** Parts of it are a caller's, or a pool's, until it is written. */
  readonly lent: boolean;
}

/** Bytes waiting to be sent in one direction above which its sender is held back. */
const BACKLOG = 2 * 1024 * 1024;
/** What arrives for a paused receiver is gathered in blocks of this size: a flood of the smallest frames takes no more memory than its bytes. */
const BLOCK = 16 * 1024;
const TFLUSH = messages.Tflush.type;

/**
 * One role's half of a shared stream, to the server or session above a Transport like any other. What is sent waits here for its turn;
 * what arrives while the receiver is paused waits here too, so that a busy server does not hold up the replies its own side waits for.
 */
export class Lane implements Transport {
  readonly name: string;
  readonly maxFrame?: number;
  readonly #road: Road;
  readonly #outbox: (Message | undefined)[] = [];
  #head = 0;
  /** Messages up to and with the last Tflush in the outbox. */
  #urgent = 0;
  #outBytes = 0;
  /** Messages that the stream has and that hold what is somebody's: the data of a Twrite, a server's buffer. */
  #lent = 0;
  #held = false;
  readonly #inbox: { bytes: Uint8Array; end: number }[] = [];
  #inBytes = 0;
  #paused = false;
  #receiver: Receiver | undefined;
  #closing = false;
  #refused = false;
  #ended = false;
  #error: Error | undefined;
  #waiting: (() => void)[] = [];

  constructor(road: Road, role: string) {
    this.#road = road;
    this.name = `${road.name} (${role})`;
    if (road.maxFrame !== undefined) this.maxFrame = road.maxFrame;
  }

  /** Bytes that have arrived and that the receiver does not take yet. */
  get held(): number {
    return this.#inBytes;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** A Tflush waits to be sent: it, and with it what has waited longer, is what makes room. */
  get urgent(): boolean {
    return this.#urgent > 0;
  }

  start(receiver: Receiver): void {
    this.#receiver = receiver;
    if (this.#ended) process.nextTick(() => this.#tell());
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#ended || this.#closing) return false;
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const lent = sent !== undefined || parts.length > 1;
    this.#outbox.push({ parts, bytes, sent: lent ? () => this.#returned(sent) : undefined, lent });
    this.#outBytes += bytes;
    if (parts[0]?.[4] === TFLUSH) this.#urgent = this.#outbox.length - this.#head;
    this.#road.pump();
    if (this.#outBytes <= BACKLOG) return true;
    this.#held = true;
    return false;
  }

  #returned(sent: (() => void) | undefined): void {
    this.#lent--;
    sent?.();
    this.#finish();
  }

  /** Ends a half that closes and has been written: what is still lent would be taken back from the stream. */
  #finish(): void {
    if (this.#closing && this.#lent === 0 && this.#outbox.length === this.#head) this.end();
  }

  /** For the road: the next message to send. */
  next(): Message | undefined {
    const message = this.#outbox[this.#head];
    if (message === undefined) return undefined;
    // Nothing that was sent is held on to: its parts may be megabytes of the caller's.
    this.#outbox[this.#head++] = undefined;
    if (message.lent) this.#lent++;
    if (this.#urgent > 0) this.#urgent--;
    if (this.#head === this.#outbox.length) {
      this.#outbox.length = this.#head = 0;
    } else if (this.#head > 256 && this.#head * 2 > this.#outbox.length) {
      this.#outbox.splice(0, this.#head);
      this.#head = 0;
    }
    this.#outBytes -= message.bytes;
    if (this.#held && this.#outBytes <= BACKLOG / 2) {
      this.#held = false;
      process.nextTick(() => {
        if (!this.#ended) this.#receiver?.drained();
      });
    }
    this.#finish();
    return message;
  }

  /** For the road: bytes of this lane's frames have arrived; the view is good until this returns. */
  deliver(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#paused || this.#inBytes > 0 || this.#receiver === undefined) {
      this.#hold(bytes);
      this.#road.balance();
    } else this.#push(this.#receiver, bytes);
  }

  /** A receiver that closes in the middle of what it is given will not have it. */
  #push(receiver: Receiver, bytes: Uint8Array): void {
    const before = this.#closing;
    receiver.push(bytes);
    if (before || !this.#closing) return;
    this.#refused = true;
    if (this.#ended) this.#road.refused();
  }

  #hold(bytes: Uint8Array): void {
    this.#inBytes += bytes.length;
    const last = this.#inbox[this.#inbox.length - 1];
    if (last !== undefined && last.bytes.length - last.end >= bytes.length) {
      last.bytes.set(bytes, last.end);
      last.end += bytes.length;
      return;
    }
    const block = new Uint8Array(Math.max(BLOCK, bytes.length));
    block.set(bytes);
    this.#inbox.push({ bytes: block, end: bytes.length });
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    process.nextTick(() => this.#drainInbox());
  }

  #drainInbox(): void {
    while (!this.#paused && !this.#ended && this.#receiver !== undefined) {
      const block = this.#inbox.shift();
      if (block === undefined) break;
      this.#inBytes -= block.end;
      this.#push(this.#receiver, block.bytes.subarray(0, block.end));
    }
    this.#road.balance();
  }

  close(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#closing = true;
    this.#finish();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  destroy(error?: Error): void {
    this.end(error);
    if (error instanceof ProtocolError) this.#road.refused(error);
  }

  /** This half is over; the stream and the other half may go on. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#outbox.length = 0;
    this.#inbox.length = 0;
    this.#head = this.#urgent = this.#outBytes = this.#inBytes = 0;
    this.#road.ended(this.#lent > 0);
    process.nextTick(() => this.#tell());
    this.#road.balance();
    if (this.#refused) this.#road.refused();
  }

  #tell(): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.closed(this.#error);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
