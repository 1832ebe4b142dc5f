/**
 * The suites of a mount, run again by somebody who is not root: fusermount3 mounts, the server has no more rights than its user.
 * A run of the tests within the tests, since only a process without root's rights shows what is refused to one.
 */
import { chmodSync, existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ensureBuilt, root } from '../support/build.js';
import { run } from '../support/child.js';
import { markedEnvironment } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

const NOBODY = 65534;
const AS_NOBODY = ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups', '--'];
const SUITES = ['spec/e2e/mount-posix.spec.ts', 'spec/e2e/mount-workloads.spec.ts', 'spec/e2e/mount-faults.spec.ts'];

// Everybody may open it wherever udev sets up devices; on a bare machine nobody has.
if (process.geteuid?.() === 0 && existsSync('/dev/fuse')) chmodSync('/dev/fuse', 0o666);

requires('mount', 'fusermount3')('an ordinary user', () => {
  it('has what root has in his mounts', { timeout: 900_000 }, async (context) => {
    await ensureBuilt();
    const readable = await run('setpriv', [...AS_NOBODY, 'ls', `${root}/node_modules`], { cwd: '/', check: false });
    if (readable.code !== 0) context.skip(`${root} is not readable by everybody`);
    await using home = new TemporaryDirectory('ordinary');
    chmodSync(home.path, 0o777);
    const vitest = [
      `${root}/node_modules/vitest/vitest.mjs`,
      'run',
      '--configLoader',
      'runner',
      '--config',
      'spec/vitest.config.ts',
      '--maxWorkers',
      '2',
    ];
    const { code, stdout, stderr } = await run('setpriv', [...AS_NOBODY, process.execPath, ...vitest, ...SUITES], {
      cwd: root,
      check: false,
      timeout: 840_000,
      env: { ...markedEnvironment(), HOME: home.path, TMPDIR: home.path },
    });
    const said = stdout.trimEnd().split('\n').at(-1) ?? '';
    expect(`exit ${code}: ${said}${code === 0 ? '' : `\n${stdout}\n${stderr}`}`).toMatch(/^exit 0: (\d{2,}) passed, 0 failed, 0 skipped$/);
  });
});
