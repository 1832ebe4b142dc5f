import { bytesText } from '../format.js';
import { printable } from './listing.js';

const INTERVAL = 200;

/**
 * What a long command has done, as a line on the terminal that is written over; nothing where stderr is none. Rates are those of the
 * last few seconds.
 */
export class Progress implements Disposable {
  readonly #live: boolean;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #samples: { at: number; bytes: number }[] = [];
  readonly #begin = performance.now();
  files = 0;
  bytes = 0;
  totalFiles = 0;
  totalBytes = 0;
  current = '';

  constructor(live = process.stderr.isTTY === true) {
    this.#live = live;
    if (!live) return;
    this.#timer = setInterval(() => this.#draw(), INTERVAL);
    this.#timer.unref();
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.#begin) / 1000;
  }

  /** The line, without the terminal's width in mind: `12/40 files  3.1 MiB of 9.8 MiB  1.2 MiB/s  0:05 left  name`. */
  line(now = performance.now()): string {
    this.#samples.push({ at: now, bytes: this.bytes });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > 5000) this.#samples.shift();
    const first = this.#samples[0] ?? { at: now, bytes: this.bytes };
    const rate = now > first.at ? ((this.bytes - first.bytes) / (now - first.at)) * 1000 : 0;
    const parts = [`${this.files}/${Math.max(this.files, this.totalFiles)} files`];
    parts.push(
      this.totalBytes > 0 ? `${bytesText(this.bytes)} of ${bytesText(Math.max(this.bytes, this.totalBytes))}` : bytesText(this.bytes),
    );
    parts.push(`${bytesText(rate)}/s`);
    const left = this.totalBytes - this.bytes;
    if (left > 0 && rate > 0) parts.push(`${duration(left / rate)} left`);
    if (this.current !== '') parts.push(printable(this.current, { isTTY: true }));
    return parts.join('  ');
  }

  #draw(): void {
    const line = this.line();
    const width = process.stderr.columns ?? 80;
    process.stderr.write(`\r\x1b[K${line.length < width ? line : `${line.slice(0, width - 2)}…`}`);
  }

  /** Prints something above the line. */
  hidden(print: () => void): void {
    if (this.#live) process.stderr.write('\r\x1b[K');
    print();
  }

  [Symbol.dispose](): void {
    if (!this.#live) return;
    clearInterval(this.#timer);
    process.stderr.write('\r\x1b[K');
  }
}

/** Seconds as `1:02:03` or `2:03`. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
