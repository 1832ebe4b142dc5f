import { fstatSync } from 'node:fs';
import { close, EAGAIN, EINTR, MAX_VECTOR, read, setNonblocking, shutdown, writev } from '../sys/io.js';
import { POLLIN, POLLOUT, poller, type Registration } from '../sys/poller.js';
import { EMFILE, ETOOMANYREFS, MAX_PASSED, type Received, receiveWith, sendWith } from '../sys/rights.js';
import { AF_UNIX, localEndpoint, peerUser, tellSender } from '../sys/socket.js';
import { Ending } from './ending.js';
import { errorName, TransportError } from './error.js';
import { BACKLOG, LINGER, type StreamOptions } from './stream.js';
import type { Receiver, Transport } from './transport.js';

/** Bytes that are read for one event before others have their turn. */
const READ_BOUND = 4 * 1024 * 1024;

/** Descriptors that a peer may pass before anybody takes one: more than that are of no answer. */
const MAX_RECEIVED = 1024;

/** Milliseconds between two tries to pass descriptors while too many are on their way: nothing tells when they have arrived. */
const PASS_PAUSE = 10;

/** In the place of a part that has been written. */
const NOTHING = new Uint8Array(0);

/**
 * A transport over raw descriptors: one for both directions (a socket, a device) or one for each (pipes). It reads and
 * writes with system calls of its own, when the poller says that they will not wait: bytes land where the receiver wants them, and all that
 * is sent in one turn of the loop, whoever was called in it, leaves in one writev. The descriptors are its own from then on.
 */
export class PolledTransport implements Transport {
  readonly name: string;
  readonly passes: boolean;
  /** Whoever made it hears of its end too. */
  onEnd: (() => void) | undefined;
  readonly #readFd: number;
  readonly #writeFd: number;
  readonly #socket: boolean;
  readonly #backlog: number;
  readonly #linger: number;
  readonly #ending = new Ending();
  #receiver: Receiver | undefined;
  #reading: Registration | undefined;
  /** The same as `#reading` where one descriptor serves both. */
  #writing: Registration | undefined;
  // What waits to be written: parts[head…], the first without its first `skip` bytes; sents[i] belongs to parts[i].
  #parts: Uint8Array[] = [];
  #sents: ((() => void) | undefined)[] = [];
  #head = 0;
  #skip = 0;
  /** Descriptors that leave with the first byte of a part. */
  readonly #passed = new Map<Uint8Array, readonly number[]>();
  /** Descriptors that have come; undefined where none are taken. */
  #received: Received | undefined;
  #waiting = 0;
  #held = false;
  #scheduled = false;
  #blocked = false;
  #paused = false;
  #closing = false;
  #shut = false;
  #peerEnded = false;
  #timer: NodeJS.Timeout | undefined;

