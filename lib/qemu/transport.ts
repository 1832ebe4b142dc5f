import { Ending } from '../transport/ending.js';
import { abortError, TransportError } from '../transport/error.js';
import { PolledTransport } from '../transport/polled.js';
import { BACKLOG, LINGER } from '../transport/stream.js';
import type { Receiver, Transport } from '../transport/transport.js';
import { Device } from './device.js';
import { type Machine, startMachine } from './machine.js';
import { ChannelLost, Qtest, type QtestEvents } from './qtest.js';
import { Queue, QueueError, queueBytes } from './queue.js';

export interface QemuOptions {
  /** The directory that QEMU serves. */
  path: string;
  securityModel: 'mapped-xattr' | 'mapped-file' | 'passthrough' | 'none';
  /** More options of `-fsdev local`: `multidevs`, `fmode`, `dmode`, `readonly`, `throttling.bps-total`, … */
  fsdev?: Readonly<Record<string, string | number | boolean>> | undefined;
  /** More arguments of QEMU itself. */
  args?: readonly string[] | undefined;
  /** The program. Default: `QEMU_SYSTEM` of the environment, else `qemu-system-x86_64`. */
  binary?: string | undefined;
  /** Requests that QEMU has at a time, 1 to 128 (more it does not take). Default 128. */
  depth?: number | undefined;
  /** The largest frame, in bytes. Default 1 MiB + 24. */
  maxFrame?: number | undefined;
  /** Bytes waiting for a place in the queue above which `send` returns false. Default 2 MiB. */
  backlog?: number | undefined;
  /** Milliseconds that requests which QEMU still has may hold up `close`. Default 5000. */
  linger?: number | undefined;
  /** Gives up starting it. */
  signal?: AbortSignal | undefined;
  /** Milliseconds that starting it may take. Default 30,000; 0: no limit. */
  timeout?: number | undefined;
}

const START_TIMEOUT = 30_000;
/** What QEMU's device works on at a time (MAX_REQ); more would lie in the queue with nothing to wake it. */
const MAX_DEPTH = 128;
const MAX_FRAME = 1024 * 1024 + 24;
const MIN_FRAME = 4096;
/** The first MiB has holes and read-only shadows of the firmware. */
const BASE = 1024 * 1024;
/** A microvm's memory below its devices. */
const MAX_MEMORY = 3 * 1024 ** 3;

/** Starts QEMU and gives a transport to its 9P server. Rejects with a TransportError that quotes QEMU, or an AbortError. */
export function qemuTransport(options: QemuOptions): Promise<Transport> {
  const { path, securityModel, fsdev = {} } = options;
  const more = Object.entries(fsdev).map(([name, value]) => [name, typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value)]);
  const words = [['path', path], ['security_model', securityModel], ...more].map(
    ([name, value = '']) => `${name}=${value.replaceAll(',', ',,')}`,
  );
  return openQemu(words.join(','), options);
}

/** The same, with the options of `-fsdev local` as QEMU takes them. */
export async function openQemu(fsdev: string, options: Omit<QemuOptions, 'path' | 'securityModel' | 'fsdev'>): Promise<Transport> {
  const { signal, depth = MAX_DEPTH, maxFrame = MAX_FRAME, timeout = START_TIMEOUT } = options;
  const name = `qemu:${fsdev}`;
  if (!Number.isInteger(depth) || depth < 1 || depth > MAX_DEPTH) throw new RangeError(`depth ${depth} is not from 1 to ${MAX_DEPTH}`);
  const memory = Math.ceil((BASE + queueBytes(depth, maxFrame)) / 1024 ** 2) * 1024 ** 2;
  if (!Number.isInteger(maxFrame) || maxFrame < MIN_FRAME || memory > MAX_MEMORY)
    throw new RangeError(`a largest frame of ${maxFrame} bytes`);
  if (signal?.aborted) throw abortError(signal);
  const machine = await startMachine({ binary: options.binary, args: options.args, fsdev: `local,id=export,${fsdev}`, memory, name });
  const transport = new QemuTransport(name, machine, new Queue(machine.memory.bytes, BASE, depth, maxFrame), maxFrame, options);
  let reason: Error | undefined;
  const give = (error: Error) => {
    reason ??= error;
    transport.destroy();
  };
  const aborted = () => signal && give(abortError(signal));
  const timer = timeout > 0 ? setTimeout(() => give(new TransportError('ETIMEDOUT', 'start', name)), timeout) : undefined;
  signal?.addEventListener('abort', aborted);
  if (signal?.aborted) aborted();
  try {
    await transport.begin();
    if (reason !== undefined) throw reason;
    return transport;
  } catch (error) {
    // A QEMU that gave up by itself says why as it goes; the time-out ends one that does not go.
    const how = error instanceof ChannelLost ? await machine.exited : undefined;
    await transport.abandon();
    throw (
      reason ?? new TransportError('EIO', 'start', name, how ?? (error instanceof Error ? error.message : String(error)), { cause: error })
    );
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', aborted);
  }
}

