import type { Server } from '../server/index.js';
import type { Session, SessionOptions } from '../session/index.js';
import { pause as sleep } from '../session/pause.js';
import { abortable, abortError } from '../transport/error.js';
import type { Transport } from '../transport/transport.js';
import { Bridge } from './bridge.js';
import { Newcomer } from './newcomer.js';
import { ResyncTransport } from './resync.js';

export interface LinkOptions {
  /** Answers the peer. */
  server?: Server | undefined;
  /** Makes a connection, for the side that dials. */
  dial?: ((signal: AbortSignal) => Promise<Transport>) | undefined;
  /** The channel has no connections of its own (a virtio-serial port): half frames are to be expected at its beginning. */
  resync?: boolean | undefined;
  /** Milliseconds the peer may take to answer a Tversion before it is asked again, and may be silent while another wants its place. Default 5000. */
  patience?: number | undefined;
  /** Is told what happens to the channel. Must not throw. */
  onEvent?: ((event: LinkEvent) => void) | undefined;
}

export type LinkEvent =
  | { type: 'up'; peer: string }
  | { type: 'down'; peer: string; error: Error | undefined }
  | { type: 'refused'; peer: string; present: string }
  | { type: 'failed'; error: Error };

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 3000;
const PATIENCE = 5000;
/** A stream that ends within so many milliseconds got nowhere: its command fails, or another who dials the same place takes it over at once. */
const SHORT = 1000;
/** So many times in a row without an answer, and a stream is given up on which the peer has not answered yet, or says other things. */
const TRIES = 6;
/** How often, while a peer may be silent, it is looked whether it still is. */
const LOOKS = 20;

/**
 * A bridge that lasts: whenever its stream is lost, or its peer says nothing any more, it dials again, or takes the next one that comes (`take`). While a peer is
 * there that says something, no other takes its place. The session that `openSession` gives ends with its stream; a Client's recovery asks for the next one here. A stream has room for one conversation in each direction, so all clients of a link share it:
 * each but the first is made `beside` another.
 */
export class Link {
  readonly #options: LinkOptions;
  readonly #ending = new AbortController();
  #bridge: Bridge | undefined;
  /** Who wants its place. */
  #newcomer: Newcomer | undefined;
  #waiting: ((bridge: Bridge | undefined) => void)[] = [];
  #dialling = false;
  /** When the stream came, and how many ended soon, one after another. */
  #since = 0;
  #short = 0;
  /** Whether the peer answered on the last one: then it serves, and is waited for no longer than once. */
  #served = false;
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  /** How often in a row a Tversion has not been answered in time on the stream as it is now. */
  #unanswered = 0;
  readonly #gone = new Set<Promise<unknown>>();

  constructor(options: LinkOptions) {
    this.#options = options;
    void this.#dial();
  }

  /** The stream as it is now. */
  get bridge(): Bridge | undefined {
    return this.#bridge;
  }

