import { MIN_MSIZE, NOTAG } from '../protocol/constants.js';
import { u16At, u32At } from '../protocol/cursor.js';
import { ProtocolError } from '../protocol/error.js';
import { messages } from '../protocol/messages.js';
import type { Connection, Server } from '../server/index.js';
import { Session, type SessionOptions } from '../session/index.js';
import type { Receiver, Transport } from '../transport/transport.js';
import { Lane } from './lane.js';
import { Outstanding } from './outstanding.js';

export interface BridgeOptions {
  /** Answers the peer's requests. Without one, they end the stream. */
  server?: Server | undefined;
  /** The peer has begun anew on a stream that has no connections of its own: what our session asked is lost. */
  onPeerRestart?: (() => void) | undefined;
}

/** Bytes of requests taken in for a busy server before nothing more is read. */
const INBOX = 32 * 1024 * 1024;
/** Bytes of this side's requests on their way or unanswered: less than a peer's inbox holds, so that it can always read on. */
const OUTSTANDING = 16 * 1024 * 1024;
/**
 * How long after the answer to our Tversion one of the peer's may be its answer to that: two sides that begin at one time, or one that begins anew because
 * the other has. Later it means that the peer was restarted. Milliseconds.
 */
const BEGINNING = 2000;
const TVERSION = messages.Tversion.type;
const RVERSION = messages.Rversion.type;

/**
 * Both roles on one stream. Types tell the directions apart: even ones are requests of the peer, for our server; odd ones answer our
 * session.
 *
 * ```
 *            ┌─ T ─► Lane ─► Server         Lanes take turns message by message, so neither direction starves the other.
 *  stream ◄──┤                              Whoever waits for replies always gets to read: requests are taken into a bounded
 *            └─ R ─► Lane ─► Session        inbox when the server is busy, and the session never has more under way than that.
 * ```
 *
 * A peer that is only a client, or only a server, needs to know nothing of this.
 */
export class Bridge implements Receiver {
  readonly #transport: Transport;
  readonly #options: BridgeOptions;
  /** Undefined where nothing is served. */
  #serving: Lane | undefined;
  /** What answers there; undefined where the server turned it away. */
  #connection: Connection | undefined;
  #asking: Lane | undefined;
  #outstanding = new Outstanding(OUTSTANDING);
  #turn = 0;
  #blocked = false;
  #pumping = false;
  #pausedStream = false;
  /** The frame that is passing: its lane, and bytes of it that have not arrived. */
  #lane: Lane | undefined;
  #left = 0;
  readonly #head = new Uint8Array(7);
  #headSize = 0;
  readonly #staging = new Uint8Array(256 * 1024);
  /** When our conversation began: the last Tversion was sent, then answered. */
  #begunAsking = 0;
  /** Our Tversion is sent. */
  #asked = false;
  /** Our Tversion is not answered yet: what is answered meanwhile was asked before it. */
  #unanswered = false;
  /** The largest msize that a Tversion of ours has asked for: no reply is longer. */
  #largest = MIN_MSIZE;
  #heard = 0;
  #arrived = 0;
  #answered = false;
  /** The peer's next Tversion may follow upon ours. */
  #mayFollow = false;
  #heardTversion = false;
  #over = false;
  #closing: Promise<void> | undefined;
  /** The serving lane has ended. */
  #onServed: (() => void) | undefined;
  #error: Error | undefined;
  /** Why this side has closed the stream. */
  #refusal: Error | undefined;
  /** Resolves when the stream has ended, with the error if it was not orderly. */
  readonly done: Promise<Error | undefined>;
  #tellDone: (error: Error | undefined) => void = () => undefined;

  /** The transport belongs to the bridge from then on. */
  constructor(transport: Transport, options: BridgeOptions = {}) {
    this.#transport = transport;
    this.#options = options;
    this.done = new Promise((resolve) => {
      this.#tellDone = resolve;
    });
    this.#serving = this.#serve();
    transport.start(this);
  }

