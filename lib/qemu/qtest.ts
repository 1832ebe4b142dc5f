import type { Receiver, Transport } from '../transport/transport.js';

/** What hears of the machine besides the answers to commands. */
export interface QtestEvents {
  /** An interrupt line went up (or down). */
  interrupt(raised: boolean): void;
  /** Whatever came in has been told. */
  settled(): void;
  /** No more answers: QEMU has gone, or broke the protocol. */
  ended(error?: Error): void;
}

/** The channel ended under a command: why, only QEMU's own end can tell. */
export class ChannelLost extends Error {}

/** The longest line that a known command is answered with. */
const LINE = 4096;

/**
 * QEMU's qtest protocol: a command a line, an answer a line and in order (`OK …`, `FAIL …`, `ERR …`), and between them `IRQ raise N`
 * and `IRQ lower N` as they happen. (docs/devel/testing, "QTest Protocol".)
 */
export class Qtest implements Receiver {
  readonly #channel: Transport;
  readonly #events: QtestEvents;
  readonly #pending: ((answer: string) => void)[] = [];
  /** Who waits for an answer when there is none to come. */
  readonly #rejections = new Set<(error: Error) => void>();
  readonly #buffer = Buffer.alloc(LINE);
  #rest = '';

  constructor(channel: Transport, events: QtestEvents) {
    this.#channel = channel;
    this.#events = events;
    channel.start(this);
  }

  /** Sends one or two commands, each ended by a newline, of which only the success is to be known. */
  post(commands: Uint8Array, done: () => void, next?: () => void): void {
    this.#expect(done);
    if (next !== undefined) this.#expect(next);
    this.#channel.send([commands]);
  }

  #expect(done: () => void): void {
    this.#pending.push((answer) => {
      if (!answer.startsWith('OK')) throw new Error(`qtest: ${answer.slice(0, 80)}`);
      done();
    });
  }

  /** Sends a command and resolves to the words behind OK. */
  ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#pending.push((answer) => {
        this.#rejections.delete(reject);
        if (/^OK(?: |$)/.test(answer)) resolve(answer.slice(3));
        else reject(new Error(`qtest: ${command}: ${answer}`));
      });
      this.#rejections.add(reject);
      this.#channel.send([Buffer.from(`${command}\n`)]);
    });
  }

  async read32(address: number): Promise<number> {
    return Number(await this.ask(`readl 0x${address.toString(16)}`));
  }

  async write32(address: number, value: number): Promise<void> {
    await this.ask(`writel 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  destroy(): void {
    this.#channel.destroy();
  }

  target(): Uint8Array {
    return this.#buffer;
  }

  filled(count: number): void {
    this.#take(this.#buffer.toString('latin1', 0, count));
  }

  push(chunk: Uint8Array): void {
    this.#take(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1'));
  }

  drained(): void {}

  closed(error?: Error): void {
    const lost = new ChannelLost(error?.message ?? 'qtest: QEMU closed the channel');
    this.#pending.length = 0;
    for (const reject of this.#rejections) reject(lost);
    this.#rejections.clear();
    this.#events.ended(error);
  }

  #take(text: string): void {
    let start = 0;
    let end = text.indexOf('\n');
    for (; end >= 0; start = end + 1, end = text.indexOf('\n', start)) {
      const line = this.#rest + text.slice(start, end);
      this.#rest = '';
      this.#line(line);
    }
    this.#rest += text.slice(start);
    if (this.#rest.length > LINE) this.#channel.destroy(new Error('qtest: a line without an end'));
    this.#events.settled();
  }

  #line(line: string): void {
    if (line.startsWith('IRQ ')) {
      this.#events.interrupt(line.startsWith('raise ', 4));
      return;
    }
    const answer = this.#pending.shift();
    if (answer === undefined) {
      this.#channel.destroy(new Error(`qtest: an answer to nothing: ${line.slice(0, 80)}`));
      return;
    }
    try {
      answer(line);
    } catch (error) {
      this.#channel.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
