import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { root } from '../support/build.js';
import { run } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

requires('linux')('the single-file build', () => {
  let directory: TemporaryDirectory;
  const at = (name: string) => directory.join(name);

  beforeAll(async () => {
    directory = new TemporaryDirectory('bundle');
    await run(process.execPath, [join(root, 'cli/bundle.mjs'), at('empty')]);
    for (const name of ['tree', 'mnt']) mkdirSync(at(name));
    writeFileSync(at('tree/file'), 'content\n');
  });
  afterAll(() => directory.remove());

  const args = (...words: string[]) => ['ninep.mjs', ...words];

  it('is one file and a library, and knows its version', async () => {
    expect(readdirSync(at('empty')).sort()).toEqual(['koffi.node', 'ninep.mjs']);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect((await run(process.execPath, args('--version'), { cwd: at('empty') })).stdout).toBe(`${version}\n`);
  });

  it('serves, with system calls of its own, and reads what it serves', async () => {
    const server = await launch({
      command: process.execPath,
      args: args('serve', '-e', `${at('tree')},aname=t,security_model=passthrough`, '-l', `unix:${at('socket')}`),
      cwd: at('empty'),
      ready: { line: /serving/, from: 'stderr' },
    });
    try {
      const { stdout } = await run(process.execPath, args('info', `unix:${at('socket')}?aname=t`), { cwd: at('empty') });
      expect(stdout).toContain('9P2000.L');
    } finally {
      await server.stop();
    }
  });

  requires('mount')('with a mount', () => {
    it('goes to the background by running itself again', async () => {
      const server = await launch({
        command: process.execPath,
        args: args('serve', '-e', `${at('tree')},aname=t,security_model=passthrough`, '-l', `unix:${at('socket2')}`),
        cwd: at('empty'),
        ready: { line: /serving/, from: 'stderr' },
      });
      try {
        await run(process.execPath, args('mount', `unix:${at('socket2')}?aname=t`, at('mnt')), { cwd: at('empty') });
        expect((await run('cat', [at('mnt/file')])).stdout).toBe('content\n');
        await run(process.execPath, args('unmount', at('mnt')), { cwd: at('empty') });
      } finally {
        await server.stop();
      }
    });
  });
});