interface Waiting {
  parts: readonly Uint8Array[];
  length: number;
  sent: (() => void) | undefined;
}

/**
 * Frames over QEMU's virtqueue:
 *
 *     send ─▶ waiting ─▶ slot of the queue ─notify─▶ QEMU ─interrupt─▶ reply in the slot ─▶ push, slot free again
 *
 * The interrupt stays raised until it is acknowledged, and tells nothing new meanwhile. So the used ring is looked at whenever
 * anything comes in, and after each acknowledgement, whose own answer is such an occasion.
 */
class QemuTransport implements Transport, QtestEvents {
  readonly name: string;
  readonly maxFrame: number;
  readonly #machine: Machine;
  readonly #qtest: Qtest;
  readonly #queue: Queue;
  readonly #backlog: number;
  readonly #linger: number;
  readonly #ending = new Ending();
  #device: Device | undefined;
  #receiver: Receiver | undefined;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #held = false;
  #paused = false;
  #kicking = false;
  #raised = false;
  #acknowledging = false;
  #asking = false;
  #closing = false;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    name: string,
    machine: Machine,
    queue: Queue,
    maxFrame: number,
    options: { backlog?: number | undefined; linger?: number | undefined },
  ) {
    this.name = name;
    this.maxFrame = maxFrame;
    this.#machine = machine;
    this.#queue = queue;
    this.#backlog = options.backlog ?? BACKLOG;
    this.#linger = options.linger ?? LINGER;
    this.#qtest = new Qtest(new PolledTransport(`qtest of ${name}`, machine.qtest, machine.qtest), this);
  }

  /** Brings the device up; before that the transport belongs to nobody. */
  async begin(): Promise<void> {
    const device = await Device.find(this.#qtest);
    await device.start(this.#queue);
    this.#device = device;
  }

  /** Ends what did not begin. */
  abandon(): Promise<void> {
    this.destroy();
    return this.#ending.done;
  }

  start(receiver: Receiver): void {
    this.#ending.start(receiver);
    this.#receiver = receiver;
  }

  send(parts: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#closing || this.#stopping) return false;
    let length = 0;
    for (const part of parts) length += part.length;
    const problem = length > this.maxFrame ? `a frame of ${length} bytes is larger than ${this.maxFrame}` : frameProblem(parts, length);
    if (problem !== undefined) {
      this.destroy(new TransportError('EMSGSIZE', 'send', this.name, problem));
      return false;
    }
    const waiting = { parts, length, sent };
    if (this.#waiting.length > 0 || !this.#submit(waiting)) {
      this.#waiting.push(waiting);
      this.#waitingBytes += length;
      if (this.#waitingBytes > this.#backlog) this.#held = true;
    }
    return !this.#held;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    setImmediate(() => this.settled());
  }

  close(): Promise<void> {
    if (!this.#closing && !this.#stopping) {
      this.#closing = true;
      this.#timer = setTimeout(() => this.#stop(), this.#linger);
      setImmediate(() => this.settled());
    }
    return this.#ending.done;
  }

  destroy(error?: Error): void {
    if (this.#stopping) return;
    this.#machine.signal('SIGKILL');
    this.#stop(error);
  }

  /** There is one device, so any line is its line; which one differs between versions of QEMU. */
  interrupt(raised: boolean): void {
    this.#raised = raised;
  }

  settled(): void {
    const device = this.#device;
    if (device === undefined || this.#stopping) return;
    this.#drain();
    if (this.#stopping) return;
    if (this.#waiting.length > 0) this.#refill();
    const busy = this.#queue.inFlight > 0;
    if (this.#raised && !this.#acknowledging && busy && !this.#kicking) {
      this.#acknowledging = true;
      this.#qtest.post(device.commands.acknowledge, this.#acknowledged);
    }
    if (this.#closing && !busy && this.#waiting.length === 0) this.#stop();
  }

  ended(error?: Error): void {
    if (this.#device === undefined || this.#stopping) return;
    void this.#machine.end().then((how) => this.#stop(new TransportError('ECONNRESET', 'qemu', this.name, how, { cause: error })));
  }

  /** Delivers what the device is done with. */
  #drain(): void {
    try {
      while (!this.#paused || this.#closing) {
        const done = this.#queue.next();
        if (done === undefined) break;
        // A request that was cancelled comes back empty: its Rflush says what there is to say.
        if (done.length > 0 && !this.#closing) this.#receiver?.push(done.slot.reply.subarray(0, done.length));
        this.#queue.release(done.slot);
        if (this.#stopping) break;
      }
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      this.destroy(new TransportError('EPROTO', 'qemu', this.name, error.message));
    }
  }

  #refill(): void {
    let count = 0;
    for (const waiting of this.#waiting) {
      if (!this.#submit(waiting)) break;
      this.#waitingBytes -= waiting.length;
      count++;
    }
    this.#waiting = this.#waiting.slice(count);
    if (this.#held && this.#waiting.length === 0 && !this.#closing && !this.#stopping) {
      this.#held = false;
      this.#receiver?.drained();
    }
  }

  #submit({ parts, length, sent }: Waiting): boolean {
    const slot = this.#queue.take();
    if (slot === undefined) return false;
    let at = 0;
    for (const part of parts) {
      slot.request.set(part, at);
      at += part.length;
    }
    this.#queue.submit(slot, length);
    if (!this.#kicking) {
      this.#kicking = true;
      setImmediate(this.#kick);
    }
    sent?.();
    return true;
  }

  /** Tells the device of all that was submitted in this turn. */
  readonly #kick = (): void => {
    this.#kicking = false;
    const device = this.#device;
    if (device === undefined || this.#stopping) return;
    if (this.#raised && !this.#acknowledging) {
      this.#acknowledging = true;
      this.#qtest.post(device.commands.acknowledgeThenNotify, this.#acknowledged, ignore);
    } else {
      this.#qtest.post(device.commands.notify, ignore);
    }
  };

  /** Had there been replies only, the interrupt would have been lowered by now: the device has something else to tell. */
  readonly #acknowledged = (): void => {
    this.#acknowledging = false;
    if (this.#raised) void this.#suspect();
  };

  async #suspect(): Promise<void> {
    if (this.#device === undefined || this.#asking) return;
    this.#asking = true;
    const failed = await this.#device.failed().catch(() => false);
    this.#asking = false;
    if (!failed || this.#stopping) return;
    const why = ['the virtio device has stopped: it could not make sense of a frame', ...this.#machine.complaints()];
    this.destroy(new TransportError('EPROTO', 'qemu', this.name, why.join(': ')));
  }

  #stop(error?: Error): void {
    if (this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#timer);
    this.#waiting = [];
    this.#qtest.destroy();
    void this.#machine.end().then(() => this.#ending.end(error));
  }
}

/** Each call of `send` must be one frame: a virtqueue carries messages, not bytes. */
function frameProblem(parts: readonly Uint8Array[], length: number): string | undefined {
  let size = 0;
  let at = 0;
  for (const part of parts) for (let index = 0; index < part.length && at < 4; index++, at++) size += (part[index] ?? 0) * 2 ** (8 * at);
  return size === length ? undefined : `${length} bytes that call themselves a frame of ${size}`;
}

function ignore(): void {}