  #serve(): Lane | undefined {
    const { server } = this.#options;
    if (server === undefined) return undefined;
    const lane = this.#newLane('serving');
    this.#connection = server.serve(lane);
    return lane;
  }

  /** The peer has begun anew on the same stream: both conversations are over, and the next byte begins a frame. */
  reset(error: Error): void {
    this.#left = this.#headSize = 0;
    this.#heardTversion = false;
    this.#asking?.end(error);
    this.#serving?.end(error);
    if (this.#closing === undefined) this.#serving = this.#serve();
  }

  #newLane(role: string): Lane {
    const { name, maxFrame } = this.#transport;
    return new Lane(
      {
        name,
        maxFrame,
        pump: () => this.#pump(),
        balance: () => this.#balance(),
        refused: (error) => this.#refuse(error),
        ended: (lent) => this.#takeBack(lent),
      },
      role,
    );
  }

  get name(): string {
    return this.#transport.name;
  }

  /** Frames that have begun to arrive. */
  get heard(): number {
    return this.#heard;
  }

  /** Bytes that have arrived. */
  get arrived(): number {
    return this.#arrived;
  }

  /** Whether nothing is read for now, because the server is busy: that nothing arrives is not the peer's doing. */
  get holdsBack(): boolean {
    return this.#pausedStream;
  }

  /** Whether the peer has ever answered a Tversion on this stream: it serves. */
  get answered(): boolean {
    return this.#answered;
  }

  /**
   * Begins a conversation in which this side asks; it takes the place of the one before. Rejects as Session.open does: a peer that does not
   * serve answers nothing, so give it a `timeout` or `signal`.
   */
  async openSession(options: SessionOptions = {}): Promise<Session> {
    this.#asking?.end(new Error('another conversation took its place'));
    const lane = this.#newLane('asking');
    this.#asking = lane;
    this.#outstanding = new Outstanding(OUTSTANDING);
    this.#begunAsking = performance.now();
    this.#mayFollow = true;
    this.#asked = false;
    if (this.#over) lane.end(this.#error);
    return Session.open(lane, options);
  }

  // Sending

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#blocked && !this.#over) {
      const message = this.#nextMessage();
      if (message === undefined) break;
      if (!this.#transport.send(message.parts, message.sent)) this.#blocked = true;
    }
    this.#pumping = false;
  }

  /** One message of each lane in turn. */
  #nextMessage(): ReturnType<Lane['next']> {
    for (let tries = 0; tries < 2; tries++) {
      this.#turn ^= 1;
      if (this.#turn === 0) {
        const message = this.#serving?.next();
        if (message !== undefined) return message;
      } else if (this.#asking !== undefined && (!this.#outstanding.full || (this.#asking.urgent && !this.#outstanding.crammed))) {
        const message = this.#asking.next();
        if (message !== undefined) {
          const head = message.parts[0] as Uint8Array;
          if (head[4] === TVERSION) {
            this.#asked = this.#unanswered = true;
            this.#largest = Math.max(this.#largest, u32At(head, 7));
          }
          this.#outstanding.sent(head, message.bytes);
          return message;
        }
      }
    }
    return undefined;
  }

  drained(): void {
    this.#blocked = false;
    this.#pump();
  }

  // Receiving

  target(): Uint8Array {
    return this.#staging;
  }

  filled(count: number): void {
    this.push(this.#staging.subarray(0, count));
  }

  push(chunk: Uint8Array): void {
    this.#arrived += chunk.length;
    try {
      for (let at = 0; at < chunk.length && !this.#over; ) at = this.#left > 0 ? this.#pass(chunk, at) : this.#beginFrame(chunk, at);
    } catch (error) {
      this.#transport.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #pass(chunk: Uint8Array, at: number): number {
    const count = Math.min(this.#left, chunk.length - at);
    this.#left -= count;
    this.#lane?.deliver(chunk.subarray(at, at + count));
    return at + count;
  }

  #beginFrame(chunk: Uint8Array, at: number): number {
    if (this.#headSize === 0 && chunk.length - at >= 7) {
      this.#direct(chunk, at);
      return this.#pass(chunk, at);
    }
    const count = Math.min(7 - this.#headSize, chunk.length - at);
    this.#head.set(chunk.subarray(at, at + count), this.#headSize);
    this.#headSize += count;
    if (this.#headSize < 7) return at + count;
    this.#headSize = 0;
    this.#direct(this.#head, 0);
    this.#left -= 7;
    this.#lane?.deliver(this.#head);
    return at + count;
  }

  /** Decides whose the frame is that begins at `at`. */
  #direct(bytes: Uint8Array, at: number): void {
    const size = u32At(bytes, at);
    const type = bytes[at + 4] as number;
    // Whatever follows a size that cannot be would be taken for its frame's content, gigabytes of it: there is no way back into step.
    const most = type % 2 === 0 ? (this.#options.server?.limits.msize ?? MIN_MSIZE) : this.#largest;
    if (size < 7 || size > most) throw new ProtocolError(`a frame of ${size} bytes; 7 to ${most} are allowed`, 'size', 0);
    this.#heard++;
    this.#left = size;
    this.#lane = type % 2 === 0 ? this.#request(type) : this.#reply(type, u16At(bytes, at + 5));
  }

  #request(type: number): Lane | undefined {
    // It comes too late, and is no reason to break off what is still on its way.
    if (this.#closing !== undefined && this.#serving?.ended) return undefined;
    if (this.#serving === undefined || this.#serving.ended) throw new ProtocolError('a request, but nothing is served here', 'type', 4);
    if (type === TVERSION) this.#peerBegins();
    return this.#serving;
  }

  /**
   * The peer's asking side begins. If that is not its first time, and does not follow upon our own beginning, the peer has been restarted
   * and has forgotten our fids. It may also have lost patience with us: then beginning anew does no harm, as long as that does not make the peer do so again.
   */
  #peerBegins(): void {
    const again = this.#heardTversion;
    this.#heardTversion = true;
    if (!again || this.#asking === undefined) return;
    const follows = this.#mayFollow && performance.now() - this.#begunAsking < BEGINNING;
    this.#mayFollow = false;
    if (follows) return;
    this.#asking.end(new Error('the peer has begun anew'));
    this.#options.onPeerRestart?.();
  }

  /** Whose a reply is. What a conversation before this one had asked for is nobody's, nor is a second answer to a Tversion that was repeated. */
  #reply(type: number, tag: number): Lane | undefined {
    // Under another tag an Rversion is the answer to something else, and wrong: dropped, whoever asked that would wait for ever.
    const begins = tag === NOTAG && (type === RVERSION || this.#unanswered);
    if (!this.#asked || begins !== this.#unanswered) return undefined;
    if (begins) {
      this.#unanswered = false;
      this.#answered = true;
      this.#begunAsking = performance.now();
    }
    if (this.#outstanding.answered(tag)) process.nextTick(() => this.#pump());
    return this.#asking;
  }

  /**
   * The peer broke the protocol in what it asked or answered. As on a stream for each role, that is the end of it: if a frame was not what it seemed, somebody
   * at the other end may wait for ever for what it was.
   */
  #refuse(error?: ProtocolError): void {
    if (error !== undefined) {
      this.#transport.destroy(error);
      return;
    }
    this.#refusal ??= new ProtocolError('what the peer asked made the server break off', 'request');
    void this.#transport.close();
  }

  /**
   * What a lane that has ended gave to the stream is its callers' again, who may fill it with something else: the peer, once it reads on, must not take that for
   * what it was to write. A stream that cannot let go of it goes with it.
   */
  #takeBack(lent: boolean): void {
    if (this.#serving?.ended) this.#onServed?.();
    if (this.#over) return;
    if (this.#transport.copyQueued !== undefined) this.#transport.copyQueued();
    else if (lent) this.#transport.destroy(new Error('a conversation ended under what it was sending'));
  }

  /** Reads on unless the server has more before it than may be held for it. */
  #balance(): void {
    const full = (this.#serving?.held ?? 0) > INBOX;
    if (full === this.#pausedStream || this.#over) return;
    this.#pausedStream = full;
    if (full) this.#transport.pause();
    else this.#transport.resume();
  }

  closed(error: Error | undefined = this.#refusal): void {
    this.#over = true;
    this.#error = error;
    this.#serving?.end(error);
    this.#asking?.end(error);
    this.#tellDone(error);
  }

  /**
   * Answers what the peer has asked, as long as the server's limits say, then ends the stream once it has written that. What this side has asked and a
   * blocked stream has not taken yet is not sent. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const connection = this.#connection;
    if (connection !== undefined && this.#serving?.ended === false) {
      const served = new Promise<void>((resolve) => {
        this.#onServed = resolve;
      });
      // It may wait longer for a call that hangs in a dead disk, which nothing here depends on.
      void connection.stop();
      await served;
    }
    await this.#transport.close();
  }

  destroy(error?: Error): void {
    this.#transport.destroy(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