  async #dial(): Promise<void> {
    const { dial } = this.#options;
    const { signal } = this.#ending;
    if (dial === undefined || this.#dialling) return;
    this.#dialling = true;
    if (this.#short > 1) await sleep(this.#served ? FIRST_PAUSE : Math.min(FIRST_PAUSE * 1.6 ** this.#short, LONGEST_PAUSE), signal);
    for (let pause = FIRST_PAUSE; !signal.aborted && this.#bridge === undefined; pause = Math.min(pause * 1.6, LONGEST_PAUSE)) {
      try {
        this.take(await dial(signal));
      } catch (error) {
        if (signal.aborted) break;
        this.#options.onEvent?.({ type: 'failed', error: error instanceof Error ? error : new Error(String(error)) });
        await sleep(pause, signal);
      }
    }
    this.#dialling = false;
  }

  /**
   * A stream has come. Where another is there, it waits for that one's end, and is refused if its peer turns out to be well. A peer that says nothing, though it is
   * asked where it can be, gives way: the connection of a machine that was reset may stay open for ever. Only who says something takes its place.
   */
  take(transport: Transport): void {
    if (this.#ending.signal.aborted) {
      transport.destroy();
      return;
    }
    const present = this.#bridge;
    if (present === undefined) {
      this.#begin(transport);
      return;
    }
    if (this.#newcomer?.spoke) {
      this.#refuse(transport, present);
      return;
    }
    if (this.#newcomer !== undefined) this.#refuse(this.#newcomer, present);
    const newcomer = new Newcomer(transport, {
      onSpeech: () => void this.#judge(newcomer, present),
      onEnd: () => {
        if (this.#newcomer === newcomer) this.#newcomer = undefined;
      },
    });
    this.#newcomer = newcomer;
  }

  async #judge(newcomer: Newcomer, present: Bridge): Promise<void> {
    const { arrived } = present;
    const { signal } = this.#ending;
    if (signal.aborted) return;
    this.#session?.probe();
    for (let looks = 0; looks < LOOKS; looks++) {
      await sleep((this.#options.patience ?? PATIENCE) / LOOKS, signal);
      if (this.#newcomer !== newcomer || signal.aborted) return;
      if (present.arrived === arrived && !present.holdsBack) continue;
      this.#newcomer = undefined;
      this.#refuse(newcomer, present);
      return;
    }
    present.destroy(new Error('the peer has fallen silent, and another has come'));
  }

  #refuse(newcomer: Transport, present: Bridge): void {
    newcomer.destroy(new Error('another peer is there'));
    this.#options.onEvent?.({ type: 'refused', peer: newcomer.name, present: present.name });
  }

  #begin(transport: Transport): void {
    let bridge: Bridge | undefined;
    const stream =
      this.#options.resync === true ? new ResyncTransport(transport, () => bridge?.reset(new Error('the channel was reset'))) : transport;
    bridge = new Bridge(stream, { server: this.#options.server });
    this.#bridge = bridge;
    this.#since = performance.now();
    this.#unanswered = 0;
    this.#options.onEvent?.({ type: 'up', peer: bridge.name });
    const ended = bridge.done.then((error) => this.#lost(bridge, error));
    this.#gone.add(ended);
    void ended.then(() => this.#gone.delete(ended));
    for (const resolve of this.#waiting.splice(0)) resolve(bridge);
  }

  #lost(bridge: Bridge, error: Error | undefined): void {
    if (this.#bridge !== bridge) return;
    this.#bridge = undefined;
    this.#short = performance.now() - this.#since < SHORT ? this.#short + 1 : 0;
    this.#served = bridge.answered;
    this.#options.onEvent?.({ type: 'down', peer: bridge.name, error });
    const newcomer = this.#newcomer;
    this.#newcomer = undefined;
    if (newcomer === undefined || this.#ending.signal.aborted) void this.#dial();
    else this.#begin(newcomer);
  }

  /** The stream, as soon as there is one. */
  #up(signal: AbortSignal): Promise<Bridge | undefined> {
    // An end that has been told is not told again.
    if (this.#bridge !== undefined || signal.aborted) return Promise.resolve(this.#bridge);
    return new Promise((resolve) => {
      const end = (bridge: Bridge | undefined) => {
        signal.removeEventListener('abort', aborted);
        resolve(bridge);
      };
      const aborted = () => {
        this.#waiting = this.#waiting.filter((one) => one !== end);
        end(undefined);
      };
      signal.addEventListener('abort', aborted, { once: true });
      this.#waiting.push(end);
    });
  }

  /**
   * The conversation in which this side asks, begun by the first who asks for it after the one before has ended, with the options of that one; as soon as there
   * is a stream and the peer answers. Rejects when `signal` or `close` says so, and with the peer's refusal.
   */
  async openSession({ signal, ...options }: SessionOptions & { signal: AbortSignal }): Promise<Session> {
    if (this.#session !== undefined && this.#session.lost === undefined) return this.#session;
    this.#opening ??= this.#open(options).finally(() => {
      this.#opening = undefined;
    });
    // Whoever loses patience leaves the others waiting.
    this.#opening.catch(() => undefined);
    return abortable(this.#opening, signal);
  }

  async #open(options: SessionOptions): Promise<Session> {
    const { signal } = this.#ending;
    for (;;) {
      const bridge = await this.#up(signal);
      if (bridge === undefined || signal.aborted) throw abortError(signal);
      const { heard } = bridge;
      const late = AbortSignal.timeout(this.#options.patience ?? PATIENCE);
      try {
        this.#session = await bridge.openSession({ ...options, signal: AbortSignal.any([signal, late]) });
        this.#unanswered = 0;
        return this.#session;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPROTONOSUPPORT' || signal.aborted) throw error;
        // The peer is not up yet, or went away meanwhile.
        if (late.aborted && this.#isDead(bridge, heard)) bridge.destroy(new Error('the peer has fallen silent'));
        else await sleep(FIRST_PAUSE, signal);
      }
    }
  }

  /**
   * Whether nothing is to be hoped for from a stream whose peer has not answered in time; when it was asked, `heard` frames had come. The other end of a
   * connection can vanish without a word, and a bit that flips in a frame's size makes all that follows a part of that frame: another connection
   * puts that right. A channel without connections stays what it is.
   */
  #isDead(bridge: Bridge, heard: number): boolean {
    if (this.#options.resync === true || this.#bridge !== bridge) return false;
    const silent = bridge.answered && bridge.heard === heard;
    return ++this.#unanswered >= TRIES || silent;
  }

  /** No more streams; the one that is there is closed. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort();
    for (const resolve of this.#waiting.splice(0)) resolve(undefined);
    this.#newcomer?.destroy();
    await this.#bridge?.close();
    await Promise.all(this.#gone);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
