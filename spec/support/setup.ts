import { afterAll, afterEach } from 'vitest';
import { stopAll } from './launcher.js';
import { removeAll } from './temporary.js';

// What a test that failed has left is its failure's; it counts neither against the file nor, if there is one, against a second try.
let failed = false;
afterEach(({ task }) => {
  if (task.result?.state === 'fail' || (task.result?.retryCount ?? 0) > 0) failed = true;
});

// The outermost hook: it runs after those of the file itself, in which the file is to tidy up.
afterAll(async () => {
  const processes = await stopAll();
  const mounts = removeAll();
  if (failed) return;
  if (processes.length > 0) throw new Error(`processes left behind: ${processes.join(', ')}`);
  if (mounts.length > 0) throw new Error(`mounts left behind: ${mounts.join(', ')}`);
});
