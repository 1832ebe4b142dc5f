import { setCloseOnExec } from './io.js';
import { declare, errno, lazy, SystemError } from './libc.js';

const calls = lazy(() => ({
  execv: declare<(file: string, argv: (string | null)[]) => number>('int execv(const char *, const char **)'),
}));

/**
 * This process becomes another program (execve(2)), with its id, environment and standard streams; no other descriptor that it was started with
 * stays open, as Node sees to that. Nothing of this one runs afterwards, no `exit` listener either. Throws a SystemError (ENOENT, EACCES, …) where that
 * fails, and the process goes on.
 */
export function exec(file: string, argv: readonly string[]): never {
  const { execv } = calls();
  const standard = [0, 1, 2];
  for (const fd of standard) setCloseOnExec(fd, false);
  execv(file, [...argv, null]);
  const error = new SystemError(errno(), 'execve', file);
  for (const fd of standard) setCloseOnExec(fd, true);
  throw error;
}
