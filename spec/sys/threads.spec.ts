import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { TemporaryDirectory } from '../support/temporary.js';

const script = fileURLToPath(new URL('hanging.script.ts', import.meta.url));

test.each(['exit', 'close'])('a call that hangs does not keep the process from ending (%s)', async (way) => {
  await using directory = new TemporaryDirectory('threads');
  const fifo = directory.join('fifo');
  execFileSync('mkfifo', [fifo]);
  const child = spawn(process.execPath, ['--import', 'tsx', script, fifo, way], {
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect([output, code]).toEqual(['hangs\n', 3]);
});
