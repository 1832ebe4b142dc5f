import type { ChildProcess } from 'node:child_process';

/** Lines, and characters of each, that an error quotes. */
const LINES = 5;
const LENGTH = 300;
/** Characters of a line after which it is told as it is: what writes no line's end, such as a dump of bytes, would be gathered for ever. */
const LONGEST = 64 * 1024;
/** Milliseconds that stderr may stay open after the child's end: something that it started may hold it for ever. */
const PATIENCE = 500;

/** The last lines that a child wrote to stderr: what an error says of its end. */
export class Tail {
  readonly lines: string[] = [];
  /** Resolves when there will be no more. */
  readonly done: Promise<void>;

  constructor(child: ChildProcess, each: (line: string) => void) {
    const { stderr } = child;
    if (stderr === null) {
      this.done = Promise.resolve();
      return;
    }
    const take = (line: string) => {
      each(line);
      this.lines.push(line.slice(0, LENGTH));
      if (this.lines.length > LINES) this.lines.shift();
    };
    let rest = '';
    stderr.setEncoding('utf8').on('data', (text: string) => {
      // A carriage return may be the first half of a line's end.
      const lines = (rest + text).split(/\r?\n|\r(?!$)/);
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
      if (rest.length <= LONGEST) return;
      take(rest);
      rest = '';
    });
    this.done = new Promise((resolve) => {
      stderr.once('close', () => {
        if (rest !== '') take(rest.replace(/\r$/, ''));
        resolve();
      });
      child.once('exit', () => setTimeout(() => stderr.destroy(), PATIENCE).unref());
    });
  }
}
