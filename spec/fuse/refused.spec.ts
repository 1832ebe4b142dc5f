import { afterAll, expect, test, vi } from 'vitest';
import { shell } from '../support/child.js';
import { isLinux, requires } from '../support/requires.js';

const refused = vi.hoisted(() => ({ times: 0 }));
vi.mock('../../lib/sys/passthrough.js', () => ({
  // As capset(2) where a filter of system calls refuses it.
  openBacking: () => {
    refused.times++;
    throw Object.assign(new Error('EPERM: capset'), { code: 'EPERM' });
  },
  closeBacking: () => {},
}));
// Another spec of this process may have loaded what stands in for it here, and the next one is not to find that.
vi.resetModules();
const { mounted } = await import('./mounted.js');

afterAll(() => {
  vi.resetModules();
});

requires('mount')('a process that may register no backing file', () => {
  test.runIf(isLinux(6, 9))('has the content of files asked for', async () => {
    await using at = await mounted('passthrough', {}, true);
    const { stdout } = await shell('echo made > "$1/f"; echo more >> "$1/f"; cat "$1/f"', [at.directory]);
    expect(stdout).toBe('made\nmore\n');
    expect(refused.times).toBe(3);
    await expect.poll(() => at.mount.counters()).toMatchObject({ openFiles: 0, backed: 0, requests: { write: 2 } });
  });
});
