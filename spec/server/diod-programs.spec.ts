import { expect, test } from 'vitest';
import { controlBackend } from '../../lib/server/ctl.js';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { Server } from '../../lib/server/server.js';
import { listen } from '../../lib/transport/index.js';
import { run } from '../support/child.js';
import { requires, which } from '../support/requires.js';

requires('diodls', 'diodcat')('diod’s own client programs', () => {
  async function serve(): Promise<{ server: Server; at: string[] }> {
    const tree = new MemoryBackend();
    tree.writeFile('dir/hello', 'world\n');
    tree.writeFile('large', Buffer.alloc(1_000_000, 'abcdefg'));
    for (let index = 0; index < 2000; index++) tree.writeFile(`many/entry-${index}`, '');
    const server = new Server({ exports: { '/srv/tree': tree } });
    server.export('ctl', controlBackend(server, '1.2.3'));
    const { address } = await server.listen((accept) => listen('tcp://127.0.0.1:0', accept));
    return { server, at: ['-s', address.slice('tcp://'.length)] };
  }
  const program = (name: string) => which(name) ?? name;

  test('diodcat reads files of an export and of ctl', async () => {
    const { server, at } = await serve();
    await using _ = server;
    expect((await run(program('diodcat'), [...at, '-a', '/srv/tree', 'dir/hello'])).stdout).toBe('world\n');
    const { output } = await run(program('diodcat'), [...at, '-a', '/srv/tree', 'large']);
    expect(output.equals(Buffer.alloc(1_000_000, 'abcdefg'))).toBe(true);
    // Its default aname.
    expect((await run(program('diodcat'), [...at, 'version'])).stdout).toBe('1.2.3\n');
    const missing = await run(program('diodcat'), [...at, '-a', '/srv/none', 'x'], { check: false });
    expect(missing.code).not.toBe(0);
  });

  test('diodls lists', async () => {
    const { server, at } = await serve();
    await using _ = server;
    const names = (await run(program('diodls'), [...at, '-a', '/srv/tree', 'many'])).stdout
      .split('\n')
      .filter((name) => name.startsWith('entry-'));
    expect(new Set(names).size).toBe(2000);
    expect((await run(program('diodls'), [...at, '-a', '/srv/tree', '-l'])).stdout).toMatch(/-rw-r--r--.* 1000000 .* large$/m);
  });
});
