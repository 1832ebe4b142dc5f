import type { FileSystem } from '../../lib/fs/index.js';

/** Waits until the server has answered all that nobody waits for, then throws if a fid but the root is left. */
export async function settled(fs: FileSystem, fids = 1): Promise<void> {
  const { client } = fs;
  while (client.session.counters.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  const { alive, numbers } = client.fidCount;
  if (alive !== fids || numbers !== fids) throw new Error(`${alive} fids are left (${numbers} numbers), not ${fids}`);
}
