import type { ChildProcess } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Tail } from '../../lib/transport/tail.js';

/** What a Tail makes of such pieces of stderr. */
async function told(pieces: readonly (string | Uint8Array)[]): Promise<{ each: string[]; lines: string[] }> {
  const stderr = new PassThrough();
  const child = Object.assign(new EventEmitter(), { stderr }) as unknown as ChildProcess;
  const each: string[] = [];
  const tail = new Tail(child, (line) => each.push(line));
  for (const piece of pieces) if (!stderr.write(piece)) await new Promise((resolve) => stderr.once('drain', resolve));
  stderr.end();
  await tail.done;
  return { each, lines: tail.lines };
}

test('lines of stderr are told wherever they were cut, and the last five kept', async () => {
  const text = Buffer.from('one\ntwo\r\nthree\rfour ä\nfive\nsix\nseven');
  const lines = ['one', 'two', 'three', 'four ä', 'five', 'six', 'seven'];
  for (let cut = 0; cut <= text.length; cut++) {
    const { each, lines: last } = await told([text.subarray(0, cut), text.subarray(cut)].filter(({ length }) => length > 0));
    expect(each, `cut at ${cut}`).toEqual(lines);
    expect(last).toEqual(lines.slice(-5));
  }
});

test('a line that never ends is not gathered for ever', async () => {
  const { each, lines } = await told(Array.from({ length: 64 }, () => 'x'.repeat(64 * 1024)));
  expect(Math.max(...each.map(({ length }) => length))).toBeLessThan(256 * 1024);
  expect(each.join('').length).toBe(64 * 64 * 1024);
  expect(lines.every((line) => /^x{300}$/.test(line))).toBe(true);
});
