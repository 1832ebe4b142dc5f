import { expect, test, vi } from 'vitest';
import { shell } from '../support/child.js';
import { requires } from '../support/requires.js';
import { mounted } from './mounted.js';

vi.mock('../../lib/sys/passthrough.js', () => ({
  // As capset(2) where a filter of system calls refuses it.
  openBacking: () => {
    throw Object.assign(new Error('EPERM: capset'), { code: 'EPERM' });
  },
  closeBacking: () => {},
}));

requires('mount')('a process that may register no backing file', () => {
  test('has the content of files asked for', async () => {
    await using at = await mounted('passthrough', {}, true);
    const { stdout } = await shell('echo made > "$1/f"; echo more >> "$1/f"; cat "$1/f"', [at.directory]);
    expect(stdout).toBe('made\nmore\n');
    await expect.poll(() => at.mount.counters()).toMatchObject({ openFiles: 0, backed: 0 });
  });
});
