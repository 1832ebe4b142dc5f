import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Lines, and characters of each, that an error quotes. */
const LINES = 5;
const LENGTH = 300;
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
    const reader = createInterface({ input: stderr });
    reader.on('line', (line) => {
      each(line);
      this.lines.push(line.slice(0, LENGTH));
      if (this.lines.length > LINES) this.lines.shift();
    });
    this.done = new Promise((resolve) => {
      reader.once('close', resolve);
      child.once('exit', () =>
        setTimeout(() => {
          stderr.destroy();
          reader.close();
        }, PATIENCE).unref(),
      );
    });
  }
}
