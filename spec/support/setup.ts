import { afterAll } from 'vitest';
import { stopAll } from './launcher.js';
import { removeAll } from './temporary.js';

// The outermost hook: it runs after those of the file itself, in which the file is to tidy up.
afterAll(async () => {
  const processes = await stopAll();
  const mounts = removeAll();
  if (processes.length > 0) throw new Error(`processes left behind: ${processes.join(', ')}`);
  if (mounts.length > 0) throw new Error(`mounts left behind: ${mounts.join(', ')}`);
});
