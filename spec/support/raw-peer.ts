import { Codec, tagOf, typeOf } from '../../lib/protocol/codec.js';
import { NOFID, NOTAG, VERSION_L } from '../../lib/protocol/constants.js';
import { Framer } from '../../lib/protocol/framer.js';
import type { Body, RName, TName } from '../../lib/protocol/messages.js';
import type { Receiver, Transport } from '../../lib/transport/transport.js';
import { HostileServer } from './hostile.js';

/**
 * The other end of a bridge's stream, frame by frame: it says what it is told to say, counts the answers, and answers requests as its HostileServer
 * does.
 */
export class RawPeer {
  readonly transport: Transport;
  readonly server = new HostileServer();
  readonly codec = new Codec(VERSION_L);
  /** Is told of each frame that arrives; the view is good until it returns. */
  onFrame: ((type: number, tag: number, frame: Uint8Array) => void) | undefined;
  /** Answers to its own requests. */
  replies = 0;
  /** Requests of the bridge. */
  requests = 0;
  bytesIn = 0;
  /** Resolves when the stream has ended. */
  readonly closed: Promise<Error | undefined>;
  #ask: ((frame: Uint8Array) => void) | undefined;
  #drained: (() => void)[] = [];

  constructor(transport: Transport) {
    this.transport = transport;
    this.server.serve(this.#asked());
    const framer = new Framer({ frame: (frame) => this.#arrived(frame) }, 1 << 24);
    this.closed = new Promise((resolve) => {
      const push = (bytes: Uint8Array) => {
        this.bytesIn += bytes.length;
        framer.push(bytes);
      };
      const staging = new Uint8Array(65536);
      const drained = () => {
        for (const go of this.#drained.splice(0)) go();
      };
      transport.start({ target: () => staging, filled: (count) => push(staging.subarray(0, count)), push, drained, closed: resolve });
    });
  }

  /** The half of the stream that the server sees. */
  #asked(): Transport {
    return {
      name: this.transport.name,
      start: (receiver: Receiver) => {
        this.#ask = (frame) => receiver.push(frame);
      },
      send: (parts) => this.transport.send(parts),
      pause: () => undefined,
      resume: () => undefined,
      close: () => this.transport.close(),
      destroy: () => this.transport.destroy(),
    };
  }

  #arrived(frame: Uint8Array): void {
    const type = typeOf(frame);
    if (type % 2 === 0) {
      this.requests++;
      this.#ask?.(frame);
    } else {
      this.replies++;
    }
    this.onFrame?.(type, tagOf(frame), frame);
  }

  /** Sends frames as they are; false when the stream takes no more for now. */
  send(...frames: Uint8Array[]): boolean {
    return this.transport.send(frames);
  }

  say<N extends TName | RName>(name: N, tag: number, body: Body<N>): boolean {
    return this.send(this.codec.encode(name, tag, body));
  }

  /** The stream takes more again. */
  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** The next frame of that type and tag. */
  hears(type: number, tag: number): Promise<void> {
    return new Promise((resolve) => {
      const before = this.onFrame;
      this.onFrame = (itsType, itsTag, frame) => {
        before?.(itsType, itsTag, frame);
        if (itsType !== type || itsTag !== tag) return;
        this.onFrame = before;
        resolve();
      };
    });
  }

  /** Begins a conversation in which it asks, with fid 0 as the root. */
  async attach(msize = 65536): Promise<void> {
    const version = this.hears(101, NOTAG);
    this.say('Tversion', NOTAG, { msize, version: VERSION_L });
    await version;
    const attach = this.hears(105, 0);
    this.say('Tattach', 0, { fid: 0, afid: NOFID, uname: '', aname: '', nUname: 0 });
    await attach;
  }
}
