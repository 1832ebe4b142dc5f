import type { Socket } from 'node:net';
import { Ending } from './ending.js';
import type { Receiver, Transport } from './transport.js';

/** Bytes that may wait to be written before `send` says so. Two of the largest frames that are usual. */
export const BACKLOG = 2 * 1024 * 1024;

/** How long an ending stream may go without moving a byte before it is cut, in milliseconds. */
export const LINGER = 5000;

export interface StreamOptions {
  /** Bytes waiting to be written above which `send` returns false. Default 2 MiB. */
  backlog?: number | undefined;
  /** Take descriptors that the peer passes (`Transport.takeDescriptor`). Unix sockets that are `polled` and have a peer of root's only. Default: false. */
  descriptors?: boolean | undefined;
  /** Milliseconds that a stream which ends may stand still before it is cut. Default 5000. */
  linger?: number | undefined;
}

/** What a StreamTransport leaves to its kind. */
export interface StreamHooks {
  /** Both directions are over: resolves to what `closed` is to say. */
  finished?(error: Error | undefined, closing: boolean): Promise<Error | undefined> | Error | undefined;
}

/**
 * A transport over Node's sockets: one for both directions, or one for each (a child's stdout and stdin, two pipes). What is
 * sent within one turn of the event loop leaves as one writev.
 */
export class StreamTransport implements Transport {
  readonly name: string;
  readonly #readable: Socket;
  readonly #writable: Socket;
  readonly #backlog: number;
  readonly #linger: number;
  readonly #hooks: StreamHooks;
  readonly #ending = new Ending();
  #receiver: Receiver | undefined;
  #corked = false;
  #held = false;
  #closing = false;
  #finishing = false;
  #destroyed = false;
  #open: number;
  #error: Error | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, readable: Socket, writable: Socket, options: StreamOptions = {}, hooks: StreamHooks = {}) {
    this.name = name;
    this.#readable = readable;
    this.#writable = writable;
    this.#backlog = options.backlog ?? BACKLOG;
    this.#linger = options.linger ?? LINGER;
    this.#hooks = hooks;
    const sockets = new Set([readable, writable]);
    this.#open = 0;
    for (const socket of sockets) {
      socket.on('error', (error) => this.#failed(error));
      socket.on('timeout', () => this.#cut());
      if (socket.closed || socket.destroyed) continue;
      this.#open++;
      socket.on('close', () => {
        if (--this.#open === 0) void this.#finish();
        else if (socket === writable && !this.#closing) this.#peerEnded();
      });
    }
    readable.on('end', () => this.#peerEnded());
    if (this.#open === 0) void this.#finish();
  }

  start(receiver: Receiver): void {
    this.#ending.start(receiver);
    this.#receiver = receiver;
    this.#readable.on('data', (chunk: Buffer) => {
      if (!this.#closing && !this.#ending.over) receiver.push(chunk);
    });
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#closing || this.#ending.over) return false;
    let left = parts.length;
    if (left === 0) sent?.();
    else this.#cork();
    const written = (error?: Error | null) => this.#written(error, sent);
    for (const part of parts) this.#writable.write(part, --left === 0 ? written : undefined);
    if (this.#writable.writableLength > this.#backlog) this.#held = true;
    return !this.#held;
  }

  pause(): void {
    if (!this.#closing) this.#readable.pause();
  }

  resume(): void {
    if (this.#receiver !== undefined && !this.#closing) this.#readable.resume();
  }

  close(): Promise<void> {
    if (!this.#closing && !this.#ending.over) {
      this.#closing = true;
      this.#shutdown();
    }
    return this.#ending.done;
  }

  destroy(error?: Error): void {
    if (this.#ending.over || this.#finishing || this.#destroyed) return;
    this.#destroyed = true;
    this.#closing = true;
    this.#error = error;
    this.#cut();
  }

  #cork(): void {
    if (this.#corked) return;
    this.#corked = true;
    this.#writable.cork();
    process.nextTick(() => this.#uncork());
  }

  #uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#writable.uncork();
  }

  #written(error: Error | null | undefined, sent: (() => void) | undefined): void {
    // Node tells of writes that were cancelled as if they had been done.
    if (error || this.#ending.over || this.#finishing || this.#writable.destroyed) return;
    sent?.();
    if (this.#held && this.#writable.writableLength === 0 && !this.#closing) {
      this.#held = false;
      this.#receiver?.drained();
    }
  }

  #peerEnded(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#shutdown();
  }

  /**
   * Writes what is left, ends our direction, and reads the other one to its end: a socket closed over unread bytes resets the
   * connection, and what was just written would be lost on its way.
   */
  #shutdown(): void {
    this.#uncork();
    for (const socket of new Set([this.#readable, this.#writable])) socket.setTimeout(this.#linger);
    this.#writable.once('finish', () => {
      // A peer that goes on sending does not hold up the end.
      if (!this.#finishing) this.#timer = setTimeout(() => this.#cut(), this.#linger);
    });
    this.#writable.end();
    this.#readable.resume();
  }

  #cut(): void {
    this.#readable.destroy();
    this.#writable.destroy();
  }

  #failed(error: Error): void {
    // Once one side has said goodbye, a reset is only a hasty form of it.
    if (!this.#closing) {
      this.#closing = true;
      this.#error = error;
    }
    this.#cut();
  }

  async #finish(): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    clearTimeout(this.#timer);
    let error = this.#error;
    if (this.#hooks.finished !== undefined) {
      try {
        error = await this.#hooks.finished(error, this.#closing);
      } catch (failure) {
        error = failure instanceof Error ? failure : new Error(String(failure));
      }
    }
    this.#ending.end(error);
  }
}
