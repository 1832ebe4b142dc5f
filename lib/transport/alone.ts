import { constants } from 'node:fs';
import { type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { tryLock } from '../sys/lock.js';

/** Milliseconds between two tries. */
const PAUSE = 5;
/** Milliseconds that somebody else may have it: more than it takes to find out whether a socket is alive. */
const PATIENCE = 10_000;

/**
 * Does `work` while nobody else who asks for the same path does. `alone` is false where that cannot be had: no lock file can be made beside it, somebody has
 * kept it for too long, or the system has no such locks.
 *
 * The lock is the kernel's, so that it ends with its process; the file is removed by whoever has it. Whoever locked a file that was removed meanwhile has
 * nothing, and tries again.
 */
export async function whileAlone<T>(path: string, work: (alone: boolean) => Promise<T>): Promise<T> {
  const name = `${path}.lock`;
  const handle = await acquire(name, performance.now() + PATIENCE).catch(() => undefined);
  try {
    return await work(handle !== undefined);
  } finally {
    if (handle !== undefined) await unlink(name).catch(() => undefined);
    await handle?.close();
  }
}

async function acquire(name: string, until: number): Promise<FileHandle | undefined> {
  while (performance.now() < until) {
    const handle = await open(name, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    let ours = false;
    try {
      ours = tryLock(handle.fd) && (await isAt(name, handle));
      if (ours) return handle;
    } finally {
      if (!ours) await handle.close();
    }
    await delay(PAUSE);
  }
  return undefined;
}

async function isAt(name: string, handle: FileHandle): Promise<boolean> {
  const [there, own] = await Promise.all([stat(name).catch(() => undefined), handle.stat()]);
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}
