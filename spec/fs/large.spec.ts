import { stat, truncate, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run } from '../support/child.js';
import { requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

const script = fileURLToPath(new URL('large.script.ts', import.meta.url));

interface Server {
  address(): string;
  stop(): Promise<void>;
}

function largeFiles(start: (path: string) => Promise<Server>): void {
  let directory: TemporaryDirectory;
  let server: Server;
  beforeAll(async () => {
    directory = new TemporaryDirectory('large');
    server = await start(directory.path);
  });
  afterAll(async () => {
    await server.stop();
    directory.remove();
  });

  async function stream(...paths: string[]): Promise<{ bytes: number; grown: number }> {
    const args = ['--max-old-space-size=64', '--import', 'tsx', script, server.address(), ...paths];
    const { stdout } = await run(process.execPath, args, { timeout: 500_000 });
    return JSON.parse(stdout) as { bytes: number; grown: number };
  }

  test('4 GiB through a heap of 64 MiB', { timeout: 600_000 }, async () => {
    const size = 2 ** 32 + 12_345;
    await writeFile(directory.join('large'), '');
    await truncate(directory.join('large'), size);
    const { bytes, grown } = await stream('/large');
    expect(bytes).toBe(size);
    // Read-ahead, what waits in the stream, and garbage that is not collected yet; not the file.
    expect(grown).toBeLessThan(300 * 2 ** 20);
  });

  test('one stream into another', { timeout: 600_000 }, async () => {
    const size = 200_000_001;
    await writeFile(directory.join('from'), '');
    await truncate(directory.join('from'), size);
    const { bytes, grown } = await stream('/from', '/to');
    expect(bytes).toBe(size);
    expect((await stat(directory.join('to'))).size).toBe(size);
    expect(grown).toBeLessThan(300 * 2 ** 20);
  });
}

requires('diod')('large files of diod', () => largeFiles((path) => diod(path)));
requires('linux')('large files of ninep serve', () => largeFiles((path) => serve(`${path},security_model=none`)));