  /** Throws a SystemError for descriptors that cannot be waited for, and closes them in that case. */
  constructor(name: string, readFd: number, writeFd: number, options: StreamOptions = {}) {
    this.name = name;
    this.#readFd = readFd;
    this.#writeFd = writeFd;
    this.#backlog = options.backlog ?? BACKLOG;
    this.#linger = options.linger ?? LINGER;
    try {
      this.#socket = readFd === writeFd && fstatSync(readFd).isSocket();
      // Who passes a descriptor need not have a right to its file (O_PATH), which whoever takes it may use with rights of its own: so root's are taken only, too.
      this.passes = this.#socket && localEndpoint(readFd)?.family === AF_UNIX && peerUser(readFd) === 0;
      if (this.passes && options.descriptors === true) {
        tellSender(readFd);
        this.#received = { descriptors: [], sender: undefined, lost: false };
      }
      setNonblocking(readFd);
      this.#reading = poller().add(readFd, 0, this.#ready);
      if (readFd === writeFd) {
        this.#writing = this.#reading;
      } else {
        setNonblocking(writeFd);
        this.#writing = poller().add(writeFd, 0, this.#ready);
      }
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  get takes(): boolean {
    return this.#received !== undefined;
  }

  start(receiver: Receiver): void {
    this.#ending.start(receiver);
    this.#receiver = receiver;
    this.#watch();
  }

  send(parts: readonly Uint8Array[], sent?: () => void, descriptors?: readonly number[]): boolean {
    if (this.#closing || this.#ending.over) {
      for (const fd of descriptors ?? []) close(fd);
      return false;
    }
    let left = parts.length;
    if (left === 0) sent?.();
    if (descriptors !== undefined) this.#pass(parts, descriptors);
    for (const part of parts) {
      this.#parts.push(part);
      this.#sents.push(--left === 0 ? sent : undefined);
      this.#waiting += part.length;
    }
    if (this.#waiting > this.#backlog) this.#held = true;
    if (!this.#scheduled && !this.#blocked) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    }
    return !this.#held;
  }

  #pass(parts: readonly Uint8Array[], descriptors: readonly number[]): void {
    const [first] = parts;
    if (first === undefined || first.length === 0 || descriptors.length > MAX_PASSED || !this.passes) {
      for (const fd of descriptors) close(fd);
      throw new RangeError(`${descriptors.length} descriptors cannot be passed on ${this.name}`);
    }
    this.#passed.set(first, descriptors);
  }

  takeDescriptor(): number | undefined {
    return this.#received?.descriptors.shift();
  }

  copyQueued(): void {
    for (let index = this.#head; index < this.#parts.length; index++) {
      const part = this.#parts[index] as Uint8Array;
      const copy = part.slice();
      this.#parts[index] = copy;
      const descriptors = this.#passed.get(part);
      if (descriptors === undefined) continue;
      this.#passed.delete(part);
      this.#passed.set(copy, descriptors);
    }
  }

  pause(): void {
    this.#paused = true;
    this.#watch();
  }

  resume(): void {
    this.#paused = false;
    this.#watch();
  }

  close(): Promise<void> {
    if (!this.#closing && !this.#ending.over) this.#close();
    return this.#ending.done;
  }

  destroy(error?: Error): void {
    this.#end(error);
  }

  /** What there is to wait for now. */
  #watch(): void {
    if (this.#ending.over) return;
    // While it is closing too: a peer that has much to write, and ends as well, would never get to read what is left here.
    const reads = this.#closing ? this.#socket : this.#receiver !== undefined && !this.#paused;
    const input = reads && !this.#peerEnded ? POLLIN : 0;
    const output = this.#blocked ? POLLOUT : 0;
    if (this.#reading === this.#writing) {
      this.#reading?.update(input | output);
      return;
    }
    this.#reading?.update(input);
    this.#writing?.update(output);
  }

  readonly #ready = (events: number): void => {
    if (this.#blocked && (events & ~POLLIN) !== 0) this.#write();
    // An error or a hang-up shows in what the next call gives.
    if (this.#ending.over || (events & ~POLLOUT) === 0) return;
    if (this.#closing) this.#discard();
    else this.#read();
  };

  #read(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    let bound = READ_BOUND;
    while (!this.#paused && !this.#closing && !this.#ending.over && bound > 0) {
      const target = receiver.target();
      const received = this.#received;
      const held = received?.descriptors.length;
      const count = received === undefined ? read(this.#readFd, target) : receiveWith(this.#readFd, target, received);
      if (count > 0) {
        // What descriptors come with is given by itself.
        const apart = received !== undefined && received.descriptors.length !== held;
        if (received?.lost === true || (apart && received.sender !== 0)) this.#refuse();
        if (apart && received.descriptors.length > MAX_RECEIVED) {
          this.#failed('recvmsg', EMFILE);
          return;
        }
        bound -= count;
        receiver.filled(count);
        // A stream that gave less than it might has no more for now; if it has, the next round tells.
        if (count < target.length && !apart) return;
      } else if (count === EAGAIN) {
        return;
      } else if (count !== EINTR) {
        if (count === 0) this.#endOfInput();
        else this.#failed('read', count);
        return;
      }
    }
  }

  /** Descriptors have come from somebody who is not root, or some have been lost: whatever comes from now on is closed unseen, and answers have none. */
  #refuse(): void {
    for (const fd of this.#received?.descriptors.splice(0) ?? []) close(fd);
    this.#received = undefined;
  }

  /** A stream that ends is read to its end, or closing it would reset the connection and lose what was just written. */
  #discard(): void {
    const rest = new Uint8Array(64 * 1024);
    for (let turn = 0; turn < 16; turn++) {
      const count = read(this.#readFd, rest);
      if (count > 0 || count === EINTR) continue;
      if (count === 0 && !this.#shut) {
        this.#peerEnded = true;
        this.#watch();
      } else if (count !== EAGAIN) this.#end();
      return;
    }
  }

  #endOfInput(): void {
    this.#peerEnded = true;
    this.#close();
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (!this.#ending.over && !this.#blocked) this.#write();
  };

  #write(): void {
    while (this.#head < this.#parts.length) {
      const count = this.#passed.size === 0 ? this.#writeSome() : this.#passSome();
      if (count >= 0) {
        this.#wrote(count);
        if (this.#ending.over) return;
      } else if (count === EAGAIN) {
        this.#blocked = true;
        this.#watch();
        return;
      } else if (count === ETOOMANYREFS) {
        this.#blocked = false;
        this.#scheduled = true;
        setTimeout(this.#flush, PASS_PAUSE);
        this.#watch();
        return;
      } else if (count !== EINTR) {
        this.#failed('write', count);
        return;
      }
    }
    if (this.#blocked) {
      this.#blocked = false;
      this.#watch();
    }
    if (this.#closing) {
      this.#shutdown();
    } else if (this.#held) {
      this.#held = false;
      this.#receiver?.drained();
    }
  }

  #writeSome(): number {
    const parts = this.#head === 0 ? this.#parts : this.#parts.slice(this.#head, this.#head + MAX_VECTOR);
    return writev(this.#writeFd, parts, this.#skip);
  }

  /** Writes up to the next part that has descriptors; with those of the first, if it has any. */
  #passSome(): number {
    const parts = this.#parts.slice(this.#head, this.#head + MAX_VECTOR);
    const next = parts.findIndex((part, index) => index > 0 && this.#passed.has(part));
    if (next > 0) parts.length = next;
    const [first = NOTHING] = parts;
    const descriptors = this.#passed.get(first);
    if (descriptors === undefined) return writev(this.#writeFd, parts, this.#skip);
    const count = sendWith(this.#writeFd, parts, this.#skip, descriptors);
    if (count > 0) {
      this.#passed.delete(first);
      for (const fd of descriptors) close(fd);
    }
    return count;
  }

  #wrote(count: number): void {
    this.#waiting -= count;
    let left = this.#skip + count;
    while (this.#head < this.#parts.length) {
      const size = (this.#parts[this.#head] as Uint8Array).length;
      if (left < size) break;
      left -= size;
      // Let go at once: the queue of a slow peer may not run empty for long.
      this.#parts[this.#head] = NOTHING;
      const sent = this.#sents[this.#head];
      this.#sents[this.#head++] = undefined;
      if (sent !== undefined && !this.#ending.over) sent();
    }
    this.#skip = left;
    if (this.#head === this.#parts.length) {
      // New ones: emptying an array by its length is a call out of compiled code.
      this.#parts = [];
      this.#sents = [];
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#parts.splice(0, this.#head);
      this.#sents.splice(0, this.#head);
      this.#head = 0;
    }
    this.#timer?.refresh();
  }

  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#timer = setTimeout(() => this.#end(), this.#linger);
    // Not from inside `close`: `sent` is for `send` alone to call at once.
    if (!this.#blocked) setImmediate(this.#flush);
    this.#watch();
  }

  /** All is written: our direction ends, and the other one is waited for. */
  #shutdown(): void {
    if (this.#shut) return;
    this.#shut = true;
    if (!this.#socket || this.#peerEnded || shutdown(this.#writeFd, 1) < 0) this.#end();
    else this.#watch();
  }

  #failed(syscall: string, number: number): void {
    // Once one side has said goodbye, a reset is only a hasty form of it.
    this.#end(this.#closing ? undefined : new TransportError(errorName(number), syscall, this.name));
  }

  #end(error?: Error): void {
    if (this.#ending.over) return;
    clearTimeout(this.#timer);
    this.#release();
    this.#parts.length = 0;
    this.#sents.length = 0;
    this.#head = 0;
    for (const descriptors of this.#passed.values()) for (const fd of descriptors) close(fd);
    this.#passed.clear();
    this.#refuse();
    this.#ending.end(error);
    this.onEnd?.();
  }

  #release(): void {
    this.#reading?.remove();
    if (this.#writing !== this.#reading) this.#writing?.remove();
    this.#reading = undefined;
    this.#writing = undefined;
    close(this.#readFd);
    if (this.#writeFd !== this.#readFd) close(this.#writeFd);
  }
}
