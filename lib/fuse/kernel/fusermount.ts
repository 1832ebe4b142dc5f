import { type ChildProcess, spawn } from 'node:child_process';
import { close, EAGAIN, POLLIN, setNonblocking, socketpair } from '../../sys/io.js';
import { poller } from '../../sys/poller.js';
import { receiveDescriptor } from '../../sys/rights.js';

/** The helper programs of libfuse that may mount for ordinary users; the older name serves as well. */
const HELPERS = ['fusermount3', 'fusermount'];

/** What to say when there is none of them. */
export class FuseMissingError extends Error {
  readonly code = 'ENOENT';
  constructor(cause?: unknown) {
    super('mounting without root needs the program fusermount3: install fuse3 (apt install fuse3, dnf install fuse3, apk add fuse3)', {
      cause,
    });
    this.name = 'FuseMissingError';
  }
}

/**
 * Mounts through fusermount3: the helper opens /dev/fuse, mounts it, and passes the descriptor, which this resolves with, over the socket
 * named in _FUSE_COMMFD. Its option auto_unmount is of no use: it looks whether the mount is dead as root, whom a mount without
 * allow_other does not let in.
 */
export async function fusermount(directory: string, options: readonly string[]): Promise<number> {
  let missing: unknown;
  for (const helper of HELPERS) {
    try {
      return await through(helper, directory, options);
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      missing = error.cause;
    }
  }
  throw new FuseMissingError(missing);
}

/** Unmounts through fusermount3; `lazy` detaches at once what is still in use. */
export async function fusermountUnmount(directory: string, lazy: boolean): Promise<void> {
  let missing: unknown;
  for (const helper of HELPERS) {
    const child = spawn(helper, lazy ? ['-u', '-z', '--', directory] : ['-u', '--', directory], { stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const { code, message } = await finished(child);
      if (code === 0) return;
      throw new HelperError(`${helper}: ${message}`, /busy/i.test(message) ? 'EBUSY' : 'EPERM');
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      missing = error.cause;
    }
  }
  throw new FuseMissingError(missing);
}

/** A program that none of PATH's directories has, or none that may be searched: execvp(3) tells the latter as EACCES. */
class NotFoundError extends Error {}

class HelperError extends Error {
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.name = 'Error';
    this.code = code;
  }
}

async function through(helper: string, directory: string, options: readonly string[]): Promise<number> {
  const [ours, theirs] = socketpair();
  const child = spawn(helper, ['-o', options.join(','), '--', directory], {
    stdio: ['ignore', 'ignore', 'pipe', theirs],
    env: { ...process.env, _FUSE_COMMFD: '3' },
  });
  const exit = finished(child);
  // It is asked for only where the socket has nothing to tell.
  exit.catch(() => {});
  close(theirs);
  try {
    return await new Promise<number>((resolve, reject) => {
      setNonblocking(ours);
      const watch = poller().add(ours, POLLIN, () => {
        const received = receiveDescriptor(ours);
        if (received === EAGAIN) return;
        watch.remove();
        if (received !== undefined && received >= 0) {
          resolve(received);
          return;
        }
        exit.then(
          ({ message, code }) => reject(new HelperError(`${helper}: ${message || `exit code ${code}`}`, codeOf(message))),
          (error: NodeJS.ErrnoException) =>
            reject(error instanceof NotFoundError ? error : new HelperError(error.message, error.code ?? 'EIO')),
        );
      });
    });
  } finally {
    close(ours);
  }
}

/** The helper only writes sentences; these are the ones worth telling apart. */
function codeOf(message: string): string {
  if (/permission|not permitted|no write access/i.test(message)) return 'EACCES';
  if (/busy/i.test(message)) return 'EBUSY';
  if (/no such file/i.test(message)) return 'ENOTDIR';
  return 'EIO';
}

function finished(child: ChildProcess): Promise<{ code: number | null; message: string }> {
  return new Promise((resolve, reject) => {
    let message = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      if (message.length < 4096) message += chunk;
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      const nowhere = error.code === 'ENOENT' || error.code === 'EACCES';
      reject(nowhere ? new NotFoundError(error.message, { cause: error }) : error);
    });
    child.on('close', (code) => resolve({ code, message: message.trim().replace(/^fusermount3?: /, '') }));
  });
}
