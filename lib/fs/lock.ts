import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import {
  LOCK_BLOCKED,
  LOCK_FLAGS_BLOCK,
  LOCK_GRACE,
  LOCK_SUCCESS,
  LOCK_TYPE_RDLCK,
  LOCK_TYPE_UNLCK,
  LOCK_TYPE_WRLCK,
} from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { LockRange } from '../protocol/types.js';
import { joinSignals, toInteger } from './arguments.js';
import { abortError, fileClosed } from './errors.js';
import type { OpenFile } from './open-file.js';

/** Bytes of a file, as `lock` and `unlock` take them. */
export interface RangeOptions extends RequestOptions {
  /** The first byte. Default: 0. */
  start?: number | undefined;
  /** Bytes; 0: to the end of the file, wherever that moves. Default: 0. */
  length?: number | undefined;
}

export interface LockOptions extends RangeOptions {
  /** Others may hold it too, none of them exclusively. Default: false. */
  shared?: boolean | undefined;
  /** Wait while somebody else holds it; else EAGAIN. Default: true. */
  wait?: boolean | undefined;
}

/** A lock that stands in the way. */
export interface LockHolder {
  shared: boolean;
  start: number;
  /** Bytes; 0: to the end. */
  length: number;
  /** The process and the client that hold it, as they call themselves. */
  pid: number;
  client: string;
}

/** Milliseconds between two tries where the server does not wait for us: the first ones, and the longest. */
const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 1000;

function rangeOf(type: number, { start = 0, length = 0 }: RangeOptions): LockRange {
  toInteger(start, 'start', 0);
  toInteger(length, 'length', 0);
  return { type, start, length, procId: process.pid, clientId: hostname() };
}

/** Tlock until it is granted. EAGAIN where it is not to wait, ENOLCK where the server gives none; EBADF where the file is closed meanwhile. */
export async function lock(file: OpenFile, options: LockOptions, request: RequestOptions | undefined): Promise<void> {
  const { shared = false, wait = true } = options;
  const range = rangeOf(shared ? LOCK_TYPE_RDLCK : LOCK_TYPE_WRLCK, options);
  await file.use('fcntl', async (fid) => {
    if (!wait) {
      if (!(await isGranted(fid, range, 0, request))) throw new ErrnoError('EAGAIN');
      return;
    }
    // Whoever closes the file need not wait for somebody else to give up a lock.
    const closing = new AbortController();
    const signal = joinSignals(closing.signal, request?.signal) ?? closing.signal;
    file.hold(closing, () => closing.abort());
    try {
      for (let pause = FIRST_PAUSE; !(await isGranted(fid, range, LOCK_FLAGS_BLOCK, { ...request, signal })); ) {
        // A server may say "blocked" although it was asked to wait: Linux's client tries again then, too.
        await delay(pause, undefined, { signal }).catch(() => {
          throw abortError(signal);
        });
        pause = Math.min(pause * 2, LONGEST_PAUSE);
      }
    } catch (error) {
      throw closing.signal.aborted && request?.signal?.aborted !== true ? fileClosed('fcntl') : error;
    } finally {
      file.drop(closing);
    }
  });
}

async function isGranted(fid: Fid, range: LockRange, flags: number, request: RequestOptions | undefined): Promise<boolean> {
  const status = await fid.lock(range, flags, request);
  if (status !== LOCK_SUCCESS && status !== LOCK_BLOCKED && status !== LOCK_GRACE) throw new ErrnoError('ENOLCK');
  return status === LOCK_SUCCESS;
}

export async function unlock(file: OpenFile, options: RangeOptions, request: RequestOptions | undefined): Promise<void> {
  const range = rangeOf(LOCK_TYPE_UNLCK, options);
  await file.use('fcntl', async (fid) => {
    const status = await fid.lock(range, 0, request);
    if (status !== LOCK_SUCCESS) throw new ErrnoError('ENOLCK');
  });
}

/** Tgetlock: who stands in the way of a lock, if anybody does. */
export function lockHolder(
  file: OpenFile,
  options: RangeOptions & { shared?: boolean | undefined },
  request: RequestOptions | undefined,
): Promise<LockHolder | undefined> {
  const range = rangeOf(options.shared ? LOCK_TYPE_RDLCK : LOCK_TYPE_WRLCK, options);
  return file.use('fcntl', async (fid) => {
    const { type, start, length, procId, clientId } = await fid.getlock(range, request);
    if (type === LOCK_TYPE_UNLCK) return undefined;
    return { shared: type === LOCK_TYPE_RDLCK, start, length, pid: procId, client: clientId };
  });
}
