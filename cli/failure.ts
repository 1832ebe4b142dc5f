import { ConnectionLostError, ErrnoError } from '../lib/protocol/index.js';

/** The command line is wrong: exit 2. */
export class UsageError extends Error {}

/**
 * What a failure prints, in one line: `ninep: WHAT: WHY (ENAME)`. Stacks are for DEBUG=ninep:*.
 */
export function failureLine(error: unknown): string {
  return `ninep: ${why(error)}`;
}

function why(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof ConnectionLostError) return error.message;
  const { code, path: file, dest, address } = error as NodeJS.ErrnoException & { dest?: string; address?: unknown };
  const path = file ?? (typeof address === 'string' ? address : undefined);
  const text = firstLine(error.message);
  if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) return text;
  const reason = error instanceof ErrnoError || text.startsWith(`${code}: `) ? textOf(text, code) : text;
  if (error instanceof ErrnoError && error.syscall === 'Tattach') return `aname ${JSON.stringify(path ?? '')}: ${reason} (${code})`;
  const what = path === undefined ? '' : `${path}${dest === undefined ? '' : ` -> ${dest}`}: `;
  return `${what}${reason}${reason.includes(code) ? '' : ` (${code})`}`;
}

/** Node's `ENOENT: no such file or directory, open '/x'` without what is said beside it. */
function textOf(message: string, code: string): string {
  const text = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  return text.replace(/, [A-Za-z]\w*( '.*)?$/, '');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
